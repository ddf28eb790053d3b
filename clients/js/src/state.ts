/** A channel's shared state: keys and values that every client reads and writes (PROTOCOL.md 4.6). */

import type { Fence, Way } from "./writer.js";
import { checkName, checkWhole } from "./options.js";
import type { Ack } from "./outbox.js";
import type { Row } from "./protocol/batch-writer.js";
import { epochText } from "./protocol/position.js";
import { WHOLE_MAX } from "./protocol/words.js";
import type { Data } from "./records.js";
import { snapshotFrom, type StateSnapshot } from "./replica.js";
import { rowFrom } from "./rows.js";
import { StateWatch } from "./state-watch.js";
import type { Subscription } from "./subscription.js";
import { unlessAborted } from "./waiting.js";

const KEY_BYTES_MAX = 255;

/** With `version` it is done only if that is the key's, 0: only if there is no such key; else VersionMismatch. */
export type Change =
  | { set: string; value: Data; version?: number }
  | { delete: string; version?: number }
  | { increment: string; by?: number };

export interface WriteOptions {
  version?: number;
  lease?: Fence;
  /** Stops waiting; what was sent is not withdrawn. */
  signal?: AbortSignal;
}

/** `channel.state`. Writing is publishing: it returns when it is on disk, and is done once. The Ack's `offset` is the key's new version. */
export class SharedState {
  readonly #name: string;
  readonly #way: Way;
  readonly #subscribe: (signal?: AbortSignal) => Subscription;

  /** @internal */
  constructor(name: string, way: Way, subscribe: (signal?: AbortSignal) => Subscription) {
    this.#name = name;
    this.#way = way;
    this.#subscribe = subscribe;
  }

  /** All keys and values, as of one position. Throws UnknownChannel. */
  async get(signal?: AbortSignal): Promise<StateSnapshot> {
    const { state, epoch, last } = await this.#way.link.callAgain("STATE", { channel: this.#name }, signal);
    return snapshotFrom(state, epochText(epoch), last);
  }

  /** A live replica that follows by itself: see StateWatch. */
  async watch({ signal }: { signal?: AbortSignal } = {}): Promise<StateWatch> {
    const watch = new StateWatch(this.#subscribe(signal), () => this.get(signal));
    await watch.begin();
    return watch;
  }

  async set(key: string, value: Data, { version, ...options }: WriteOptions = {}): Promise<Ack> {
    return this.update([{ set: key, value, ...(version !== undefined && { version }) }], options);
  }

  /** A key that does not exist is no error. */
  async delete(key: string, { version, ...options }: WriteOptions = {}): Promise<Ack> {
    return this.update([{ delete: key, ...(version !== undefined && { version }) }], options);
  }

  /** Adds a whole number, of which none is lost when many do. Throws NotANumber. */
  async increment(key: string, by = 1, options: Omit<WriteOptions, "version"> = {}): Promise<Ack> {
    return this.update([{ increment: key, by }], options);
  }

  /** Does all of them in order, or none: what one of them is refused with is thrown. */
  async update(changes: readonly Change[], { lease, signal }: Omit<WriteOptions, "version"> = {}): Promise<Ack> {
    if (!changes.length) throw new TypeError("update needs at least one change");
    const rows = changes.map(changeRow);
    // A refusal would hit those that happened to go in the same batch, and send them again one by one.
    const alone = rows.length > 1 || "version" in rows[0]!.label.operation!;
    const { outbox, lane } = this.#way;
    return unlessAborted(outbox.offer(lane, rows, { alone, fence: lease?.fence() ?? 0 }), signal);
  }
}

/** Throws TypeError or RangeError for what no broker takes. */
function changeRow(change: Change): Row {
  const key = (name: string) => checkName("a key", name, KEY_BYTES_MAX);
  if ("increment" in change) {
    const by = checkWhole("by", change.by ?? 1, -WHOLE_MAX, WHOLE_MAX);
    return rowFrom(new Uint8Array(0), null, {}, { op: "increment", key: key(change.increment), by });
  }
  const { version } = change;
  const condition = version === undefined ? {} : { version: checkWhole("version", version, 0, WHOLE_MAX) };
  if ("set" in change) return rowFrom(change.value, null, {}, { op: "set", key: key(change.set), ...condition });
  return rowFrom(new Uint8Array(0), null, {}, { op: "unset", key: key(change.delete), ...condition });
}
