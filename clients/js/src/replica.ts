/**
 * A channel's state as a reader follows it, without any I/O: one snapshot, then the operations of the log.
 * `Replica` is what the log says now; `Changes` are those that its user has not been handed yet.
 */

import { Violation } from "./errors.js";
import { isStateOperation } from "./protocol/operations.js";
import { positionText } from "./protocol/position.js";
import { type ChannelRecord, type Data, decoded } from "./records.js";

// Changes that wait for their user; beyond it, only the newest of each key is left.
const CHANGES_KEPT = 1_000;

/** What a key holds. `version` is the offset that wrote it. */
export interface StateEntry {
  readonly value: Data;
  readonly version: number;
  readonly clientId: string;
  readonly timeMs: number;
}

/**
 * One change of one key, by the offset `version`. `deleted`: the key is gone, and `value` is null; of one that went where
 * nobody can read it any more, `clientId` is empty.
 */
export interface StateChanged extends StateEntry {
  readonly type: "state";
  readonly key: string;
  readonly deleted: boolean;
}

/** A channel's state as of `position`. */
export class StateSnapshot {
  readonly entries: ReadonlyMap<string, StateEntry>;
  readonly epoch: string;
  readonly offset: number;

  /** @internal */
  constructor(entries: ReadonlyMap<string, StateEntry>, epoch: string, offset: number) {
    this.entries = entries;
    this.epoch = epoch;
    this.offset = offset;
  }

  get position(): string {
    return positionText(this.epoch, this.offset);
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
    return Object.fromEntries([...this.entries].map(([key, { value }]) => [key, value]));
  }
}

export const NOTHING = new StateSnapshot(new Map(), "", 0);

/** Of rows of STATE or ATTACHED: [key, version, time_ms, client_id, encoding, data]. */
export function snapshotFrom(rows: readonly any[], epoch: string, offset: number): StateSnapshot {
  const entries = rows.map(([key, version, timeMs, clientId, encoding, data]): [string, StateEntry] => [
    key,
    { value: decoded(encoding, data), version, clientId, timeMs },
  ]);
  return new StateSnapshot(new Map(entries), epoch, offset);
}

/** Follows the log from a snapshot on. */
export class Replica {
  #entries = new Map<string, StateEntry>();
  epoch = "";
  offset = 0;

  snapshot(): StateSnapshot {
    return new StateSnapshot(new Map(this.#entries), this.epoch, this.offset);
  }

  get entries(): ReadonlyMap<string, StateEntry> {
    return this.#entries;
  }

  /** Goes on from `snapshot`, and says what is different there. */
  reset({ entries, epoch, offset }: StateSnapshot): StateChanged[] {
    const old = this.#entries;
    this.#entries = new Map(entries);
    this.epoch = epoch;
    this.offset = offset;
    return differences(old, entries, offset);
  }

  /** What the record changed. Nothing if it is known already, or no operation on state. Throws Violation. */
  apply({ offset, epoch, operation, data, clientId, timeMs }: ChannelRecord): StateChanged | null {
    if (offset <= this.offset) return null;
    this.offset = offset;
    this.epoch = epoch;
    if (!operation || !isStateOperation(operation)) return null;
    const key = operation.key!;
    if (operation.op === "unset")
      return this.#entries.delete(key)
        ? { type: "state", key, value: null, version: offset, clientId, deleted: true, timeMs }
        : null;
    const value = operation.op === "set" ? data : this.#sum(key, operation.by!);
    const entry = { value, version: offset, clientId, timeMs };
    this.#entries.set(key, entry);
    return { type: "state", key, deleted: false, ...entry };
  }

  /** The broker has judged it: a sum that cannot be means that this is not the state that the broker has. */
  #sum(key: string, by: number): number {
    const total = Number(this.#entries.get(key)?.value ?? 0) + by;
    if (Number.isSafeInteger(total)) return total;
    throw new Violation(`key "${key}" was incremented, and holds no whole number here`);
  }
}

/** What makes `now`, which is as of `offset`, of `old`: the newest change of each key, in the order of the log. */
function differences(
  old: ReadonlyMap<string, StateEntry>,
  now: ReadonlyMap<string, StateEntry>,
  offset: number,
): StateChanged[] {
  const written = [...now].filter(([key, { version, clientId, timeMs }]) => {
    const before = old.get(key);
    return before?.version !== version || before.clientId !== clientId || before.timeMs !== timeMs;
  });
  written.sort(([, a], [, b]) => a.version - b.version);
  const gone = [...old.keys()].filter((key) => !now.has(key)).sort();
  return [
    ...written.map(([key, entry]) => ({ type: "state" as const, key, deleted: false, ...entry })),
    ...gone.map((key) => ({
      type: "state" as const,
      key,
      deleted: true,
      value: null,
      version: offset,
      clientId: "",
      timeMs: 0,
    })),
  ];
}

/** In bounded memory: a user that lags far behind gets the newest change of each key, and misses no key. */
export class Changes {
  readonly #seen: Map<string, StateEntry>;
  #queue: StateChanged[] = [];
  #lags = false;

  constructor(seen: ReadonlyMap<string, StateEntry> = new Map()) {
    this.#seen = new Map(seen);
  }

  add(changes: readonly StateChanged[]): void {
    if (this.#lags) return;
    this.#queue.push(...changes);
    this.#lags = this.#queue.length > CHANGES_KEPT;
    if (this.#lags) this.#queue = [];
  }

  /** The next one; undefined: the user knows what `replica` holds. */
  take(replica: Replica): StateChanged | undefined {
    if (this.#lags) {
      this.#lags = false;
      this.#queue = differences(this.#seen, replica.entries, replica.offset);
    }
    const change = this.#queue.shift();
    if (change?.deleted) this.#seen.delete(change.key);
    else if (change) this.#seen.set(change.key, change);
    return change;
  }
}
