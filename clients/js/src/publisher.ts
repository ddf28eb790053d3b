/**
 * What one channel's publishes go through, without any I/O: queue, one batch on its way, answer.
 *
 * At most one batch per channel is unanswered. What is published meanwhile waits, and goes together in the next one:
 * the latency of one message, the throughput of batches (PROTOCOL.md 11.1). A batch keeps its sequence until it is
 * acknowledged, over any number of connections; a refused one gives it back (6.3).
 */

import { delayMs, type Pace } from "./backoff.js";
import { type OutlastError, SequenceGap, TooLarge } from "./errors.js";
import { BATCH_HEAD_BYTES } from "./protocol/batch.js";
import { encodeBatch, labelKey, type Row, rowBytesMax } from "./protocol/batch-writer.js";
import { UNCONDITIONAL } from "./protocol/frames.js";
import { type Bytes, utf8, type Whole } from "./protocol/words.js";
import { about } from "./rows.js";

// What a waiting message takes beside its bytes: objects, its promise, its place in the queue.
const HELD_BYTES = 256;
const LABEL_TABLE_HEAD_BYTES = 3;
/** A refusal with one of these is the fault of one message, not of those that happened to go with it. */
const FAULT_OF_ONE =
  /^(bad_batch|foreign_message|frame_too_large|limit_exceeded|message_closed|not_a_number|unknown_message|unsupported_kind|version_mismatch)$/;

/** What WELCOME allows one batch to be, and in whose name it is published. */
export interface Bounds {
  readonly clientId: string;
  readonly batchBytes: number;
  readonly batchRecords: number;
  readonly batchLabels: number;
}

/**
 * A growing message as its publishes know it: its offset, 0 until it is acknowledged, and its place. Once one of them has
 * failed, all that follow do.
 */
export class Anchor {
  offset: number;
  epoch: string | undefined;
  place: number;
  failure: unknown = null;

  constructor(offset = 0, epoch?: string, place = offset) {
    this.offset = offset;
    this.epoch = epoch;
    this.place = place;
  }

  acknowledged(first: number, last: number, epoch: string): void {
    if (!this.offset) {
      this.offset = first;
      this.epoch = epoch;
    }
    this.place = Math.max(this.place, last);
  }
}

/** What a publish depends on: a lease's token, a growing message. `late` rows do not name that by its offset yet. */
export interface Tie {
  ifOffset?: number | undefined;
  /** Its batch is its own. */
  alone?: boolean;
  fence?: Whole;
  anchor?: Anchor | undefined;
  late?: boolean;
}

/** One call of publish. */
export class Entry<Ticket> {
  rows: readonly Row[];
  readonly ticket: Ticket;
  readonly ifOffset: Whole;
  readonly fence: Whole;
  readonly anchor: Anchor | undefined;
  alone: boolean;
  /** What it adds to a batch at most, and what it counts for while it waits. */
  readonly bytesMax: number;
  readonly heldBytes: number;
  #late: boolean;

  constructor(rows: readonly Row[], ticket: Ticket, { ifOffset, alone, fence, anchor, late }: Tie) {
    this.rows = rows;
    this.ticket = ticket;
    this.ifOffset = ifOffset ?? UNCONDITIONAL;
    this.alone = alone || ifOffset !== undefined;
    this.fence = fence ?? 0;
    this.anchor = anchor;
    this.#late = late ?? false;
    this.bytesMax = rows.reduce((sum, row) => sum + rowBytesMax(row), 0);
    this.heldBytes = this.bytesMax + HELD_BYTES * rows.length;
  }

  /** The only life of the channel that it may go into. */
  get epoch(): string | undefined {
    return this.anchor?.epoch;
  }

  /** Everything that its bytes say is known. */
  get isReady(): boolean {
    return !this.#late || this.anchor!.offset > 0;
  }

  /** Names the message by its offset, now that this is known. */
  settleRows(): void {
    if (!this.#late || !this.isReady) return;
    this.rows = this.rows.map((row) => about(row, this.anchor!.offset));
    this.#late = false;
  }
}

/** A batch with its sequence, from its first sending to its answer. */
export class Outgoing<Ticket> {
  readonly entries: Entry<Ticket>[];
  sequence: number;
  #clientId: string | null = null;
  #bytes!: Bytes;

  constructor(entries: Entry<Ticket>[], sequence: number) {
    this.entries = entries;
    this.sequence = sequence;
  }

  get first(): Entry<Ticket> {
    return this.entries[0]!;
  }

  get isTied(): boolean {
    return this.entries.some(({ epoch }) => epoch);
  }

  /** Whether all of it may go into this life of the channel. */
  isFor(life: string): boolean {
    return this.entries.every(({ epoch }) => !epoch || epoch === life);
  }

  /** Encoded once, unless another connection gave the client another name. */
  bytesFor(clientId: string): Bytes {
    if (clientId !== this.#clientId)
      this.#bytes = encodeBatch(
        clientId,
        this.entries.flatMap(({ rows }) => rows),
      );
    this.#clientId = clientId;
    return this.#bytes;
  }
}

function mayJoin<T>(entry: Entry<T>, following: Entry<T>): boolean {
  return !entry.alone && !following.alone && entry.fence === following.fence && following.isReady;
}

/** Feed it entries; it says what to send now, and which entries an answer settles. */
export class Publisher<Ticket> {
  notBeforeMs = 0;
  onItsWay = false;
  #queue: Entry<Ticket>[] = [];
  #outgoing: Outgoing<Ticket> | null = null;
  #sequence = 1;
  #attempt = 0;

  /** Nothing is waiting and nothing unanswered. */
  get isIdle(): boolean {
    return !this.#outgoing && !this.#queue.length;
  }

  /** What is sent next belongs to a life that the channel has had: it must not bring about a new one. */
  get isTied(): boolean {
    return this.#outgoing ? this.#outgoing.isTied : Boolean(this.#queue[0]?.epoch);
  }

  add(entry: Entry<Ticket>): void {
    this.#queue.push(entry);
  }

  /** What to send now: the batch to be sent again, else a new one, else nothing. */
  next(bounds: Bounds, nowMs: number): Outgoing<Ticket> | null {
    if (this.onItsWay || nowMs < this.notBeforeMs || this.isIdle) return null;
    this.#outgoing ??= new Outgoing(this.#take(bounds), this.#sequence);
    this.onItsWay = true;
    return this.#outgoing;
  }

  #take({ clientId, batchBytes, batchRecords, batchLabels }: Bounds): Entry<Ticket>[] {
    const queue = this.#queue;
    let size = headBytes(clientId);
    let records = 0;
    let count = 0;
    let seen = 0;
    const labels = new Set<string>();
    for (let entry = queue[0]; entry; entry = queue[count]) {
      size += entry.bytesMax;
      records += entry.rows.length;
      if (count && (!mayJoin(queue[count - 1]!, entry) || size > batchBytes || records > batchRecords)) break;
      // Nobody looks at labels as long as there are fewer records than labels may be.
      if (records > batchLabels) for (; seen <= count; seen++) addLabels(queue[seen]!.rows, labels);
      if (count && labels.size > batchLabels) break;
      count++;
    }
    const taken = queue.splice(0, count);
    for (const entry of taken) entry.settleRows();
    return taken;
  }

  /** The batch is on disk. Returns its entries, in order. */
  acknowledged(): Entry<Ticket>[] {
    this.#sequence++;
    return this.#settle();
  }

  /** The connection ended before the answer: the batch goes again, under its sequence. */
  lost(): void {
    this.onItsWay = false;
  }

  /** Returns the entries for which `error` is final; none of them when the batch is to go again. */
  refused(error: OutlastError, nowMs: number, pace: Pace, roll: number): Entry<Ticket>[] {
    this.onItsWay = false;
    if (error.retryable) {
      this.#retryLater(error, nowMs, pace, roll);
      return [];
    }
    const entries = this.#outgoing?.entries ?? [];
    if (entries.length < 2 || !FAULT_OF_ONE.test(error.code)) return this.#settle();
    for (const entry of entries) entry.alone = true;
    this.#giveBack();
    return [];
  }

  /** Gives up what `isMeant`. The rest waits on. */
  withdraw(isMeant: (entry: Entry<Ticket>) => boolean, withOutgoing = false): Entry<Ticket>[] {
    if (withOutgoing) {
      this.#giveBack();
      this.onItsWay = false;
    }
    const withdrawn = this.#queue.filter(isMeant);
    this.#queue = this.#queue.filter((entry) => !isMeant(entry));
    return withdrawn;
  }

  /** Gives everything up. */
  drain(): Entry<Ticket>[] {
    return [...this.#settle(), ...this.#queue.splice(0)];
  }

  /** Of what was published under this token and is not settled, the one that will be settled last. */
  lastUnder(fence: Whole): Entry<Ticket> | undefined {
    return [...(this.#outgoing?.entries ?? []), ...this.#queue].filter((entry) => entry.fence === fence).at(-1);
  }

  #giveBack(): void {
    this.#queue.unshift(...(this.#outgoing?.entries ?? []));
    this.#outgoing = null;
  }

  #settle(): Entry<Ticket>[] {
    const entries = this.#outgoing?.entries ?? [];
    this.#outgoing = null;
    this.onItsWay = false;
    this.#attempt = 0;
    return entries;
  }

  /**
   * A gap means that the broker forgot what it had acknowledged (a backup was restored): nothing of it is left to resend,
   * so the batch takes the sequence that the broker waits for.
   */
  #retryLater(error: OutlastError, nowMs: number, pace: Pace, roll: number): void {
    if (error instanceof SequenceGap && error.expected && this.#outgoing)
      this.#sequence = this.#outgoing.sequence = error.expected;
    this.notBeforeMs = nowMs + delayMs(this.#attempt++, pace, roll, error.retryAfterMs);
  }
}

function addLabels(rows: readonly Row[], labels: Set<string>): Set<string> {
  for (const row of rows) labels.add(labelKey(row));
  return labels;
}

function headBytes(clientId: string): number {
  return BATCH_HEAD_BYTES + utf8(clientId).length + LABEL_TABLE_HEAD_BYTES;
}

/** Throws TooLarge for what can never be one batch: splitting it would break its atomicity. */
export function checkSize<T>(entry: Entry<T>, { clientId, batchBytes, batchRecords, batchLabels }: Bounds): void {
  const count = entry.rows.length;
  if (count > batchRecords)
    throw new TooLarge(`${count} records, one batch holds ${batchRecords}`, { limit: batchRecords, value: count });
  const labels = count > batchLabels ? addLabels(entry.rows, new Set()).size : 0;
  if (labels > batchLabels)
    throw new TooLarge(`${labels} labels, one batch holds ${batchLabels}`, { limit: batchLabels, value: labels });
  if (entry.bytesMax + headBytes(clientId) <= batchBytes) return;
  const size = encodeBatch(clientId, entry.rows).length;
  if (size > batchBytes)
    throw new TooLarge(`${size} bytes as a batch, allowed are ${batchBytes}: split the data`, {
      limit: batchBytes,
      value: size,
    });
}
