/** What records do beyond being there: the operations that a label may carry (PROTOCOL.md 4.5, 4.6, 6.12). */

import { badBatch } from "./errors.js";
import { OFFSET_MAX } from "./position.js";
import { isName, isWhole, type Whole } from "./words.js";

/** How a growing message stands, by the numbers of PROTOCOL.md 4.5. */
export const STATES = ["open", "complete", "cancelled", "error", "interrupted", "removed"] as const;
export type MessageState = (typeof STATES)[number];

/** By the number of an operation: its name and the fields that follow. */
const FORMS: Record<number, readonly string[]> = {
  1: ["open"],
  2: ["append", "message"],
  3: ["close", "message", "state"],
  4: ["replace", "message"],
  5: ["remove", "message"],
  6: ["reopen", "message"],
  7: ["folded", "message", "state", "reason"],
  16: ["set", "key", "version"],
  17: ["unset", "key", "version"],
  18: ["increment", "key", "by"],
  32: ["lapsed", "lease", "token"],
};

export type OperationName =
  | "open" | "append" | "close" | "replace" | "remove" | "reopen" | "folded"
  | "set" | "unset" | "increment" | "lapsed";

/** `message` is the offset that opened it. Without `version` it is done whatever the key's version is. */
export interface Operation {
  readonly op: OperationName;
  readonly message?: Whole;
  readonly state?: MessageState;
  readonly reason?: string;
  readonly key?: string;
  readonly version?: Whole;
  readonly by?: number;
  readonly lease?: string;
  readonly token?: Whole;
}

const KEY_BYTES_MAX = 255;
const LEASE_NAME_BYTES_MAX = 128;
const isOffset = (value: unknown): boolean => isWhole(value) && value > 0 && value <= OFFSET_MAX;

const FIELDS: Record<string, (value: unknown) => boolean> = {
  message: isOffset,
  token: isOffset,
  version: (value) => value === 0 || isOffset(value),
  state: (value) => typeof value === "number" && value in STATES,
  reason: (value) => typeof value === "string",
  key: (value) => isName(value, KEY_BYTES_MAX),
  lease: (value) => isName(value, LEASE_NAME_BYTES_MAX),
  by: (value) => Number.isSafeInteger(value),
};

export const isMessageOperation = (operation: Operation): boolean => codeOf(operation.op) < 16;
export const isStateOperation = (operation: Operation): boolean => operation.key !== undefined;

function codeOf(op: OperationName): number {
  return Number(Object.keys(FORMS).find((code) => FORMS[Number(code)]![0] === op));
}

/** The operation that an array on the wire says. Throws `bad_batch`. */
export function readOperation(row: unknown): Operation {
  if (Array.isArray(row) && typeof row[0] === "number") {
    const [op, ...fields] = FORMS[row[0]] ?? [];
    const values = row.slice(1);
    const most = fields.length;
    const least = fields[1] === "version" ? 1 : most;
    if (op && values.length <= most && values.length >= least && values.every((value, at) => FIELDS[fields[at]!]!(value)))
      return checked(op, Object.fromEntries(values.map((value, at) => [fields[at], value])));
  }
  throw badBatch("a label has an array that is no operation: sections 4.5, 4.6 and 6.12 list them");
}

function checked(op: string, fields: Record<string, unknown>): Operation {
  const state = fields["state"] as number;
  if (op === "close" && (state === 0 || state === 5)) throw badBatch("close says how a message has ended: 1 to 4");
  return { op, ...fields, ...(state === undefined ? {} : { state: STATES[state] }) } as Operation;
}

/** The array that says `operation` on the wire. */
export function operationRow(operation: Operation): unknown[] {
  const code = codeOf(operation.op);
  const values = FORMS[code]!.slice(1).map((field) => {
    const value = operation[field as keyof Operation];
    return field === "state" ? STATES.indexOf(value as MessageState) : value;
  });
  return [code, ...values.filter((value) => value !== undefined)];
}

/** Whether clients may publish it: the rest is what the broker alone says. */
export function isForClients(operation: Operation): boolean {
  const { op, state } = operation;
  return op !== "folded" && op !== "lapsed" && !(op === "close" && state === "interrupted");
}
