/** What users give, made into the rows of a batch. */

import { makeRow, type Row } from "./protocol/batch-writer.js";
import { BYTES, type Headers, JSON_TEXT, type Label, TEXT } from "./protocol/batch.js";
import type { Operation } from "./protocol/operations.js";
import { type Bytes, utf8 } from "./protocol/words.js";
import type { Data } from "./records.js";

const NAME_BYTES_MAX = 255;
const HEADERS_MAX = 64;

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
