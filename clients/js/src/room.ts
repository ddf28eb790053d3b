/**
 * What one client does and sees of a channel's presence, over the wires of its link (PROTOCOL.md 6.11).
 *
 * `Entry` is the inner half of a Membership, `Lookout` of a PresenceWatch. Both outlive wires, and the life of the channel:
 * on each new connection the room enters its members again, under the same member ids, and watches again. A channel that
 * was deleted is not brought back by presence alone: the room asks now and then whether it is there.
 */

import { delayMs } from "./backoff.js";
import { ConnectionLost, OutlastError, UnknownChannel, type Violation } from "./errors.js";
import type { Fields, Life, Link, Listener, Witness } from "./link.js";
import { type PresenceEvent, View } from "./members.js";
import type { Frame } from "./protocol/frames.js";
import type { Bytes, Whole } from "./protocol/words.js";
import { Bell, type Deferred, defer } from "./waiting.js";

// A watch that its user does not iterate keeps so many events; of more a snapshot is left.
const EVENTS_MAX = 10_000;

export interface Said {
  readonly encoding: number;
  readonly data: Bytes;
}

/** One member of ours: what the broker is to know of it, and what it has accepted. */
export class Entry {
  readonly member: Whole;
  wanted: Said;
  accepted: Said | null = null;
  version = 0;
  readonly #graceMs: number;
  #answered = -1;
  #waiting: [version: number, turn: Deferred<void>][] = [];

  constructor(member: Whole, wanted: Said, graceMs: number) {
    this.member = member;
    this.wanted = wanted;
    this.#graceMs = graceMs;
  }

  /** What is wanted now was neither accepted nor refused yet. */
  get isNew(): boolean {
    return this.#answered < this.version;
  }

  get fields(): Fields {
    return { member: this.member, ...this.wanted, grace_ms: this.#graceMs };
  }

  change(wanted: Said): void {
    this.wanted = wanted;
    this.version++;
  }

  /** Returns when the broker has accepted what is wanted now. Throws what it refuses it with. */
  async heard(): Promise<void> {
    if (!this.isNew) return;
    const turn = defer<void>();
    this.#waiting.push([this.version, turn]);
    await turn.promise;
  }

  accept(version: number, wanted: Said): void {
    this.accepted = wanted;
    this.#settle(version, null);
  }

  /** What was accepted before stays, unless something newer is under way. */
  refuse(version: number, error: unknown): void {
    if (version === this.version && this.accepted) this.wanted = this.accepted;
    this.#settle(version, error);
  }

  fail(error: unknown): void {
    this.#settle(this.version, error);
  }

  #settle(version: number, error: unknown): void {
    this.#answered = Math.max(this.#answered, version);
    const waiting = this.#waiting;
    this.#waiting = waiting.filter(([wanted]) => wanted > version);
    for (const [wanted, turn] of waiting) {
      if (wanted > version) continue;
      if (error) turn.reject(error);
      else turn.resolve();
    }
  }
}

/** The events that one watch has not handed over yet. */
export class Lookout {
  readonly wantsRows: boolean;
  readonly news: Bell;
  hasBegun = false;
  failure: unknown = null;
  isClosed = false;
  #events: PresenceEvent[] = [];
  #counts = "";
  #occupied = false;
  #occupiedWhenHanded = false;

  constructor(wantsRows: boolean, news = new Bell()) {
    this.wantsRows = wantsRows;
    this.news = news;
  }

  /** `view` is how things stand with these events. */
  push(events: readonly PresenceEvent[], view: View): void {
    const { present, away } = view;
    const counts = `${present}:${away}`;
    this.hasBegun = true;
    if (this.wantsRows) {
      this.#events.push(...events);
      if (this.#events.length > EVENTS_MAX) {
        this.#events = [view.snapshot()];
        this.#occupied = this.#occupiedWhenHanded;
      }
    } else if (counts !== this.#counts) this.#events.push({ type: "counts", present, away });
    this.#counts = counts;
    const occupied = present + away > 0;
    if (occupied !== this.#occupied) this.#events.push({ type: occupied ? "occupied" : "vacated", present, away });
    this.#occupied = occupied;
    this.news.ring();
  }

  pop(): PresenceEvent | undefined {
    const event = this.#events.shift();
    if (event?.type === "occupied" || event?.type === "vacated") this.#occupiedWhenHanded = event.type === "occupied";
    return event;
  }

  /** Ends the iteration with `error`, after what has come. */
  fail(error: unknown): void {
    this.failure = error;
    this.news.ring();
  }
}

/** Listens to its link while it has entries or lookouts. */
export class Room implements Listener, Witness {
  readonly name: string;
  readonly #link: Link;
  #failure: unknown = null;
  readonly #entries = new Map<Whole, Entry>();
  readonly #lookouts = new Set<Lookout>();
  #view = new View();
  #life: Life | null = null;
  #watchesRows: boolean | null = null;
  #opening = false;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, link: Link) {
    this.name = name;
    this.#link = link;
  }

  // --- what its client wants -----------------------------------------------------------------------------------

  /** Throws what ended the room: its client was closed. */
  enter(entry: Entry): void {
    this.#check();
    this.#entries.set(entry.member, entry);
    this.#link.listeners.add(this);
    this.say(entry);
  }

  /** Tells the broker what is wanted of this member, now or as soon as that can be. */
  say(entry: Entry): void {
    this.#check();
    if (this.#life) this.#send(this.#life, entry);
    else this.#begin();
  }

  /** Returns when the broker knows, or will find out by itself that nobody comes back. */
  leave(entry: Entry): Promise<void> {
    const done = defer<void>();
    const life = this.#life;
    if (this.#entries.delete(entry.member) && life)
      this.#link.request("LEAVE", { number: life.number, member: entry.member }, () => done.resolve());
    else done.resolve();
    this.#rest();
    return done.promise;
  }

  /** Throws what ended the room: its client was closed. */
  watch(lookout: Lookout): void {
    this.#check();
    this.#lookouts.add(lookout);
    this.#link.listeners.add(this);
    if (!this.#life) this.#begin();
    else if (this.#watchesRows === null || (lookout.wantsRows && !this.#watchesRows)) this.#askToWatch(this.#life);
    else if (this.#view.isWhole) lookout.push([this.#view.snapshot()], this.#view);
  }

  unwatch(lookout: Lookout): void {
    if (!this.#lookouts.delete(lookout)) return;
    if (!this.#lookouts.size && this.#watchesRows !== null) {
      this.#watchesRows = null;
      this.#view = new View();
      if (this.#life) this.#link.request("UNWATCH", { number: this.#life.number });
    }
    this.#rest();
  }

  /** The client is closed: its members leave, and whoever waits is told. */
  end(error: unknown): void {
    this.#failure = error;
    for (const { member } of this.#entries.values())
      if (this.#life) this.#link.request("LEAVE", { number: this.#life.number, member });
    this.#failAll(error);
  }

  #check(): void {
    if (this.#failure) throw this.#failure;
  }

  #failAll(error: unknown): void {
    for (const each of [...this.#entries.values(), ...this.#lookouts]) each.fail(error);
    this.#entries.clear();
    this.#lookouts.clear();
    this.#rest();
  }

  /** Without entries and lookouts there is nothing to listen for. */
  #rest(): void {
    if (this.#entries.size || this.#lookouts.size) return;
    if (this.#life) this.#link.callWitness(this.#life.number, null);
    this.linkLost();
    this.#link.listeners.delete(this);
  }

  // --- called by the link --------------------------------------------------------------------------------------

  linkOpened(): void {
    this.#attempt = 0;
    this.#begin();
  }

  /** What the members of this view do now is not known; it stands until a new snapshot replaces it. */
  linkLost(): void {
    clearTimeout(this.#timer);
    this.#life = this.#watchesRows = null;
    this.#opening = false;
  }

  told(presence: Frame): void {
    let events: PresenceEvent[];
    try {
      events = this.#view.apply(presence);
    } catch (error) {
      this.#link.fail(error as Violation);
      return;
    }
    const view = this.#view;
    for (const lookout of view.isWhole ? this.#lookouts : [])
      if (view.hasRows || !lookout.wantsRows) lookout.push(lookout.hasBegun ? events : [view.snapshot()], view);
  }

  /** Of this life of the channel nothing more will come. */
  deleted(number: Whole): void {
    const life = this.#life;
    this.#life = this.#watchesRows = null;
    this.#link.callWitness(number, null);
    if (life) this.#link.forget(this.name, life);
    const events = this.#view.end();
    for (const lookout of this.#lookouts) if (lookout.hasBegun) lookout.push(events, this.#view);
    this.#tryLater(0);
  }

  // --- entering and watching -----------------------------------------------------------------------------------

  #begin(): void {
    const link = this.#link;
    if (this.#life || this.#opening || !link.isOpen || !(this.#entries.size || this.#lookouts.size)) return;
    const life = link.life(this.name);
    if (!life) {
      // Somebody who does not know yet, or was not told, that the channel is gone makes it come to be.
      const creates =
        [...this.#entries.values()].some(({ isNew }) => isNew) || [...this.#lookouts].some(({ hasBegun }) => !hasBegun);
      this.#opening = true;
      link.openChannel(this.name, (answer) => this.#opened(answer), creates);
      return;
    }
    this.#life = life;
    link.callWitness(life.number, this);
    for (const entry of [...this.#entries.values()]) this.#send(life, entry);
    if (this.#lookouts.size) this.#askToWatch(life);
  }

  #opened(answer: unknown): void {
    this.#opening = false;
    if (answer instanceof UnknownChannel) this.#tryLater(0);
    else if (answer instanceof OutlastError) this.#refused(answer);
    else {
      this.#attempt = 0;
      this.#begin();
    }
  }

  #send(life: Life, entry: Entry): void {
    const { version, wanted } = entry;
    this.#link.request("ENTER", { number: life.number, ...entry.fields }, (answer) => {
      if (life === this.#life) this.#entered(life, entry, version, wanted, answer);
    });
  }

  #entered(life: Life, entry: Entry, version: number, wanted: Said, answer: unknown): void {
    if (answer instanceof ConnectionLost) return;
    if (!(answer instanceof OutlastError)) entry.accept(version, wanted);
    else if (answer instanceof UnknownChannel) this.deleted(life.number);
    else if (answer.retryable || !entry.isNew) {
      this.#link.options.log(`presence in "${this.name}" waits: ${answer.message}`);
      this.#again(answer);
    } else {
      if (!entry.accepted) this.#entries.delete(entry.member);
      entry.refuse(version, answer);
      this.#rest();
    }
  }

  #askToWatch(life: Life): void {
    const rows = [...this.#lookouts].some(({ wantsRows }) => wantsRows);
    this.#watchesRows = rows;
    this.#link.request("WATCH", { number: life.number, rows }, (answer) => {
      if (life !== this.#life) return;
      if (!(answer instanceof OutlastError)) this.#view.begin(rows);
      else if (answer instanceof UnknownChannel) this.deleted(life.number);
      else this.#refused(answer);
    });
  }

  #refused(error: OutlastError): void {
    if (error instanceof ConnectionLost) return;
    if (error.retryable) this.#again(error);
    else this.#failAll(error);
  }

  /** Everything is said again after a while: it does no harm to say it twice. */
  #again(error: OutlastError): void {
    if (this.#life) this.#link.callWitness(this.#life.number, null);
    this.#life = this.#watchesRows = null;
    this.#tryLater(error.retryAfterMs);
  }

  #tryLater(askedMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#begin(),
      delayMs(this.#attempt++, this.#link.options.pace, Math.random(), askedMs),
    );
  }
}
