/**
 * An inbox: the requests of a channel that nobody has answered yet, one after the other (protocol/CONVENTIONS.md).
 *
 * It reads along while its user works, for that is how the user hears of a cancel. The cursor stands before the first
 * request that is open: after a restart the open ones come again, and no others.
 */

import type { Channel } from "./channel.js";
import { Closed, Resync } from "./errors.js";
import { parsePosition } from "./protocol/position.js";
import { type Message, partsOf } from "./message.js";
import type { ChannelRecord, Data } from "./records.js";
import {
  type Asked,
  type Kind,
  Ledger,
  makeAcceptance,
  makeRefusal,
  numberOf,
  type Outcome,
  type Reference,
  type RequestFields,
  type Settled,
  textOf,
} from "./requests.js";
import type { Subscription } from "./subscription.js";
import { Bell, Stream } from "./waiting.js";

// Records that are no requests move the cursor, too, but not each of them.
const ACK_EVERY = 1_000;

export interface InboxOptions {
  /** Whose inbox it is: started again under this name, the requests that are still open come again. */
  cursor: string;
  /** Prompts, cancels and steering by default; ["approval"] is the inbox of a person. */
  kinds?: readonly Kind[];
  /** Beyond so many that are not iterated yet it refuses more. */
  waitingMax?: number;
  signal?: AbortSignal;
}

/** A request that waits for an answer. */
export class Request {
  /** Its number, its kind, what it refers to, everything that was said, and by whom. */
  readonly id: number;
  readonly kind: Kind;
  readonly message: number | null;
  readonly data: RequestFields;
  readonly clientId: string;
  readonly timeMs: number;
  /** @internal */
  settled: Settled | null = null;
  /** @internal The inbox answers it by itself. */
  isTaken = false;
  /** @internal */
  isOver = false;
  /** @internal */
  readonly over = new Bell();
  readonly #inbox: Inbox;

  /** @internal */
  constructor(inbox: Inbox, { id, kind, message, data, clientId, timeMs }: Asked) {
    this.#inbox = inbox;
    this.id = id;
    this.kind = kind;
    this.message = message;
    this.data = data;
    this.clientId = clientId;
    this.timeMs = timeMs;
  }

  get text(): string {
    return textOf(this.data);
  }

  /** The answer that counts, null as long as there is none. */
  get outcome(): Outcome | null {
    return this.settled && this.settled.outcome;
  }

  /**
   * Says that it will be done, or is; with `data` for the one who asks. On disk when this returns. False when another answer
   * was there before, and counts: then leave the work to whoever gave it. False, too, when the request is gone from the log.
   */
  accept(data: Data = null): Promise<boolean> {
    return this.#inbox.answer(this, makeAcceptance(this.id, data));
  }

  /** Says that it will not be done, and why. Returns as `accept`. */
  refuse(reason: string): Promise<boolean> {
    return this.#inbox.answer(this, makeRefusal(this.id, reason));
  }

  /** @internal */
  end(): void {
    this.isOver = true;
    this.over.ring();
  }
}

/** `signal` is aborted once a cancel for one of its messages is accepted; the inbox accepts each as long as this is open. */
export class Cancellation {
  readonly signal: AbortSignal;
  /** @internal */
  readonly messages: ReadonlySet<number>;
  readonly #abort = new AbortController();
  readonly #inbox: Inbox;
  #by: Asked | null = null;

  /** @internal */
  constructor(inbox: Inbox, messages: ReadonlySet<number>) {
    this.#inbox = inbox;
    this.messages = messages;
    this.signal = this.#abort.signal;
  }

  /** The reason that was given, if any. */
  get text(): string {
    return this.#by ? textOf(this.#by.data) : "";
  }

  /** Who has cancelled it. */
  get clientId(): string | null {
    return this.#by && this.#by.clientId;
  }

  /** @internal */
  set(asked: Asked): void {
    this.#by ??= asked;
    this.#abort.abort();
  }

  /** From now on cancels are requests like others: answer them yourself. */
  close(): void {
    this.#inbox.unwatch(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Made by `channel.inbox`. Iterating throws Resync as a subscription does, and goes on: requests may have been lost. */
export class Inbox extends Stream<Request> {
  readonly #channel: Channel;
  readonly #records: Subscription;
  readonly #kinds: readonly Kind[];
  readonly #waitingMax: number;
  readonly #ledger: Ledger;
  readonly #requests = new Map<number, Request>();
  readonly #queue: (Request | Resync)[] = [];
  readonly #watches = new Set<Cancellation>();
  readonly #news = new Bell();
  readonly #goingOn = new Bell();
  // Where the channel ended when this began: what is still open there has to be done.
  #end: { epoch: string; offset: number } | null = null;
  #read: ChannelRecord | null = null;
  #acked = 0;
  #failure: unknown = null;
  #isClosed = false;

  /** @internal */
  constructor(
    channel: Channel,
    records: Subscription,
    clientId: () => string,
    { kinds = ["prompt", "cancel", "steer"], waitingMax = 1_000 }: InboxOptions,
  ) {
    super();
    this.#channel = channel;
    this.#records = records;
    this.#kinds = kinds;
    this.#waitingMax = waitingMax;
    // One's own question is for others to answer.
    this.#ledger = new Ledger(
      ({ kind, clientId: by }) => kinds.includes(kind) && !(kind === "approval" && by === clientId()),
    );
  }

  // --- its user ------------------------------------------------------------------------------------------------

  /** @internal */
  async begin(signal?: AbortSignal): Promise<this> {
    try {
      await this.#records.open();
      const { epoch, last } = await this.#channel.info(signal);
      this.#end = { epoch, offset: last };
    } catch (error) {
      await this.#records.close();
      throw error;
    }
    this.#catchUp(this.#records.position);
    void this.#run();
    return this;
  }

  /** Ends it; what is not answered comes again in the next inbox with this cursor. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#fail(new Closed("the inbox was closed"));
    this.#goingOn.ring();
    this.#acknowledge();
    await this.#records.close();
  }

  protected async take(): Promise<Request | undefined> {
    for (;;) {
      for (let item = this.#queue.shift(); item; item = this.#queue.shift()) {
        if (item instanceof Resync) {
          this.#goingOn.ring();
          throw item;
        }
        if (!item.isTaken && !item.isOver) return item;
      }
      if (this.#isClosed) return undefined;
      if (this.#failure) throw this.#failure;
      await this.#news.wait();
    }
  }

  /** Watches for cancels of these messages or requests, and accepts them, those that wait here already too. */
  cancelled(...messages: readonly Reference[]): Cancellation {
    if (!this.#kinds.includes("cancel"))
      throw new TypeError('this inbox reads no cancels: make it with kinds that have "cancel"');
    if (!messages.length) throw new TypeError("say which message, or which request, may be cancelled");
    const watch = new Cancellation(this, new Set(messages.map((message) => numberOf("the message", message))));
    this.#watches.add(watch);
    for (const request of this.#requests.values()) this.#takeCancel(request);
    return watch;
  }

  /** @internal */
  unwatch(watch: Cancellation): void {
    this.#watches.delete(watch);
  }

  /** @internal Returns whether this answer is the one that counts, once that is known. */
  async answer(request: Request, answer: Message): Promise<boolean> {
    if (request.isOver) return false;
    if (this.#failure) throw this.#failure;
    const { offset } = await this.#channel.publish(answer.data, partsOf(answer));
    while (!request.isOver) await request.over.wait();
    if (!request.settled && this.#failure) throw this.#failure;
    return request.settled !== null && (offset === 0 || offset === request.settled.offset);
  }

  // --- reading along -------------------------------------------------------------------------------------------

  async #run(): Promise<void> {
    try {
      while (!this.#isClosed) {
        try {
          const { done, value } = await this.#records.next();
          if (done) break;
          this.#take(value);
        } catch (error) {
          if (!(error instanceof Resync)) throw error;
          const goesOn = this.#goingOn.wait();
          this.#missed(error);
          if (!error.position) await goesOn;
        }
      }
      this.#fail(new Closed("the inbox's subscription has ended"));
    } catch (error) {
      this.#fail(error);
    }
  }

  #take(record: ChannelRecord): void {
    const { opened, settled } = this.#ledger.read(record);
    this.#read = record;
    if (opened) {
      const request = new Request(this, opened);
      this.#requests.set(opened.id, request);
      if (!this.#end) this.#offer(request);
    }
    if (settled) this.#settle(settled);
    this.#catchUp(record.position);
    if (settled || record.offset - this.#acked >= ACK_EVERY) this.#acknowledge();
  }

  #settle(settled: Settled): void {
    const { id, kind, message } = settled.asked;
    const request = this.#requests.get(id)!;
    this.#requests.delete(id);
    request.settled = settled;
    request.end();
    if (kind === "cancel" && settled.outcome.accepted)
      for (const watch of this.#watches) if (watch.messages.has(message!)) watch.set(settled.asked);
  }

  /** Only what was there at the start and is still open then has to be done. */
  #catchUp(position: string | null): void {
    const end = this.#end;
    const place = position === null ? null : parsePosition(position);
    if (!end || !place || (place.epoch === end.epoch && place.offset < end.offset)) return;
    this.#end = null;
    for (const request of [...this.#requests.values()]) this.#offer(request);
  }

  #offer(request: Request): void {
    if (this.#takeCancel(request)) return;
    if (this.#queue.length >= this.#waitingMax) {
      this.#answerLater(request, makeRefusal(request.id, `${this.#waitingMax} requests wait here already`));
      return;
    }
    this.#queue.push(request);
    this.#news.ring();
  }

  /** Accepts a cancel that somebody watches for; its user need not see it. */
  #takeCancel(request: Request): boolean {
    const isWatched = [...this.#watches].some(({ messages }) => messages.has(request.message!));
    if (request.kind !== "cancel" || !isWatched || this.#end) return false;
    this.#answerLater(request, makeAcceptance(request.id));
    return true;
  }

  #answerLater(request: Request, answer: Message): void {
    if (request.isTaken) return;
    request.isTaken = true;
    this.#channel.publish(answer.data, partsOf(answer)).catch((error) => this.#fail(error));
  }

  /** Requests of another life, or past retention, are nobody's to answer. */
  #missed(resync: Resync): void {
    const place = resync.position === null ? null : parsePosition(resync.position);
    const isSameLife = place !== null && place.epoch === this.#read?.epoch;
    for (const { id } of this.#ledger.forget(isSameLife ? Number(place.offset) + 1 : Infinity)) {
      this.#requests.get(id)!.end();
      this.#requests.delete(id);
    }
    if (!isSameLife) this.#read = null;
    this.#acked = 0;
    this.#catchUp(resync.position);
    this.#queue.push(resync);
    this.#news.ring();
  }

  /** Up to the first request that is open. */
  #acknowledge(): void {
    if (!this.#read) return;
    this.#acked = this.#read.offset;
    this.#records.acknowledge(this.#read.epoch, this.#ledger.done(this.#read.offset));
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#news.ring();
    for (const request of this.#requests.values()) request.end();
  }
}
