/**
 * Writing a message that grows: opened, appended to, closed (PROTOCOL.md 4.5).
 *
 * What is said of a message goes the way of every publish, in the order in which it was said. Before the opening is
 * acknowledged nobody knows the message's offset; what is said until then waits behind it, and goes as one batch.
 */

import { MessageClosed, OutlastError } from "./errors.js";
import type { Content, GrowingMessage } from "./growing.js";
import type { Link } from "./link.js";
import type { Ack, Lane, Outbox } from "./outbox.js";
import type { Headers } from "./protocol/batch.js";
import type { Row } from "./protocol/batch-writer.js";
import type { MessageState, OperationName } from "./protocol/operations.js";
import { positionText } from "./protocol/position.js";
import { anyTextOf, type Whole, WHOLE_MAX, utf8 } from "./protocol/words.js";
import { Anchor } from "./publisher.js";
import { rowFrom } from "./rows.js";
import { readWhere, type Where } from "./starts.js";
import { ignore, unlessAborted } from "./waiting.js";

const REASON_BYTES_MAX = 4_096;
// Stands for the offset of a message that is not opened yet; the longest that there is, so that sizes are upper bounds.
const STAND_IN = WHOLE_MAX;

/** A lease under which is written: its token goes with every publish. */
export interface Fence {
  /** Throws Fenced once it is over. */
  fence(): Whole;
}

/** A message by its id or position, or what wrote it, or a view of it. */
export type MessageRef = Where | { readonly id: number; readonly epoch?: string | undefined };

export interface MessageOptions {
  name?: string | null;
  headers?: Headers;
  /** What it begins with, which says whether it is text or bytes; "" by default. */
  data?: Content;
  lease?: Fence;
}

/** How a channel's requests and publishes go out. */
export interface Way {
  readonly link: Link;
  readonly outbox: Outbox;
  readonly lane: Lane;
}

/** A growing message in the hand of its writer. */
export type MessageWriter = AsyncDisposable &
  Pick<
    Writer,
    "content" | "id" | "epoch" | "position" | "append" | "flush" | "complete" | "cancel" | "fail" | "run"
  >;

/**
 * The writer of a growing message. Once an operation was refused, all that were made after it fail with the
 * same error, and so does every later one but `cancel` and `fail`: a text never has a hole.
 */
export class Writer {
  /** What it began with, or held when it was adopted. */
  readonly content: Content;
  readonly #way: Way;
  readonly #lease: Fence | undefined;
  readonly #anchor: Anchor;
  #opening: Row | null;
  #latest: Promise<Ack> | undefined;
  #state: MessageState | null = null;

  /** @internal */
  constructor(way: Way, anchor: Anchor, content: Content, lease?: Fence, opening: Row | null = null) {
    this.#way = way;
    this.#anchor = anchor;
    this.content = content;
    this.#lease = lease;
    this.#opening = opening;
  }

  /** The offset that opened it. Throws TypeError until it is on disk: `await message.flush()` waits for that. */
  get id(): number {
    if (!this.#anchor.offset)
      throw new TypeError("the message is not on disk yet, and has no id: `await message.flush()` first");
    return this.#anchor.offset;
  }

  /** Of the channel's life that it belongs to; undefined until it is on disk. */
  get epoch(): string | undefined {
    return this.#anchor.epoch;
  }

  /** Of the latest operation on it that is on disk. */
  get position(): string {
    return positionText(this.id ? this.#anchor.epoch! : "", this.#anchor.place);
  }

  /** Adds to the end; the promise is kept when that is on disk, and need not be looked at: `complete` tells, too. */
  append(data: Content): Promise<Ack> {
    return quiet(() => {
      this.#check();
      if (this.#state) throw this.#closed();
      checkKind(data, this.content);
      return this.#say("append", data);
    });
  }

  /** Returns when everything said so far is on disk. Throws what an operation was refused with. */
  async flush(signal?: AbortSignal): Promise<void> {
    this.#open();
    this.#check();
    if (this.#latest) await unlessAborted(this.#latest, signal);
  }

  /** Closes it; returns when that, and with it all of the message, is on disk. An abort stops waiting, no more. */
  async complete(signal?: AbortSignal): Promise<Ack> {
    this.#check();
    return unlessAborted(this.#close("complete", ""), signal);
  }

  /** Closes it as cancelled. A reason that is too long for the broker is cut. */
  async cancel(reason = ""): Promise<Ack> {
    return this.#close("cancelled", reason);
  }

  /** Closes it as error. A reason that is too long for the broker is cut. */
  async fail(reason = ""): Promise<Ack> {
    return this.#close("error", reason);
  }

  /** Opens it, runs `write`, and closes it: as complete, after an AbortError as cancelled, after any other as error. */
  async run<T>(write: (message: this) => Promise<T> | T): Promise<T> {
    try {
      this.#open();
      const result = await write(this);
      if (!this.#state) await this.complete();
      return result;
    } catch (error) {
      const { name, message } = error as Error;
      if (!this.#state)
        await this.#close(name === "AbortError" ? "cancelled" : "error", String(message ?? error)).catch(ignore);
      throw error;
    }
  }

  /** What is left open is closed as error: whoever wrote it has gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#state) await this.fail("its writer left it open").catch(ignore);
  }

  #open(): void {
    const row = this.#opening;
    if (!row) return;
    const { outbox, lane } = this.#way;
    this.#latest = outbox.offer(lane, [row], { anchor: this.#anchor, fence: this.#lease?.fence() ?? 0 });
    this.#opening = null;
  }

  #say(op: OperationName, data: Content, state?: MessageState): Promise<Ack> {
    this.#open();
    const anchor = this.#anchor;
    const row = rowFrom(data, null, {}, { op, message: anchor.offset || STAND_IN, ...(state && { state }) });
    const tie = { anchor, fence: this.#lease?.fence() ?? 0, late: !anchor.offset };
    return (this.#latest = this.#way.outbox.offer(this.#way.lane, [row], tie, op === "close"));
  }

  async #close(state: MessageState, reason: string): Promise<Ack> {
    if (this.#state) throw this.#closed();
    const said = this.#say("close", shortened(reason), state);
    this.#state = state;
    try {
      return await said;
    } catch (error) {
      this.#state = null;
      throw error;
    }
  }

  #check(): void {
    if (this.#anchor.failure) throw this.#anchor.failure;
  }

  #closed(): MessageClosed {
    return new MessageClosed(`the message was closed as ${this.#state} here`, {
      message: this.#anchor.offset,
      state: this.#state!,
    });
  }
}

/** A message that is opened with its first use. Throws TypeError. */
export function opening(way: Way, { name, headers, data = "", lease }: MessageOptions): Writer {
  checkKind(data, data);
  return new Writer(way, new Anchor(), data, lease, rowFrom(data, name, headers, { op: "open" }));
}

/** The writer of a message that is open, or interrupted and opened again by this. Throws MessageClosed. */
export async function adopted(way: Way, view: GrowingMessage, lease?: Fence): Promise<Writer> {
  const { id, epoch, place, state, content } = view;
  const anchor = new Anchor(id, epoch, place);
  if (state === "interrupted") {
    const row = rowFrom(content.slice(0, 0), null, {}, { op: "reopen", message: id });
    await way.outbox.offer(way.lane, [row], { anchor, fence: lease?.fence() ?? 0 });
  } else if (state !== "open")
    throw new MessageClosed(`message ${id} is ${state}: only open and interrupted ones go on`, { message: id, state });
  return new Writer(way, anchor, content, lease);
}

/** Replaces or removes a message, perhaps a closed one. */
export async function amended(
  way: Way,
  message: MessageRef,
  op: "replace" | "remove",
  data: Content,
  lease?: Fence,
): Promise<Ack> {
  checkKind(data, data);
  const { offset, epoch } = readMessage(message);
  const row = rowFrom(data, null, {}, { op, message: offset });
  return way.outbox.offer(way.lane, [row], { anchor: new Anchor(offset, epoch), fence: lease?.fence() ?? 0 });
}

/** An id leaves the epoch open. */
export function readMessage(message: MessageRef): { offset: number; epoch: string | undefined } {
  const read =
    typeof message === "object" ? { offset: message.id, epoch: message.epoch } : readWhere("message", message);
  if (!read.offset) throw new RangeError("the id of a message is the offset that opened it, 1 or more");
  return read;
}

/** Throws TypeError for what cannot be a part of a message that began with `first`. */
function checkKind(data: unknown, first: Content): void {
  if (typeof data !== "string" && !(data instanceof Uint8Array))
    throw new TypeError(`a growing message is text or bytes, not ${typeof data}`);
  if (typeof data !== typeof first)
    throw new TypeError("text is added to text, and bytes to bytes: open the message with data of that kind");
}

/** Cut to what the broker takes, at a letter's end. */
function shortened(reason: string): string {
  return anyTextOf(utf8(reason).subarray(0, REASON_BYTES_MAX)).replace(/\ufffd$/, "");
}

/** As `make`, and nobody has to look at the promise. What is wrong with the call itself is thrown. */
function quiet<T>(make: () => Promise<T>): Promise<T> {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof OutlastError)) throw error;
    const failed = Promise.reject<T>(error);
    failed.catch(ignore);
    return failed;
  }
}
