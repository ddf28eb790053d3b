/** The client: its links, its channels, and their common end. */

import { Channel } from "./channel.js";
import { Hearing } from "./ephemeral.js";
import { Closed, ConnectFailed, OutlastError } from "./errors.js";
import { Link } from "./link.js";
import { checkName, type ConnectOptions, type LinkState, makeOptions, type Options } from "./options.js";
import { Lane, Outbox } from "./outbox.js";
import { type ChannelSummary, summaryFrom } from "./records.js";
import type { Feed } from "./subscription.js";
import { within } from "./waiting.js";

const CHANNEL_NAME_BYTES_MAX = 255;
const LIST_PAGE = 500;

/**
 * Connects to a broker, and returns once it has answered.
 *
 * `url`: ws://, wss://, http:// or https:// (whose path is /v1/ws unless it says another), and on Node outlast://HOST[:PORT] or
 * outlast+unix:///PATH. Default: OUTLAST_URL, else where the page came from, else outlast://127.0.0.1:6180.
 * From then on the client comes back by itself, without an attempt limit. Throws ConnectFailed.
 */
export async function connect(url?: string, options: ConnectOptions = {}): Promise<Client> {
  const made = makeOptions(url, options);
  options.signal?.throwIfAborted();
  const client = new Client(made);
  try {
    await within(
      made.timeoutMs,
      options.signal,
      (signal) => client.ready(signal),
      () => {
        throw failed(made, client.failure);
      },
    );
  } catch (error) {
    await client.close();
    throw error instanceof OutlastError ? failed(made, error) : error;
  }
  return client;
}

function failed({ url, timeoutMs }: Options, cause: OutlastError | null): OutlastError {
  if (cause instanceof ConnectFailed && cause.cause) return cause;
  if (cause && !cause.retryable)
    return Object.assign(new ConnectFailed(`${url} refuses this client: ${cause.code}, ${cause.message}`), {
      retryable: false,
      cause,
    });
  return Object.assign(
    new ConnectFailed(`no connection to ${url} within ${timeoutMs} ms: ${cause?.message ?? "no answer"}`),
    { cause },
  );
}

/** Made by `connect`. */
export class Client {
  readonly #options: Options;
  readonly #main: Link;
  readonly #outbox: Outbox;
  readonly #extra = new Set<Link>();
  readonly #channels = new Map<string, Channel>();
  readonly #hearing: Hearing;
  #isClosed = false;

  /** @internal */
  constructor(options: Options) {
    this.#options = options;
    this.#hearing = new Hearing(this);
    this.#main = new Link(options, true);
    this.#main.ears = this.#hearing;
    this.#outbox = new Outbox(this.#main);
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
    const error = new Closed("the client was closed");
    for (const channel of this.#channels.values()) channel.presence.room.end(error);
    this.#hearing.close();
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
      const way = { link: this.#main, outbox: this.#outbox, lane: new Lane(name) };
      channel = new Channel(name, way, this, this.#hearing);
      this.#channels.set(name, channel);
    }
    return channel;
  }

  /** The channels whose names begin with `prefix`, in the byte order of their names. */
  async *channels({ prefix = "", signal }: { prefix?: string; signal?: AbortSignal } = {}): AsyncGenerator<
    ChannelSummary,
    void,
    undefined
  > {
    for (let after: string | null = null, more = true; more;) {
      const result: { channels: any[]; more: boolean } = await this.#main.callAgain(
        "LIST",
        { prefix, after, limit: LIST_PAGE },
        signal,
      );
      yield* result.channels.map(summaryFrom);
      after = result.channels.at(-1)?.channel ?? null;
      more = after !== null && result.more;
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
    link.ears = this.#hearing;
    link.readers.set(feed.name, feed);
    this.#extra.add(link);
    link.start();
    return link;
  }

  /** @internal Frees the feed's seat; an extra link with nobody on it is closed. */
  leave(feed: Feed, link: Link): void {
    if (link.readers.get(feed.name) === feed) link.readers.delete(feed.name);
    if (!link.readers.size && this.#extra.delete(link)) link.close();
    if (!this.#isClosed) this.#hearing.ended(feed);
  }

  /** @internal The first link with a subscription to the channel. */
  seated(name: string): Link | undefined {
    return this.#links().find((link) => link.readers.has(name));
  }

  #links(): Link[] {
    return [this.#main, ...this.#extra];
  }
}
