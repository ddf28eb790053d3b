/** Writer leases: a right to write that ends by itself when its holder does (PROTOCOL.md 6.12). */

import { Fenced, LeaseHeld, OutlastError } from "./errors.js";
import type { Fields } from "./link.js";
import type { Fence, Way } from "./writer.js";
import { checkName, checkWhole, random64 } from "./options.js";
import type { Frame } from "./protocol/frames.js";
import type { Whole } from "./protocol/words.js";
import { ignore, onAbort, sleep, unlessAborted, within } from "./waiting.js";

// Who waits for a lease asks again so often: one that is released is free before its time is up.
const ASK_AGAIN_MS_MIN = 50;
const ASK_AGAIN_MS_MAX = 1_000;
const RENEW_AGAIN_MS_MIN = 100;

export interface LeaseOptions {
  /** It lapses so long after its holder stopped renewing it, 10 s; 1 s to 1 h. */
  ttlMs?: number;
  /** Wait until it is free. */
  wait?: boolean;
  /** Take it away from whoever has it; what was opened under it belongs to the new holder. */
  takeOver?: boolean;
  /** Bounds the asking. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A lease as lists show it: `leftMs` until it lapses, unless it is renewed. */
export interface LeaseInfo {
  readonly name: string;
  readonly holder: string;
  readonly token: Whole;
  readonly ttlMs: number;
  readonly leftMs: number;
}

export function leaseFrom(row: any): LeaseInfo {
  return { name: row.lease, holder: row.holder, token: row.token, ttlMs: row.ttl_ms, leftMs: row.left_ms };
}

/** Made by `channel.lease`: it is held and renewed until `release`, or until it is `lost`. */
export class Lease implements Fence {
  readonly name: string;
  readonly ttlMs: number;
  /** Aborted when the broker says that it is not ours any more; everything under it throws Fenced from then on. */
  readonly lost: AbortSignal;
  readonly #channel: string;
  readonly #way: Way;
  readonly #lost = new AbortController();
  readonly #renewing = new AbortController();
  // An answer may be lost with its connection: under the same nonce the broker gives it again.
  readonly #nonce = random64();
  #token: Whole = 0;
  #takenFrom = "";
  #over: Fenced | null = null;

  /** @internal */
  constructor(channel: string, way: Way, name: string, { ttlMs = 10_000 }: LeaseOptions) {
    this.name = checkName("a lease's name", name, 128);
    this.ttlMs = checkWhole("ttlMs", ttlMs, 1_000, 3_600_000);
    this.lost = this.#lost.signal;
    this.#channel = channel;
    this.#way = way;
  }

  /** Higher than that of every lease of this channel before. */
  get token(): Whole {
    return this.#token;
  }

  /** The client id that it was taken away from, or "". */
  get takenFrom(): string {
    return this.#takenFrom;
  }

  /** As far as is known here. Only the broker knows: a publish under the lease is the proof. */
  get isHeld(): boolean {
    return this.#token !== 0 && !this.#over;
  }

  /** The token to publish under. Throws Fenced once the lease is over. */
  fence(): Whole {
    if (this.#over) throw this.#over;
    return this.#token;
  }

  /** @internal Takes the lease, over as many connections as that takes. Throws LeaseHeld. */
  async acquire({ wait = false, takeOver = false, timeoutMs, signal }: LeaseOptions): Promise<this> {
    let refusal: LeaseHeld | undefined;
    const asking = async (patience: AbortSignal): Promise<Frame> => {
      for (;;) {
        try {
          return await this.#ask(
            "LEASE",
            { lease: this.name, ttl_ms: this.ttlMs, take_over: takeOver, nonce: this.#nonce },
            patience,
          );
        } catch (error) {
          if (error instanceof LeaseHeld) refusal = error;
          if (!wait || !(error instanceof OutlastError) || !error.retryable) throw error;
          await sleep(
            Math.min(error.retryAfterMs, ASK_AGAIN_MS_MAX) + ASK_AGAIN_MS_MIN * (1 + Math.random()),
            patience,
          );
        }
      }
    };
    const { result } = await within(timeoutMs, signal, asking, () => {
      throw refusal ?? new LeaseHeld(`lease "${this.name}" was not granted within ${timeoutMs} ms: no connection`);
    });
    this.#token = result.token;
    this.#takenFrom = result.holder;
    this.#way.lane.fenced.set(this.#token, (error) => this.#lose(error));
    onAbort(this.#way.link.ended.signal, () => this.#renewing.abort());
    void this.#keep();
    return this;
  }

  async #ask(type: string, fields: Fields, signal?: AbortSignal): Promise<Frame> {
    const create = type === "LEASE";
    const [answer] = await this.#way.link.callIn(this.#channel, type, fields, {
      create,
      signal,
      // Nobody waits for it any more: what is granted now must not have to lapse.
      unheard: (late: any) => {
        if (create && late.result) this.#ask("RELEASE", { token: late.result.token }).catch(ignore);
      },
    });
    return answer;
  }

  /**
   * Waits for what was published under the lease, then gives it back. Messages that it leaves open are closed. Takes no
   * longer than the ttl: after that the lease lapses by itself.
   */
  async release(): Promise<void> {
    const give = async (signal: AbortSignal): Promise<void> => {
      await unlessAborted(this.#way.outbox.settled(this.#way.lane, this.#token), signal);
      if (this.isHeld) await this.#ask("RELEASE", { token: this.#token }, signal);
    };
    if (this.isHeld)
      await within(this.ttlMs, undefined, give, ignore).catch((error) =>
        this.#way.link.options.log(`lease "${this.name}" is left to lapse: ${error.message}`),
      );
    this.#end(new Fenced(`lease "${this.name}" was released`, { token: this.#token }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  // --- keeping it ----------------------------------------------------------------------------------------------

  async #keep(): Promise<void> {
    const { signal } = this.#renewing;
    let waitMs = this.ttlMs / 3;
    try {
      for (;;) {
        await sleep(waitMs, signal);
        waitMs = await this.#renew(signal);
      }
    } catch (error) {
      if (!signal.aborted) this.#lose(error as OutlastError);
    }
  }

  /** When to renew it next. Throws what ends it. */
  async #renew(signal: AbortSignal): Promise<number> {
    try {
      await this.#ask("RENEW", { token: this.#token }, signal);
      return this.ttlMs / 3;
    } catch (error) {
      if (!(error instanceof OutlastError) || !error.retryable) throw error;
      return Math.max(error.retryAfterMs, RENEW_AGAIN_MS_MIN);
    }
  }

  #lose(error: OutlastError): void {
    if (this.#over) return;
    const over = error instanceof Fenced ? error : new Fenced(`lease "${this.name}" is lost: ${error.message}`);
    this.#end(over);
    this.#lost.abort(over);
  }

  #end(reason: Fenced): void {
    this.#over ??= reason;
    this.#way.lane.fenced.delete(this.#token);
    this.#renewing.abort();
  }
}
