/** What users get and give: records, messages, acknowledgements, descriptions of channels. */

import { Violation, violation } from "./errors.js";
import {
  BYTES,
  type Headers,
  JSON_TEXT,
  type Label,
  makeRow,
  readRecords,
  type Row,
  type StoredRecord,
  TEXT,
} from "./protocol/batch.js";
import type { Operation } from "./protocol/operations.js";
import { epochText, positionText } from "./protocol/position.js";
import { anyTextOf, type Bytes, utf8, type Whole } from "./protocol/words.js";

export type { Headers };
/** Bytes, text, or what JSON can say. */
export type Data =
  Uint8Array | string | number | boolean | null | readonly Data[] | { readonly [key: string]: Data | undefined };

const NAME_BYTES_MAX = 255;
const HEADERS_MAX = 64;

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

/** One message for `publishMany`, where data alone does not say enough. */
export class Message {
  readonly data: Data;
  readonly name: string | null;
  readonly headers: Headers;

  constructor(data: Data, { name = null, headers = {} }: { name?: string | null; headers?: Headers } = {}) {
    this.data = data;
    this.name = name;
    this.headers = headers;
  }
}

/** What a channel keeps. 0 is "no bound", null the broker's rule. */
export interface Retention {
  ageMs?: number | null;
  records?: number | null;
  bytes?: number | null;
  idleTtlMs?: number | null;
}

/** A channel as lists show it. An empty one has first = last + 1; `lastMs` 0 means no record yet. */
export interface ChannelSummary {
  readonly name: string;
  readonly epoch: string;
  /** Of the last record: a subscription `after` it begins with what comes next. */
  readonly position: string;
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
  readonly lastMs: number;
}

/** A channel in full. */
export interface ChannelInfo extends ChannelSummary {
  readonly createdMs: number;
  readonly subscribers: number;
  readonly retention: Retention;
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

// --- on the way out --------------------------------------------------------------------------------------------

/** How `data` travels. Throws TypeError for what cannot. */
export function encoded(data: Data): [encoding: number, bytes: Bytes] {
  if (data instanceof Uint8Array) return [BYTES, new Uint8Array(data)];
  if (typeof data === "string") return [TEXT, utf8(wellFormed("data", data))];
  const text = JSON.stringify(data, refuseNonsense);
  if (text === undefined) throw new TypeError(`${typeof data} cannot be published: give bytes, text or a JSON value`);
  return [JSON_TEXT, utf8(text)];
}

function refuseNonsense(key: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`JSON has no ${value} (at "${key}")`);
  return value;
}

function wellFormed(what: string, text: string): string {
  if (/\p{Surrogate}/u.test(text)) throw new TypeError(`${what} has half a surrogate pair, which UTF-8 cannot say`);
  return text;
}

/** Throws TypeError that says what is allowed. */
export function rowFrom(
  data: Data,
  name: string | null = null,
  headers: Headers = {},
  operation: Operation | null = null,
  ttlMs = 0,
): Row {
  const [encoding, bytes] = encoded(data);
  if (name !== null && (typeof name !== "string" || utf8(wellFormed("the name", name)).length > NAME_BYTES_MAX))
    throw new TypeError(`a name is text of at most ${NAME_BYTES_MAX} bytes of UTF-8`);
  const items = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  if (items.length > HEADERS_MAX || items.some(([, value]) => typeof value !== "string"))
    throw new TypeError(`headers are at most ${HEADERS_MAX}, text to text`);
  return makeRow({ encoding, name, headers: Object.fromEntries(items), operation, ttlMs }, bytes);
}

/** As `row`, with another operation in its label: a message whose offset is known now. */
export function about(row: Row, message: number): Row {
  const label: Label = { ...row.label, operation: { ...row.label.operation!, message } };
  return makeRow(label, row.data);
}

// --- what the broker says of channels --------------------------------------------------------------------------

type Result = { [key: string]: any };

export function summaryFrom(row: Result): ChannelSummary {
  const epoch = epochText(row["epoch"]);
  const { first, last, bytes, last_ms: lastMs } = row as Record<string, number>;
  return {
    name: row["channel"],
    epoch,
    position: positionText(epoch, last!),
    first,
    last,
    bytes,
    lastMs,
  } as ChannelSummary;
}

export function infoFrom(result: Result): ChannelInfo {
  const { created_ms: createdMs, subscribers, retention } = result;
  return { ...summaryFrom(result), createdMs, subscribers, retention: retentionFrom(retention) };
}

export function retentionFrom({ age_ms, records, bytes, idle_ttl_ms }: Result): Retention {
  return { ageMs: age_ms ?? null, records: records ?? null, bytes: bytes ?? null, idleTtlMs: idle_ttl_ms ?? null };
}
