/**
 * Requests and their answers as records of a log (protocol/CONVENTIONS.md), without any I/O.
 * A request's number is its offset. The first answer that names it counts: all who read the log see the same one first.
 */

import { Message } from "./message.js";
import { checkWhole } from "./options.js";
import { WHOLE_MAX } from "./protocol/words.js";
import type { ChannelRecord, Data } from "./records.js";

export const KINDS = ["prompt", "cancel", "steer", "approval"] as const;
export type Kind = (typeof KINDS)[number];
export type RequestFields = Readonly<Record<string, Data>>;

const PREFIX = "outlast.";
const ACCEPTED = `${PREFIX}accepted`;
const REFUSED = `${PREFIX}refused`;
const NUMBER = /^[1-9][0-9]{0,15}$/;

/** The offset of a message, a request or a record, or what bears it. */
export type Reference = number | { readonly id: number } | { readonly offset: number };

export function numberOf(what: string, value: Reference): number {
  const number = typeof value === "number" ? value : "id" in value ? value.id : value.offset;
  return checkWhole(what, number, 1, WHOLE_MAX);
}

/** A request as it lies in the log. `message` is what it refers to, null: nothing. */
export interface Asked {
  readonly id: number;
  readonly kind: Kind;
  readonly message: number | null;
  readonly data: RequestFields;
  readonly clientId: string;
  readonly timeMs: number;
  readonly epoch: string;
}

/** How a request was answered, and by whom: `data` came with an acceptance, `reason` with a refusal. */
export interface Outcome {
  /** The number of the request. */
  readonly id: number;
  readonly accepted: boolean;
  readonly reason: string;
  readonly data: Data;
  readonly clientId: string;
}

/** A request and the answer that counts; `offset` is where that lies. */
export interface Settled {
  readonly asked: Asked;
  readonly outcome: Outcome;
  readonly offset: number;
}

export const textOf = ({ text }: RequestFields): string => (typeof text === "string" ? text : "");

// --- writing ---------------------------------------------------------------------------------------------------

export function makeRequest(
  kind: Kind,
  text: string | undefined,
  message: number | null,
  fields: RequestFields = {},
): Message {
  if ("text" in fields) throw new TypeError("fields has a key `text`, which is the text's own: give it another name");
  if (text !== undefined && typeof text !== "string")
    throw new TypeError(`text is ${typeof text}: put other data into fields`);
  const data = text === undefined ? fields : { ...fields, text };
  return new Message(data, { name: PREFIX + kind, headers: message === null ? {} : { re: String(message) } });
}

export function makeAcceptance(request: number, data: Data = null): Message {
  return new Message(data === null ? {} : { data }, { name: ACCEPTED, headers: { re: String(request) } });
}

export function makeRefusal(request: number, reason: string): Message {
  return new Message({ reason }, { name: REFUSED, headers: { re: String(request) } });
}

// --- reading ---------------------------------------------------------------------------------------------------

function fieldsOf({ data, operation }: ChannelRecord): RequestFields | null {
  const isMap = typeof data === "object" && data !== null && !Array.isArray(data) && !(data instanceof Uint8Array);
  return isMap && !operation ? (data as RequestFields) : null;
}

/** null for a record that is no request, or not one that anybody could answer. */
export function readRequest(record: ChannelRecord): Asked | null {
  const { name, headers, offset, clientId, timeMs, epoch } = record;
  const kind = KINDS.find((each) => name === PREFIX + each);
  const data = kind && fieldsOf(record);
  if (!data) return null;
  const message = referenceOf(record);
  if (message === null && ("re" in headers || kind === "cancel" || kind === "steer")) return null;
  if (kind !== "cancel" && typeof data["text"] !== "string") return null;
  return { id: offset, kind, message, data, clientId, timeMs, epoch };
}

/** null for a record that is no answer. */
export function readAnswer(record: ChannelRecord): Outcome | null {
  const { name, clientId } = record;
  const fields = name === ACCEPTED || name === REFUSED ? fieldsOf(record) : null;
  const id = fields && referenceOf(record);
  if (!id) return null;
  const { data = null, reason } = fields;
  if (name === ACCEPTED) return { id, accepted: true, reason: "", data, clientId };
  return { id, accepted: false, reason: typeof reason === "string" ? reason : "", data: null, clientId };
}

/** The earlier record that this one names. */
function referenceOf({ headers, offset }: ChannelRecord): number | null {
  const text = headers["re"] ?? "";
  return NUMBER.test(text) && Number(text) < offset ? Number(text) : null;
}

/** Nobody approves what they have asked for themselves; refusing it is how they withdraw it. */
function counts(asked: Asked, outcome: Outcome): boolean {
  return !(asked.kind === "approval" && outcome.accepted && outcome.clientId === asked.clientId);
}

/** Feed it records in order: it knows which requests are open. Only those that are wanted are kept. */
export class Ledger {
  readonly #wanted: (asked: Asked) => boolean;
  readonly #open = new Map<number, Asked>();

  constructor(wanted: (asked: Asked) => boolean = () => true) {
    this.#wanted = wanted;
  }

  /** A request that is open now, or one that this record settles. */
  read(record: ChannelRecord): { opened?: Asked; settled?: Settled } {
    const opened = readRequest(record);
    if (opened && this.#wanted(opened)) {
      this.#open.set(opened.id, opened);
      return { opened };
    }
    const outcome = readAnswer(record);
    const asked = outcome && this.#open.get(outcome.id);
    if (!asked || !counts(asked, outcome)) return {};
    this.#open.delete(asked.id);
    return { settled: { asked, outcome, offset: record.offset } };
  }

  /** Forgets what retention has taken, the requests below `before`, and returns them. */
  forget(before: number): Asked[] {
    const gone = [...this.#open.values()].filter(({ id }) => id < before);
    for (const { id } of gone) this.#open.delete(id);
    return gone;
  }

  /** Up to which offset nothing is open, when everything up to `last` was read. */
  done(last: number): number {
    return (this.#open.keys().next().value ?? last + 1) - 1;
  }
}
