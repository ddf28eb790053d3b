/**
 * What of a channel is shown: its newest items, in bounded memory however long it is open. Pure.
 * An item that changes becomes another object, so whoever draws it can tell by looking at the object alone.
 */

import type { ChannelRecord, Data, GrowingMessage, Headers, Operation, SessionEvent } from "outlast";

interface Place {
  readonly key: string;
  /** 0: it has none in the log. */
  readonly offset: number;
  readonly timeMs: number;
  readonly clientId: string;
}

/** How a request was answered, and by whom (protocol/CONVENTIONS.md). */
export interface Answer {
  readonly accepted: boolean;
  readonly by: string;
}

export interface RecordItem extends Place {
  readonly kind: "record";
  readonly name: string | null;
  readonly headers: Headers;
  readonly data: Data;
  readonly note: string;
  readonly answer: Answer | null;
}

export interface MessageItem extends Place {
  readonly kind: "message";
  readonly message: GrowingMessage;
}

export interface StateItem extends Place {
  readonly kind: "state";
  readonly stateKey: string;
  readonly value: Data;
  readonly deleted: boolean;
}

export interface PresenceItem extends Place {
  readonly kind: "presence";
  readonly said: string;
}

export type Item = RecordItem | MessageItem | StateItem | PresenceItem;

/** So many items, and so many bytes of them, are kept; the oldest go. */
export const ITEMS_KEPT = 500;
export const BYTES_KEPT = 8 << 20;
// While somebody looks at what is further up, more is kept, so that it does not go from under their eyes.
export const ITEMS_KEPT_LOOKING = 2_000;

const SAID = { present: "is here", away: "lost the connection", left: "left" } as const;

export class Log {
  items: Item[] = [];
  #sizes: number[] = [];
  #bytes = 0;
  // Where in `items` a message or a request is: its number here less that of the first item.
  readonly #numbers = new Map<string, number>();
  #first = 0;
  #told = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes in what happened. */
  take(event: SessionEvent): void {
    if (event.type === "message") this.message(event.message);
    else if (event.type === "record") this.#record(event.record);
    else if (event.type === "state") {
      const { key, value, deleted, version: offset, timeMs, clientId } = event;
      this.#put(stateItem({ offset, timeMs, clientId }, key, value, deleted));
    } else if (event.event.type === "member") {
      const { clientId, status, sinceMs: timeMs, reason } = event.event.member;
      const said = reason && reason !== status ? `${SAID[status]} (${reason.replace("_", " ")})` : SAID[status];
      this.#put({ kind: "presence", key: `p${this.#told++}`, offset: 0, timeMs, clientId, said });
    }
  }

  /** A message as it stands now. */
  message(message: GrowingMessage): void {
    const { id: offset, timeMs, clientId } = message;
    const known = this.#find(`m${offset}`);
    this.#put({ kind: "message", key: `m${offset}`, offset, timeMs: known?.timeMs ?? timeMs, clientId, message });
  }

  #record(record: ChannelRecord): void {
    const item = itemOf(record);
    const about = answered(item);
    if (about !== null) this.#settle(about, { accepted: item.name === "outlast.accepted", by: item.clientId });
    this.#put(item);
  }

  /** The first answer counts. */
  #settle(offset: number, answer: Answer): void {
    const asked = this.#find(`r${offset}`);
    if (asked?.kind === "record" && !asked.answer) this.#put({ ...asked, answer });
  }

  #find(key: string): Item | undefined {
    const number = this.#numbers.get(key);
    return number === undefined ? undefined : this.items[number - this.#first];
  }

  #put(item: Item): void {
    const size = sizeOf(item);
    const number = this.#numbers.get(item.key);
    const place = number === undefined ? this.items.length : number - this.#first;
    this.#numbers.set(item.key, place + this.#first);
    this.#bytes += size - (this.#sizes[place] ?? 0);
    this.items[place] = item;
    this.#sizes[place] = size;
  }

  /** Puts what came before the first item there, the oldest first. */
  putBefore(items: readonly Item[]): void {
    const unknown = items.filter(({ key }) => !this.#numbers.has(key));
    this.#first -= unknown.length;
    unknown.forEach(({ key }, index) => this.#numbers.set(key, this.#first + index));
    const sizes = unknown.map(sizeOf);
    this.items = [...unknown, ...this.items];
    this.#sizes = [...sizes, ...this.#sizes];
    this.#bytes += sizes.reduce((sum, size) => sum + size, 0);
  }

  /** Forgets the oldest beyond the bounds. */
  trim(isLooking: boolean): void {
    const most = isLooking ? ITEMS_KEPT_LOOKING : ITEMS_KEPT;
    let gone = Math.max(this.items.length - most, 0);
    for (let index = 0; index < gone; index++) this.#bytes -= this.#sizes[index]!;
    for (; this.#bytes > BYTES_KEPT && gone < this.items.length - 1; gone++) this.#bytes -= this.#sizes[gone]!;
    for (const { key } of this.items.splice(0, gone)) this.#numbers.delete(key);
    this.#sizes.splice(0, gone);
    this.#first += gone;
  }

  /** Another life of the channel, or a place elsewhere in it. */
  clear(): void {
    this.items = [];
    this.#sizes = [];
    this.#bytes = 0;
    this.#numbers.clear();
  }
}

/** A record as it lies in the log. One that carries a whole message is shown as that. */
export function itemOf(record: ChannelRecord): RecordItem {
  const { offset, timeMs, clientId, name, headers, data, operation } = record;
  const note = operation ? operation.op : "";
  return { kind: "record", key: `r${offset}`, offset, timeMs, clientId, name, headers, data, note, answer: null };
}

/** Which request the record answers, null: none. */
function answered({ name, headers }: RecordItem): number | null {
  const isAnswer = name === "outlast.accepted" || name === "outlast.refused";
  return isAnswer && /^[1-9]\d*$/.test(headers["re"] ?? "") ? Number(headers["re"]) : null;
}

/** What history tells of: a message is one record there, and a change of the state what was asked for. */
export function pastItem(record: ChannelRecord): Item {
  const { operation, data } = record;
  if (operation?.op === "folded") return pastMessage(record, operation);
  if (operation?.op === "set") return stateItem(record, operation.key!, data, false);
  if (operation?.op === "unset") return stateItem(record, operation.key!, null, true);
  if (operation?.op === "increment") return stateItem(record, operation.key!, `+ ${operation.by}`, false);
  return itemOf(record);
}

function pastMessage(record: ChannelRecord, operation: Operation): MessageItem {
  const { epoch, offset, position, timeMs, clientId, name, headers, data } = record;
  const id = Number(operation.message);
  const content = data instanceof Uint8Array ? data : String(data);
  const { state = "open", reason = "" } = operation;
  const message = {
    id,
    epoch,
    name,
    headers,
    clientId,
    place: offset,
    position,
    timeMs,
    state,
    reason,
    content,
    whole: true,
  };
  return { kind: "message", key: `m${id}`, offset: id, timeMs, clientId, message };
}

function stateItem(
  { offset, timeMs, clientId }: Pick<ChannelRecord, "offset" | "timeMs" | "clientId">,
  stateKey: string,
  value: Data,
  deleted: boolean,
): StateItem {
  return { kind: "state", key: `s${offset}`, offset, timeMs, clientId, stateKey, value, deleted };
}

function dataOf(item: Item): Data {
  if (item.kind === "message") return item.message.content;
  if (item.kind === "record") return item.data;
  return item.kind === "state" ? item.value : null;
}

/** About how much memory it takes. */
function sizeOf(item: Item): number {
  const data = dataOf(item);
  if (data instanceof Uint8Array) return 200 + data.length;
  return 200 + 2 * (typeof data === "string" ? data : JSON.stringify(data)).length;
}
