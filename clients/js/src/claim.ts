/**
 * Claims: something is done once, whoever tries, and all learn what came of it (PROTOCOL.md 6.13).
 * A claim outlives connections: what was asked is asked again under the same nonce or token, and answered alike.
 */

import { delayMs } from "./backoff.js";
import {
  ClaimHeld,
  ConnectionLost,
  Fenced,
  OutlastError,
  ReadOnly,
  StaleEpoch,
  TooLarge,
  UnknownChannel,
} from "./errors.js";
import type { Fields, Link } from "./link.js";
import { checkName, checkWhole, random64 } from "./options.js";
import type { Whole } from "./protocol/words.js";
import { type Data, decoded } from "./records.js";
import { encoded } from "./rows.js";
import { ignore, onAbort, sleep, within } from "./waiting.js";

const KEY_BYTES_MAX = 255;
const RESULT_BYTES_MAX = 32_768;
// A claim that others hold is asked for again at this pace: nobody is told when it is done.
const PACE = { baseMs: 100, capMs: 1_000 };
// Who gives a claim back waits no longer than this; then it lapses.
const ABANDON_TIMEOUT_MS = 2_000;

export interface ClaimOptions {
  /** It lapses so long after its holder stopped extending it, 30 s; 1 s to 1 h. */
  ttlMs?: number;
  /** Wait while somebody else is at it, until it is free or done. */
  wait?: boolean;
  /** Wait so long at most. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A claim as lists show it, with its status since `timeMs`. "free": somebody has tried, and the next may. */
export interface ClaimSummary {
  readonly key: string;
  readonly status: "in_progress" | "done" | "free";
  readonly holder: string;
  readonly attempt: number;
  readonly timeMs: number;
}

export function claimFrom({ key, status, holder, attempt, time_ms: timeMs }: any): ClaimSummary {
  return { key, status, holder, attempt, timeMs };
}

/** Made by `channel.claim`: it is either granted to this one, to end with `settle`, or done. */
export class Claim {
  readonly key: string;
  #granted = false;
  #done = false;
  #attempt = 0;
  #result: Data = null;
  readonly #channel: string;
  readonly #link: Link;
  readonly #ttlMs: number;
  readonly #nonce = random64();
  readonly #extending = new AbortController();
  readonly #lost = new AbortController();
  #epoch: string | undefined;
  #token: Whole = 0;
  #settling = false;

  /** @internal */
  constructor(channel: string, link: Link, key: string, { ttlMs = 30_000 }: ClaimOptions) {
    this.key = checkName("a claim's key", key, KEY_BYTES_MAX);
    this.#ttlMs = checkWhole("ttlMs", ttlMs, 1_000, 3_600_000);
    this.#channel = channel;
    this.#link = link;
  }

  get granted(): boolean {
    return this.#granted;
  }

  get done(): boolean {
    return this.#done;
  }

  /** How often it was granted. */
  get attempt(): number {
    return this.#attempt;
  }

  /** What it was settled with, once it is done. */
  get result(): Data {
    return this.#result;
  }

  /** Aborted when somebody else was granted it meanwhile, or the channel was deleted. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /**
   * Returns when the claim is done and `result` is on disk, over as many connections as that takes. It is what every later
   * claim of this key gets, 32,768 bytes at most. Throws Fenced when somebody else was granted it meanwhile, TooLarge, and
   * UnknownChannel when the channel was deleted.
   */
  async settle(result: Data = null): Promise<void> {
    if (!this.#granted || this.#done) throw new TypeError(`claim "${this.key}" is not there to be settled`);
    const [encoding, data] = encoded(result);
    if (data.length > RESULT_BYTES_MAX)
      throw new TooLarge(`the result has ${data.length} bytes, allowed are ${RESULT_BYTES_MAX}`, {
        limit: RESULT_BYTES_MAX,
        value: data.length,
      });
    this.#settling = true;
    this.#extending.abort();
    await this.#askUnderToken("SETTLE", { encoding, data });
    this.#done = true;
    this.#result = decoded(encoding, data);
  }

  /** Gives it back if it is not settled: the next may try. */
  async abandon(): Promise<void> {
    this.#extending.abort();
    // One whose settling was begun is not given back: what it is for has been done.
    if (!this.#granted || this.#settling || this.lost.aborted) return;
    const give = (signal: AbortSignal) => this.#askUnderToken("ABANDON", {}, signal);
    await within(ABANDON_TIMEOUT_MS, undefined, give, ignore).catch((error) =>
      this.#link.options.log(`claim "${this.key}" is not given back and will lapse: ${error.message}`),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.abandon();
  }

  // --- being granted -------------------------------------------------------------------------------------------

  /** @internal Returns once it is granted or done. Throws ClaimHeld. */
  async begin({ wait = false, timeoutMs, signal }: ClaimOptions): Promise<this> {
    let held: OutlastError | null = null;
    const asking = async (patience: AbortSignal): Promise<any> => {
      for (let attempt = 0; ; attempt++) {
        try {
          return await this.#asked(patience);
        } catch (error) {
          if (!(error instanceof ClaimHeld || error instanceof ReadOnly) || !(wait || timeoutMs !== undefined))
            throw error;
          held = error;
        }
        await sleep(pauseMs(attempt, held), patience);
      }
    };
    const result = await within(timeoutMs, signal, asking, () => {
      throw held ?? new ConnectionLost(`nobody said within ${timeoutMs} ms how claim "${this.key}" stands`);
    });
    this.#attempt = result.attempt;
    if (result.status === "done") {
      this.#done = true;
      this.#result = decoded(result.encoding, result.data);
    } else {
      this.#granted = true;
      this.#token = result.token;
      onAbort(this.#link.ended.signal, () => this.#extending.abort());
      void this.#extend();
    }
    return this;
  }

  async #asked(signal: AbortSignal): Promise<any> {
    const fields = { key: this.key, ttl_ms: this.#ttlMs, nonce: this.#nonce };
    // Nobody waits for this grant any more.
    const unheard = ({ result }: any) => {
      if (result?.status === "granted")
        this.#link.callIn(this.#channel, "ABANDON", { key: this.key, token: result.token }).catch(ignore);
    };
    const [{ result }, life] = await this.#link.callIn(this.#channel, "CLAIM", fields, {
      create: true,
      signal,
      unheard,
    });
    const { status, holder, attempt, retry_after_ms } = result;
    if (status === "in_progress")
      throw new ClaimHeld(`claim "${this.key}" is in progress at "${holder}"`, { holder, attempt, retry_after_ms });
    this.#epoch = life.epoch;
    return result;
  }

  // --- under its token -----------------------------------------------------------------------------------------

  async #extend(): Promise<void> {
    const { signal } = this.#extending;
    while (!signal.aborted && !this.lost.aborted) {
      try {
        await sleep(this.#ttlMs / 3, signal);
        await this.#askUnderToken("EXTEND", {}, signal);
      } catch (error) {
        if (!signal.aborted) this.#link.options.log(`claim "${this.key}" is not extended: ${(error as Error).message}`);
      }
    }
  }

  /** Of a channel's next life these tokens are not: they would be somebody else's. */
  async #askUnderToken(type: string, fields: Fields, signal?: AbortSignal): Promise<void> {
    try {
      await this.#link.callIn(
        this.#channel,
        type,
        { key: this.key, token: this.#token, ...fields },
        { epoch: this.#epoch, signal },
      );
    } catch (error) {
      const isOver = error instanceof StaleEpoch;
      if (isOver || error instanceof Fenced || error instanceof UnknownChannel) this.#lost.abort(error);
      throw isOver ? new UnknownChannel("the channel was deleted, and its claims with it") : error;
    }
  }
}

/** Not longer than the claim can be held, but a broker that takes no changes is asked when it said. */
function pauseMs(attempt: number, held: OutlastError): number {
  if (held instanceof ReadOnly) return delayMs(attempt, PACE, Math.random(), held.retryAfterMs);
  return Math.min(delayMs(attempt, PACE, Math.random(), PACE.baseMs), Math.max(held.retryAfterMs, 1));
}
