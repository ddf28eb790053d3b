/**
 * Ephemeral messages: told to whoever subscribes at this moment, stored nowhere (PROTOCOL.md 6.14).
 *
 * They come to a connection for the channels that it subscribes to. So a client that listens hears them by the subscription
 * that it has; while it has none, an `Ear` subscribes in its stead and makes room for any that comes.
 */

import { Closed, type OutlastError, TooLarge, UnknownChannel, violation } from "./errors.js";
import type { Ears, Life, Link, Reader } from "./link.js";
import { encodeBatch, type Row } from "./protocol/batch-writer.js";
import type { Headers } from "./protocol/batch.js";
import type { Frame } from "./protocol/frames.js";
import type { Bytes } from "./protocol/words.js";
import { Reading } from "./reading.js";
import { type Data, readRun } from "./records.js";
import type { Start } from "./starts.js";
import { Feed, type Seats } from "./subscription.js";
import { Bell, onAbort, Stream } from "./waiting.js";

const FRAME_HEAD_BYTES = 20;
const FRAME_BYTES_MAX = 65_536;
const DELIVER_HEAD_BYTES = 16;
// Records that come while nobody reads them are dropped, so this only has to be more than one commit brings.
const WINDOW_BYTES = 1_048_576;
// What may wait for the answer to OPEN, before the first message of a connection to a channel.
const OPENING_MAX = 64;

export interface EphemeralMessage {
  readonly data: Data;
  readonly name: string | null;
  readonly headers: Headers;
  readonly clientId: string;
  /** When the broker passed it on, in Unix time. */
  readonly timeMs: number;
}

/** One channel's ephemeral messages on their way out. Nothing is kept over a connection's end. */
export class Mouth {
  readonly #name: string;
  readonly #link: Link;
  #request = 0;
  #opening = false;
  #waiting: Bytes[] = [];

  constructor(name: string, link: Link) {
    this.#name = name;
    this.#link = link;
  }

  /** Whether it was handed to a connection that takes it. Throws TooLarge. */
  send(row: Row): boolean {
    const link = this.#link;
    const batch = encodeBatch(link.clientId, [row]);
    const size = FRAME_HEAD_BYTES + batch.length;
    if (size > FRAME_BYTES_MAX)
      throw new TooLarge(`${size} bytes as a frame, allowed are ${FRAME_BYTES_MAX}`, {
        limit: FRAME_BYTES_MAX,
        value: size,
      });
    if (!link.hasRoom) return false;
    const life = link.life(this.#name);
    if (life) this.#tell(life, batch);
    else this.#open(batch);
    return true;
  }

  /** A channel that does not exist has no readers, and does not come to be for this. */
  #open(batch: Bytes): void {
    this.#waiting.push(batch);
    if (this.#waiting.length > OPENING_MAX) this.#waiting.shift();
    if (this.#opening) return;
    this.#opening = true;
    this.#link.openChannel(
      this.#name,
      () => {
        this.#opening = false;
        const life = this.#link.life(this.#name);
        for (const each of this.#waiting.splice(0)) if (life) this.#tell(life, each);
      },
      false,
    );
  }

  #tell({ number }: Life, batch: Bytes): void {
    this.#request ||= this.#link.reserve((refusal: OutlastError) => {
      if (refusal instanceof UnknownChannel) this.#link.forget(this.#name);
      else this.#link.options.log(`an ephemeral message was refused: ${refusal.message}`);
    });
    this.#link.send({ type: "EPHEMERAL", request: this.#request, number, batch });
  }
}

// --- listening -------------------------------------------------------------------------------------------------

/** Keeps nothing of what is delivered, and begins with what is new on every connection. */
class LiveEdge extends Reading {
  #delivered = 0;

  constructor() {
    super({ start: "latest" }, WINDOW_BYTES);
  }

  override ask(): Start {
    this.epoch = null;
    return super.ask();
  }

  override delivered(batches: Bytes): void {
    this.#delivered += DELIVER_HEAD_BYTES + batches.length;
  }

  override resynced(frame: Frame): void {
    this.hasEnded = frame["reason"] === "deleted";
  }

  override creditDue(): number {
    const due = this.#delivered < WINDOW_BYTES / 4 ? 0 : this.#delivered;
    this.#delivered -= due;
    return due;
  }

  override lost(): void {
    this.#delivered = 0;
    super.lost();
  }
}

/** A subscription for ephemeral messages alone; others may have its seat. */
class Ear extends Feed {
  readonly #hearing: Hearing;

  constructor(name: string, seats: Seats, hearing: Hearing) {
    super(name, new LiveEdge(), WINDOW_BYTES, seats);
    this.yields = true;
    this.#hearing = hearing;
  }

  override delivered(batches: Bytes): void {
    this.reading.delivered(batches);
    this.grant();
  }

  override resynced(resync: Frame): void {
    super.resynced(resync);
    if (this.reading.hasEnded)
      this.fail(new UnknownChannel(`the channel "${this.name}" was deleted: listen again for its next life`));
  }

  override fail(error: unknown): void {
    super.fail(error);
    this.#hearing.fail(this.name, error);
  }
}

/** Who knows by which link a channel is subscribed. */
export interface Places extends Seats {
  seated(name: string): Link | undefined;
  /** From now on `ears` are told. */
  listen(ears: Ears): void;
}

/** All hearers of one client. It is told what comes, and of subscriptions that begin and end. */
export class Hearing implements Ears {
  readonly #places: Places;
  readonly #hearers = new Map<string, Set<Hearer>>();

  constructor(places: Places) {
    this.#places = places;
    places.listen(this);
  }

  /** Throws Closed. */
  join(hearer: Hearer): void {
    const hearers = this.#hearers.get(hearer.name) ?? new Set();
    this.#hearers.set(hearer.name, hearers.add(hearer));
    this.#sit(hearer.name);
  }

  part(hearer: Hearer): void {
    const { name } = hearer;
    const hearers = this.#hearers.get(name);
    hearers?.delete(hearer);
    if (hearers?.size) return;
    this.#hearers.delete(name);
    const reader = this.#places.seated(name)?.readers.get(name);
    if (reader instanceof Ear) reader.close();
  }

  /** Whether what is told there comes here. */
  isLive(name: string): boolean {
    return this.#places.seated(name)?.reads(name) ?? false;
  }

  fail(name: string, error: unknown): void {
    const hearers = this.#hearers.get(name) ?? [];
    this.#hearers.delete(name);
    for (const hearer of hearers) hearer.fail(error);
  }

  close(): void {
    for (const name of [...this.#hearers.keys()]) this.fail(name, new Closed("the client was closed"));
  }

  #sit(name: string): void {
    try {
      if (this.#hearers.has(name) && !this.#places.seated(name)) new Ear(name, this.#places, this).start();
    } catch (error) {
      this.fail(name, error);
    }
  }

  // --- told by the client and its links ------------------------------------------------------------------------

  began(name: string): void {
    for (const hearer of this.#hearers.get(name) ?? []) hearer.news.ring();
  }

  /** A subscription has left its seat. One that only listened was asked to, or has failed. */
  ended(reader: Reader): void {
    if (!(reader instanceof Ear)) this.#sit(reader.name);
  }

  /** Several links may read one channel; the first of them is listened to. */
  heard(link: Link, name: string, batch: Bytes): void {
    const hearers = this.#hearers.get(name);
    if (!hearers || this.#places.seated(name) !== link) return;
    try {
      for (const { data, name, headers, clientId, timeMs } of readRun(batch, ""))
        for (const hearer of hearers) hearer.put({ data, name, headers, clientId, timeMs });
    } catch (error) {
      link.fail(violation(error));
    }
  }
}

/** Ephemeral messages, one after the other. It begins with the first iteration, or by `open`. */
export class Hearer extends Stream<EphemeralMessage> {
  readonly name: string;
  /** @internal */
  readonly news = new Bell();
  readonly #hearing: Hearing;
  readonly #kept: number;
  readonly #queue: EphemeralMessage[] = [];
  #dropped = 0;
  #failure: unknown = null;
  #isClosed = false;
  #hasJoined = false;
  readonly #stop: () => void;

  /** @internal */
  constructor(name: string, hearing: Hearing, kept: number, signal?: AbortSignal) {
    super();
    this.name = name;
    this.#hearing = hearing;
    this.#kept = kept;
    this.#stop = onAbort(signal, (reason) => {
      this.fail(reason);
      hearing.part(this);
    });
  }

  /** How many were not iterated in time, and made room for newer ones here. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Returns once they come here. Throws UnknownChannel and Closed. */
  async open(): Promise<this> {
    this.#join();
    while (!this.#isClosed && !this.#hearing.isLive(this.name)) {
      if (this.#failure) throw this.#failure;
      await this.news.wait();
    }
    return this;
  }

  #join(): void {
    if (this.#hasJoined || this.#isClosed || this.#failure) return;
    this.#hasJoined = true;
    this.#hearing.join(this);
  }

  protected async take(): Promise<EphemeralMessage | undefined> {
    this.#join();
    while (!this.#isClosed) {
      const message = this.#queue.shift();
      if (message) return message;
      if (this.#failure) throw this.#failure;
      await this.news.wait();
    }
    return undefined;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#stop();
    this.#isClosed = true;
    this.#hearing.part(this);
    this.news.ring();
  }

  /** @internal */
  put(message: EphemeralMessage): void {
    if (this.#queue.push(message) > this.#kept) {
      this.#queue.shift();
      this.#dropped++;
    }
    this.news.ring();
  }

  /** @internal */
  fail(error: unknown): void {
    this.#failure ??= error;
    this.news.ring();
  }
}
