/** Presence as a channel has it: who is there. */

import { LateStream, lend, part, type Runner } from "./late.js";
import type { Link } from "./link.js";
import type { PresenceEvent } from "./members.js";
import type { PresenceVerbs, Watch } from "./membership.js";
import { Room } from "./room.js";
import type { ChannelVerbs } from "./verbs.js";
import type { Stream } from "./waiting.js";

const VERBS = ["enter", "members", "occupied", "untilOccupied"] as const;

/** Iterate it for what happens. */
export type PresenceWatch = Stream<PresenceEvent>;

export interface Presence extends Pick<PresenceVerbs, (typeof VERBS)[number]> {}

/** `channel.presence`: who is there. A client may be there several times, as a person with two tabs is. */
export class Presence {
  /** @internal */
  readonly room: Room;
  /** @internal */
  readonly late: Runner<PresenceVerbs>;

  /** @internal */
  constructor(name: string, link: Link, late: Runner<ChannelVerbs>) {
    this.room = new Room(name, link);
    this.late = part(late, ({ presence }) => presence);
  }

  /**
   * What happens, from who is there now on; without `members` it counts, which costs less. It begins with "members", and
   * gives them again, instead of what was known, after each new connection and whenever it could not keep up. "occupied" and
   * "vacated" come behind whatever made the channel so. When the channel is deleted all have left; its next life is watched
   * as soon as there is one.
   */
  watch({ members = true, signal }: { members?: boolean; signal?: AbortSignal } = {}): PresenceWatch {
    return new LateStream<PresenceEvent, Watch>(this.late, (verbs: PresenceVerbs) => verbs.watch(members, signal));
  }
}

lend(Presence, VERBS);
