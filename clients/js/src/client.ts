/** The client: its links, its channels, and their common end. */

import { Channel } from "./channel.js";
import { Closed, ConnectFailed, Forbidden, OutlastError, Unauthorized } from "./errors.js";
import { Late, lend } from "./late.js";
import { type Ears, Link } from "./link.js";
import { checkName, type ConnectOptions, type LinkState, makeOptions, type Options } from "./options.js";
import type { Rest } from "./rest.js";
import type { Feed } from "./subscription.js";
import { ignore, unlessAborted, within } from "./waiting.js";

const CHANNEL_NAME_BYTES_MAX = 255;

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
  if (cause instanceof Unauthorized || cause instanceof Forbidden) return cause;
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

export interface Client extends Pick<Rest, "channels" | "connections" | "revocations" | "revoke" | "status"> {}

/** Made by `connect`. */
export class Client {
  /** @internal What a page can do without until it is shown. */
  readonly late: Late<Rest>;
  readonly #options: Options;
  readonly #main: Link;
  readonly #extra = new Set<Link>();
  readonly #channels = new Map<string, Channel>();
  #ears: Ears | null = null;
  #isClosed = false;

  /** @internal */
  constructor(options: Options) {
    this.#options = options;
    this.#main = new Link(options, true);
    this.late = new Late(async () => new (await import("./rest.js")).Rest(this.#main, this));
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
  async ready(signal: AbortSignal): Promise<void> {
    await this.#main.ready(signal);
    // By now, so that it is there when the connection is not.
    this.late.get().catch(ignore);
  }

  /** Waits up to `closeTimeoutMs` for acknowledgements, then closes. What is not acknowledged fails with Closed. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { closeTimeoutMs } = this.#options;
    const asked = [...this.#channels.values()].filter(({ late }) => late.isWanted && !late.here).map(({ late }) => late.get());
    const load = async (signal: AbortSignal): Promise<void> => void (await unlessAborted(Promise.all(asked), signal));
    if (asked.length) await within(closeTimeoutMs, undefined, load, ignore).catch(ignore);
    await this.late.here?.close(closeTimeoutMs);
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
      channel = new Channel(name, this.#main, this, this.late);
      this.#channels.set(name, channel);
    }
    return channel;
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

lend(Client, ["status", "revoke"], ["channels", "connections", "revocations"]);
