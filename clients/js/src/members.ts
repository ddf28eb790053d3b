/** Who is in a channel, and what happens there: the members, the events, and the view that PRESENCE frames make. */

import { Violation } from "./errors.js";
import type { Frame } from "./protocol/frames.js";
import { type Whole, utf8 } from "./protocol/words.js";
import { type Data, decoded } from "./records.js";

const STATUSES = ["present", "away", "left"] as const;

/** One client's presence in a channel, by one handle. A client may have several: `memberId` tells them apart. */
export interface Member {
  readonly clientId: string;
  readonly memberId: Whole;
  /** "away": its connection was lost and its time of grace runs. */
  readonly status: (typeof STATUSES)[number];
  readonly data: Data;
  /** Since when it has this status, in Unix time. */
  readonly sinceMs: number;
  /** Of one that has left: "left", "timed_out", or "deleted" with its channel. */
  readonly reason: string;
}

interface Counts {
  /** How many are present and away as of then. */
  readonly present: number;
  readonly away: number;
}

/**
 * What a watch gives. "members": all of them, instead of whatever was known before. "member": one came, changed its data,
 * went away, came back or left. "counts": for a watch without members. "occupied" and "vacated": somebody is there now, or
 * nobody any more.
 */
export type PresenceEvent = Counts &
  (
    | { readonly type: "members"; readonly members: readonly Member[] }
    | { readonly type: "member"; readonly member: Member }
    | { readonly type: "counts" | "occupied" | "vacated" }
  );

/** A row of PRESENCE or MEMBERS. Throws Violation. */
export function memberFrom(row: any): Member {
  const [clientId, memberId, status, encoding, data, sinceMs, reason] = Array.isArray(row) ? row : [];
  if (!STATUSES[status] || !(data instanceof Uint8Array)) throw new Violation("a row of presence makes no sense");
  return { clientId, memberId, status: STATUSES[status], data: decoded(encoding, data), sinceMs, reason };
}

const keyOf = ({ clientId, memberId }: Member): string => `${memberId}:${clientId}`;

/** In the byte order of the client ids. */
function inOrder(a: Member, b: Member): number {
  const [left, right] = [utf8(a.clientId), utf8(b.clientId)];
  const at = left.findIndex((byte, index) => byte !== right[index]);
  return (at < 0 ? left.length - right.length : left[at]! - (right[at] ?? -1)) || (a.memberId < b.memberId ? -1 : 1);
}

/** The members of one channel as far as PRESENCE frames have told. */
export class View {
  present = 0;
  away = 0;
  /** A snapshot has come to its end. */
  isWhole = false;
  /** What comes has members in it, not counts alone. */
  hasRows = false;
  #members = new Map<string, Member>();
  #coming: Map<string, Member> | null = null;

  /** A snapshot is about to come; what is known stays until it is whole. */
  begin(hasRows: boolean): void {
    this.#coming = null;
    this.isWhole = false;
    this.hasRows = hasRows;
  }

  /** What the frame says that was not known. Throws Violation. */
  apply({ members: rows, snapshot, more, present, away }: Frame): PresenceEvent[] {
    const members: Member[] = rows.map(memberFrom);
    if (snapshot) return this.#gather(members, more, present, away);
    const events = members
      .filter((member) => this.#change(member))
      .map((member) => ({ type: "member" as const, member, present, away }));
    if (!more) Object.assign(this, { present, away });
    return events;
  }

  #gather(members: readonly Member[], more: boolean, present: number, away: number): PresenceEvent[] {
    this.#coming ??= new Map();
    for (const member of members) this.#coming.set(keyOf(member), member);
    if (more) return [];
    this.#members = this.#coming;
    this.#coming = null;
    Object.assign(this, { present, away, isWhole: true });
    return [this.snapshot()];
  }

  #change(member: Member): boolean {
    const key = keyOf(member);
    if (member.status === "left") return this.#members.delete(key);
    const known = this.#members.get(key);
    this.#members.set(key, member);
    return JSON.stringify(known, shown) !== JSON.stringify(member, shown);
  }

  snapshot(): PresenceEvent {
    const { present, away } = this;
    return { type: "members", members: [...this.#members.values()].sort(inOrder), present, away };
  }

  /** The channel was deleted, and nobody is there. */
  end(): PresenceEvent[] {
    const left = [...this.#members.values()];
    this.#members = new Map();
    this.present = this.away = 0;
    this.begin(this.hasRows);
    return left.map((member) => ({
      type: "member",
      member: { ...member, status: "left", reason: "deleted" },
      present: 0,
      away: 0,
    }));
  }
}

const shown = (_: string, value: unknown): unknown => (typeof value === "bigint" ? String(value) : value);
