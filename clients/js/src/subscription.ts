/**
 * A subscription: records one after the other, over any number of connections.
 * `Feed` is its inner half, which the link knows; `Subscription` the outer one, which the user holds.
 */

import { delayMs } from "./backoff.js";
import { ConnectionLost, OutlastError, Resync, UnknownChannel, type Violation } from "./errors.js";
import type { Fields, Life, Link, Reader } from "./link.js";
import type { Frame } from "./protocol/frames.js";
import type { Bytes } from "./protocol/words.js";
import type { Reading } from "./reading.js";
import { Receipt } from "./receipt.js";
import type { ChannelRecord } from "./records.js";
import type { StartOptions } from "./starts.js";
import { Bell, ignore, onAbort, Stream, unlessAborted, within } from "./waiting.js";

const CLOSE_TIMEOUT_MS = 1_000;

/** Who has a link for a feed: the wire allows one subscription per channel and connection. */
export interface Seats {
  seat(feed: Feed): Link;
  leave(feed: Feed, link: Link): void;
}

export interface SubscribeOptions extends StartOptions {
  /** Begins after what the cursor of this name has acknowledged. */
  cursor?: string;
  /** "auto" acknowledges a record when the next one is asked for; with "manual" only `record.ack()` does. */
  ack?: "auto" | "manual";
  /** Called, and waited for, instead of Resync being thrown. */
  onResync?: (resync: Resync) => unknown;
  /** Bounds what may arrive before it is iterated, 1 MiB. */
  windowBytes?: number;
  /** Ends the iteration with its reason. */
  signal?: AbortSignal;
}

/** Keeps one subscription alive over the wires of its link. */
export class Feed implements Reader {
  readonly name: string;
  readonly reading: Reading;
  readonly receipt: Receipt | null;
  readonly news = new Bell();
  yields = false;
  failure: unknown = null;
  isClosed = false;
  isSubscribed = false;
  protected link: Link | null = null;
  protected life: Life | null = null;
  readonly #windowBytes: number;
  readonly #seats: Seats;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, reading: Reading, windowBytes: number, seats: Seats, cursor?: string) {
    this.name = name;
    this.reading = reading;
    this.#windowBytes = windowBytes;
    this.#seats = seats;
    this.receipt = cursor === undefined ? null : new Receipt(cursor, (error) => this.fail(error));
    reading.acknowledger = this.receipt;
  }

  /** Takes a seat, once, and a new life of a channel that was deleted. Throws Closed. */
  start(): void {
    if (!this.link) {
      this.link = this.#seats.seat(this);
      this.subscribe();
    } else if (this.reading.isDormant) {
      this.reading.restart();
      this.subscribe();
    }
  }

  /** Gives credit back for what the user has consumed. */
  grant(): void {
    const credit = this.reading.creditDue();
    if (credit && this.isSubscribed && this.life) this.link!.send({ type: "CREDIT", number: this.life.number, credit });
  }

  /** What came cannot be right: get it again over a new connection. */
  broken(violation: Violation): void {
    this.reading.lost();
    this.link?.fail(violation);
  }

  /** Unsubscribes. Records that were not handed over are dropped. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.letGo();
    this.reading.lost();
    this.news.ring();
  }

  /** Ends the iteration with `error`, after what has come. */
  fail(error: unknown): void {
    if (this.isClosed || this.failure) return;
    this.failure = error;
    this.letGo();
    this.news.ring();
  }

  /** Also while SUBSCRIBE is unanswered: the broker reads UNSUBSCRIBE after it. */
  protected letGo(): void {
    clearTimeout(this.#timer);
    this.receipt?.end();
    if (!this.link) return;
    this.unsubscribe();
    this.#seats.leave(this, this.link);
  }

  protected unsubscribe(): void {
    const life = this.life;
    this.life = null;
    this.isSubscribed = false;
    if (!life) return;
    this.link!.unroute(life.number);
    this.link!.request("UNSUBSCRIBE", { number: life.number });
  }

  // --- called by the link --------------------------------------------------------------------------------------

  linkOpened(): void {
    this.#attempt = 0;
    this.subscribe();
  }

  linkLost(): void {
    clearTimeout(this.#timer);
    this.life = null;
    this.isSubscribed = false;
    this.receipt?.lost();
    this.reading.lost();
  }

  delivered(batches: Bytes): void {
    try {
      this.reading.delivered(batches);
      this.news.ring();
    } catch (error) {
      this.broken(error as Violation);
    }
  }

  resynced(resync: Frame): void {
    this.reading.resynced(resync);
    if (this.reading.hasEnded) {
      this.life = null;
      this.isSubscribed = false;
      this.receipt?.forget();
      this.link!.unroute(resync["number"]);
      this.link!.forget(this.name);
    }
    this.news.ring();
  }

  // --- subscribing ---------------------------------------------------------------------------------------------

  /** A deleted channel waits until its user goes on: a reader alone must not bring it back. */
  protected subscribe(): void {
    const link = this.link!;
    if (!link.isOpen || this.isClosed || this.failure || this.reading.hasEnded) return;
    const life = link.life(this.name);
    if (!life) {
      link.openChannel(this.name, (answer) =>
        answer instanceof OutlastError ? this.#refused(answer) : this.subscribe(),
      );
      return;
    }
    this.life = life;
    const start = this.reading.ask();
    const credit = Math.min(this.#windowBytes, link.limits["credit_bytes"] ?? Infinity);
    const fields = { number: life.number, credit, ...start, cursor: this.reading.askedCursor };
    this.ask(link, fields, (answer) => {
      if (life === this.life) this.#subscribed(answer);
    });
  }

  protected ask(link: Link, fields: Fields, onAnswer: (answer: Frame | OutlastError) => void): void {
    link.request("SUBSCRIBE", fields, onAnswer);
  }

  #subscribed(answer: Frame | OutlastError): void {
    if (!(answer instanceof OutlastError)) {
      this.accept(answer);
      return;
    }
    const life = this.life!;
    this.life = null;
    if (answer instanceof UnknownChannel) {
      this.link!.forget(this.name, life);
      this.subscribe();
    } else this.#refused(answer);
  }

  protected accept(answer: Frame): void {
    try {
      this.reading.subscribed(answer);
    } catch (error) {
      this.broken(error as Violation);
      return;
    }
    this.isSubscribed = true;
    this.link!.route(this.life!.number, this);
    this.receipt?.enter(this.link!, this.life!);
    this.news.ring();
  }

  #refused(error: OutlastError): void {
    if (error instanceof ConnectionLost || this.isClosed) return;
    if (!error.retryable) {
      this.fail(error);
      return;
    }
    const waitMs = delayMs(this.#attempt++, this.link!.options.pace, Math.random(), error.retryAfterMs);
    this.#timer = setTimeout(() => this.subscribe(), waitMs);
  }
}

/** What subscriptions and attachments share. */
export abstract class FeedStream<T, F extends Feed = Feed> extends Stream<T> {
  protected readonly feed: F;
  protected readonly reading: Reading;
  protected readonly isAuto: boolean;
  readonly #onResync: SubscribeOptions["onResync"];
  readonly #stop: () => void;

  constructor(feed: F, { onResync, ack, signal }: SubscribeOptions) {
    super();
    this.feed = feed;
    this.reading = feed.reading;
    this.isAuto = ack !== "manual";
    this.#onResync = onResync;
    this.#stop = onAbort(signal, (reason) => feed.fail(reason));
  }

  /** Up to where everything was handed over; null until the broker has accepted it, and between lives of a deleted channel. */
  get position(): string | null {
    return this.reading.position;
  }

  /** Records that have arrived and wait to be iterated. */
  get buffered(): number {
    return this.reading.buffered;
  }

  /** Returns when everything acknowledged so far is on disk. Throws UnknownChannel, and Closed when it ended before. */
  async acked(): Promise<void> {
    await this.needReceipt().acked();
  }

  /** @internal */
  acknowledge(epoch: string, offset: number): void {
    this.needReceipt().acknowledge(epoch, offset);
  }

  protected needReceipt(): Receipt {
    if (!this.feed.receipt) throw new TypeError("this has no cursor: name one in the options");
    return this.feed.receipt;
  }

  /** Ends it, once what was acknowledged is on disk, or after a second of trying. */
  async close(): Promise<void> {
    const { receipt, isClosed, failure } = this.feed;
    this.#stop();
    const last = (signal: AbortSignal): Promise<void> => unlessAborted(receipt!.acked(), signal);
    if (receipt && !isClosed && !failure) await within(CLOSE_TIMEOUT_MS, undefined, last, ignore).catch(ignore);
    this.feed.close();
  }

  protected async accepted(): Promise<void> {
    const { feed } = this;
    if (!feed.failure && !feed.isClosed) feed.start();
    while (!feed.isSubscribed && !feed.isClosed) await this.more();
  }

  /** Waits for news. Throws what has ended it. */
  protected async more(): Promise<void> {
    if (this.feed.failure) throw this.feed.failure;
    await this.feed.news.wait();
  }

  /** Decodes what came next; false: nothing has come. */
  protected async advance(): Promise<boolean> {
    const { feed } = this;
    let came: Resync | boolean = false;
    try {
      came = this.reading.advance();
    } catch (error) {
      feed.broken(error as Violation);
    }
    feed.grant();
    if (!(came instanceof Resync)) return came;
    if (!this.#onResync) throw came;
    await this.#onResync(came);
    return true;
  }
}

/**
 * Iterate it for records; they are the channel's, in order, without holes, each once. It begins with the first
 * iteration, or by `open`. What cannot be resumed throws Resync, or is given to `onResync`; iterating again goes on.
 */
export class Subscription extends FeedStream<ChannelRecord> {
  #handed: ChannelRecord | null = null;

  /** Returns once the broker has accepted it: what is published after that is not missed. */
  async open(): Promise<this> {
    await this.accepted();
    return this;
  }

  protected async take(): Promise<ChannelRecord | undefined> {
    this.#ackHanded();
    const record = this.reading.nextRecord() ?? (await this.#refill());
    this.#handed = record ?? null;
    return record;
  }

  async #refill(): Promise<ChannelRecord | undefined> {
    const { feed, reading } = this;
    while (!feed.isClosed) {
      if (!feed.failure) feed.start();
      const came = await this.advance();
      const record = reading.nextRecord();
      if (record) return record;
      if (!came) await this.more();
    }
    return undefined;
  }

  /** Ends it; with a cursor the record at hand is acknowledged first, unless `ack` is "manual". */
  override async close(): Promise<void> {
    this.#ackHanded();
    await super.close();
  }

  /** A loop that is left has not said that it is done with the record at hand: by its cursor it comes again. */
  override return(): Promise<IteratorResult<ChannelRecord, undefined>> {
    this.#handed = null;
    return super.return();
  }

  #ackHanded(): void {
    if (this.isAuto && this.feed.receipt) this.#handed?.ack();
    this.#handed = null;
  }
}
