/** What can go wrong, as PROTOCOL.md section 8 lists it. */

/** Code, name, and how it is to be treated: `r` retryable, `f` fatal to the connection. */
export const ERRORS: readonly (readonly [code: number, name: string, traits: string])[] = [
  [1, "bad_magic", "f"],
  [2, "bad_frame", "f"],
  [3, "frame_too_large", "f"],
  [4, "unknown_frame", "f"],
  [5, "unexpected_frame", "f"],
  [6, "unsupported_version", "f"],
  [7, "hello_timeout", "rf"],
  [8, "heartbeat_timeout", "rf"],
  [9, "unauthorized", "f"],
  [10, "token_expired", "f"],
  [20, "bad_body", ""],
  [21, "bad_batch", ""],
  [22, "bad_checksum", "r"],
  [23, "unsupported_kind", ""],
  [24, "bad_channel_name", ""],
  [25, "unknown_channel", ""],
  [26, "already_subscribed", ""],
  [27, "not_subscribed", ""],
  [28, "offset_ahead", ""],
  [29, "offset_mismatch", ""],
  [30, "stale_epoch", ""],
  [31, "trimmed", ""],
  [32, "sequence_gap", "r"],
  [33, "fenced", ""],
  [34, "credit_overflow", ""],
  [35, "limit_exceeded", ""],
  [36, "client_mismatch", ""],
  [37, "cursor_behind", "r"],
  [38, "unknown_cursor", ""],
  [39, "unknown_message", ""],
  [40, "message_closed", ""],
  [41, "foreign_message", ""],
  [42, "version_mismatch", ""],
  [43, "not_a_number", ""],
  [44, "lease_held", "r"],
  [45, "forbidden", ""],
  [46, "rate_limited", "r"],
  [47, "overloaded", "rf"],
  [60, "read_only", "r"],
  [61, "going_away", "r"],
  [62, "damaged", ""],
  [63, "internal", "rf"],
];

/** What the bytes of a peer are refused with. `code` is a name of the table. */
export class ProtocolError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }

  get fatal(): boolean {
    return ERRORS.some(([, name, traits]) => name === this.code && traits.includes("f"));
  }
}

export function badBatch(message: string): ProtocolError {
  return new ProtocolError("bad_batch", message);
}
