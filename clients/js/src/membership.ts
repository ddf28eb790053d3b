/** Presence: being in a channel, and seeing who is (PROTOCOL.md 6.11). */

import { Closed, UnknownChannel } from "./errors.js";
import type { Link } from "./link.js";
import { type Member, memberFrom, type PresenceEvent } from "./members.js";
import { checkWhole, random64 } from "./options.js";
import { type Whole, whole } from "./protocol/words.js";
import type { Data } from "./records.js";
import { Entry, Lookout, type Room, type Said } from "./room.js";
import { encoded } from "./rows.js";
import { ignore, onAbort, Stream, unlessAborted, within } from "./waiting.js";

const LEAVE_TIMEOUT_MS = 1_000;
const MEMBERS_PAGE = 1_000;
const DATA_BYTES_MAX = 1_024;

/** What can be asked of `channel.presence`. A client may be there several times, as a person with two tabs is. */
export class PresenceVerbs {
  readonly #room: Room;
  readonly #link: Link;

  constructor(room: Room, link: Link) {
    this.#room = room;
    this.#link = link;
  }

  /**
   * Makes this client a member, with `data` of at most 1,024 bytes for all to see. When the connection is lost the member is
   * away, and comes back with it; after `graceMs` (10 s; 0 to 60 s) without one it has left.
   */
  async enter(
    data: Data = null,
    { graceMs = 10_000, signal }: { graceMs?: number; signal?: AbortSignal } = {},
  ): Promise<Membership> {
    const entry = new Entry(whole(random64()), said(data), checkWhole("graceMs", graceMs, 0, 60_000));
    this.#room.enter(entry);
    try {
      await unlessAborted(entry.heard(), signal);
    } catch (error) {
      void this.#room.leave(entry);
      throw error;
    }
    return new Membership(this.#room, entry);
  }

  watch(members: boolean, signal?: AbortSignal): Watch {
    return new Watch(this.#room, new Lookout(members), signal);
  }

  /** Who is there or away, in the byte order of the client ids. Throws UnknownChannel. */
  async members(signal?: AbortSignal): Promise<Member[]> {
    const found: Member[] = [];
    for (let more = true; more;) {
      const last = found.at(-1);
      const place = last && { after_client: last.clientId, after_member: last.memberId };
      const result = await this.#link.callAgain(
        "MEMBERS",
        { channel: this.#room.name, ...place, limit: MEMBERS_PAGE },
        signal,
      );
      found.push(...result.members.map(memberFrom));
      more = result.members.length && result.more;
    }
    return found;
  }

  /** Whether anybody is there, the asker included if it has entered. Who is away counts: it may come back. */
  async occupied(signal?: AbortSignal): Promise<boolean> {
    try {
      const { present, away } = await this.#link.callAgain("MEMBERS", { channel: this.#room.name, limit: 1 }, signal);
      return present + away > 0;
    } catch (error) {
      if (error instanceof UnknownChannel) return false;
      throw error;
    }
  }

  /** Returns when anybody is there. */
  async untilOccupied(signal?: AbortSignal): Promise<void> {
    for await (const { present, away } of this.watch(false, signal))
      if (present + away) return;
  }
}

/** This client's presence in a channel, made by `presence.enter`. */
export class Membership {
  readonly #room: Room;
  readonly #entry: Entry;
  #hasLeft = false;

  /** @internal */
  constructor(room: Room, entry: Entry) {
    this.#room = room;
    this.#entry = entry;
  }

  /** Tells this membership from others of the same client. */
  get memberId(): Whole {
    return this.#entry.member;
  }

  /** Returns when the broker has the new data. What it refuses is thrown, and then the data stays as it was. */
  async update(data: Data, signal?: AbortSignal): Promise<void> {
    if (this.#hasLeft) throw new Closed("this membership was left");
    this.#entry.change(said(data));
    this.#room.say(this.#entry);
    await unlessAborted(this.#entry.heard(), signal);
  }

  /** May be called twice. Without a connection, the broker finds out when the time of grace is over. */
  async leave(): Promise<void> {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#entry.fail(new Closed("the membership was left"));
    const gone = this.#room.leave(this.#entry);
    await within(LEAVE_TIMEOUT_MS, undefined, (signal) => unlessAborted(gone, signal), ignore);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.leave();
  }
}

/**
 * Iterate it for events. It begins with "members", and gives them again, instead of what was known, after each new
 * connection and whenever it could not keep up. "occupied" and "vacated" come behind whatever made the channel so. When the
 * channel is deleted all have left; its next life is watched as soon as there is one.
 */
export class Watch extends Stream<PresenceEvent> {
  readonly #room: Room;
  readonly #lookout: Lookout;
  readonly #stop: () => void;
  #hasStarted = false;

  /** @internal */
  constructor(room: Room, lookout: Lookout, signal?: AbortSignal) {
    super();
    this.#room = room;
    this.#lookout = lookout;
    this.#stop = onAbort(signal, (reason) => {
      lookout.fail(reason);
      room.unwatch(lookout);
    });
  }

  protected async take(): Promise<PresenceEvent | undefined> {
    const lookout = this.#lookout;
    if (!this.#hasStarted && !lookout.isClosed && !lookout.failure) {
      this.#hasStarted = true;
      this.#room.watch(lookout);
    }
    while (!lookout.isClosed) {
      const event = lookout.pop();
      if (event) return event;
      if (lookout.failure) throw lookout.failure;
      await lookout.news.wait();
    }
    return undefined;
  }

  async close(): Promise<void> {
    this.#stop();
    this.#lookout.isClosed = true;
    this.#room.unwatch(this.#lookout);
    this.#lookout.news.ring();
  }
}

/** Throws TypeError or RangeError for what no member can have. */
function said(data: Data): Said {
  const [encoding, bytes] = encoded(data);
  if (bytes.length > DATA_BYTES_MAX)
    throw new RangeError(
      `a member's data has at most ${DATA_BYTES_MAX} bytes, not ${bytes.length}: publish it, and say here where it is`,
    );
  return { encoding, data: bytes };
}
