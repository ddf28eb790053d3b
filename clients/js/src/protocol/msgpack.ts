/** The part of msgpack that the protocol needs: nil, bool, numbers, text, bytes, arrays, and maps with text keys. */

import { type Bytes, isWhole, joined, textOf, utf8, viewOf, whole } from "./words.js";

/** A float, kept apart from whole numbers: 1.0 is none in this protocol. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** Whether a value that was read is a map. */
export function isMap(value: unknown): value is Record<string, unknown> {
  const isObject = typeof value === "object" && value !== null;
  return isObject && !(Array.isArray(value) || value instanceof Uint8Array || value instanceof Float);
}

/** What a reader sets aside at most: items of one array, keys of one map. */
export interface Bounds {
  items: number;
  keys: number;
}

// Nothing of the protocol is nested deeper.
const DEPTH_MAX = 64;

// --- writing ---------------------------------------------------------------------------------------------------

/** A head byte, and a big-endian number of `size` bytes after it. */
function head(byte: number, size = 0, value: number | bigint = 0): Bytes {
  const bytes = new Uint8Array(9);
  viewOf(bytes).setBigUint64(1, BigInt.asUintN(64, BigInt(value)));
  bytes[8 - size] = byte;
  return bytes.subarray(8 - size);
}

/** The head for `count`: `short` with the count in it, or the shortest of those that `heads` says of 8, 16 and 32 bits. */
function counted(count: number, short: number, shortMax: number, heads: number, step = 0): Bytes {
  if (count <= shortMax) return head(short + count);
  while (count >= 256 ** (1 << step)) step++;
  return head(heads + step, 1 << step, count);
}

function packedWhole(value: number | bigint): Bytes {
  if (value >= -32 && value < 128) return head(Number(value) & 255);
  const isNegative = value < 0;
  let step = 0;
  while (isNegative ? value < -(2 ** ((8 << step) - 1)) : value >= 2 ** (8 << step)) step++;
  return head((isNegative ? 0xd0 : 0xcc) + step, 1 << step, value);
}

function write(value: unknown, out: Bytes[]): void {
  if (value === null || value === undefined) out.push(head(0xc0));
  else if (typeof value === "boolean") out.push(head(value ? 0xc3 : 0xc2));
  else if (isWhole(value)) out.push(packedWhole(value));
  else if (typeof value === "string") {
    const text = utf8(value);
    out.push(counted(text.length, 0xa0, 31, 0xd9), text);
  } else if (value instanceof Uint8Array) out.push(counted(value.length, 0, -1, 0xc4), value);
  else if (Array.isArray(value)) {
    out.push(counted(value.length, 0x90, 15, 0xdb, 1));
    for (const item of value) write(item, out);
  } else if (typeof value === "object") {
    const entries = Object.entries(value);
    out.push(counted(entries.length, 0x80, 15, 0xdd, 1));
    for (const entry of entries) for (const each of entry) write(each, out);
  } else throw new TypeError(`${typeof value} cannot be packed`);
}

export function pack(value: unknown): Bytes {
  const out: Bytes[] = [];
  write(value, out);
  return joined(out);
}

// --- reading ---------------------------------------------------------------------------------------------------

/** Reads values one after another. Throws RangeError, TypeError or SyntaxError for what is none. */
export class Unpacker {
  at = 0;
  readonly #bytes: Bytes;
  readonly #view: DataView;
  readonly #bounds: Bounds;

  constructor(bytes: Bytes, bounds: Bounds) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#bounds = bounds;
  }

  get atEnd(): boolean {
    return this.at === this.#bytes.length;
  }

  /** The next value. */
  read(depth = 0): unknown {
    const byte = this.#uint(1);
    if (byte < 0x80) return byte;
    if (byte < 0x90) return this.#map(byte - 0x80, depth);
    if (byte < 0xa0) return this.#array(byte - 0x90, depth);
    if (byte < 0xc0) return textOf(this.#take(byte - 0xa0));
    if (byte >= 0xe0) return byte - 256;
    if (byte === 0xc0) return null;
    if (byte === 0xc2 || byte === 0xc3) return byte === 0xc3;
    if (byte >= 0xc4 && byte <= 0xc6) return this.#take(this.#uint(1 << (byte - 0xc4))).slice();
    if (byte >= 0xca && byte < 0xd4) return this.#number(byte);
    if (byte >= 0xde) return this.#map(this.#uint(byte === 0xde ? 2 : 4), depth);
    if (byte >= 0xdc) return this.#array(this.#uint(byte === 0xdc ? 2 : 4), depth);
    if (byte >= 0xd9) return textOf(this.#take(this.#uint(1 << (byte - 0xd9))));
    throw new SyntaxError("a byte that is not used, or an extension type");
  }

  /** How many items the array that begins here says to have. */
  arrayHead(): number {
    const byte = this.#uint(1);
    if (byte >= 0x90 && byte < 0xa0) return byte - 0x90;
    if (byte === 0xdc || byte === 0xdd) return this.#uint(byte === 0xdc ? 2 : 4);
    throw new SyntaxError("not an array");
  }

  #number(byte: number): unknown {
    const size = byte < 0xcc ? 4 << (byte - 0xca) : 1 << (byte & 3);
    const at = this.at;
    this.#take(size);
    if (byte < 0xcc) return new Float(size === 4 ? this.#view.getFloat32(at) : this.#view.getFloat64(at));
    if (size === 8) return whole(byte < 0xd0 ? this.#view.getBigUint64(at) : this.#view.getBigInt64(at));
    this.at = at;
    const value = this.#uint(size);
    const top = 2 ** (8 * size);
    return byte >= 0xd0 && value >= top / 2 ? value - top : value;
  }

  #array(count: number, depth: number): unknown[] {
    if (count > this.#bounds.items || depth > DEPTH_MAX) throw new RangeError("an array too long or too deep");
    const items: unknown[] = [];
    while (items.length < count) items.push(this.read(depth + 1));
    return items;
  }

  #map(count: number, depth: number): Record<string, unknown> {
    if (count > this.#bounds.keys || depth > DEPTH_MAX) throw new RangeError("a map too long or too deep");
    const entries: [string, unknown][] = [];
    while (entries.length < count) {
      const key = this.read(depth + 1);
      if (typeof key !== "string") throw new TypeError("a key that is not text");
      entries.push([key, this.read(depth + 1)]);
    }
    return Object.fromEntries(entries);
  }

  #uint(size: number): number {
    let value = 0;
    for (const byte of this.#take(size)) value = value * 256 + byte;
    return value;
  }

  #take(size: number): Bytes {
    const from = this.at;
    if (size > this.#bytes.length - from) throw new RangeError("cut off");
    this.at += size;
    return this.#bytes.subarray(from, this.at);
  }
}

/** The one value in `bytes`. */
export function unpack(bytes: Bytes, bounds: Bounds): unknown {
  const unpacker = new Unpacker(bytes, bounds);
  const value = unpacker.read();
  if (!unpacker.atEnd) throw new SyntaxError("bytes after the value");
  return value;
}
