/** A channel as its user sees it. */

import { AttachFeed, Attachment, type AttachOptions } from "./attachment.js";
import type { EphemeralMessage, Hearer } from "./ephemeral.js";
import { fetchMessage } from "./fetch.js";
import { Late, LateStream, lend, part, type Runner } from "./late.js";
import { LateMessage } from "./late-message.js";
import type { Link } from "./link.js";
import type { MessageOptions, MessageWriter } from "./message.js";
import { checkName, checkWhole, CURSOR_NAME_BYTES_MAX } from "./options.js";
import { Presence } from "./presence.js";
import { Reading } from "./reading.js";
import type { Data, Headers } from "./records.js";
import type { Rest } from "./rest.js";
import { chooseStart } from "./starts.js";
import type { StateVerbs } from "./state.js";
import { Feed, type Seats, type SubscribeOptions, Subscription } from "./subscription.js";
import type { ChannelVerbs } from "./verbs.js";
import type { Stream } from "./waiting.js";

const WINDOW_BYTES = 1_048_576;
const CREDIT_BYTES_MAX = 2 ** 31 - 1;
const EPHEMERAL_KEPT = 256;
export const VERBS = [
  "publish", "publishMany", "adopt", "getMessage", "replace", "remove",
  "prompt", "cancel", "steer", "askApproval", "outcome", "approve", "reject", "inbox",
  "delivered", "forgetCursor", "lease", "leases", "claim", "once", "info", "configure", "truncate", "delete",
] as const;
export const LISTS = ["history", "cursors", "claims"] as const;
const STATE_VERBS = ["get", "watch", "set", "delete", "increment", "update"] as const;

/** Keys and values that every client reads and writes. */
export type SharedState = Pick<StateVerbs, (typeof STATE_VERBS)[number]>;

class State {
  readonly late: Runner<StateVerbs>;

  constructor(late: Runner<ChannelVerbs>) {
    this.late = part(late, ({ state }) => state);
  }
}

lend(State, STATE_VERBS);

export interface Channel extends Pick<ChannelVerbs, (typeof VERBS)[number] | (typeof LISTS)[number]> {}

/** Made by `client.channel(name)`, without I/O. The channel comes to be when it is first used. */
export class Channel {
  readonly name: string;
  /** Who is there. */
  readonly presence: Presence;
  /** Keys and values beside the channel's messages, in one order with them. */
  readonly state: SharedState;
  /** @internal */
  readonly late: Late<ChannelVerbs>;
  readonly #link: Link;
  readonly #seats: Seats;

  /** @internal */
  constructor(name: string, link: Link, seats: Seats, late: Late<Rest>) {
    this.name = name;
    this.#link = link;
    this.#seats = seats;
    this.late = new Late(async () => (await late.get()).verbs(this));
    this.presence = new Presence(name, link, this.late);
    this.state = new State(this.late) as unknown as SharedState;
    this.late.here = late.here?.verbs(this);
  }

  /** A message that grows while it is written; it is opened with its first use. */
  message(options: MessageOptions = {}): MessageWriter {
    return new LateMessage(this.late, options);
  }

  /**
   * Records from one start on, then live; without a start what comes from now on. With `cursor` it begins after what the
   * cursor of that name has acknowledged; the start counts only if there is none yet, and is "earliest" by default.
   */
  subscribe(options: SubscribeOptions = {}): Subscription {
    const { reading, windowBytes } = readingFor(options);
    return new Subscription(new Feed(this.name, reading, windowBytes, this.#seats, options.cursor), options);
  }

  /**
   * What the channel is now, and what happens to it. Starts, cursors and the rest are as in `subscribe`; `last` counts each
   * growing message as one record, unless `raw`.
   */
  async attach(options: AttachOptions = {}): Promise<Attachment> {
    const { presence = true, signal } = options;
    const { reading, windowBytes } = readingFor(options);
    const room = presence ? this.presence.room : null;
    const feed = new AttachFeed(this.name, reading, windowBytes, this.#seats, room, options);
    const fetch = (message: number, epoch: string) => fetchMessage(this.#link, this.name, message, epoch, signal);
    return new Attachment(feed, fetch, options).begin();
  }

  /**
   * Tells those who read the channel now, and stores nothing. Returns at once, and whether it was sent: false without a
   * connection, or with one that does not drain. Throws TooLarge for more than a frame of 65,536 bytes holds.
   */
  sendEphemeral(data: Data, options: { name?: string | null; headers?: Headers } = {}): boolean {
    const sent = this.late.run((verbs) => verbs.sendEphemeral(data, options));
    if (typeof sent === "boolean") return sent;
    sent.catch((error) => this.#link.options.log(`an ephemeral message was not sent: ${error.message}`));
    return this.#link.hasRoom;
  }

  /** The ephemeral messages that come from now on, this client's own too; the newest `limit` are kept. */
  ephemeral({ limit = EPHEMERAL_KEPT, signal }: { limit?: number; signal?: AbortSignal } = {}): Ephemerals {
    checkWhole("limit", limit, 1);
    return new LateEphemerals(this.name, this.late, (verbs) => verbs.ephemeral(limit, signal));
  }
}

lend(Channel, VERBS, LISTS);

/** Ephemeral messages, one after the other. It begins with the first iteration, or by `open`. */
export interface Ephemerals extends Stream<EphemeralMessage> {
  readonly name: string;
  /** How many were not iterated in time, and made room for newer ones here. */
  readonly dropped: number;
  /** Returns once they come here. Throws UnknownChannel and Closed. */
  open(): Promise<this>;
}

class LateEphemerals extends LateStream<EphemeralMessage, Hearer> implements Ephemerals {
  readonly name: string;

  constructor(name: string, late: Runner<ChannelVerbs>, make: (verbs: ChannelVerbs) => Hearer) {
    super(late, make);
    this.name = name;
  }

  get dropped(): number {
    return this.stream?.dropped ?? 0;
  }

  async open(): Promise<this> {
    await this.on((hearer) => hearer.open());
    return this;
  }
}

function readingFor(options: SubscribeOptions): { reading: Reading; windowBytes: number } {
  const { cursor, ack, windowBytes = WINDOW_BYTES } = options;
  const start = chooseStart(options, cursor === undefined ? "latest" : "earliest");
  checkWhole("windowBytes", windowBytes, 1, CREDIT_BYTES_MAX);
  if (ack !== undefined && ack !== "auto" && ack !== "manual")
    throw new TypeError(`ack is ${ack}, expected "auto" or "manual"`);
  if (cursor !== undefined) checkName("cursor", cursor, CURSOR_NAME_BYTES_MAX);
  return { reading: new Reading(start, windowBytes, cursor), windowBytes };
}
