/** Where reading starts: the options of `subscribe`, `attach` and `history` made into the fields of a request (6.5). */

import { checkWhole } from "./options.js";
import { epochOf, parsePosition } from "./protocol/position.js";
import { WHOLE_MAX } from "./protocol/words.js";
import { safe } from "./records.js";

/** An offset, or the text of a position, which says the life of the channel, too. */
export type Where = number | string;

/** At most one of them. */
export interface StartOptions {
  /** What comes after this place. */
  after?: Where | undefined;
  /** From the oldest record that is kept, or from now on. */
  start?: "earliest" | "latest" | undefined;
  /** The last so many records. */
  last?: number | undefined;
  /** From this moment on: a Date, or Unix time in ms. */
  since?: Date | number | undefined;
}

/** The fields of a request. */
export interface Start {
  after?: number;
  epoch?: bigint;
  start?: string;
  last?: number;
  since_ms?: number;
}

export const EARLIEST: Start = { start: "earliest" };

/** The start of a reader that has everything up to `offset` of that life. */
export function behind(epoch: string, offset: number): Start {
  return { after: offset, epoch: epochOf(epoch) };
}

/** Throws TypeError or RangeError when the options do not say one thing. */
export function chooseStart({ after, start, last, since }: StartOptions, fallback: string): Start {
  if ([after, start, last, since].filter((each) => each !== undefined).length > 1)
    throw new TypeError("give one of after, start, last and since");
  if (after !== undefined) {
    const { offset, epoch } = readWhere("after", after);
    return epoch === undefined ? { after: offset } : behind(epoch, offset);
  }
  if (last !== undefined) return { last: checkWhole("last", last, 0, WHOLE_MAX) };
  if (since !== undefined) return { since_ms: Math.max(checkWhole("since", Number(since), -WHOLE_MAX), 0) };
  if (start !== undefined && start !== "earliest" && start !== "latest")
    throw new TypeError(`start is ${start}, expected "earliest" or "latest"`);
  return { start: start ?? fallback };
}

/** Only an offset leaves the epoch open. */
export function readWhere(what: string, where: Where): { offset: number; epoch: string | undefined } {
  if (typeof where !== "string") return { offset: checkWhole(what, where, 0, WHOLE_MAX), epoch: undefined };
  const { epoch, offset } = parsePosition(where);
  return { offset: safe(offset), epoch };
}
