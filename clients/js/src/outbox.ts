/**
 * Everything published and not yet acknowledged: brings publishers, the link and promises together.
 * Publishes of one turn are sent together at its end.
 */

import {
  BufferFull,
  Closed,
  ConnectionLost,
  Fenced,
  OutlastError,
  StaleEpoch,
  UnknownChannel,
  UnknownMessage,
} from "./errors.js";
import { waitFor } from "./delivery.js";
import type { Acked, Life, Link } from "./link.js";
import { checkSize, Entry, Publisher, type Tie } from "./publisher.js";
import type { Row } from "./protocol/batch-writer.js";
import { positionText } from "./protocol/position.js";
import type { Whole } from "./protocol/words.js";
import { Bell, type Deferred, defer, ignore, unlessAborted, within } from "./waiting.js";

/** What one publish got. It is on disk. */
export class Ack {
  /** Of its first record; 0 for a duplicate that is so old that the broker forgot where. */
  readonly offset: number;
  /** How many it had. */
  readonly records: number;
  readonly epoch: string;
  /** The broker had it already, from before a reconnect. */
  readonly duplicate: boolean;
  readonly #link: Link;
  readonly #channel: string;

  /** @internal */
  constructor(link: Link, channel: string, offset: number, records: number, epoch: string, duplicate: boolean) {
    this.#link = link;
    this.#channel = channel;
    this.offset = offset;
    this.records = records;
    this.epoch = epoch;
    this.duplicate = duplicate;
  }

  get last(): number {
    return this.offset && this.offset + this.records - 1;
  }

  /** Of all its records, in the order given. */
  get offsets(): number[] {
    return this.offset ? Array.from({ length: this.records }, (_, at) => this.offset + at) : [];
  }

  /** Of its last record: a subscription `after` it begins with what came next. */
  get position(): string {
    return positionText(this.epoch, this.last);
  }

  /** Returns when the reader that `cursor` names has acknowledged all of it, on disk: see `channel.delivered`. */
  async delivered(options: { cursor: string; timeoutMs?: number | null; signal?: AbortSignal }): Promise<void> {
    if (!this.offset) throw new TypeError("this duplicate is so old that its offset is not known any more");
    await waitFor(this.#link, this.#channel, this.position, options);
  }
}

type Ticket = Deferred<Ack>;

/** One channel's way out. */
export class Lane {
  readonly name: string;
  readonly publisher = new Publisher<Ticket>();
  /** By the token of a lease: who is told when a publish under it is fenced. */
  readonly fenced = new Map<Whole, (error: Fenced) => void>();
  opening = false;
  queued = false;
  timer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string) {
    this.name = name;
  }
}

/** Takes messages as long as `bufferBytes` are not exceeded; one message is always let in. */
export class Outbox {
  readonly #link: Link;
  #heldBytes = 0;
  #closed = false;
  readonly #active = new Set<Lane>();
  #waiting: [lane: Lane, entry: Entry<Ticket>][] = [];
  readonly #drained = new Bell();

  constructor(link: Link) {
    this.#link = link;
    link.listeners.add(this);
  }

  /**
   * Queues one publish; what waits for room does so in the order of coming. `always`: there is room.
   * Throws BufferFull, TooLarge or Closed, and then nothing was taken.
   */
  offer(lane: Lane, rows: readonly Row[], tie: Tie = {}, always = false): Promise<Ack> {
    if (this.#closed || this.#link.state === "closed") throw new Closed("this client is closed");
    const { bufferBytes, waitsWhenFull } = this.#link.options;
    const entry = new Entry(rows, defer<Ack>(), tie);
    checkSize(entry, this.#link);
    const fits =
      always || !this.#heldBytes || (!this.#waiting.length && this.#heldBytes + entry.heldBytes <= bufferBytes);
    if (!fits && !waitsWhenFull)
      throw new BufferFull(
        `${this.#heldBytes} bytes wait to be acknowledged of ${bufferBytes}: await earlier publishes`,
      );
    if (fits) this.#accept(lane, entry);
    else this.#waiting.push([lane, entry]);
    return entry.ticket.promise;
  }

  #accept(lane: Lane, entry: Entry<Ticket>): void {
    this.#heldBytes += entry.heldBytes;
    const failure = entry.anchor?.failure;
    if (failure && this.#fails(entry)) {
      this.#fail(lane, [entry], failure as OutlastError);
      return;
    }
    lane.publisher.add(entry);
    this.#active.add(lane);
    if (lane.queued || lane.publisher.onItsWay) return;
    lane.queued = true;
    queueMicrotask(() => {
      lane.queued = false;
      this.#pump(lane);
    });
  }

  /** What was still waiting for room when its message failed; closing it as failed is let through. */
  #fails({ rows }: Entry<Ticket>): boolean {
    const operation = rows[0]?.label.operation;
    return operation?.op !== "close" || operation.state === "complete";
  }

  /** Gives bytes back and lets in who fits now, in the order of coming. */
  #release(bytes: number): void {
    this.#heldBytes -= bytes;
    const { bufferBytes } = this.#link.options;
    for (let [next] = this.#waiting; next; [next] = this.#waiting) {
      if (this.#heldBytes && this.#heldBytes + next[1].heldBytes > bufferBytes) return;
      this.#waiting.shift();
      this.#accept(...next);
    }
    if (!this.#heldBytes) this.#drained.ring();
  }

  // --- sending -------------------------------------------------------------------------------------------------

  linkOpened(): void {
    for (const lane of [...this.#active]) this.#pump(lane);
  }

  /** Every request on its way has been answered with ConnectionLost. */
  linkLost(): void {}

  #pump(lane: Lane): void {
    const { publisher } = lane;
    const link = this.#link;
    const nowMs = performance.now();
    if (!link.isOpen || lane.opening || publisher.isIdle || publisher.onItsWay) return;
    // Timers may fire early.
    if (nowMs < publisher.notBeforeMs) {
      clearTimeout(lane.timer);
      lane.timer = setTimeout(() => this.#pump(lane), Math.ceil(publisher.notBeforeMs - nowMs));
      return;
    }
    const life = link.life(lane.name);
    if (!life) {
      lane.opening = true;
      link.openChannel(lane.name, (answer) => this.#opened(lane, answer), !publisher.isTied);
      return;
    }
    const outgoing = publisher.next(link, nowMs)!;
    if (!outgoing.isFor(life.epoch)) {
      const stale = new StaleEpoch("the channel was deleted and made anew: this was meant for its earlier life", {
        epoch: life.epoch,
      });
      this.#fail(
        lane,
        publisher.withdraw(({ epoch }) => Boolean(epoch && epoch !== life.epoch), true),
        stale,
      );
      this.#pump(lane);
      return;
    }
    const { ifOffset, fence } = outgoing.first;
    const batch = outgoing.bytesFor(link.clientId);
    const fields = { number: life.number, sequence: outgoing.sequence, if_offset: ifOffset, fence, batch };
    link.request("PUBLISH", fields, (answer) => this.#answered(lane, life, answer));
  }

  // --- answers -------------------------------------------------------------------------------------------------

  #opened(lane: Lane, answer: unknown): void {
    const { publisher } = lane;
    lane.opening = false;
    if (answer instanceof UnknownChannel && publisher.isTied)
      this.#fail(
        lane,
        publisher.withdraw(({ epoch }) => Boolean(epoch), true),
        answer,
      );
    else if (answer instanceof OutlastError && !(answer instanceof ConnectionLost)) {
      this.#refused(lane, answer);
      if (!answer.retryable) this.#fail(lane, publisher.drain(), answer);
    }
    this.#pump(lane);
  }

  #answered(lane: Lane, life: Life, answer: Acked | OutlastError): void {
    if (!(answer instanceof OutlastError)) this.#acknowledged(lane, life.epoch, answer);
    else if (answer instanceof UnknownChannel) {
      // Deleted under us: what waits here belongs into the channel's next life.
      this.#link.forget(lane.name, life);
      lane.publisher.lost();
    } else if (answer instanceof ConnectionLost) lane.publisher.lost();
    else this.#refused(lane, answer);
    this.#pump(lane);
  }

  #acknowledged(lane: Lane, epoch: string, { offset: first, duplicate }: Acked): void {
    let offset = first;
    let heldBytes = 0;
    const nameless: Entry<Ticket>[] = [];
    for (const entry of lane.publisher.acknowledged()) {
      const count = entry.rows.length;
      heldBytes += entry.heldBytes;
      if (offset) entry.anchor?.acknowledged(offset, offset + count - 1, epoch);
      else if (entry.anchor && !entry.anchor.offset) nameless.push(entry);
      entry.ticket.resolve(new Ack(this.#link, lane.name, offset, count, epoch, duplicate));
      if (offset) offset += count;
    }
    this.#release(heldBytes);
    this.#break(lane, nameless, new UnknownMessage("it was opened so long ago that the broker forgot where"));
    this.#rest(lane);
  }

  #refused(lane: Lane, error: OutlastError): void {
    const { publisher } = lane;
    const { pace, log } = this.#link.options;
    const failed = publisher.refused(error, performance.now(), pace, Math.random());
    if (error.retryable) log(`publishing to "${lane.name}" waits: ${error.message}`);
    if (error instanceof Fenced && failed[0]) lane.fenced.get(failed[0].fence)?.(error);
    this.#fail(lane, failed, error);
  }

  #fail(lane: Lane, entries: readonly Entry<Ticket>[], error: OutlastError): void {
    for (const entry of entries) {
      entry.ticket.reject(error);
      this.#release(entry.heldBytes);
    }
    this.#break(lane, entries, error);
    this.#rest(lane);
  }

  /** What waits to be said of the same messages fails, too. */
  #break(lane: Lane, entries: readonly Entry<Ticket>[], error: OutlastError): void {
    const anchors = new Set(entries.flatMap(({ anchor }) => anchor ?? []));
    if (!anchors.size) return;
    for (const anchor of anchors) anchor.failure ??= error;
    const followers = lane.publisher.withdraw(({ anchor }) => anchors.has(anchor!));
    if (followers.length) this.#fail(lane, followers, error);
  }

  #rest(lane: Lane): void {
    if (lane.publisher.isIdle) this.#active.delete(lane);
  }

  // --- the end -------------------------------------------------------------------------------------------------

  /** Returns when nothing that was published under this token waits for its answer. */
  async settled(lane: Lane, fence: Whole): Promise<void> {
    for (let entry = lane.publisher.lastUnder(fence); entry; entry = lane.publisher.lastUnder(fence))
      await entry.ticket.promise.catch(ignore);
  }

  /** Waits up to `timeoutMs` for acknowledgements, then fails what is left with Closed. */
  async close(timeoutMs: number): Promise<void> {
    if (this.#heldBytes) await within(timeoutMs, undefined, (signal) => this.#empty(signal), ignore);
    this.#closed = true;
    const error = new Closed(`closed before the broker acknowledged this, after waiting ${timeoutMs} ms for it`);
    for (const [, entry] of this.#waiting.splice(0)) entry.ticket.reject(error);
    for (const lane of [...this.#active]) {
      clearTimeout(lane.timer);
      this.#fail(lane, lane.publisher.drain(), error);
    }
  }

  async #empty(signal: AbortSignal): Promise<void> {
    while (this.#heldBytes) await unlessAborted(this.#drained.wait(), signal);
  }
}
