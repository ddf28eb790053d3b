/** A channel as its user sees it. */

import { accept, type AnswerOptions, ask, outcomeOf, refuse } from "./answers.js";
import { AttachFeed, Attachment, type AttachOptions } from "./attachment.js";
import { Claim, claimFrom, type ClaimOptions, type ClaimSummary } from "./claim.js";
import { type DeliveryOptions, waitFor } from "./delivery.js";
import { Hearer, type Hearing, Mouth } from "./ephemeral.js";
import { fetchMessage } from "./fetch.js";
import type { Content, GrowingMessage } from "./growing.js";
import { type HistoryOptions, readHistory } from "./history.js";
import { Inbox, type InboxOptions } from "./inbox.js";
import { Lease, leaseFrom, type LeaseInfo, type LeaseOptions } from "./lease.js";
import { ATTACH, CLAIM, HISTORY, LEASE, MESSAGE, PUBLISH, PUBLISH_MANY, RETENTION, SUBSCRIBE } from "./known.js";
import type { Link } from "./link.js";
import { Message } from "./message.js";
import { checkName, checkOptions, checkWhole, CURSOR_NAME_BYTES_MAX } from "./options.js";
import { type Ack, Lane, type Outbox } from "./outbox.js";
import { Presence } from "./presence.js";
import { Reading } from "./reading.js";
import type { ChannelRecord, Data, Headers } from "./records.js";
import {
  type Kind,
  KINDS,
  makeRequest,
  numberOf,
  type Outcome,
  type Reference,
  type RequestFields,
} from "./requests.js";
import { rowFrom } from "./rows.js";
import { chooseStart, readWhere, type Where } from "./starts.js";
import { SharedState } from "./state.js";
import { Feed, type Seats, type SubscribeOptions, Subscription } from "./subscription.js";
import { type ChannelInfo, infoFrom, type Retention, retentionFrom } from "./summaries.js";
import { unlessAborted } from "./waiting.js";
import {
  adopted,
  amended,
  type Fence,
  type MessageOptions,
  type MessageRef,
  type MessageWriter,
  opening,
  readMessage,
  type Way,
} from "./writer.js";

const PAGE = 500;
const ASK_TIMEOUT_MS = 30_000;
const WINDOW_BYTES = 1_048_576;
const CREDIT_BYTES_MAX = 2 ** 31 - 1;
const EPHEMERAL_KEPT = 256;

export interface PublishManyOptions {
  /** Stored only if this is the channel's last offset, else OffsetMismatch says the last one. */
  ifOffset?: number;
  /** Stored only while this is held, else Fenced is thrown. */
  lease?: Fence;
  /** Stops waiting; what was sent is not withdrawn. */
  signal?: AbortSignal;
}

export interface PublishOptions extends PublishManyOptions {
  name?: string | null;
  headers?: Headers;
  /** How long the record is given to anybody; 0: for ever. */
  ttlMs?: number;
}

export interface RequestOptions extends AnswerOptions {
  /** What it refers to. */
  message?: Reference;
  /** Go with it as data, beside the text. */
  fields?: RequestFields;
}

/** Made by `client.channel(name)`, without I/O. The channel comes to be when it is first used. */
export class Channel {
  readonly name: string;
  /** Who is there. */
  readonly presence: Presence;
  /** Keys and values beside the channel's messages, in one order with them. */
  readonly state: SharedState;
  readonly #seats: Seats;
  readonly #way: Way;
  readonly #hearing: Hearing;
  readonly #mouth: Mouth;

  /** @internal */
  constructor(name: string, link: Link, outbox: Outbox, seats: Seats, hearing: Hearing) {
    this.name = name;
    this.#seats = seats;
    this.#way = { link, outbox, lane: new Lane(name) };
    this.#hearing = hearing;
    this.#mouth = new Mouth(name, link);
    this.presence = new Presence(name, link);
    this.state = new SharedState(name, this.#way, (signal) => this.subscribe({ signal: signal! }));
  }

  // --- publishing ----------------------------------------------------------------------------------------------

  /**
   * Returns when the message is on disk, over as many connections as that takes. What is published while an
   * acknowledgement is outstanding goes together in one batch. Throws TooLarge, and BufferFull if the client was made so.
   */
  async publish(data: Data, given: PublishOptions = {}): Promise<Ack> {
    const { name, headers, ttlMs = 0, ...options } = checkOptions("publish", given, PUBLISH);
    return this.#publish([rowFrom(data, name, headers, null, checkWhole("ttlMs", ttlMs, 0))], false, options);
  }

  /** Stores all messages in one atomic batch, or none. TooLarge when they do not fit into one (1 MiB, 65,535 messages). */
  async publishMany(messages: Iterable<Data | Message>, options: PublishManyOptions = {}): Promise<Ack> {
    if (typeof messages === "string" || messages instanceof Uint8Array)
      throw new TypeError("publishMany takes several messages: put one into a list");
    const rows = Array.from(messages, (each) =>
      each instanceof Message ? rowFrom(each.data, each.name, each.headers, null, each.ttlMs) : rowFrom(each),
    );
    if (!rows.length) throw new TypeError("publishMany needs at least one message");
    return this.#publish(rows, true, checkOptions("publishMany", options, PUBLISH_MANY));
  }

  #publish(
    rows: ReturnType<typeof rowFrom>[],
    alone: boolean,
    { ifOffset, lease, signal }: PublishManyOptions,
  ): Promise<Ack> {
    if (ifOffset !== undefined) checkWhole("ifOffset", ifOffset, 0);
    signal?.throwIfAborted();
    const tie = { ifOffset, alone, fence: lease?.fence() ?? 0 };
    return unlessAborted(this.#way.outbox.offer(this.#way.lane, rows, tie), signal);
  }

  // --- messages that grow --------------------------------------------------------------------------------------

  /** A message that grows while it is written; it is opened with its first use. */
  message(options: MessageOptions = {}): MessageWriter {
    return opening(this.#way, checkOptions("message", options, MESSAGE));
  }

  /** Goes on writing a message that is open, or was interrupted. Its `content` is what it holds already. */
  async adopt(
    message: MessageRef,
    { lease, signal }: { lease?: Fence; signal?: AbortSignal } = {},
  ): Promise<MessageWriter> {
    return adopted(this.#way, await this.getMessage(message, signal), lease);
  }

  /** A growing message as it stands. Throws UnknownMessage, UnknownChannel and StaleEpoch. */
  async getMessage(message: MessageRef, signal?: AbortSignal): Promise<GrowingMessage> {
    const { offset, epoch } = readMessage(message);
    return fetchMessage(this.#way.link, this.name, offset, epoch, signal);
  }

  /** Gives a message, open or closed, new content. */
  async replace(
    message: MessageRef,
    data: Content,
    { lease, signal }: { lease?: Fence; signal?: AbortSignal } = {},
  ): Promise<Ack> {
    return unlessAborted(amended(this.#way, message, "replace", data, lease), signal);
  }

  /** Takes a message's content away for ever. */
  async remove(
    message: MessageRef,
    { lease, signal }: { lease?: Fence; signal?: AbortSignal } = {},
  ): Promise<Ack> {
    return unlessAborted(amended(this.#way, message, "remove", new Uint8Array(0), lease), signal);
  }

  // --- reading -------------------------------------------------------------------------------------------------

  /**
   * Records from one start on, then live; without a start what comes from now on. With `cursor` it begins after what the
   * cursor of that name has acknowledged; the start counts only if there is none yet, and is "earliest" by default.
   */
  subscribe(options: SubscribeOptions = {}): Subscription {
    const { reading, windowBytes } = readingFor(checkOptions("subscribe", options, SUBSCRIBE));
    return new Subscription(new Feed(this.name, reading, windowBytes, this.#seats, options.cursor), options);
  }

  /**
   * What the channel is now, and what happens to it. Starts, cursors and the rest are as in `subscribe`; `last` counts each
   * growing message as one record, unless `raw`.
   */
  async attach(options: AttachOptions = {}): Promise<Attachment> {
    const { presence = true, signal } = checkOptions("attach", options, ATTACH);
    const { reading, windowBytes } = readingFor(options);
    const room = presence ? this.presence.room : null;
    const feed = new AttachFeed(this.name, reading, windowBytes, this.#seats, room, options);
    const fetch = (message: number, epoch: string) => fetchMessage(this.#way.link, this.name, message, epoch, signal);
    return new Attachment(feed, fetch, options).begin();
  }

  /** What the channel holds now, fetched in pages while it is iterated; each growing message once, unless `raw`. */
  history(options: HistoryOptions = {}): AsyncGenerator<ChannelRecord, void, undefined> {
    return readHistory(this.#way.link, this.name, checkOptions("history", options, HISTORY));
  }

  // --- what is not stored --------------------------------------------------------------------------------------

  /**
   * Tells those who read the channel now, and stores nothing. Returns at once, and whether it was sent: false without a
   * connection, or with one that does not drain. Throws TooLarge for more than a frame of 65,536 bytes holds.
   */
  sendEphemeral(data: Data, { name, headers }: { name?: string | null; headers?: Headers } = {}): boolean {
    return this.#mouth.send(rowFrom(data, name, headers));
  }

  /** The ephemeral messages that come from now on, this client's own too; the newest `limit` are kept. */
  ephemeral({ limit = EPHEMERAL_KEPT, signal }: { limit?: number; signal?: AbortSignal } = {}): Hearer {
    return new Hearer(this.name, this.#hearing, checkWhole("limit", limit, 1), signal);
  }

  // --- two ways ------------------------------------------------------------------------------------------------

  /**
   * Asks whoever reads this channel's inbox for something, and returns when that was accepted or refused. Throws NotAnswered
   * after `timeoutMs` (30 s); it stays open then. Throws Resync when the answer cannot be known.
   */
  prompt(text: string, options: RequestOptions = {}): Promise<Outcome> {
    return this.#ask("prompt", text, options);
  }

  /** Asks to stop the work on a message, or on a request; `text` says why. */
  cancel(message: Reference, text?: string, options: AnswerOptions = {}): Promise<Outcome> {
    return this.#ask("cancel", text, { ...options, message });
  }

  /** Asks to go on with a message, or with a request, in another way. */
  steer(message: Reference, text: string, options: RequestOptions = {}): Promise<Outcome> {
    return this.#ask("steer", text, { ...options, message });
  }

  /** Asks people whether something may be done. People take their time: without `timeoutMs` it waits for ever. */
  askApproval(text: string, options: RequestOptions = {}): Promise<Outcome> {
    return this.#ask("approval", text, { timeoutMs: null, ...options });
  }

  async #ask(
    kind: Kind,
    text: string | undefined,
    { message, fields, timeoutMs = ASK_TIMEOUT_MS, signal }: RequestOptions,
  ): Promise<Outcome> {
    const number = message === undefined ? null : numberOf("the message", message);
    return ask(this, makeRequest(kind, text, number, fields), { timeoutMs, ...(signal && { signal }) });
  }

  /** How a request was answered, whoever made it and whenever; waits for that, 30 s by default. */
  async outcome(request: Reference, { timeoutMs = ASK_TIMEOUT_MS, signal }: AnswerOptions = {}): Promise<Outcome> {
    return outcomeOf(this, numberOf("the request", request), { timeoutMs, ...(signal && { signal }) });
  }

  /** Accepts a request by its number. Returns the answer that counts: somebody else's, if that came first. */
  async approve(request: Reference, data: Data = null): Promise<Outcome> {
    return accept(this, numberOf("the request", request), data, this.#way.link.clientId);
  }

  /** Refuses a request by its number; one's own is withdrawn so. */
  async reject(request: Reference, reason = ""): Promise<Outcome> {
    return refuse(this, numberOf("the request", request), reason);
  }

  /** The requests that nobody has answered, to be iterated; then those that come. */
  async inbox(options: InboxOptions): Promise<Inbox> {
    const { cursor, kinds = KINDS, signal } = options;
    if (!kinds.length || kinds.some((kind) => !KINDS.includes(kind)))
      throw new TypeError(`kinds are some of ${KINDS.join(", ")}`);
    checkWhole("waitingMax", options.waitingMax ?? 1, 1);
    const records = this.subscribe({ cursor, ack: "manual", ...(signal && { signal }) });
    return new Inbox(this, records, () => this.#way.link.clientId, options).begin(signal);
  }

  // --- cursors -------------------------------------------------------------------------------------------------

  /**
   * Returns when the reader that `cursor` names has acknowledged everything up to `where`, on disk. Throws NotDelivered when
   * the time is up (30 s), UnknownChannel, OffsetAhead, and StaleEpoch for a position of an earlier life.
   */
  async delivered(where: Where, options: DeliveryOptions): Promise<void> {
    await waitFor(this.#way.link, this.name, where, options);
  }

  /** The channel's cursors in the byte order of their names. `lag` records lie beyond one. Throws UnknownChannel. */
  async *cursors(signal?: AbortSignal): AsyncGenerator<Cursor, void, undefined> {
    for await (const { cursor, offset, lag, acked_ms: ackedMs } of this.#listed("CURSORS", "cursors", "cursor", signal))
      yield { name: cursor, offset, lag, ackedMs };
  }

  /** Forgets a cursor and returns the offset where it stood. ConnectionLost means that it may or may not be forgotten. */
  async forgetCursor(name: string, signal?: AbortSignal): Promise<number> {
    const cursor = checkName("cursor", name, CURSOR_NAME_BYTES_MAX);
    const { result } = await this.#way.link.call("FORGET", { channel: this.name, cursor }, { signal });
    return result.offset;
  }

  // --- leases and claims ---------------------------------------------------------------------------------------

  /**
   * The right to write under this name. It is renewed by itself, and lapses `ttlMs` after this process stopped doing so: then
   * the messages that it left open are closed as interrupted, and whoever writes under it gets Fenced. Throws LeaseHeld.
   */
  async lease(name: string, options: LeaseOptions = {}): Promise<Lease> {
    return new Lease(this.name, this.#way, name, checkOptions("lease", options, LEASE)).acquire(options);
  }

  /** The leases that are held, in the byte order of their names. Throws UnknownChannel. */
  async leases(signal?: AbortSignal): Promise<LeaseInfo[]> {
    const { leases } = await this.#result("LEASES", {}, signal);
    return leases.map(leaseFrom);
  }

  /**
   * The right to do what `key` stands for: granted to one of all who ask, to end with `claim.settle(result)`, or done, and
   * `claim.result` what it was settled with. It is extended by itself until it is settled or abandoned. Throws ClaimHeld.
   */
  async claim(key: string, options: ClaimOptions = {}): Promise<Claim> {
    return new Claim(this.name, this.#way.link, key, checkOptions("claim", options, CLAIM)).begin(options);
  }

  /**
   * What `work` gave, to whomever was granted `key`: it is called here only if nobody has done it yet. Waits while somebody
   * else is at it. What it throws is thrown, and the next may try.
   */
  async once(
    key: string,
    work: (claim: Claim) => Promise<Data> | Data,
    options: Omit<ClaimOptions, "wait"> = {},
  ): Promise<Data> {
    const claim = await this.claim(key, { ...options, wait: true });
    try {
      if (claim.granted) await claim.settle(await work(claim));
      return claim.result;
    } finally {
      await claim.abandon();
    }
  }

  /** The channel's claims in the byte order of their keys. Throws UnknownChannel. */
  async *claims(signal?: AbortSignal): AsyncGenerator<ClaimSummary, void, undefined> {
    for await (const row of this.#listed("CLAIMS", "claims", "key", signal)) yield claimFrom(row);
  }

  // --- the channel itself --------------------------------------------------------------------------------------

  /** Throws UnknownChannel. */
  async info(signal?: AbortSignal): Promise<ChannelInfo> {
    return infoFrom(await this.#result("INFO", {}, signal));
  }

  /** Changes what the channel keeps and returns what is now in force; a key that is left out stays as it is. */
  async configure(given: { retention: Retention }, signal?: AbortSignal): Promise<Retention> {
    const { retention } = checkOptions("configure", given, { retention: 1 });
    const { ageMs, idleTtlMs, ...same } = checkOptions("retention", retention, RETENTION);
    const keys = Object.entries({ age_ms: ageMs, idle_ttl_ms: idleTtlMs, ...same }).filter(
      ([, value]) => value !== undefined,
    );
    const result = await this.#result("CONFIGURE", { retention: Object.fromEntries(keys) }, signal);
    return retentionFrom(result.retention);
  }

  /** Forgets every record before `before` and returns the lowest offset that is left. Throws OffsetAhead. */
  async truncate({ before }: { before: Where }, signal?: AbortSignal): Promise<number> {
    return (await this.#result("TRUNCATE", { before: readWhere("before", before).offset }, signal)).first;
  }

  /**
   * Deletes the channel with all its records. ConnectionLost means that it may or may not be gone; it is not asked again.
   * With `hard` it resolves when nothing of them can be read in the broker's file either, which takes as long as
   * writing that anew; throws ReadOnly if the disk has no room for it: the channel is deleted, and the broker tries again.
   */
  async delete({ hard = false }: { hard?: boolean } = {}, signal?: AbortSignal): Promise<void> {
    await this.#way.link.call("DELETE", { channel: this.name, hard }, { signal });
    this.#way.link.forget(this.name);
  }

  #result(type: string, fields: Record<string, unknown>, signal?: AbortSignal): Promise<any> {
    return this.#way.link.callAgain(type, { channel: this.name, ...fields }, signal);
  }

  async *#listed(type: string, rows: string, key: string, signal?: AbortSignal): AsyncGenerator<any, void, undefined> {
    for (let after: string | null = null, more = true; more;) {
      const result = await this.#result(type, { after, limit: PAGE }, signal);
      yield* result[rows];
      after = result[rows].at(-1)?.[key];
      more = after !== undefined && result.more;
    }
  }
}

/** A cursor as lists show it: `lag` records lie beyond it, and `ackedMs` is when it last moved. */
export interface Cursor {
  readonly name: string;
  readonly offset: number;
  readonly lag: number;
  readonly ackedMs: number;
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
