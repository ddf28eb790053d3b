/** What the broker says of channels, and of itself. */

import { epochText, positionText } from "./protocol/position.js";

/** What a channel keeps. 0 is "no bound", null the broker's rule. */
export interface Retention {
  ageMs?: number | null;
  records?: number | null;
  bytes?: number | null;
  idleTtlMs?: number | null;
}

/** A channel as lists show it. An empty one has first = last + 1; `lastMs` 0 means no record yet. */
export interface ChannelSummary {
  readonly name: string;
  readonly epoch: string;
  /** Of the last record: a subscription `after` it begins with what comes next. */
  readonly position: string;
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
  readonly lastMs: number;
  readonly subscribers: number;
  /** Present or away. */
  readonly members: number;
}

/** A channel in full. */
export interface ChannelInfo extends ChannelSummary {
  readonly createdMs: number;
  /** How many are open. */
  readonly messages: number;
  readonly retention: Retention;
}

type Result = { [key: string]: any };

export function summaryFrom(row: Result): ChannelSummary {
  const epoch = epochText(row["epoch"]);
  const { first, last, bytes, last_ms: lastMs, subscribers = 0, members = 0 } = row as Record<string, number>;
  return {
    name: row["channel"],
    epoch,
    position: positionText(epoch, last!),
    first,
    last,
    bytes,
    lastMs,
    subscribers,
    members,
  } as ChannelSummary;
}

export function infoFrom(result: Result): ChannelInfo {
  const { created_ms: createdMs, messages = 0, retention } = result;
  return { ...summaryFrom(result), createdMs, messages, retention: retentionFrom(retention) };
}

export function retentionFrom({ age_ms, records, bytes, idle_ttl_ms }: Result): Retention {
  return { ageMs: age_ms ?? null, records: records ?? null, bytes: bytes ?? null, idleTtlMs: idle_ttl_ms ?? null };
}

/** What the broker is and does now: the keys of PROTOCOL.md 6.16, as `startedMs` and `commitP99Us`. */
export type Status = Readonly<Record<string, number | string | boolean>>;

/** Who is connected. */
export interface ConnectionInfo {
  /** The connection's own, and never used again while the broker runs. */
  readonly id: number;
  readonly clientId: string;
  readonly agent: string;
  readonly door: "tcp" | "unix" | "websocket" | "http";
  /** "" for a Unix socket. */
  readonly address: string;
  readonly sinceMs: number;
  readonly channels: number;
  readonly subscriptions: number;
  /** Subscriptions that do not get what is published as it comes. */
  readonly behind: number;
  readonly waitingBytes: number;
}

/** What is not believed any more: tokens of `subject` issued before `issuedBeforeMs`, or the one with `tokenId`. */
export interface Revocation {
  readonly subject?: string;
  readonly tokenId?: string;
  readonly issuedBeforeMs?: number;
  /** When the last token that it is about has expired, and it is forgotten. */
  readonly untilMs: number;
}

/** With the names of JavaScript. */
export const named = (row: Result): any =>
  Object.fromEntries(Object.entries(row).map(([key, value]) => [key.replace(/_(.)/g, (_, letter) => letter.toUpperCase()), value]));
