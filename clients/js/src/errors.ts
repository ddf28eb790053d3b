/**
 * Everything that can go wrong, as classes. What the broker refuses comes as the class for its code, or as `Refused`;
 * what the client itself says has a code of the same form. Wrong arguments are TypeError or RangeError, as everywhere.
 */

import { ERRORS, type ProtocolError } from "./protocol/errors.js";
import type { Whole } from "./protocol/words.js";

export type Detail = Readonly<Record<string, Whole | string>>;

/** `code` names the case, `detail` has the broker's current values. `retryable`: the same call may succeed later. */
export class OutlastError extends Error {
  declare code: string;
  declare retryable: boolean;
  readonly detail: Detail;

  constructor(message = "", detail: Detail = {}) {
    super(message);
    this.detail = detail;
  }

  /** What the broker asked to wait, 0 when it did not say. */
  get retryAfterMs(): number {
    return this.number("retry_after_ms");
  }

  protected number(key: string): number {
    return Number(this.detail[key] ?? 0);
  }

  protected text(key: string): string {
    return String(this.detail[key] ?? "");
  }
}

/** The broker refused a request, for a reason that has no class of its own: see `code`. */
export class Refused extends OutlastError {}

/** A batch's bytes are not acceptable, or not what they were when they left the publisher. */
export class BadData extends Refused {}

/** The broker does not believe the token, or there was none. */
export class Unauthorized extends Refused {}

/** The token was good once. */
export class TokenExpired extends Unauthorized {}

/** The token does not grant `detail.verb`. */
export class Forbidden extends Refused {}

/** The broker does not accept the channel's name. */
export class BadChannelName extends Refused {}

/** The channel does not exist, or does not any more. */
export class UnknownChannel extends Refused {}

/** `ifOffset` did not hold; `last` is the channel's last offset. */
export class OffsetMismatch extends Refused {
  get last(): number {
    return this.number("last");
  }
}

/** The offset is beyond the channel's `last`: no record that was ever delivered can be there. */
export class OffsetAhead extends Refused {
  get last(): number {
    return this.number("last");
  }
}

/** The position is of an earlier life of the channel; `epoch` is that of the present one. */
export class StaleEpoch extends Refused {
  get epoch(): string {
    return this.text("epoch");
  }
}

/** What was asked for is past retention; `first` is the lowest offset that is left. */
export class Trimmed extends Refused {
  get first(): number {
    return this.number("first");
  }
}

/** The cursor has not got as far in time; it stands at `offset`, 0 when nobody could say. */
export class NotDelivered extends Refused {
  get offset(): number {
    return this.number("offset");
  }
}

/** The channel has no cursor of that name. */
export class UnknownCursor extends Refused {}

/** The broker has not seen the sequences before this one; it waits for `expected`. */
export class SequenceGap extends Refused {
  get expected(): number {
    return this.number("expected");
  }
}

/** Somebody newer is at it: a newer epoch of this producer, or the holder of a newer lease or claim. */
export class Fenced extends Refused {
  /** The highest that the channel has given, of a claim the one in force; 0: there is none. */
  get token(): Whole {
    return (this.detail["token"] as Whole) ?? 0;
  }
}

/** No growing message was opened at that offset, or it is past retention. */
export class UnknownMessage extends Refused {
  get messageId(): number {
    return this.number("message");
  }
}

/** The growing message does not allow this as it stands: `state` is the name of how it stands, "open" too. */
export class MessageClosed extends UnknownMessage {
  get state(): string {
    return this.text("state");
  }
}

/** The growing message belongs to another client, or to a lease whose token was not given. The other one is "". */
export class ForeignMessage extends UnknownMessage {
  get clientId(): string {
    return this.text("client");
  }

  get lease(): string {
    return this.text("lease");
  }
}

/** What `key` holds cannot be incremented, or the sum is beyond 2^53 - 1. */
export class NotANumber extends Refused {
  get key(): string {
    return this.text("key");
  }
}

/** The condition did not hold: `key` has another `version`, 0 when there is no such key. */
export class VersionMismatch extends NotANumber {
  get version(): number {
    return this.number("version");
  }
}

/** Somebody else has the lease: `holder` is the client id. It lapses in `retryAfterMs`, unless it is renewed. */
export class LeaseHeld extends Refused {
  get holder(): string {
    return this.text("holder");
  }
}

/** Somebody else is at it: `attempt` counts the grants. It lapses in `retryAfterMs`, unless it is extended. */
export class ClaimHeld extends LeaseHeld {
  get attempt(): number {
    return this.number("attempt");
  }
}

/** Above a limit of the broker, or of the protocol: `detail` has `limit` and `value`. */
export class LimitExceeded extends Refused {}

/** What was published cannot be one batch, whatever else is waiting. Nothing was sent. */
export class TooLarge extends LimitExceeded {}

/** The broker takes no changes at present. */
export class ReadOnly extends Refused {}

/** The broker is about to stop. */
export class GoingAway extends Refused {}

/** Too much for a time. Requests that wait for an answer are made again by themselves. */
export class RateLimited extends Refused {}

/** The broker has as many connections as it takes, all in all or of this client or address, and closed this one. */
export class Overloaded extends Refused {}

/** Stored bytes fail their checksum. */
export class Damaged extends Refused {}

/** More is unacknowledged than `bufferBytes` allows. Nothing was taken. */
export class BufferFull extends OutlastError {}

/** No connection to the broker. */
export class ConnectFailed extends OutlastError {}

/** The connection ended before the broker answered: the request may or may not have been done. */
export class ConnectionLost extends OutlastError {}

/** The client is closed. A publish that fails so was not acknowledged, yet may have been stored. */
export class Closed extends OutlastError {}

/** Nobody has answered in time. `request` is its number, 0 when not even its acknowledgement came. It stays open. */
export class NotAnswered extends OutlastError {
  get request(): number {
    return this.number("request");
  }
}

/** The broker broke the protocol: the client drops the connection and goes on from what it has. */
export class Violation extends OutlastError {}

/**
 * A subscription could not go on seamlessly. Iterate it again to go on.
 *
 * `reason` is "trimmed" (the next records are past retention), "recreated" (the channel was deleted and made anew) or
 * "deleted" (it is gone; going on waits for its next life, from that one's start). `position` is the one after which it
 * goes on, null for "deleted".
 */
export class Resync extends OutlastError {
  readonly reason: string;
  readonly position: string | null;

  constructor(reason: string, position: string | null) {
    super(`the channel was ${reason}; the subscription goes on ${position ? `after ${position}` : "in its next life"}`);
    this.reason = reason;
    this.position = position;
  }
}

type Kind = new (message?: string, detail?: Detail) => OutlastError;

const KINDS: Record<string, unknown> = {
  OutlastError, Refused, BadData, BadChannelName, UnknownChannel, OffsetMismatch, OffsetAhead, StaleEpoch, Trimmed, NotDelivered,
  UnknownCursor, SequenceGap, Fenced, UnknownMessage, MessageClosed, ForeignMessage, VersionMismatch, NotANumber, LeaseHeld,
  LimitExceeded, ReadOnly, GoingAway, RateLimited, Overloaded, Damaged, TooLarge, ClaimHeld, BufferFull, ConnectFailed, ConnectionLost, Closed,
  NotAnswered, Violation, Resync, Unauthorized, TokenExpired, Forbidden,
};
/** Where a class's code is not its name in small letters: the one that it has when the client itself says it, and others. */
const CODES: Record<string, string[]> = {
  OutlastError: ["error"],
  BadData: ["bad_batch", "bad_checksum", "unsupported_kind"],
  NotDelivered: ["cursor_behind"],
  LimitExceeded: ["limit_exceeded", "frame_too_large"],
  Violation: ["protocol_violation"],
};
const RETRYABLE = /claim_|buffer_|connect|violation/;
const BY_CODE = /* @__PURE__ */ named();

/** Gives each class its name, which minifying takes from it, and its code. */
function named(): Map<string, Kind> {
  const kinds = new Map<string, Kind>();
  for (const [name, kind] of Object.entries(KINDS) as [string, Kind][]) {
    const codes = CODES[name] ?? [name.replace(/\B[A-Z]/g, "_$&").toLowerCase()];
    for (const code of codes) kinds.set(code, kind);
    const [code] = codes as [string];
    const traits = ERRORS.find(([, known]) => known === code)?.[2];
    Object.assign(kind.prototype, { name, code, retryable: traits?.includes("r") ?? RETRYABLE.test(code) });
  }
  return kinds;
}

/** The error for an ERROR frame. A code that this version does not know is final. */
export function fromWire(number: number, message: string, detail: Detail): OutlastError {
  const [, code, traits] = ERRORS.find(([known]) => known === number) ?? [number, `error_${number}`, ""];
  const error = new (BY_CODE.get(code) ?? Refused)(message, detail);
  return Object.assign(error, { code, retryable: traits.includes("r") });
}

export function isFatal(number: number): boolean {
  return ERRORS.some(([known, , traits]) => known === number && traits.includes("f"));
}

/** What was found wrong with the broker's bytes. */
export function violation(cause: unknown): Violation {
  return cause instanceof Violation ? cause : new Violation(String((cause as ProtocolError).message ?? cause));
}
