/** Positions: `EPOCH:OFFSET`, where a reader stands and in which life of the channel (PROTOCOL.md section 7). */

import { type Whole, wholeFrom } from "./words.js";

export const OFFSET_MAX = 2n ** 63n - 1n;
const TEXT = /^([0-9a-f]{16}):(0|[1-9][0-9]{0,18})$/;

/** `epoch` is its 16 hexadecimal digits. */
export interface Place {
  epoch: string;
  offset: Whole;
}

/** An epoch as text. */
export function epochText(epoch: Whole): string {
  return epoch.toString(16).padStart(16, "0");
}

/** The epoch that a text says. */
export function epochOf(text: string): bigint {
  return BigInt(`0x${text}`);
}

/** Throws RangeError for what is no position. */
export function parsePosition(text: string): Place {
  const match = TEXT.exec(text);
  if (match === null || BigInt(match[2]!) > OFFSET_MAX)
    throw new RangeError(`"${text.slice(0, 60)}" is no position: expected EPOCH:OFFSET, as 00c0ffee00c0ffee:42`);
  return { epoch: match[1]!, offset: wholeFrom(match[2]!) };
}

export function positionText(epoch: string, offset: Whole): string {
  return `${epoch}:${offset}`;
}
