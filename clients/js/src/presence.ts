/** Presence as a channel has it: who is there (PROTOCOL.md 6.11). */

import { UnknownChannel } from "./errors.js";
import type { Link } from "./link.js";
import { type Member, memberFrom, type PresenceEvent } from "./members.js";
import { Membership, said } from "./membership.js";
import { checkWhole, random64 } from "./options.js";
import { whole } from "./protocol/words.js";
import type { Data } from "./records.js";
import { Entry, Lookout, Room } from "./room.js";
import { onAbort, Stream, unlessAborted } from "./waiting.js";

const MEMBERS_PAGE = 1_000;

/** `channel.presence`: who is there. A client may be there several times, as a person with two tabs is. */
export class Presence {
  /** @internal */
  readonly room: Room;
  readonly #link: Link;

  /** @internal */
  constructor(name: string, link: Link) {
    this.room = new Room(name, link);
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
    this.room.enter(entry);
    try {
      await unlessAborted(entry.heard(), signal);
    } catch (error) {
      void this.room.leave(entry);
      throw error;
    }
    return new Membership(this.room, entry);
  }

  /**
   * What happens, from who is there now on; without `members` it counts, which costs less. It begins with "members", and
   * gives them again, instead of what was known, after each new connection and whenever it could not keep up. "occupied" and
   * "vacated" come behind whatever made the channel so. When the channel is deleted all have left; its next life is watched
   * as soon as there is one.
   */
  watch({ members = true, signal }: { members?: boolean; signal?: AbortSignal } = {}): PresenceWatch {
    return new PresenceWatch(this.room, new Lookout(members), signal);
  }

  /** Who is there or away, in the byte order of the client ids. Throws UnknownChannel. */
  async members(signal?: AbortSignal): Promise<Member[]> {
    const found: Member[] = [];
    for (let more = true; more;) {
      const last = found.at(-1);
      const place = last && { after_client: last.clientId, after_member: last.memberId };
      const result = await this.#link.callAgain(
        "MEMBERS",
        { channel: this.room.name, ...place, limit: MEMBERS_PAGE },
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
      const { present, away } = await this.#link.callAgain("MEMBERS", { channel: this.room.name, limit: 1 }, signal);
      return present + away > 0;
    } catch (error) {
      if (error instanceof UnknownChannel) return false;
      throw error;
    }
  }

  /** Returns when anybody is there. */
  async untilOccupied(signal?: AbortSignal): Promise<void> {
    for await (const { present, away } of this.watch({ members: false, ...(signal && { signal }) }))
      if (present + away) return;
  }
}

/** Iterate it for what happens. */
export class PresenceWatch extends Stream<PresenceEvent> {
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
