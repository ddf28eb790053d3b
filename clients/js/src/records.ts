/** What users get and give: records and messages. */

import { Violation, violation } from "./errors.js";
import { type Headers, JSON_TEXT, readRecords, type StoredRecord, TEXT } from "./protocol/batch.js";
import type { Operation } from "./protocol/operations.js";
import { positionText } from "./protocol/position.js";
import { anyTextOf, type Bytes, type Whole } from "./protocol/words.js";

export type { Headers };
/** Bytes, text, or what JSON can say. */
export type Data =
  Uint8Array | string | number | boolean | null | readonly Data[] | { readonly [key: string]: Data | undefined };

/** What acknowledges a record for its cursor. */
export interface Acknowledger {
  acknowledge(epoch: string, offset: number): void;
}

/** One record of a channel. */
export class ChannelRecord {
  readonly offset: number;
  /** As it was published. What was published as JSON and is none arrives as its bytes. */
  readonly data: Data;
  readonly name: string | null;
  readonly headers: Headers;
  /** Who published it. */
  readonly clientId: string;
  /** When the broker accepted it, in Unix time. */
  readonly timeMs: number;
  readonly epoch: string;
  /** What it does beyond being there: grow a message, or change the state (PROTOCOL.md 4.5, 4.6). */
  readonly operation: Operation | null;
  /** So long after `timeMs` nobody is given it any more; 0: it has no time to live. */
  readonly ttlMs: number;
  readonly #acknowledger: Acknowledger | null;

  /** @internal */
  constructor(stored: StoredRecord, epoch: string, acknowledger: Acknowledger | null) {
    this.offset = safe(stored.offset);
    this.data = decoded(stored.encoding, stored.data);
    this.name = stored.name;
    this.headers = stored.headers;
    this.clientId = stored.clientId;
    this.timeMs = Number(stored.timeMs);
    this.epoch = epoch;
    this.operation = stored.operation;
    this.ttlMs = stored.ttlMs;
    this.#acknowledger = acknowledger;
  }

  /** Store this text and give it as `after` to go on behind this record. */
  get position(): string {
    return positionText(this.epoch, this.offset);
  }

  get time(): Date {
    return new Date(this.timeMs);
  }

  /** Says that this record, and all before it, are done with. At once: `acked()` of the subscription waits for the disk. */
  ack(): void {
    if (!this.#acknowledger) throw new TypeError("this record came without a cursor: read it by subscribe({ cursor })");
    this.#acknowledger.acknowledge(this.epoch, this.offset);
  }
}

/** An offset as a number. Throws Violation beyond 2^53 - 1, where JavaScript could not tell two from each other. */
export function safe(offset: Whole): number {
  if (typeof offset === "number") return offset;
  throw new Violation(`offset ${offset} is beyond what a number can hold`);
}

/** Throws Violation for bytes that are no run of batches. */
export function readRun(batches: Bytes, epoch: string, acknowledger: Acknowledger | null = null): ChannelRecord[] {
  try {
    return readRecords(batches).map((stored) => new ChannelRecord(stored, epoch, acknowledger));
  } catch (error) {
    throw violation(error);
  }
}

/** Never fails: nobody has checked what another client called JSON. */
export function decoded(encoding: number, data: Bytes): Data {
  if (encoding === TEXT) return anyTextOf(data);
  if (encoding === JSON_TEXT) {
    try {
      return JSON.parse(anyTextOf(data));
    } catch {}
  }
  return data.slice();
}
