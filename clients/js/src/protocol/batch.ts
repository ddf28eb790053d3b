/**
 * Batches: the unit of publishing, storing and delivering (PROTOCOL.md section 4).
 *
 *      0  u32 length         of the whole batch
 *      4  u32 crc            CRC-32 of everything from byte 24 on
 *      8  u64 offset         of the first record        } zero until the broker
 *     16  u64 time_ms        when it was accepted       } stamps the batch
 *     24  u8  kind           0: records, 1: session records, 2: a tile
 *     25  u8  client_length
 *     26  u16 zero
 *     28  u32 count
 *     32  u32 labels_length
 *     36      client, labels, u32[count] lengths, u16[count] label_index (with more than one label), data
 */

import { crc32 } from "./crc32.js";
import { badBatch, ProtocolError } from "./errors.js";
import { isMap, Unpacker } from "./msgpack.js";
import { isMessageOperation, type Operation, readOperation } from "./operations.js";
import { anyTextOf, type Bytes, plus, u64, utf8, viewOf, type Whole } from "./words.js";

export const BATCH_HEAD_BYTES = 36;
export const BATCH_BYTES_MAX = 1_048_512;
export const BATCH_RECORDS_MAX = 65_535;
export const BATCH_LABELS_MAX = 1_024;
export const STAMP_BYTES = 24;
const TILE = 2;
const NAME_BYTES_MAX = 255;
const HEADERS_MAX = 64;
// By kind: the items that a label may have.
const LABEL_ITEMS_MAX = [3, 5];

export const BYTES = 0;
export const TEXT = 1;
export const JSON_TEXT = 2;

export type Headers = Readonly<Record<string, string>>;

/** What records of one batch may have in common. */
export interface Label {
  readonly encoding: number;
  readonly name: string | null;
  readonly headers: Headers;
  readonly operation: Operation | null;
  readonly ttlMs: number;
}

/** One record as it lies in the log; `data` is raw. */
export interface StoredRecord extends Label {
  readonly offset: Whole;
  readonly timeMs: Whole;
  readonly clientId: string;
  readonly data: Bytes;
}

/** Where one batch lies in a run of batches: bytes [start, end), offsets `offset` to `last`. */
export interface Span {
  readonly start: number;
  readonly end: number;
  readonly kind: number;
  readonly offset: Whole;
  readonly last: Whole;
  readonly count: number;
}

// --- reading ---------------------------------------------------------------------------------------------------

interface Front {
  labels: Label[];
  client: Bytes;
  lengthsAt: number;
  indexAt: number;
  dataAt: number;
  count: number;
}

/** Checks what lies between the stamp and the data. `client` is who must have published it, null: anybody. */
export function readFront(batch: Bytes, client: Bytes | null): Front {
  const view = viewOf(batch);
  const count = view.getUint32(28, true);
  const labelsAt = BATCH_HEAD_BYTES + batch[25]!;
  const lengthsAt = labelsAt + view.getUint32(32, true);
  const indexAt = lengthsAt + 4 * count;
  if (count < 1 || count > BATCH_RECORDS_MAX || indexAt > batch.length)
    throw badBatch(`count is ${count}: allowed are 1 to ${BATCH_RECORDS_MAX}, and as many as the bytes hold`);
  const said = batch.subarray(BATCH_HEAD_BYTES, labelsAt);
  if (client && (client.length !== said.length || client.some((byte, at) => said[at] !== byte)))
    throw new ProtocolError("client_mismatch", "the batch is stamped with another client_id");
  const labels = readLabels(batch.subarray(labelsAt, lengthsAt), batch[24]!);
  const dataAt = indexAt + (labels.length > 1 ? 2 * count : 0);
  const front = { labels, client: said, lengthsAt, indexAt, dataAt, count };
  checkSums(view, front);
  return front;
}

function checkSums(view: DataView, { labels, lengthsAt, indexAt, dataAt, count }: Front): void {
  let end = dataAt;
  for (let at = lengthsAt; at < indexAt; at += 4) end += view.getUint32(at, true);
  if (end !== view.byteLength) throw badBatch("the records' lengths do not add up to the batch's length");
  for (let which = 0; dataAt > indexAt && which < count; which++)
    if (view.getUint16(indexAt + 2 * which, true) >= labels.length)
      throw badBatch("a record refers to a label that is not there");
}

export function checkChecksum(batch: Bytes): void {
  if (crc32(batch.subarray(STAMP_BYTES)) !== viewOf(batch).getUint32(4, true))
    throw new ProtocolError("bad_checksum", "a batch does not match its checksum");
}

export function unsupported(kind: number): ProtocolError {
  return new ProtocolError("unsupported_kind", `batch kind ${kind} is not known here`);
}

/** The batches that lie end to end in `batches`. Throws ProtocolError where one cannot begin or end. */
export function* spans(batches: Bytes, start = 0): Generator<Span> {
  const view = viewOf(batches);
  while (start < batches.length) {
    const left = batches.length - start;
    const length = left < BATCH_HEAD_BYTES ? 0 : view.getUint32(start, true);
    if (length < BATCH_HEAD_BYTES || length > left) throw badBatch(`no batch fits into the last ${left} bytes`);
    const offset = u64(view, start + 8);
    const count = view.getUint32(start + 28, true);
    yield { start, end: start + length, kind: batches[start + 24]!, offset, last: plus(offset, count - 1), count };
    start += length;
  }
}

/** How many records the batches of a run hold, those in tiles included. */
export function recordsIn(batches: Bytes, span: Span): number {
  if (span.kind !== TILE) return span.count;
  let count = 0;
  for (const inner of spans(batches.subarray(span.start, span.end), BATCH_HEAD_BYTES)) count += inner.count;
  return count;
}

/** Every record in a run of stamped batches. Throws ProtocolError for bytes that are not such a run. */
export function readRecords(batches: Bytes): StoredRecord[] {
  const records: StoredRecord[] = [];
  for (const span of spans(batches)) readBatch(batches.subarray(span.start, span.end), span, records);
  return records;
}

function readBatch(batch: Bytes, span: Span, records: StoredRecord[]): void {
  checkChecksum(batch);
  if (span.kind === TILE) {
    readTile(batch, span, records);
    return;
  }
  if (span.kind > 1) throw unsupported(span.kind);
  const view = viewOf(batch);
  const { labels, client, lengthsAt, indexAt, dataAt, count } = readFront(batch, null);
  const shared = { timeMs: u64(view, 16), clientId: anyTextOf(client) };
  let at = dataAt;
  for (let which = 0; which < count; which++) {
    const end = at + view.getUint32(lengthsAt + 4 * which, true);
    const label = labels[dataAt > indexAt ? view.getUint16(indexAt + 2 * which, true) : 0]!;
    records.push({ ...label, ...shared, offset: plus(span.offset, which), data: batch.subarray(at, end) });
    at = end;
  }
}

/** What a tile holds must lie within its offsets, in order, and be no tile (PROTOCOL.md 4.7). */
function readTile(tile: Bytes, { offset, last, count }: Span, records: StoredRecord[]): void {
  const view = viewOf(tile);
  if (tile[25] || view.getUint16(26, true) || view.getUint32(32, true) || !count)
    throw badBatch(`the tile at offset ${offset} has a client or labels, or stands for nothing`);
  let due = offset;
  for (const span of spans(tile, BATCH_HEAD_BYTES)) {
    if (span.kind === TILE) throw badBatch(`the tile at offset ${offset} holds a tile`);
    if (span.offset < due || span.last < span.offset || span.last > last)
      throw badBatch(`the tile up to offset ${last} holds offset ${span.offset} where ${due} or later is due`);
    readBatch(tile.subarray(span.start, span.end), span, records);
    due = plus(span.last, 1);
  }
}

// --- labels ----------------------------------------------------------------------------------------------------

const PLAIN: Label = { encoding: BYTES, name: null, headers: {}, operation: null, ttlMs: 0 };

function readLabels(packed: Bytes, kind: number): Label[] {
  if (!packed.length) return [PLAIN];
  let rows: unknown[];
  try {
    rows = labelRows(packed, LABEL_ITEMS_MAX[kind]!);
  } catch (error) {
    throw badBatch(`labels are not a msgpack array: ${error}`);
  }
  if (!rows.length) throw badBatch("labels must have at least one label");
  return rows.map(readLabel);
}

/** Only the outermost array may be long. */
function labelRows(packed: Bytes, items: number): unknown[] {
  const unpacker = new Unpacker(packed, { items, keys: HEADERS_MAX });
  const count = unpacker.arrayHead();
  if (count > Math.min(packed.length, BATCH_RECORDS_MAX)) throw new RangeError("more labels than bytes or records");
  const rows = Array.from({ length: count }, () => unpacker.read());
  if (!unpacker.atEnd) throw new SyntaxError("bytes after the last label");
  return rows;
}

function readLabel(row: unknown): Label {
  if (!Array.isArray(row) || !row.length) throw badBatch("a label is an array that begins with an encoding");
  const [encoding, name = null, headers = {}, operation = null, ttlMs = 0] = row;
  if (encoding !== BYTES && encoding !== TEXT && encoding !== JSON_TEXT) throw badBatch("an encoding is 0, 1 or 2");
  if (name !== null && (typeof name !== "string" || utf8(name).length > NAME_BYTES_MAX))
    throw badBatch(`a record's name is text of at most ${NAME_BYTES_MAX} bytes, or nil`);
  if (!isMap(headers) || Object.values(headers).some((value) => typeof value !== "string"))
    throw badBatch("headers map text to text");
  if (row.length > 4 && (operation !== null || !Number.isSafeInteger(ttlMs) || ttlMs < 1))
    throw badBatch("ttl_ms is 1 to 2^53 - 1, and not beside an operation");
  const read = operation === null ? null : readOperation(operation);
  const label = { encoding, name, headers: headers as Headers, operation: read, ttlMs };
  checkMessageLabel(label);
  return label;
}

/** What a growing message is made of (PROTOCOL.md 4.5). */
function checkMessageLabel({ encoding, name, headers, operation }: Label): void {
  if (!operation || !isMessageOperation(operation)) return;
  const { op } = operation;
  if (encoding === JSON_TEXT && (op === "open" || op === "append" || op === "replace" || op === "folded"))
    throw badBatch("a growing message is bytes or text: JSON cannot be added to");
  if (op !== "open" && op !== "folded" && (name !== null || Object.keys(headers).length))
    throw badBatch(`${op} carries no name and no headers: they are those of open`);
}
