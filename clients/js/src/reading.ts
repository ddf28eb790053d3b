/**
 * Where one subscription stands, without any I/O: what to ask for, what has come, what its user has.
 *
 * Two marks matter. Up to `offset` everything was handed to the user: after it the next connection resumes. The arrival
 * mark is the last record that came: what follows it must be the next offset, or the broker broke its promise
 * (PROTOCOL.md 2.2). What came and was not handed is dropped when a connection ends.
 */

import { Resync, Violation, violation } from "./errors.js";
import { recordsIn, spans } from "./protocol/batch.js";
import type { Frame } from "./protocol/frames.js";
import { epochText, parsePosition, positionText } from "./protocol/position.js";
import type { Bytes } from "./protocol/words.js";
import { type Acknowledger, type ChannelRecord, readRun, safe } from "./records.js";
import { behind, EARLIEST, type Start } from "./starts.js";

const DELIVER_HEAD_BYTES = 16;
// Raw bytes that are decoded in one go, so that a full window does not hold up the page.
const RUN_BYTES = 65_536;

/** Whole batches, end to end, up to offset `last`; `cost` is what they took of the credit. */
interface Run {
  readonly batches: Bytes;
  readonly cost: number;
  readonly epoch: string;
  readonly records: number;
  readonly last: number;
}

/** Feed it SUBSCRIBED or ATTACHED, DELIVER and RESYNC; take records from it, then `advance`. */
export class Reading {
  /** Where its user stands; null until the broker has accepted it, and between two lives of a deleted channel. */
  epoch: string | null = null;
  offset = 0;
  /** The channel was deleted; `isDormant`: and its user knows. */
  hasEnded = false;
  isDormant = false;
  /** By which cursor the present subscription was asked for; one that resumes has its own position. */
  askedCursor: string | null = null;
  /** Of what is handed over: who is told that it is done with. */
  acknowledger: Acknowledger | null = null;
  #start: Start;
  #asked: Start;
  readonly #windowBytes: number;
  readonly #cursor: string | null;
  #arrived = 0;
  #arrivingEpoch = "";
  #queue: (Run | Resync)[] = [];
  #records: ChannelRecord[] = [];
  #at = 0;
  #last = 0;
  #consumed = 0;
  #cost = 0;

  constructor(start: Start, windowBytes: number, cursor: string | null = null) {
    this.#start = this.#asked = start;
    this.#windowBytes = windowBytes;
    this.#cursor = cursor;
  }

  get position(): string | null {
    return this.epoch && positionText(this.epoch, this.offset);
  }

  /** Records that have come and are not handed over yet. */
  get buffered(): number {
    return this.#queue.reduce(
      (sum, item) => sum + (item instanceof Resync ? 0 : item.records),
      this.#records.length - this.#at,
    );
  }

  // --- asking --------------------------------------------------------------------------------------------------

  /** Where to subscribe now: behind what the user has, or where the user wanted to start. */
  ask(): Start {
    this.lost();
    this.#asked = this.epoch ? behind(this.epoch, this.offset) : this.#start;
    this.askedCursor = this.epoch ? null : this.#cursor;
    return this.#asked;
  }

  /** The subscription is gone, and with it what was not handed over; but nobody could deliver what a deletion left. */
  lost(): void {
    if (this.hasEnded) return;
    this.#queue = [];
    this.#records = [];
    this.#at = this.#consumed = this.#cost = this.#arrived = 0;
  }

  /** The user goes on after `deleted`: the next life is read from its start. */
  restart(): void {
    this.hasEnded = this.isDormant = false;
  }

  /** Throws Violation when the broker resumes elsewhere and does not say so. */
  subscribed(answer: Frame): void {
    const { after, epoch, start } = { ...this.#asked };
    this.#arrivingEpoch = epochText(answer["epoch"]);
    this.#arrived = safe(answer["after"]);
    const place = positionText(this.#arrivingEpoch, this.#arrived);
    if (answer["resync"]) {
      this.#queue.push(new Resync(answer["resync"], place));
      return;
    }
    const isOther =
      (epoch !== undefined && epochText(epoch) !== this.#arrivingEpoch) ||
      (after !== undefined && after !== this.#arrived);
    if (isOther && !start && !this.askedCursor)
      throw new Violation(`asked for what follows ${after}, got what follows ${place}`);
    this.epoch = this.#arrivingEpoch;
    this.offset = this.#arrived;
  }

  // --- what comes ----------------------------------------------------------------------------------------------

  /** Throws Violation when a record is missing before these. */
  delivered(batches: Bytes): void {
    let start = 0;
    let cost = DELIVER_HEAD_BYTES;
    let records = 0;
    try {
      for (const span of spans(batches)) {
        if (span.offset > this.#arrived + 1)
          throw new Violation(`offset ${span.offset} came after ${this.#arrived}: records are missing`);
        this.#arrived = Math.max(this.#arrived, safe(span.last));
        records += recordsIn(batches, span);
        if (span.end - start < RUN_BYTES && span.end < batches.length) continue;
        const run = batches.subarray(start, span.end);
        this.#queue.push({
          batches: run,
          cost: run.length + cost,
          epoch: this.#arrivingEpoch,
          records,
          last: this.#arrived,
        });
        start = span.end;
        cost = records = 0;
      }
    } catch (error) {
      throw violation(error);
    }
  }

  /** `deleted` ends the subscription, anything else moves it on. */
  resynced(frame: Frame): void {
    if (frame["reason"] === "deleted") {
      this.hasEnded = true;
      this.#queue.push(new Resync("deleted", null));
      return;
    }
    this.#arrivingEpoch = epochText(frame["epoch"]);
    this.#arrived = safe(frame["after"]);
    this.#queue.push(new Resync(frame["reason"], positionText(this.#arrivingEpoch, this.#arrived)));
  }

  // --- handing over --------------------------------------------------------------------------------------------

  /** The record that `nextRecord` would hand over. */
  get nextOne(): ChannelRecord | undefined {
    return this.#records[this.#at];
  }

  /** The next record that is decoded already; handing it over moves the mark. */
  nextRecord(): ChannelRecord | undefined {
    const record = this.#records[this.#at];
    if (!record) return undefined;
    const isLast = ++this.#at === this.#records.length;
    this.epoch = record.epoch;
    this.offset = isLast ? Math.max(this.#last, record.offset) : record.offset;
    return record;
  }

  /** Decodes the next run, or gives the resync that comes before it. False: nothing has come. Throws Violation. */
  advance(): Resync | boolean {
    this.#consumed += this.#cost;
    this.#cost = 0;
    const item = this.#queue.shift();
    if (!item) return false;
    if (item instanceof Resync) {
      this.#move(item);
      return item;
    }
    this.#cost = item.cost;
    this.#records = readRun(item.batches, item.epoch, this.acknowledger).filter(({ offset }) => offset > this.offset);
    this.#at = 0;
    this.#last = item.last;
    if (!this.#records.length) this.offset = Math.max(this.offset, item.last);
    return true;
  }

  /** From here on the user knows: the subscription stands where the resync put it. */
  #move({ position }: Resync): void {
    const place = position === null ? null : parsePosition(position);
    this.epoch = place && place.epoch;
    this.offset = place ? safe(place.offset) : 0;
    if (position) return;
    this.#start = EARLIEST;
    this.isDormant = true;
  }

  /**
   * Bytes to give back to the broker now, 0 while it is not worth a frame. A quarter of the window at least: a broker that
   * has used its credit up is thus always owed some.
   */
  creditDue(): number {
    if (this.#consumed < Math.max(this.#windowBytes / 4, 1)) return 0;
    const due = this.#consumed;
    this.#consumed = 0;
    return due;
  }
}
