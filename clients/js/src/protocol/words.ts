/** Bytes, text and whole numbers: what every other file here is written in. */

/**
 * A whole number of the wire: a number as long as it is safe (up to 2^53 - 1), a bigint beyond. One value has one
 * form, so `===` and the keys of a Map tell values apart.
 */
export type Whole = number | bigint;
export type Bytes = Uint8Array<ArrayBufferLike>;

export const WHOLE_MAX = Number.MAX_SAFE_INTEGER;
const TEXT_OF_U64 = /^\d{1,20}$/;
const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** The one form of `value`. */
export function whole(value: bigint): Whole {
  return value <= WHOLE_MAX && value >= -WHOLE_MAX ? Number(value) : value;
}

export function isWhole(value: unknown): value is Whole {
  return typeof value === "bigint" || Number.isSafeInteger(value);
}

/** `value + step`, in its one form. */
export function plus(value: Whole, step: Whole): Whole {
  return whole(BigInt(value) + BigInt(step));
}

/** The whole number that decimal digits say. Throws SyntaxError. */
export function wholeFrom(text: string): Whole {
  if (!TEXT_OF_U64.test(text)) throw new SyntaxError(`${text.slice(0, 30)} is no whole number`);
  return whole(BigInt(text));
}

export function utf8(text: string): Bytes {
  return encoder.encode(text);
}

/** Throws TypeError for what is not UTF-8. */
export function textOf(bytes: Bytes): string {
  return strict.decode(bytes);
}

/** U+FFFD stands for what is not UTF-8. */
export function anyTextOf(bytes: Bytes): string {
  return lenient.decode(bytes);
}

export function viewOf(bytes: Bytes): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function u64(view: DataView, at: number): Whole {
  return whole(view.getBigUint64(at, true));
}

export function setU64(view: DataView, at: number, value: Whole): void {
  view.setBigUint64(at, BigInt(value), true);
}

export function joined(parts: readonly Bytes[]): Bytes {
  if (parts.length === 1) return parts[0]!;
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Whether `text` is 1 to `bytesMax` bytes of UTF-8 without control characters. */
export function isName(text: unknown, bytesMax: number): text is string {
  if (typeof text !== "string" || text.length > bytesMax || /[\0-\x1f\x7f\p{Surrogate}]/u.test(text)) return false;
  const size = utf8(text).length;
  return size >= 1 && size <= bytesMax;
}
