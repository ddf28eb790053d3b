/** Being in a channel (PROTOCOL.md 6.11). */

import { Closed } from "./errors.js";
import type { Whole } from "./protocol/words.js";
import type { Data } from "./records.js";
import type { Entry, Room, Said } from "./room.js";
import { encoded } from "./rows.js";
import { ignore, unlessAborted, within } from "./waiting.js";

const LEAVE_TIMEOUT_MS = 1_000;
const DATA_BYTES_MAX = 1_024;

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

/** Throws TypeError or RangeError for what no member can have. */
export function said(data: Data): Said {
  const [encoding, bytes] = encoded(data);
  if (bytes.length > DATA_BYTES_MAX)
    throw new RangeError(
      `a member's data has at most ${DATA_BYTES_MAX} bytes, not ${bytes.length}: publish it, and say here where it is`,
    );
  return { encoding, data: bytes };
}
