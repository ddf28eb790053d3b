/** A replica of a channel's state that follows by itself, over connections and resyncs (PROTOCOL.md 4.6, 6.10). */

import { Closed, Resync, StaleEpoch, UnknownChannel } from "./errors.js";
import type { ChannelRecord, Data } from "./records.js";
import { Changes, NOTHING, Replica, type StateChanged, type StateEntry, StateSnapshot } from "./replica.js";
import { readWhere, type Where } from "./starts.js";
import type { Subscription } from "./subscription.js";
import { Bell, ignore, Stream, unlessAborted } from "./waiting.js";

/**
 * A channel's state as it is now. Iterate it for its changes since it was made, in the order of the log; what it holds
 * does not wait for that. Who lags by more than a thousand changes gets the newest of each key.
 *
 * When the channel is deleted its keys are, and then the iteration throws Resync; iterating again goes on in its next life.
 */
export class StateWatch extends Stream<StateChanged> {
  readonly #subscription: Subscription;
  readonly #fetch: () => Promise<StateSnapshot>;
  readonly #replica = new Replica();
  readonly #news = new Bell();
  #changes = new Changes();
  #failure: unknown = null;
  #isClosed = false;
  // The channel was deleted: what its user is still to be told, and whether following has stopped for that.
  #deleted: Resync | null = null;
  #isDormant = false;
  #passedEpoch = "";

  /** @internal */
  constructor(subscription: Subscription, fetch: () => Promise<StateSnapshot>) {
    super();
    this.#subscription = subscription;
    this.#fetch = fetch;
  }

  /** With versions, times and clients. Throws what ended the watch, for what it holds is of no use then. */
  get entries(): ReadonlyMap<string, StateEntry> {
    if (this.#failure) throw this.#failure;
    return this.#replica.entries;
  }

  /** Of the last record that is in it. */
  get position(): string {
    return this.#replica.snapshot().position;
  }

  /** The key's value; undefined: there is no such key. */
  get(key: string): Data | undefined {
    return this.entries.get(key)?.value;
  }

  /** The offset that wrote it, as `set` and `delete` take it; 0: there is no such key. */
  version(key: string): number {
    return this.entries.get(key)?.version ?? 0;
  }

  /** Keys and values as an object. */
  toObject(): Record<string, Data> {
    return this.#replica.snapshot().toObject();
  }

  /** Returns when everything up to `where` is in it: what one's own Ack says, say. Throws StaleEpoch. */
  async reached(where: Where, signal?: AbortSignal): Promise<void> {
    const { offset, epoch } = readWhere("offset", where);
    for (;;) {
      const have = this.#replica;
      if (epoch !== undefined && epoch !== have.epoch)
        throw new StaleEpoch("the channel was deleted", { epoch: have.epoch });
      if (have.offset >= offset) return;
      if (this.#failure) throw this.#failure;
      if (this.#isDormant) throw new UnknownChannel("the channel was deleted before it came to this offset");
      if (this.#isClosed) throw new Closed("the watch was closed before it came to this offset");
      await unlessAborted(this.#news.wait(), signal);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#subscription.close();
    this.#news.ring();
  }

  /** @internal Subscribes first: what the snapshot does not hold then comes, and what it holds is known by its offset. */
  async begin(): Promise<void> {
    try {
      await this.#subscription.open();
      await this.#refresh();
    } catch (error) {
      await this.#subscription.close();
      throw error;
    }
    if (!this.#isDormant) this.#changes = new Changes(this.#replica.entries);
    this.#isDormant = false;
    void this.#follow();
  }

  // --- following -----------------------------------------------------------------------------------------------

  async #follow(): Promise<void> {
    try {
      while (!this.#isDormant && !this.#isClosed) {
        await this.#step();
        this.#news.ring();
      }
    } catch (error) {
      this.#failure ??= error;
      await this.#subscription.close().catch(ignore);
    }
    this.#news.ring();
  }

  async #step(): Promise<void> {
    try {
      const { done, value } = await this.#subscription.next();
      if (done) this.#isClosed = true;
      else await this.#take(value);
    } catch (error) {
      if (!(error instanceof Resync)) throw error;
      if (error.position) return this.#refresh();
      this.#changes.add(this.#replica.reset(new StateSnapshot(NOTHING.entries, this.#replica.epoch, 0)));
      this.#deleted = error;
      this.#isDormant = true;
    }
  }

  /** A record of another life: either the snapshot is too old, or it knew already that this life is over. */
  async #take(record: ChannelRecord): Promise<void> {
    if (record.epoch !== this.#replica.epoch && record.epoch !== this.#passedEpoch) {
      this.#passedEpoch = record.epoch;
      await this.#refresh();
    }
    const change = record.epoch === this.#replica.epoch ? this.#replica.apply(record) : null;
    if (change) this.#changes.add([change]);
  }

  /** A channel that was deleted meanwhile holds nothing; the subscription will say so next. */
  async #refresh(): Promise<void> {
    const snapshot = await this.#fetch().catch((error) => {
      if (error instanceof UnknownChannel) return NOTHING;
      throw error;
    });
    this.#changes.add(this.#replica.reset(snapshot));
  }

  // --- handing over --------------------------------------------------------------------------------------------

  protected async take(): Promise<StateChanged | undefined> {
    for (;;) {
      const change = this.#changes.take(this.#replica);
      if (change) return change;
      const resync = this.#deleted;
      this.#deleted = null;
      if (resync) throw resync;
      if (this.#failure) throw this.#failure;
      if (this.#isClosed) return undefined;
      if (this.#isDormant) await this.begin();
      else await this.#news.wait();
    }
  }
}
