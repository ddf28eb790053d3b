/** The client: its links, its channels, and their common end. */

import { Channel } from "./channel.js";
import { Hearing } from "./ephemeral.js";
import { Closed, type OutlastError } from "./errors.js";
import { type Ears, Link } from "./link.js";
import { checkName, type LinkState, type Options } from "./options.js";
import { Outbox } from "./outbox.js";
import type { Feed } from "./subscription.js";
import { type ChannelSummary, type ConnectionInfo, named, type Revocation, type Status, summaryFrom } from "./summaries.js";

const PAGE_ROWS = 500;
const CHANNEL_NAME_BYTES_MAX = 255;

type Rows<T> = AsyncGenerator<T, void, undefined>;

/** One of both. */
export interface RevokeOptions {
  /** Every token of this subject that was issued until now. */
  subject?: string;
  /** The one token with this `jti`. */
  tokenId?: string;
  signal?: AbortSignal;
}

/** Made by `connect`. */
export class Client {
  readonly #options: Options;
  readonly #main: Link;
  readonly #outbox: Outbox;
  readonly #hearing: Hearing;
  readonly #extra = new Set<Link>();
  readonly #channels = new Map<string, Channel>();
  #ears: Ears | null = null;
  #isClosed = false;

  /** @internal */
  constructor(options: Options) {
    this.#options = options;
    this.#main = new Link(options, true);
    this.#outbox = new Outbox(this.#main);
    this.#hearing = new Hearing(this);
    this.#main.start();
  }

  /** "connecting", "open", "waiting" for the next attempt, or "closed". */
  get state(): LinkState {
    return this.#main.state;
  }

  /** The name under which this client publishes. */
  get clientId(): string {
    return this.#main.clientId;
  }

  /** @internal Why the latest connection ended. */
  get failure(): OutlastError | null {
    return this.#main.failure;
  }

  /** @internal */
  ready(signal: AbortSignal): Promise<void> {
    return this.#main.ready(signal);
  }

  /** Waits up to `closeTimeoutMs` for acknowledgements, then closes. What is not acknowledged fails with Closed. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#outbox.close(this.#options.closeTimeoutMs);
    this.#hearing.close();
    const error = new Closed("the client was closed");
    for (const channel of this.#channels.values()) channel.presence.room.end(error);
    for (const link of this.#links()) {
      for (const reader of [...link.readers.values()]) reader.fail(error);
      link.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // --- channels ------------------------------------------------------------------------------------------------

  /** The channel of that name; no I/O. 1 to 255 bytes of UTF-8 without control characters. */
  channel(name: string): Channel {
    let channel = this.#channels.get(name);
    if (!channel) {
      checkName("a channel's name", name, CHANNEL_NAME_BYTES_MAX);
      channel = new Channel(name, this.#main, this.#outbox, this, this.#hearing);
      this.#channels.set(name, channel);
    }
    return channel;
  }

  // --- the broker itself ----------------------------------------------------------------------------------------

  /** The channels whose names begin with `prefix`, in the byte order of their names. */
  async *channels({ prefix = "", signal }: { prefix?: string; signal?: AbortSignal } = {}): Rows<ChannelSummary> {
    for await (const row of this.#rows("LIST", "channels", ({ channel }) => channel, { prefix }, signal)) yield summaryFrom(row);
  }

  /** What the broker is and does now. */
  async status({ signal }: { signal?: AbortSignal } = {}): Promise<Status> {
    return named(await this.#main.callAgain("STATUS", {}, signal));
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
    return (await this.#main.callAgain("REVOKE", { subject, token_id: tokenId }, signal)).cut;
  }

  /** What the broker does not believe any more, in the byte order of subjects and token ids. */
  async *revocations({ signal }: { signal?: AbortSignal } = {}): Rows<Revocation> {
    const place = ({ subject, token_id }: any): string => subject ?? token_id;
    for await (const row of this.#rows("REVOCATIONS", "revocations", place, {}, signal)) yield named(row);
  }

  /** What the broker lists in pages; `place` says of a row where the page after it begins. */
  async *#rows(type: string, list: string, place: (row: any) => string | number, fields: object, signal?: AbortSignal): Rows<any> {
    for (let after: string | number | null = null, more = true; more;) {
      const result = await this.#main.callAgain(type, { ...fields, after, limit: PAGE_ROWS }, signal);
      const rows: any[] = result[list];
      yield* rows;
      if (rows.length) after = place(rows.at(-1));
      more = rows.length > 0 && result.more;
    }
  }

  // --- seats for subscriptions ---------------------------------------------------------------------------------

  /** @internal A link with no subscription to the feed's channel; a new one when all have one. Throws Closed. */
  seat(feed: Feed): Link {
    if (this.#isClosed) throw new Closed("this client is closed");
    for (const link of this.#links()) {
      const occupant = link.readers.get(feed.name);
      if (occupant?.yields) occupant.close();
      if (link.readers.has(feed.name)) continue;
      link.readers.set(feed.name, feed);
      return link;
    }
    const link = new Link(this.#options, false);
    link.clientId = this.clientId;
    link.ears = this.#ears;
    link.readers.set(feed.name, feed);
    this.#extra.add(link);
    link.start();
    return link;
  }

  /** @internal Frees the feed's seat; an extra link with nobody on it is closed. */
  leave(feed: Feed, link: Link): void {
    if (link.readers.get(feed.name) === feed) link.readers.delete(feed.name);
    if (!link.readers.size && this.#extra.delete(link)) link.close();
    if (!this.#isClosed) this.#ears?.ended(feed);
  }

  /** @internal The first link with a subscription to the channel. */
  seated(name: string): Link | undefined {
    return this.#links().find((link) => link.readers.has(name));
  }

  /** @internal From now on `ears` hear what is not stored. */
  listen(ears: Ears): void {
    this.#ears = ears;
    for (const link of this.#links()) link.ears = ears;
  }

  #links(): Link[] {
    return [this.#main, ...this.#extra];
  }
}
