/** What the broker says of channels. */

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
}

/** A channel in full. */
export interface ChannelInfo extends ChannelSummary {
  readonly createdMs: number;
  readonly subscribers: number;
  readonly retention: Retention;
}

type Result = { [key: string]: any };

export function summaryFrom(row: Result): ChannelSummary {
  const epoch = epochText(row["epoch"]);
  const { first, last, bytes, last_ms: lastMs } = row as Record<string, number>;
  return {
    name: row["channel"],
    epoch,
    position: positionText(epoch, last!),
    first,
    last,
    bytes,
    lastMs,
  } as ChannelSummary;
}

export function infoFrom(result: Result): ChannelInfo {
  const { created_ms: createdMs, subscribers, retention } = result;
  return { ...summaryFrom(result), createdMs, subscribers, retention: retentionFrom(retention) };
}

export function retentionFrom({ age_ms, records, bytes, idle_ttl_ms }: Result): Retention {
  return { ageMs: age_ms ?? null, records: records ?? null, bytes: bytes ?? null, idleTtlMs: idle_ttl_ms ?? null };
}
