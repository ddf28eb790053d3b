/**
 * The frames, and the table that ties them to their numbers (PROTOCOL.md section 5).
 *
 * A frame is `u32 length | u8 type | u8 flags | u16 zero | body`, little-endian. Here it is an object with its name as
 * `type` and its fields by their names on the wire; what is absent is null.
 */

import { ProtocolError } from "./errors.js";
import { isMap, pack, unpack } from "./msgpack.js";
import { BOTH_ENDS, type Row, TABLE } from "./table.js";
import { type Bytes, isWhole, joined, setU64, u64, utf8, viewOf, type Whole } from "./words.js";

export type Role = "client" | "broker";

/** A frame, whichever it is. */
export interface Frame {
  readonly type: string;
  // The table says which fields a frame has, and decoding has checked them.
  readonly [field: string]: any;
}

export const HEADER_BYTES = 8;
export const UNCONDITIONAL = 2n ** 64n - 1n;
const BATCH_HEAD_BYTES = 36;
const KEYS_MAX = 4_096;
const MAGIC = utf8("OUTL");
const WORD_BYTES: Record<string, number> = { u32: 4, u64: 8 };

/** One key of a map: how its value is checked, and what it is when absent. */
interface Key {
  name: string;
  fits(value: unknown): boolean;
  required: boolean;
  fallback: unknown;
}

/** A row of the table, ready to work with. `words` are the fixed fields, `rest` the name of the bytes after them. */
export interface Spec {
  number: number;
  type: string;
  from: string;
  bytesMin: number;
  bytesMax: number;
  words: readonly (readonly [name: string, size: number])[];
  rest: string;
  hasMap: boolean;
  keys: readonly Key[];
  items: number;
}

// --- the table, made ready -------------------------------------------------------------------------------------

function check(kind: string): (value: unknown) => boolean {
  if (kind.startsWith("[")) {
    const item = check(kind.slice(1, -1));
    return (value) => Array.isArray(value) && value.every(item);
  }
  if (kind.startsWith("{")) {
    const item = check(kind.slice(7, -1));
    return (value) => isMap(value) && Object.values(value).every(item);
  }
  const checks = kind.split(" or ").map((each) => PLAIN[each]!);
  return (value) => checks.some((fits) => fits(value));
}

const PLAIN: Record<string, (value: unknown) => boolean> = {
  int: (value) => isWhole(value) && value >= 0,
  text: (value) => typeof value === "string",
  bool: (value) => typeof value === "boolean",
  bytes: (value) => value instanceof Uint8Array,
  nil: (value) => value === null,
  any: () => true,
};

/** A key as the table writes it: `name kind`, or `name? kind = default`. */
function keyFrom(text: string): Key {
  const [left, fallback] = text.split(" = ") as [string, string?];
  const name = left.slice(0, left.indexOf(" "));
  const fits = check(left.slice(name.length + 1));
  if (!name.endsWith("?")) return { name, fits, required: true, fallback: null };
  const nothing = left.endsWith("bytes") ? new Uint8Array(0) : JSON.parse(fallback ?? "null");
  return {
    name: name.slice(0, -1),
    fits: fallback === undefined ? (value) => value === null || fits(value) : fits,
    required: false,
    fallback: nothing,
  };
}

/** Of a shorter row the rest is as in most rows of a client. */
function specFrom([number, type, from = "client", bytesMax = 65_536, body = "u32 request, map", keys = ""]: Row): Spec {
  const fields = body.replace(/[()]/g, "").split(", ");
  const words = fields.flatMap((field) => {
    const [kind, name] = field.split(" ") as [string, string?];
    return name ? [[name, WORD_BYTES[kind]!] as const] : [];
  });
  const last = fields.at(-1)!;
  const isMagic = body.includes("OUTL");
  const size = HEADER_BYTES + (isMagic ? 4 : 0) + words.reduce((sum, [, bytes]) => sum + bytes, 0);
  const rest = last.startsWith("batch") ? last.replace(/\[.*/, "es") : "";
  return {
    number, type, from, bytesMax, rest,
    words: type === "PUBLISHED" ? [] : words,
    bytesMin: size + (rest && !last.endsWith("[0..]") ? BATCH_HEAD_BYTES : 0),
    hasMap: last === "map",
    keys: keys.split(", ").filter(Boolean).map(keyFrom),
    items: type === "REPLY" ? 10_000 : 1_024,
  };
}

const SPECS = TABLE.map(specFrom);
const BY_NUMBER = new Map(SPECS.map((spec) => [spec.number, spec]));
const BY_TYPE = new Map(SPECS.map((spec) => [spec.type, spec]));

export const specOf = (type: string): Spec => BY_TYPE.get(type)!;
export const specNumbered = (number: number): Spec | undefined => BY_NUMBER.get(number);

// --- writing ---------------------------------------------------------------------------------------------------

/** The frame's bytes. Throws ProtocolError when they would be longer than allowed. */
export function encode(frame: Frame): Bytes {
  const spec = specOf(frame.type);
  const parts = BOTH_ENDS && frame.type === "PUBLISHED" ? [acksBytes(frame["acks"])] : [wordsBytes(spec, frame)];
  if (frame.type === "HELLO") parts.unshift(MAGIC);
  if (spec.rest) parts.push(frame[spec.rest]);
  if (spec.hasMap) parts.push(pack(mapOf(spec, frame)));
  const length = parts.reduce((sum, part) => sum + part.length, HEADER_BYTES);
  if (length > spec.bytesMax)
    throw new ProtocolError("frame_too_large", `${spec.type} would have ${length} bytes of ${spec.bytesMax}`);
  const head = new Uint8Array(HEADER_BYTES);
  viewOf(head).setUint32(0, length, true);
  head[4] = spec.number;
  return joined([head, ...parts]);
}

function wordsBytes(spec: Spec, frame: Frame): Bytes {
  const bytes = new Uint8Array(spec.words.reduce((sum, [, size]) => sum + size, 0));
  const view = viewOf(bytes);
  let at = 0;
  for (const [name, size] of spec.words) {
    if (size === 4) view.setUint32(at, frame[name], true);
    else setU64(view, at, frame[name]);
    at += size;
  }
  return bytes;
}

/** [request, offset, duplicate] each. */
function acksBytes(acks: readonly (readonly [number, Whole, boolean])[]): Bytes {
  const bytes = new Uint8Array(16 * acks.length);
  const view = viewOf(bytes);
  acks.forEach(([request, offset, duplicate], index) => {
    view.setUint32(16 * index, request, true);
    view.setUint32(16 * index + 4, duplicate ? 1 : 0, true);
    setU64(view, 16 * index + 8, offset);
  });
  return bytes;
}

function mapOf({ keys }: Spec, frame: Frame): Record<string, unknown> {
  if (BOTH_ENDS) {
    const said = keys.filter(({ name, required, fallback }) => required || !isFallback(frame[name], fallback));
    return Object.fromEntries(said.map(({ name }) => [name, frame[name]]));
  }
  const { type, request, ...said } = frame;
  return Object.fromEntries(Object.entries(said).filter(([, value]) => (value ?? null) !== null));
}

function isFallback(value: unknown, fallback: unknown): boolean {
  if (value === undefined || value === null || value === fallback) return true;
  if (value instanceof Uint8Array || Array.isArray(value)) return value.length === 0;
  return isMap(value) && isMap(fallback) && Object.keys(value).length === 0;
}

// --- reading ---------------------------------------------------------------------------------------------------

/** The frame that `bytes` are. One that says nothing valid is MALFORMED, with `request` and `error`. */
export function decode(spec: Spec, bytes: Bytes): Frame {
  const view = viewOf(bytes);
  if (spec.type === "PUBLISHED") return { type: spec.type, acks: acksIn(view) };
  const isHello = BOTH_ENDS && spec.type === "HELLO";
  let at = HEADER_BYTES + (isHello ? MAGIC.length : 0);
  if (isHello && MAGIC.some((byte, index) => bytes[HEADER_BYTES + index] !== byte))
    throw new ProtocolError("bad_magic", "this port speaks the Outlast protocol, the peer does not");
  const frame: Record<string, unknown> = { type: spec.type };
  for (const [name, size] of spec.words) {
    frame[name] = size === 4 ? view.getUint32(at, true) : u64(view, at);
    at += size;
  }
  if (spec.rest) frame[spec.rest] = bytes.subarray(at);
  return (spec.hasMap ? withMap(spec, frame, bytes.subarray(at)) : frame) as unknown as Frame;
}

function acksIn(view: DataView): [number, Whole, boolean][] {
  if ((view.byteLength - HEADER_BYTES) % 16)
    throw new ProtocolError("bad_frame", "PUBLISHED is not a whole number of acknowledgements");
  const acks: [number, Whole, boolean][] = [];
  for (let at = HEADER_BYTES; at < view.byteLength; at += 16)
    acks.push([view.getUint32(at, true), u64(view, at + 8), view.getUint32(at + 4, true) > 0]);
  return acks;
}

/** HELLO and WELCOME that say nothing valid end the connection: nothing after them makes sense (3.2). */
function withMap(spec: Spec, frame: Record<string, unknown>, body: Bytes): unknown {
  try {
    return readMap(spec, frame, body);
  } catch (error) {
    const refusal = error instanceof ProtocolError ? error : new ProtocolError("bad_body", `${spec.type}: ${error}`);
    if ((BOTH_ENDS && spec.type === "HELLO") || spec.type === "WELCOME") throw refusal;
    return { type: "MALFORMED", request: frame["request"] ?? 0, error: refusal };
  }
}

function readMap(spec: Spec, frame: Record<string, unknown>, body: Bytes): unknown {
  const said = unpack(body, { items: spec.items, keys: KEYS_MAX });
  if (!isMap(said)) throw new ProtocolError("bad_body", `${spec.type}: the body is not a map`);
  for (const { name, fits, required, fallback } of spec.keys) {
    const isSaid = Object.hasOwn(said, name);
    if (isSaid ? !fits(said[name]) : required)
      throw new ProtocolError("bad_body", `${spec.type}: ${name} ${isSaid ? "is not what section 5 says" : "is missing"}`);
    frame[name] = isSaid ? said[name] : fallback;
  }
  if (BOTH_ENDS && spec.type === "HELLO" && ![0, 2].includes((frame["producer"] as unknown[] | null)?.length ?? 0))
    throw new ProtocolError("bad_body", "HELLO: producer is [id, epoch]");
  return frame;
}
