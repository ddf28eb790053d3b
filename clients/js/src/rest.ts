/** The module of everything that is late: each client has one Rest of it (see `late`). */

import type { Channel } from "./channel.js";
import { Hearing, type Places } from "./ephemeral.js";
import type { Link } from "./link.js";
import { Outbox } from "./outbox.js";
import { type ChannelSummary, type ConnectionInfo, named, type Revocation, type Status, summaryFrom } from "./summaries.js";
import { ChannelVerbs } from "./verbs.js";

const PAGE_ROWS = 500;

type Rows<T> = AsyncGenerator<T, void, undefined>;

/** One of both. */
export interface RevokeOptions {
  /** Every token of this subject that was issued until now. */
  subject?: string;
  /** The one token with this `jti`. */
  tokenId?: string;
  signal?: AbortSignal;
}

export class Rest {
  readonly link: Link;
  readonly outbox: Outbox;
  readonly hearing: Hearing;

  constructor(link: Link, places: Places) {
    this.link = link;
    this.outbox = new Outbox(link);
    this.hearing = new Hearing(places);
  }

  verbs(channel: Channel): ChannelVerbs {
    return new ChannelVerbs(channel, this);
  }

  /** The channels whose names begin with `prefix`, in the byte order of their names. */
  async *channels({ prefix = "", signal }: { prefix?: string; signal?: AbortSignal } = {}): Rows<ChannelSummary> {
    for await (const row of this.#rows("LIST", "channels", ({ channel }) => channel, { prefix }, signal)) yield summaryFrom(row);
  }

  /** What the broker is and does now. */
  async status({ signal }: { signal?: AbortSignal } = {}): Promise<Status> {
    return named(await this.link.callAgain("STATUS", {}, signal));
  }

  /** Who is connected to the broker, in the order in which they came; this client, too. */
  async *connections({ signal }: { signal?: AbortSignal } = {}): Rows<ConnectionInfo> {
    for await (const row of this.#rows("CONNECTIONS", "connections", ({ id }) => id, {}, signal)) yield named(row);
  }

  /**
   * Has the broker not believe tokens any more: those of `subject` issued until now, or the one with `tokenId`. Who came
   * with one is cut off: returns how many connections were. It is on disk then.
   */
  async revoke({ subject, tokenId, signal }: RevokeOptions): Promise<number> {
    return (await this.link.callAgain("REVOKE", { subject, token_id: tokenId }, signal)).cut;
  }

  /** What the broker does not believe any more, in the byte order of subjects and token ids. */
  async *revocations({ signal }: { signal?: AbortSignal } = {}): Rows<Revocation> {
    const place = ({ subject, token_id }: any): string => subject ?? token_id;
    for await (const row of this.#rows("REVOCATIONS", "revocations", place, {}, signal)) yield named(row);
  }

  /** What the broker lists in pages; `place` says of a row where the page after it begins. */
  async *#rows(type: string, list: string, place: (row: any) => string | number, fields: object, signal?: AbortSignal): Rows<any> {
    for (let after: string | number | null = null, more = true; more;) {
      const result = await this.link.callAgain(type, { ...fields, after, limit: PAGE_ROWS }, signal);
      const rows: any[] = result[list];
      yield* rows;
      if (rows.length) after = place(rows.at(-1));
      more = rows.length > 0 && result.more;
    }
  }

  /** Waits so long for acknowledgements, then fails what is left. */
  async close(timeoutMs: number): Promise<void> {
    await this.outbox.close(timeoutMs);
    this.hearing.close();
  }
}
