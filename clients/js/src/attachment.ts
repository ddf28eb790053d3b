/**
 * An attachment: what a channel is now, and everything that happens to it from there on (PROTOCOL.md 6.10).
 *
 * It is a subscription whose records are put together: growing messages, the state and members are kept as they stand, and
 * what the user gets is what has happened to them. It survives connections as a subscription does.
 */

import { OutlastError, StaleEpoch, UnknownChannel, UnknownMessage, Violation } from "./errors.js";
import { Assembly, type Content, type GrowingMessage } from "./growing.js";
import type { Fields, Link } from "./link.js";
import type { Member, PresenceEvent } from "./members.js";
import type { Frame } from "./protocol/frames.js";
import { isMessageOperation, type Operation } from "./protocol/operations.js";
import { epochText, positionText } from "./protocol/position.js";
import type { Reading } from "./reading.js";
import { type ChannelRecord, safe } from "./records.js";
import { Replica, snapshotFrom, type StateChanged, type StateSnapshot } from "./replica.js";
import { Lookout, type Room } from "./room.js";
import { Feed, FeedStream, type Seats, type SubscribeOptions } from "./subscription.js";

export interface AttachOptions extends SubscribeOptions {
  /** The history operation by operation, instead of each growing message once. */
  raw?: boolean;
  /** Whether to see who is there, true by default. */
  presence?: boolean;
}

/** Something was said of a growing message by `record`; `message` is how it stands since. */
export interface MessageChanged {
  readonly type: "message";
  readonly message: GrowingMessage;
  /** What to add to what was shown of it; null: show `message.content` anew. */
  readonly delta: Content | null;
  readonly record: ChannelRecord;
  readonly operation: Operation;
}

/** What happens to a channel. */
export type SessionEvent =
  | { readonly type: "record"; readonly record: ChannelRecord }
  | MessageChanged
  | StateChanged
  | { readonly type: "presence"; readonly event: PresenceEvent };

type FetchMessage = (message: number, epoch: string) => Promise<GrowingMessage>;

/** As a subscription's, and it keeps what ATTACHED says until the user looks. All looks at who is there share one watch. */
export class AttachFeed extends Feed {
  attached: Frame | null = null;
  readonly lookout: Lookout | null;
  readonly #room: Room | null;
  readonly #raw: boolean;
  #looks = false;

  constructor(
    name: string,
    reading: Reading,
    windowBytes: number,
    seats: Seats,
    room: Room | null,
    { raw = false, cursor }: AttachOptions,
  ) {
    super(name, reading, windowBytes, seats, cursor);
    this.#raw = raw;
    this.#room = room;
    this.lookout = room && new Lookout(true, this.news);
  }

  protected override ask(link: Link, fields: Fields, onAnswer: (answer: Frame | OutlastError) => void): void {
    link.request("ATTACH", { ...fields, raw: this.#raw, presence: false }, onAnswer);
  }

  protected override accept(answer: Frame): void {
    super.accept(answer);
    if (!this.isSubscribed) return;
    this.attached = answer;
    if (this.lookout && !this.#looks) this.#room!.watch(this.lookout);
    this.#looks = true;
  }

  /** What was left out may have been operations: only another ATTACH says what the channel is since. */
  override resynced(resync: Frame): void {
    if (resync["reason"] === "deleted") {
      super.resynced(resync);
      return;
    }
    this.unsubscribe();
    this.reading.lost();
    this.subscribe();
  }

  protected override letGo(): void {
    super.letGo();
    if (this.lookout) this.#room!.unwatch(this.lookout);
  }
}

/**
 * Made by `channel.attach`: it says what the channel is, and iterating it, what happens. Events are the channel's records in
 * order, each once: an operation on a growing message as "message", one on the state as "state", anything else as
 * "record"; "presence" comes between them. The history from the start that was asked for comes first. `state` has the
 * history's changes already, so none of those is told. What cannot be resumed throws Resync; iterating again goes on.
 */
export class Attachment extends FeedStream<SessionEvent, AttachFeed> {
  readonly #fetch: FetchMessage;
  readonly #assembly = new Assembly();
  readonly #replica = new Replica();
  #snapshot: StateSnapshot | null = null;
  readonly #members = new Map<string, Member>();
  #seesMembers: boolean;
  #epoch = "";
  #through = 0;
  // Messages whose beginning cannot be had any more.
  readonly #lost = new Set<number>();
  // Whether what is known here is what the next record follows.
  #joins = false;
  #handed: [epoch: string, offset: number] | null = null;

  /** @internal */
  constructor(feed: AttachFeed, fetch: FetchMessage, options: AttachOptions) {
    super(feed, options);
    this.#fetch = fetch;
    this.#seesMembers = !feed.lookout;
  }

  // --- what the channel is -------------------------------------------------------------------------------------

  /** Where the channel ended when the broker answered: history ends there, and what comes after it is live. */
  get through(): string {
    return positionText(this.#epoch, this.#through);
  }

  /** The shared state, as of `through` or of the last event, whichever is later. */
  get state(): StateSnapshot {
    return (this.#snapshot ??= this.#replica.snapshot());
  }

  /**
   * Messages that are open, by their id, as of the last event. At first these are the ones that said nothing in the history
   * that is asked for: show them. All others come as events, whole the first time.
   */
  get messages(): ReadonlyMap<number, GrowingMessage> {
    return this.#assembly.messages;
  }

  /** Who is present or away, as of the last event; nobody without `presence`. */
  get members(): Member[] {
    return [...this.#members.values()];
  }

  // --- life ----------------------------------------------------------------------------------------------------

  /** @internal Returns when everything is known that an attachment promises. */
  async begin(): Promise<this> {
    const { feed } = this;
    try {
      await this.accepted();
      while (!feed.isClosed && !this.reading.hasEnded) {
        await this.#settle();
        if (!this.#seesMembers) this.#presenceEvent();
        if (this.#joins && this.#seesMembers) break;
        await this.more();
      }
    } catch (error) {
      await this.close();
      throw error;
    }
    return this;
  }

  override async close(): Promise<void> {
    this.#ackHanded();
    await super.close();
  }

  override return(): Promise<IteratorResult<SessionEvent, undefined>> {
    this.#handed = null;
    return super.return();
  }

  /** Says that everything handed over so far is done with. At once: `acked()` waits for the disk. */
  ack(): void {
    const { epoch, offset } = this.reading;
    if (epoch) this.needReceipt().acknowledge(epoch, offset);
  }

  #ackHanded(): void {
    if (this.#handed && this.isAuto) this.feed.receipt?.acknowledge(...this.#handed);
    this.#handed = null;
  }

  // --- what happens --------------------------------------------------------------------------------------------

  protected async take(): Promise<SessionEvent | undefined> {
    this.#ackHanded();
    const event = await this.#next();
    const { epoch, offset } = this.reading;
    if (event && epoch) this.#handed = [epoch, offset];
    return event;
  }

  async #next(): Promise<SessionEvent | undefined> {
    const { feed } = this;
    while (!feed.isClosed) {
      if (!feed.failure) feed.start();
      await this.#settle();
      const event = this.#presenceEvent() ?? (await this.#nextOfLog());
      if (event) return event;
      if (!this.reading.nextOne && !feed.attached && !(await this.advance())) await this.more();
    }
    return undefined;
  }

  #presenceEvent(): SessionEvent | undefined {
    const { lookout } = this.feed;
    const event = lookout?.pop();
    if (!event) {
      if (lookout?.failure) throw lookout.failure;
      return undefined;
    }
    if (event.type === "members") {
      this.#seesMembers = true;
      this.#members.clear();
      for (const member of event.members) this.#note(member);
    } else if (event.type === "member") this.#note(event.member);
    return { type: "presence", event };
  }

  #note(member: Member): void {
    const key = `${member.memberId}:${member.clientId}`;
    if (member.status === "left") this.#members.delete(key);
    else this.#members.set(key, member);
  }

  /** The next record as an event; undefined: there is none, or it is nothing to tell of. */
  async #nextOfLog(): Promise<SessionEvent | undefined> {
    const record = this.reading.nextOne;
    if (!record) return undefined;
    if (this.#assembly.lacks(record)) return this.#found(record);
    this.reading.nextRecord();
    return this.#eventOf(record);
  }

  #eventOf(record: ChannelRecord): SessionEvent | undefined {
    const { operation } = record;
    if (!operation || operation.op === "lapsed") return { type: "record", record };
    if (isMessageOperation(operation)) {
      const step = this.#assembly.feed(record);
      return step ? { type: "message", ...step, record, operation } : undefined;
    }
    return this.#stateEvent(record);
  }

  #stateEvent(record: ChannelRecord): StateChanged | undefined {
    try {
      const changed = this.#replica.apply(record);
      if (changed) this.#snapshot = null;
      return changed ?? undefined;
    } catch (error) {
      this.#joins = false;
      this.feed.broken(error as Violation);
      return undefined;
    }
  }

  /** A message whose beginning is not known is asked for. Only then the record is taken: another ATTACHED may come. */
  async #found(record: ChannelRecord): Promise<SessionEvent | undefined> {
    const operation = record.operation!;
    const message = safe(operation.message!);
    const view = this.#lost.has(message) ? null : await this.#ask(message, record.epoch);
    if (this.reading.nextOne !== record) return undefined;
    this.reading.nextRecord();
    if (view && view.place >= record.offset) return { type: "message", ...this.#assembly.put(view), record, operation };
    this.#lost.add(message);
    return this.#eventOf(record);
  }

  /** null: it cannot be had, for it or its life is over. */
  async #ask(message: number, epoch: string): Promise<GrowingMessage | null> {
    try {
      return await this.#fetch(message, epoch);
    } catch (error) {
      if (error instanceof UnknownMessage || error instanceof UnknownChannel || error instanceof StaleEpoch)
        return null;
      throw error;
    }
  }

  // --- another ATTACHED ----------------------------------------------------------------------------------------

  /** Takes in what ATTACHED said. While it waits another may come: then that one counts. */
  async #settle(): Promise<void> {
    const { feed } = this;
    for (let attached = feed.attached; attached; attached = feed.attached) {
      const epoch = epochText(attached["epoch"]);
      // Else what is known goes on with the log: its operations come, and are told in their order.
      const isAnew = !this.#joins || attached["resync"] !== null || this.#epoch !== epoch;
      const views = isAnew ? await this.#quiet(attached, epoch) : null;
      if (feed.attached !== attached) continue;
      feed.attached = null;
      this.#epoch = epoch;
      this.#through = attached["through"];
      if (views) this.#beginAnew(attached, views);
    }
  }

  /** Open messages that are in no history: their latest operation lies before it. The others will come. */
  async #quiet({ messages, after }: Frame, epoch: string): Promise<GrowingMessage[]> {
    const before = (messages as number[]).filter((message) => message <= after);
    const views = await Promise.all(before.map((message) => this.#ask(message, epoch)));
    return views.filter((view) => view !== null).filter(({ place }) => place <= after);
  }

  #beginAnew({ state }: Frame, views: readonly GrowingMessage[]): void {
    this.#joins = true;
    this.#assembly.clear();
    this.#lost.clear();
    for (const view of views) this.#assembly.put(view);
    this.#replica.reset(snapshotFrom(state, this.#epoch, this.#through));
    this.#snapshot = null;
  }
}
