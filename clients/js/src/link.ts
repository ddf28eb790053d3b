/**
 * A connection to the broker that comes back by itself, one wire after another.
 *
 * The link keeps what outlives a wire. Requests do not: when a wire ends, each unanswered one is answered with
 * ConnectionLost, and whoever made it decides whether to ask again.
 */

import { attemptAfter, delayMs } from "./backoff.js";
import {
  Closed,
  ConnectFailed,
  ConnectionLost,
  fromWire,
  GoingAway,
  isFatal,
  OutlastError,
  RateLimited,
  StaleEpoch,
  UnknownChannel,
  Violation,
} from "./errors.js";
import type { LinkState, Options } from "./options.js";
import { BATCH_BYTES_MAX, BATCH_LABELS_MAX, BATCH_RECORDS_MAX } from "./protocol/batch.js";
import type { Frame } from "./protocol/frames.js";
import { epochText } from "./protocol/position.js";
import type { Bytes, Whole } from "./protocol/words.js";
import { safe } from "./records.js";
import { type Deferred, defer, ignore, sleep, unlessAborted } from "./waiting.js";
import { Wire } from "./wire.js";

const LEAVE_TIMEOUT_MS = 5_000;
const REQUEST_MAX = 2 ** 32 - 1;
const PUBLISH_HEAD_BYTES = 44;
// A token that does not come is asked for again after this at the earliest. Beyond the other, timers ring at once.
const RETRY_MS = 1_000;
const TIMER_MS_MAX = 2 ** 31 - 1;
// Beyond so much that the socket has not taken, nothing more is sent that may as well be dropped.
const ROOM_BYTES = 262_144;
const AGENT = "outlast-js/0.1.0";

/** One life of a channel, under the number that this wire may use for it. */
export interface Life {
  readonly number: Whole;
  readonly epoch: string;
}

/** One acknowledgement of a PUBLISHED frame. */
export interface Acked {
  readonly type: "ACKED";
  readonly offset: number;
  readonly duplicate: boolean;
}

export type Answer = Frame | OutlastError;
export type OnAnswer = (answer: any) => void;
/** The fields of a request, but for `request` itself. */
export type Fields = Record<string, unknown>;

/** Who wants to know when a wire is there and when it is gone. */
export interface Listener {
  linkOpened(): void;
  linkLost(): void;
}

/** A subscription as its link sees it. */
export interface Reader extends Listener {
  readonly name: string;
  /** Others may have its seat. */
  readonly yields: boolean;
  delivered(batches: Bytes): void;
  resynced(resync: Frame): void;
  close(): void;
  fail(error: unknown): void;
}

/** Who is told of a channel's presence on one wire. */
export interface Witness {
  told(presence: Frame): void;
  deleted(number: Whole): void;
}

/** Who wants to hear what is not stored, and from when on it comes. */
export interface Ears {
  began(name: string): void;
  heard(link: Link, name: string, batch: Bytes): void;
  ended(reader: Reader): void;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Gets the answer when nobody waits for it any more. */
  unheard?: OnAnswer;
}

export interface ChannelCallOptions extends CallOptions {
  create?: boolean;
  /** The only life of the channel that is meant. */
  epoch?: string | undefined;
}

export class Link {
  isOpen = false;
  wasOpen = false;
  state: LinkState = "connecting";
  failure: OutlastError | null = null;
  clientId: string;
  limits: Record<string, number> = {};
  batchBytes = BATCH_BYTES_MAX;
  batchRecords = BATCH_RECORDS_MAX;
  batchLabels = BATCH_LABELS_MAX;
  ears: Ears | null = null;
  readonly listeners = new Set<Listener>();
  readonly readers = new Map<string, Reader>();
  readonly options: Options;
  /** Aborted when its user has closed it. */
  readonly ended = new AbortController();
  readonly #isMain: boolean;
  #wire: Wire | null = null;
  #attempt = 0;
  #notBeforeMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #leaveTimer: ReturnType<typeof setTimeout> | undefined;
  #refreshTimer: ReturnType<typeof setTimeout> | undefined;
  #request = 0;
  #ready: Deferred<void> = defer<void>();
  readonly #answers = new Map<number, OnAnswer>();
  readonly #reserved = new Map<number, OnAnswer>();
  readonly #lives = new Map<string, Life>();
  readonly #routes = new Map<Whole, Reader>();
  readonly #witnesses = new Map<Whole, Witness>();
  readonly #waken = (): void => this.wake();

  constructor(options: Options, isMain: boolean) {
    this.options = options;
    this.clientId = options.clientId ?? "";
    this.#isMain = isMain;
  }

  // --- life ----------------------------------------------------------------------------------------------------

  start(): void {
    const { window, document } = this.options.page;
    window?.addEventListener("online", this.#waken);
    document?.addEventListener("visibilitychange", this.#waken);
    this.#connect();
  }

  /** Returns when requests can be made. Throws Closed, and the broker's refusal while it never was open. */
  async ready(signal?: AbortSignal): Promise<void> {
    while (!this.isOpen) {
      if (this.state === "closed") throw new Closed("this client is closed");
      await unlessAborted(this.#ready.promise, signal);
    }
  }

  /** The network is back, or somebody looks: no reason to wait any longer than the broker asked. */
  wake(): void {
    if (this.options.page.document?.visibilityState === "hidden") return;
    if (this.state === "waiting" && performance.now() >= this.#notBeforeMs) this.#connect();
    else this.#wire?.probe();
  }

  close(): void {
    if (this.state === "closed") return;
    const { window, document } = this.options.page;
    window?.removeEventListener("online", this.#waken);
    document?.removeEventListener("visibilitychange", this.#waken);
    clearTimeout(this.#timer);
    this.isOpen = false;
    this.ended.abort();
    this.#enter("closed", "closed by its user");
    this.#wire?.close();
    this.#settleReady(new Closed("this client was closed"));
  }

  /** Drops the present wire, because of what came over it; the next one follows. */
  fail(failure: OutlastError): void {
    this.options.log(`dropping the connection: ${failure.message}`);
    this.#wire?.fail(failure);
  }

  #connect(): void {
    clearTimeout(this.#timer);
    this.#enter("connecting", this.options.url);
    this.#wire = new Wire(this, this.#hello(), this.options.dial, this.options.url);
  }

  async #hello(): Promise<Frame> {
    const { producer, heartbeatMs } = this.options;
    return {
      type: "HELLO",
      versions: [1],
      client_id: this.clientId || null,
      producer: this.#isMain ? producer : null,
      heartbeat_ms: heartbeatMs,
      agent: AGENT,
      token: await this.#token(),
    };
  }

  /** Throws what keeps it from coming. */
  async #token(): Promise<string | undefined> {
    const { token } = this.options;
    try {
      return typeof token === "function" ? await token() : token;
    } catch (error) {
      throw error instanceof OutlastError ? error : new ConnectFailed(`no token: ${(error as Error).message}`);
    }
  }

  /** Shows the broker another token well before the one that this wire has ends (PROTOCOL.md 3.7). */
  #refreshBefore(endMs?: number | null, waitMs = (endMs! * 2) / 3): void {
    clearTimeout(this.#refreshTimer);
    if (endMs == null || typeof this.options.token !== "function") return;
    const again = () => this.isOpen && this.#refreshBefore(endMs, RETRY_MS + endMs / 12);
    const show = (token: unknown) =>
      this.request("AUTH", { token }, ({ result }) => result && this.#refreshBefore(result.expires_in_ms));
    this.#refreshTimer = setTimeout(() => this.#token().then(show, again), Math.min(waitMs, TIMER_MS_MAX));
  }

  #enter(state: LinkState, reason: string): void {
    this.state = state;
    if (!this.#isMain) return;
    try {
      this.options.onState?.(state, reason);
    } catch (error) {
      this.options.log(`onState failed: ${error}`);
    }
  }

  #settleReady(error?: unknown): void {
    const ready = this.#ready;
    this.#ready = defer<void>();
    if (error) ready.reject(error);
    else ready.resolve();
  }

  wireEnded(wire: Wire): void {
    this.isOpen = false;
    clearTimeout(this.#leaveTimer);
    clearTimeout(this.#refreshTimer);
    this.#leaveTimer = undefined;
    this.#lives.clear();
    this.#routes.clear();
    this.#witnesses.clear();
    const answers = [...this.#answers.values()];
    this.#answers.clear();
    for (const onAnswer of answers) onAnswer(new ConnectionLost("the connection ended before the broker answered"));
    for (const listener of [...this.listeners, ...this.readers.values()]) listener.linkLost();
    if (this.state !== "closed") this.#comeBack(wire);
  }

  #comeBack(wire: Wire): void {
    const { pace } = this.options;
    this.failure = wire.failure!;
    // Asking again cannot help now; but an operator may, so only the first connect gives up.
    if (!this.failure.retryable && !this.wasOpen) {
      this.#settleReady(this.failure);
      if (this.#isMain) return; // `connect` says so and closes; other links are those of a client that has been open
    }
    const attempt = attemptAfter(this.#attempt, wire.livedMs, pace);
    this.#attempt = attempt + 1;
    const waitMs = delayMs(attempt, pace, Math.random(), this.#notBeforeMs - performance.now());
    this.#enter("waiting", `${this.failure.message}; next attempt in ${Math.round(waitMs)} ms`);
    if ((this.state as LinkState) !== "closed") this.#timer = setTimeout(() => this.#connect(), Math.ceil(waitMs) + 1);
  }

  // --- requests ------------------------------------------------------------------------------------------------

  /** Sends a request; `onAnswer` is called exactly once. */
  request(type: string, fields: Fields, onAnswer: OnAnswer = ignore): void {
    if (!this.isOpen) {
      onAnswer(new ConnectionLost("there is no connection to the broker at present"));
      return;
    }
    const request = this.#number();
    this.#answers.set(request, onAnswer);
    this.#wire!.send({ type, request, ...fields });
  }

  #number(): number {
    return (this.#request = (this.#request % REQUEST_MAX) + 1);
  }

  /** A request number for frames that have no answer but an ERROR. */
  reserve(onRefusal: OnAnswer): number {
    const request = this.#number();
    this.#reserved.set(request, onRefusal);
    return request;
  }

  /** The answer to one request. Throws what the broker refuses it with, or ConnectionLost. */
  call(type: string, fields: Fields, options: CallOptions = {}): Promise<Frame> {
    return this.#asked((onAnswer) => this.request(type, fields, onAnswer), options);
  }

  /** As `call`, and asks again on the next connection: for what does no harm when done twice. Gives the `result`. */
  async callAgain(type: string, fields: Fields, signal?: AbortSignal): Promise<any> {
    for (;;) {
      try {
        return (await this.call(type, fields, { signal }))["result"];
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
      }
    }
  }

  /**
   * As `callAgain`, for what names a channel by its number: gives the whole answer, and the life that gave it.
   * `fields` may be a function, which is asked for each attempt.
   */
  async callIn(
    name: string,
    type: string,
    fields: Fields | (() => Fields),
    options: ChannelCallOptions = {},
  ): Promise<[answer: Frame, life: Life]> {
    for (;;) {
      const life = await this.findChannel(name, options.create, options.signal);
      checkLife(options.epoch, life);
      try {
        const said = typeof fields === "function" ? fields() : fields;
        return [await this.call(type, { number: life.number, ...said }, options), life];
      } catch (error) {
        if (error instanceof UnknownChannel) this.forget(name, life);
        else if (!(error instanceof ConnectionLost)) throw error;
      }
    }
  }

  async #asked(ask: (onAnswer: OnAnswer) => void, { signal, unheard }: CallOptions): Promise<Frame> {
    for (;;) {
      await this.ready(signal);
      const turn = defer<Frame>();
      let isOver = false;
      ask((answer: Answer) => {
        if (isOver) unheard?.(answer);
        else if (answer instanceof OutlastError) turn.reject(answer);
        else turn.resolve(answer);
      });
      try {
        return await unlessAborted(turn.promise, signal);
      } catch (error) {
        isOver = true;
        if (turn.isDone && signal?.aborted && unheard) turn.promise.then(unheard, ignore);
        if (!(error instanceof GoingAway || error instanceof RateLimited)) throw error;
        // Not done, so asking again, or the broker's successor, is safe.
        await sleep(Math.max(error.retryAfterMs, this.options.pace.baseMs), signal);
      }
    }
  }

  /** OPEN; after a good answer `life(name)` is known. */
  openChannel(name: string, onAnswer: OnAnswer, create = true): void {
    this.request("OPEN", { channel: name, create }, (answer: Answer) => {
      if (!(answer instanceof OutlastError))
        this.#lives.set(name, { number: answer["number"], epoch: epochText(answer["epoch"]) });
      onAnswer(answer);
    });
  }

  /** The channel's present life. Throws UnknownChannel, unless it is to `create` it. */
  async findChannel(name: string, create = false, signal?: AbortSignal): Promise<Life> {
    for (;;) {
      const life = this.#lives.get(name);
      if (life) return life;
      try {
        await this.#asked((onAnswer) => this.openChannel(name, onAnswer, create), { signal });
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
      }
    }
  }

  life(name: string): Life | undefined {
    return this.#lives.get(name);
  }

  /** The channel's number is dead: the next use opens it anew. With `life` only if that is still the present one. */
  forget(name: string, life = this.#lives.get(name)): void {
    if (this.#lives.get(name) === life) this.#lives.delete(name);
  }

  /** From now on `reader` gets what is delivered for `number`. */
  route(number: Whole, reader: Reader): void {
    this.#routes.set(number, reader);
    this.ears?.began(reader.name);
  }

  unroute(number: Whole): void {
    this.#routes.delete(number);
  }

  /** Whether the broker has accepted a subscription to the channel on this connection. */
  reads(name: string): boolean {
    const life = this.#lives.get(name);
    return life !== undefined && this.#routes.has(life.number);
  }

  /** From now on `witness` is told of the presence in channel `number`, and of its end; null: nobody. */
  callWitness(number: Whole, witness: Witness | null): void {
    if (witness) this.#witnesses.set(number, witness);
    else this.#witnesses.delete(number);
  }

  /** For what has no answer; nothing happens without a connection. */
  send(frame: Frame): void {
    if (this.isOpen) this.#wire!.send(frame);
  }

  /** Whether what is sent now would soon go out. */
  get hasRoom(): boolean {
    return this.isOpen && this.#wire!.unsentBytes <= ROOM_BYTES;
  }

  // --- what a wire brings --------------------------------------------------------------------------------------

  received(wire: Wire, frame: Frame): void {
    const number: Whole = frame["number"];
    switch (frame.type) {
      case "PUBLISHED":
        for (const [request, offset, duplicate] of frame["acks"])
          this.#answer(wire, request, { type: "ACKED", offset: safe(offset), duplicate });
        break;
      case "DELIVER":
        return this.#routes.get(number)?.delivered(frame["batches"]);
      case "EPHEMERAL":
        return this.#heard(number, frame["batch"]);
      case "PING":
        return wire.send({ type: "PONG", token: frame["token"] });
      case "ERROR":
        return this.#refused(wire, frame);
      case "RESYNC":
        return this.#resynced(number, frame);
      case "PRESENCE":
        return this.#witnesses.get(number)?.told(frame);
      case "WELCOME":
        return this.#welcomed(wire, frame);
      case "GOAWAY":
        return this.#sentAway(wire, frame);
      case "MALFORMED":
        return wire.fail(new Violation(frame["error"].message));
      default:
        if (frame["request"]) this.#answer(wire, frame["request"], frame);
    }
  }

  #welcomed(wire: Wire, welcome: Frame): void {
    const limits: Record<string, number> = welcome["limits"];
    this.limits = limits;
    this.clientId = welcome["client_id"];
    wire.messageBytes = Math.min(limits["frame_bytes"] ?? Infinity, wire.messageBytes);
    this.batchBytes = Math.min(
      limits["batch_bytes"] ?? Infinity,
      wire.messageBytes - PUBLISH_HEAD_BYTES,
      BATCH_BYTES_MAX,
    );
    this.batchRecords = Math.min(limits["batch_records"] ?? Infinity, BATCH_RECORDS_MAX);
    this.batchLabels = Math.min(limits["batch_labels"] ?? Infinity, BATCH_LABELS_MAX);
    this.isOpen = this.wasOpen = true;
    wire.open(welcome["heartbeat_ms"]);
    this.#refreshBefore(welcome["expires_in_ms"]);
    this.#enter("open", `${this.options.url}, ${welcome["server"]}`);
    this.#settleReady();
    for (const listener of [...this.listeners, ...this.readers.values()]) listener.linkOpened();
  }

  /** No new requests; what is unanswered may still be answered (PROTOCOL.md 3.5). */
  #sentAway(wire: Wire, away: Frame): void {
    this.#notBeforeMs = performance.now() + away["retry_after_ms"];
    const farewell = new GoingAway(`the broker is leaving: ${away["reason"]}`);
    this.isOpen = false;
    if (!this.#answers.size) wire.fail(farewell);
    else this.#leaveTimer ??= setTimeout(() => wire.fail(farewell), LEAVE_TIMEOUT_MS);
  }

  #refused(wire: Wire, { request, code, message, detail }: Frame): void {
    const refusal = fromWire(code, message, detail);
    const reader = this.#routes.get(detail.number);
    if (this.#answers.has(request)) this.#answer(wire, request, refusal);
    else if (this.#reserved.has(request)) this.#reserved.get(request)!(refusal);
    else if (reader) reader.fail(refusal);
    else this.options.log(`the broker says: ${message}`);
    if (wire.isOpen && !isFatal(code)) return;
    this.#notBeforeMs = performance.now() + refusal.retryAfterMs;
    wire.fail(refusal);
  }

  #answer(wire: Wire, request: number, answer: unknown): void {
    const onAnswer = this.#answers.get(request);
    this.#answers.delete(request);
    onAnswer?.(answer);
    if (this.#leaveTimer && !this.#answers.size) wire.fail(new GoingAway("the broker is leaving"));
  }

  #heard(number: Whole, batch: Bytes): void {
    const reader = this.#routes.get(number);
    if (reader) this.ears?.heard(this, reader.name, batch);
  }

  #resynced(number: Whole, resync: Frame): void {
    if (resync["reason"] === "deleted") this.#witnesses.get(number)?.deleted(number);
    this.#routes.get(number)?.resynced(resync);
  }
}

/** Throws StaleEpoch unless the channel's life is the one that is meant. */
export function checkLife(epoch: string | undefined, life: Life): void {
  if (epoch !== undefined && epoch !== life.epoch)
    throw new StaleEpoch("the channel was deleted and made anew: this was meant for its earlier life", {
      epoch: life.epoch,
    });
}
