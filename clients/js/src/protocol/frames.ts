/**
 * The frames, and the table that ties them to their numbers (PROTOCOL.md section 5).
 *
 * A frame is `u32 length | u8 type | u8 flags | u16 zero | body`, little-endian. Here it is an object with its name as
 * `type` and its fields by their names on the wire; what is absent is null.
 */

import { ProtocolError } from "./errors.js";
import { isMap, pack, unpack } from "./msgpack.js";
import { type Bytes, isWhole, joined, setU64, u64, utf8, viewOf, type Whole } from "./words.js";

export type Role = "client" | "broker";

/** A frame, whichever it is. */
export interface Frame {
  readonly type: string;
  // The table says which fields a frame has, and decoding has checked them.
  readonly [field: string]: any;
}

/** The rows of PROTOCOL.md section 5: type, frame, from, max, body, keys of the map. A test compares them. */
export const TABLE: readonly (readonly [number, string, string, number, string, string])[] = [
  [0x01, "HELLO", "client", 16384, '`"OUTL"`, map', 'versions [int], client_id? text, producer? [int], heartbeat_ms? int = 15000, features? [text] = [], agent? text = "", token? text'],
  [0x02, "WELCOME", "broker", 65536, "map", "version int, client_id text, heartbeat_ms int, time_ms int, features [text], limits {text: int}, server text, expires_in_ms? int"],
  [0x03, "PING", "both", 16, "u64 token", ""],
  [0x04, "PONG", "both", 16, "u64 token", ""],
  [0x05, "GOAWAY", "broker", 65536, "map", "reason text, retry_after_ms int"],
  [0x06, "ERROR", "broker", 65536, "u32 request, map", "code int, message text, detail? {text: int or text} = {}"],
  [0x07, "AUTH", "client", 16384, "u32 request, map", "token text"],
  [0x10, "OPEN", "client", 65536, "u32 request, map", "channel text, create? bool = true"],
  [0x11, "OPENED", "broker", 65536, "u32 request, map", "number int, epoch int, first int, last int"],
  [0x12, "PUBLISH", "client", 1048576, "u32 request, u64 number, u64 sequence, u64 if_offset, u64 fence, batch", ""],
  [0x13, "PUBLISHED", "broker", 1048576, "(u32 request, u32 duplicate, u64 offset)[1..]", ""],
  [0x14, "SUBSCRIBE", "client", 65536, "u32 request, map", "number int, credit int, after? int, epoch? int, start? text, last? int, since_ms? int, cursor? text"],
  [0x15, "SUBSCRIBED", "broker", 65536, "u32 request, map", "after int, epoch int, first int, last int, resync? text"],
  [0x16, "UNSUBSCRIBE", "client", 65536, "u32 request, map", "number int"],
  [0x17, "ATTACH", "client", 65536, "u32 request, map", "number int, credit int, after? int, epoch? int, start? text, last? int, since_ms? int, cursor? text, raw? bool = false, presence? bool = true"],
  [0x18, "CREDIT", "client", 20, "u64 number, u32 credit", ""],
  [0x19, "DELIVER", "broker", 1048576, "u64 number, batch[1..]", ""],
  [0x1a, "RESYNC", "broker", 65536, "map", "number int, reason text, after int, epoch int"],
  [0x1b, "ATTACHED", "broker", 1048576, "u32 request, map", "after int, through int, epoch int, first int, messages [int], state [any], resync? text"],
  [0x1c, "EPHEMERAL", "both", 65536, "u32 request, u64 number, batch", ""],
  [0x20, "HISTORY", "client", 65536, "u32 request, map", "number int, limit? int = 500, after? int, before? int, epoch? int, start? text, last? int, since_ms? int, backwards? bool = false, fold? bool = false"],
  [0x21, "PAGE", "broker", 1048576, "u32 request, u64 low, u64 high, u64 first, u64 last, batch[0..]", ""],
  [0x22, "INFO", "client", 65536, "u32 request, map", "channel text"],
  [0x23, "LIST", "client", 65536, "u32 request, map", 'prefix? text = "", after? text, limit? int = 100'],
  [0x24, "DELETE", "client", 65536, "u32 request, map", "channel text"],
  [0x25, "TRUNCATE", "client", 65536, "u32 request, map", "channel text, before int"],
  [0x26, "CONFIGURE", "client", 65536, "u32 request, map", "channel text, retention {text: int or nil}"],
  [0x27, "MESSAGE", "client", 65536, "u32 request, map", "number int, message int"],
  [0x28, "STATE", "client", 65536, "u32 request, map", "channel text"],
  [0x2f, "REPLY", "broker", 1048576, "u32 request, map", "result {text: any}"],
  [0x30, "ACK", "client", 65536, "u32 request, map", "number int, cursor text, offset int"],
  [0x31, "AWAIT", "client", 65536, "u32 request, map", "number int, cursor text, offset int, timeout_ms int"],
  [0x32, "CURSORS", "client", 65536, "u32 request, map", "channel text, after? text, limit? int = 100"],
  [0x33, "FORGET", "client", 65536, "u32 request, map", "channel text, cursor text"],
  [0x40, "ENTER", "client", 65536, "u32 request, map", 'number int, member int, encoding? int = 0, data? bytes = "", grace_ms? int = 10000'],
  [0x41, "LEAVE", "client", 65536, "u32 request, map", "number int, member int"],
  [0x42, "MEMBERS", "client", 65536, "u32 request, map", "channel text, after_client? text, after_member? int, limit? int = 100"],
  [0x43, "WATCH", "client", 65536, "u32 request, map", "number int, rows? bool = true"],
  [0x44, "UNWATCH", "client", 65536, "u32 request, map", "number int"],
  [0x45, "PRESENCE", "broker", 1048576, "map", "number int, present int, away int, members? [any] = [], snapshot? bool = false, more? bool = false"],
  [0x50, "LEASE", "client", 65536, "u32 request, map", "number int, lease text, ttl_ms int, take_over? bool = false, nonce? int = 0"],
  [0x51, "RENEW", "client", 65536, "u32 request, map", "number int, token int"],
  [0x52, "RELEASE", "client", 65536, "u32 request, map", "number int, token int"],
  [0x53, "LEASES", "client", 65536, "u32 request, map", "channel text"],
  [0x58, "CLAIM", "client", 65536, "u32 request, map", "number int, key text, ttl_ms int, nonce? int = 0"],
  [0x59, "SETTLE", "client", 65536, "u32 request, map", 'number int, key text, token int, encoding? int = 0, data? bytes = ""'],
  [0x5a, "EXTEND", "client", 65536, "u32 request, map", "number int, key text, token int"],
  [0x5b, "ABANDON", "client", 65536, "u32 request, map", "number int, key text, token int"],
  [0x5c, "CLAIMS", "client", 65536, "u32 request, map", "channel text, after? text, limit? int = 100"],
  [0x62, "REVOKE", "client", 65536, "u32 request, map", "subject? text, token_id? text, issued_before_ms? int"],
  [0x63, "REVOCATIONS", "client", 65536, "u32 request, map", "after? text, limit? int = 100"],
];

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
  keys: readonly Key[] | null;
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

function specFrom([number, type, from, bytesMax, body, keys]: (typeof TABLE)[number]): Spec {
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
    keys: last === "map" ? keys.split(", ").map(keyFrom) : null,
    items: type === "REPLY" ? 10_000 : 1_024,
  };
}

export const SPECS: readonly Spec[] = /* @__PURE__ */ TABLE.map(specFrom);
const BY_NUMBER = new Map(SPECS.map((spec) => [spec.number, spec]));
const BY_TYPE = new Map(SPECS.map((spec) => [spec.type, spec]));

export const specOf = (type: string): Spec => BY_TYPE.get(type)!;
export const specNumbered = (number: number): Spec | undefined => BY_NUMBER.get(number);

// --- writing ---------------------------------------------------------------------------------------------------

/** The frame's bytes. Throws ProtocolError when they would be longer than allowed. */
export function encode(frame: Frame): Bytes {
  const spec = specOf(frame.type);
  const parts = frame.type === "PUBLISHED" ? [acksBytes(frame["acks"])] : [wordsBytes(spec, frame)];
  if (frame.type === "HELLO") parts.unshift(MAGIC);
  if (spec.rest) parts.push(frame[spec.rest]);
  if (spec.keys) parts.push(mapBytes(spec.keys, frame));
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

function mapBytes(keys: readonly Key[], frame: Frame): Bytes {
  const said = keys.filter(({ name, required, fallback }) => required || !isFallback(frame[name], fallback));
  return pack(Object.fromEntries(said.map(({ name }) => [name, frame[name]])));
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
  let at = HEADER_BYTES + (spec.type === "HELLO" ? MAGIC.length : 0);
  if (spec.type === "HELLO" && MAGIC.some((byte, index) => bytes[HEADER_BYTES + index] !== byte))
    throw new ProtocolError("bad_magic", "this port speaks the Outlast protocol, the peer does not");
  const frame: Record<string, unknown> = { type: spec.type };
  for (const [name, size] of spec.words) {
    frame[name] = size === 4 ? view.getUint32(at, true) : u64(view, at);
    at += size;
  }
  if (spec.rest) frame[spec.rest] = bytes.subarray(at);
  return (spec.keys ? withMap(spec, spec.keys, frame, bytes.subarray(at)) : frame) as unknown as Frame;
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
function withMap(spec: Spec, keys: readonly Key[], frame: Record<string, unknown>, body: Bytes): unknown {
  try {
    return readMap(spec, keys, frame, body);
  } catch (error) {
    const refusal = error instanceof ProtocolError ? error : new ProtocolError("bad_body", `${spec.type}: ${error}`);
    if (spec.type === "HELLO" || spec.type === "WELCOME") throw refusal;
    return { type: "MALFORMED", request: frame["request"] ?? 0, error: refusal };
  }
}

function readMap(spec: Spec, keys: readonly Key[], frame: Record<string, unknown>, body: Bytes): unknown {
  const said = unpack(body, { items: spec.items, keys: KEYS_MAX });
  if (!isMap(said)) throw new ProtocolError("bad_body", `${spec.type}: the body is not a map`);
  for (const { name, fits, required, fallback } of keys) {
    const isSaid = Object.hasOwn(said, name);
    if (isSaid ? !fits(said[name]) : required)
      throw new ProtocolError("bad_body", `${spec.type}: ${name} ${isSaid ? "is not what section 5 says" : "is missing"}`);
    frame[name] = isSaid ? said[name] : fallback;
  }
  if (spec.type === "HELLO" && ![0, 2].includes((frame["producer"] as unknown[] | null)?.length ?? 0))
    throw new ProtocolError("bad_body", "HELLO: producer is [id, epoch]");
  return frame;
}
