/**
 * Messages that grow, put together from the records of their channel, without any I/O (PROTOCOL.md 4.5, 4.7).
 * `Assembly` is fed records in the order of their offsets and says how each message stands then.
 */

import type { Headers } from "./protocol/batch.js";
import { isMessageOperation, type MessageState, type Operation } from "./protocol/operations.js";
import { positionText } from "./protocol/position.js";
import { anyTextOf, joined, utf8 } from "./protocol/words.js";
import { type ChannelRecord, safe } from "./records.js";

export type Content = string | Uint8Array;

// Of messages that are closed so many are remembered: they may be replaced, removed or opened again.
const CLOSED_KEPT = 64;

/** A growing message as of its operation at offset `place`. It does not change; what comes later is another one. */
export interface GrowingMessage {
  /** The offset that opened it. */
  readonly id: number;
  readonly epoch: string;
  readonly name: string | null;
  readonly headers: Headers;
  readonly clientId: string;
  readonly place: number;
  /** Of its latest operation: what comes after it is not in here. */
  readonly position: string;
  /** Of its latest operation, in Unix time. */
  readonly timeMs: number;
  readonly state: MessageState;
  /** What was said when it was closed. */
  readonly reason: string;
  /** Text or bytes, as it was opened. */
  readonly content: Content;
  /** False when its beginning is not known: then name and headers are not either, and content is its end. */
  readonly whole: boolean;
}

/** What one record did to a message. `delta` goes at the end of what was there before; null: the content is new. */
export interface MessageStep {
  readonly message: GrowingMessage;
  readonly delta: Content | null;
}

export class Assembly {
  readonly #open = new Map<number, GrowingMessage>();
  readonly #closed = new Map<number, GrowingMessage>();

  /** Those that are open, by their id. */
  get messages(): ReadonlyMap<number, GrowingMessage> {
    return this.#open;
  }

  /** An open one, or one of those that were closed last. */
  find(message: number): GrowingMessage | undefined {
    return this.#open.get(message) ?? this.#closed.get(message);
  }

  /** Whether what the record does can not be told, for the message's beginning is not known. */
  lacks({ operation }: ChannelRecord): boolean {
    if (!operation || !isMessageOperation(operation) || operation.op === "open" || operation.op === "folded")
      return false;
    return !this.find(safe(operation.message!))?.whole;
  }

  /** What the record changes, if anything. What is at or before a message's place is known already. */
  feed(record: ChannelRecord): MessageStep | null {
    const { operation, offset } = record;
    if (!operation || !isMessageOperation(operation)) return null;
    const id = safe(operation.message ?? offset);
    const known = this.find(id);
    if (known && (offset < known.place || (offset === known.place && known.whole))) return null;
    const step = stepped(known, record, operation, id);
    this.#keep(step.message);
    return step;
  }

  /** Learns a whole message from elsewhere. */
  put(message: GrowingMessage): MessageStep {
    const delta = difference(this.find(message.id), message.content);
    this.#keep(message);
    return { message, delta };
  }

  clear(): void {
    this.#open.clear();
    this.#closed.clear();
  }

  #keep(message: GrowingMessage): void {
    const { id, state } = message;
    this.#open.delete(id);
    this.#closed.delete(id);
    (state === "open" ? this.#open : this.#closed).set(id, message);
    if (this.#closed.size > CLOSED_KEPT) this.#closed.delete(this.#closed.keys().next().value!);
  }
}

function stepped(
  known: GrowingMessage | undefined,
  record: ChannelRecord,
  operation: Operation,
  id: number,
): MessageStep {
  const data = contentOf(record);
  if (operation.op === "open") return { message: begun(record, id, data, true), delta: data };
  if (operation.op === "folded") {
    const { state = "open", reason = "" } = operation;
    return { message: { ...begun(record, id, data, true), state, reason }, delta: difference(known, data) };
  }
  const { offset: place, position, timeMs } = record;
  const before = { ...(known ?? begun(record, id, data.slice(0, 0), false)), place, position, timeMs };
  const { content } = before;
  const nothing = content.slice(0, 0);
  switch (operation.op) {
    case "append": {
      const delta = like(content, data);
      return { message: { ...before, content: sum(content, delta) }, delta };
    }
    case "replace":
      return { message: { ...before, content: like(content, data) }, delta: null };
    case "remove":
      return { message: { ...before, content: nothing, state: "removed", reason: "" }, delta: null };
    case "close":
      return { message: { ...before, state: operation.state!, reason: like("", data) as string }, delta: nothing };
    default:
      return { message: { ...before, state: "open", reason: "" }, delta: nothing };
  }
}

/** As `record` makes it, of which nothing else is known. */
function begun(
  { epoch, name, headers, clientId, offset, timeMs }: ChannelRecord,
  id: number,
  content: Content,
  whole: boolean,
): GrowingMessage {
  const position = positionText(epoch, offset);
  return {
    id,
    epoch,
    name,
    headers,
    clientId,
    place: offset,
    position,
    timeMs,
    state: "open",
    reason: "",
    content,
    whole,
  };
}

/** What to add to what is known so that it is `content`, if that can be. */
function difference(known: GrowingMessage | undefined, content: Content): Content | null {
  if (!known) return content;
  const before = known.content;
  const begins =
    typeof content === "string"
      ? typeof before === "string" && content.startsWith(before)
      : typeof before !== "string" && before.every((byte, at) => byte === content[at]);
  return known.whole && begins ? content.slice(before.length) : null;
}

/** The broker lets nothing else into a message (PROTOCOL.md 4.5). */
function contentOf({ data }: ChannelRecord): Content {
  return typeof data === "string" || data instanceof Uint8Array ? data : String(data);
}

/** As the message has it: a piece of another kind is turned into that. */
function like(before: Content, piece: Content): Content {
  if (typeof before === typeof piece) return piece;
  return typeof piece === "string" ? utf8(piece) : anyTextOf(piece);
}

function sum(before: Content, piece: Content): Content {
  return typeof before === "string" ? before + piece : joined([before, piece as Uint8Array]);
}
