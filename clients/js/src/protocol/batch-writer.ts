/** Batches on their way out: written, and checked as a broker checks them (PROTOCOL.md section 4; `batch` reads them). */

import {
  BATCH_BYTES_MAX,
  BATCH_HEAD_BYTES,
  BATCH_LABELS_MAX,
  BYTES,
  checkChecksum,
  type Label,
  readFront,
  STAMP_BYTES,
  unsupported,
} from "./batch.js";
import { crc32 } from "./crc32.js";
import { badBatch, ProtocolError } from "./errors.js";
import { pack } from "./msgpack.js";
import { isForClients, operationRow } from "./operations.js";
import { type Bytes, joined, setU64, u64, utf8, viewOf, type Whole } from "./words.js";

/** A record on its way out: `packed` is its label in msgpack, empty for the plain one. */
export interface Row {
  readonly label: Label;
  readonly packed: Bytes;
  readonly data: Bytes;
}

// A letter for each byte.
const oneToOne = new TextDecoder("latin1");
const isSession = (label: Label): boolean => label.operation !== null || label.ttlMs > 0;

export function makeRow(label: Label, data: Bytes): Row {
  return { label, packed: pack(labelItems(label)), data };
}

/** As short as its meaning allows. */
function labelItems({ encoding, name, headers, operation, ttlMs }: Label): unknown[] {
  if (operation || ttlMs) {
    const items = [encoding, name, headers, operation && operationRow(operation)];
    return ttlMs ? [...items, ttlMs] : items;
  }
  if (Object.keys(headers).length) return [encoding, name, headers];
  return name === null ? [encoding] : [encoding, name];
}

/** The same for rows that have the same label. */
export const labelKey = ({ packed }: Row): string => oneToOne.decode(packed);

/** An unstamped batch. Rows share the labels that are the same. */
export function encodeBatch(clientId: string, rows: readonly Row[]): Bytes {
  const places = new Map<string, number>();
  const labels: Bytes[] = [];
  const index = rows.map((row) => {
    const key = labelKey(row);
    if (!places.has(key)) places.set(key, labels.push(row.packed) - 1);
    return places.get(key)!;
  });
  const client = utf8(clientId);
  const table = labelTable(labels);
  const vectors = vectorBytes(rows, labels.length > 1 ? index : []);
  const head = new Uint8Array(BATCH_HEAD_BYTES);
  const batch = joined([head, client, table, vectors, ...rows.map((row) => row.data)]);
  const view = viewOf(batch);
  view.setUint32(0, batch.length, true);
  batch[24] = rows.some((row) => isSession(row.label)) ? 1 : 0;
  batch[25] = client.length;
  view.setUint32(28, rows.length, true);
  view.setUint32(32, table.length, true);
  view.setUint32(4, crc32(batch.subarray(STAMP_BYTES)), true);
  return batch;
}

function labelTable(labels: readonly Bytes[]): Bytes {
  const isPlain = labels.length === 1 && labels[0]!.length === 2 && labels[0]![1] === BYTES;
  if (isPlain) return new Uint8Array(0);
  const head = labels.length < 16 ? [0x90 + labels.length] : [0xdc, labels.length >> 8, labels.length & 255];
  return joined([new Uint8Array(head), ...labels]);
}

function vectorBytes(rows: readonly Row[], index: readonly number[]): Bytes {
  const bytes = new Uint8Array(4 * rows.length + 2 * index.length);
  const view = viewOf(bytes);
  rows.forEach((row, at) => view.setUint32(4 * at, row.data.length, true));
  index.forEach((label, at) => view.setUint16(4 * rows.length + 2 * at, label, true));
  return bytes;
}

/** At most so much does `row` add to a batch of several. */
export function rowBytesMax(row: Row): number {
  return row.data.length + 6 + row.packed.length;
}

/** The batch as a broker stores it. */
export function stamped(batch: Bytes, offset: Whole, timeMs: Whole): Bytes {
  const copy = batch.slice();
  setU64(viewOf(copy), 8, offset);
  setU64(viewOf(copy), 16, timeMs);
  return copy;
}

// --- as a broker does it -------------------------------------------------------------------------------------

/** How many records a batch holds that `client` published, once all of it is checked (PROTOCOL.md 4.3). */
export function checkBatch(batch: Bytes, clientId: string): number {
  if (batch.length < BATCH_HEAD_BYTES) throw badBatch(`${batch.length} bytes are too few for a batch`);
  const view = viewOf(batch);
  if (view.getUint32(0, true) !== batch.length || batch.length > BATCH_BYTES_MAX)
    throw badBatch(`length is wrong, or more than ${BATCH_BYTES_MAX}`);
  if (u64(view, 8) !== 0 || u64(view, 16) !== 0 || view.getUint16(26, true))
    throw badBatch("offset, time and reserved must be zero until the broker stamps them");
  checkChecksum(batch);
  if (batch[24]! > 1) throw unsupported(batch[24]!);
  const { labels, count } = readFront(batch, utf8(clientId));
  if (labels.length > BATCH_LABELS_MAX)
    throw new ProtocolError("limit_exceeded", `a batch has at most ${BATCH_LABELS_MAX} labels`);
  if (clientId && labels.some(({ operation }) => operation && !isForClients(operation)))
    throw badBatch("an operation is for the broker alone to say");
  return count;
}

