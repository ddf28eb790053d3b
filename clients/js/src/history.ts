/** What lies in a channel, fetched page by page (PROTOCOL.md 6.7). */

import { Violation } from "./errors.js";
import { checkLife, type Fields, type Life, type Link } from "./link.js";
import { checkWhole } from "./options.js";
import { spans } from "./protocol/batch.js";
import type { Frame } from "./protocol/frames.js";
import { epochOf } from "./protocol/position.js";
import { type ChannelRecord, readRun, safe } from "./records.js";
import { chooseStart, readWhere, type StartOptions, type Where } from "./starts.js";

const PAGE_RECORDS = 2_000;

export interface HistoryOptions extends Omit<StartOptions, "start"> {
  start?: "earliest";
  /** Only what lies before this place. */
  before?: Where;
  /** The newest first; takes no start. */
  backwards?: boolean;
  /** So many records at most. */
  limit?: number;
  /** Every operation as it lies in the log, instead of each growing message once. */
  raw?: boolean;
  signal?: AbortSignal;
}

interface Range {
  before: number | undefined;
  beforeEpoch: string | undefined;
  limit: number;
  fold: boolean;
  signal: AbortSignal | undefined;
}

export function readHistory(
  link: Link,
  name: string,
  options: HistoryOptions,
): AsyncGenerator<ChannelRecord, void, undefined> {
  const { before, backwards: goesBack, limit = Infinity, raw, signal } = options;
  const start = chooseStart(options, "earliest");
  if (goesBack && start.start !== "earliest")
    throw new TypeError("backwards starts at `before` or at the end: leave out after, last, since");
  if (limit !== Infinity) checkWhole("limit", limit, 0);
  const end = before === undefined ? undefined : readWhere("before", before);
  const range = { before: end?.offset, beforeEpoch: end?.epoch, limit, fold: !raw, signal };
  return goesBack ? backwards(link, name, range) : forwards(link, name, range, { ...start });
}

/** From the start on, up to what was the last record when the first page was answered. */
async function* forwards(
  link: Link,
  name: string,
  range: Range,
  ask: Fields,
): AsyncGenerator<ChannelRecord, void, undefined> {
  const { beforeEpoch, signal, fold } = range;
  const given = new Set<number>();
  let left = range.limit;
  let end = range.before ?? Infinity;
  for (let isFirst = true; left > 0; isFirst = false) {
    const [page, life] = await link.callIn(name, "HISTORY", { ...ask, fold, limit: pageSize(link, left) }, { signal });
    checkLife(beforeEpoch, life);
    checkJoint(page["low"], isFirst ? undefined : (ask["after"] as number) + 1, page);
    if (isFirst) end = Math.min(end, page["last"] + 1);
    const records = recordsOf(page, life).filter((record) => belongs(record, range, end, given));
    yield* records;
    left -= records.length;
    // A message that goes on while pages are fetched is beyond `end` when its page is made: it was there, so it is given.
    const through = fold && range.before === undefined ? page["last"] + 1 : end;
    if (page["low"] > page["high"] || page["high"] + 1 >= through) return;
    ask = { after: page["high"], epoch: epochOf(life.epoch) };
  }
}

/** Whether a record is below the end; a folded message counts where it began, once. */
function belongs(
  { operation, offset }: ChannelRecord,
  { before, fold }: Range,
  end: number,
  given: Set<number>,
): boolean {
  if (!fold || operation?.op !== "folded") return offset < end;
  const message = safe(operation.message!);
  const beginning = before === undefined ? message : offset;
  if (given.has(message) || beginning >= end) return false;
  given.add(message);
  return true;
}

/** The newest first. */
async function* backwards(link: Link, name: string, range: Range): AsyncGenerator<ChannelRecord, void, undefined> {
  const { before, beforeEpoch, fold, signal } = range;
  let left = range.limit;
  let ask: Fields = { before, epoch: beforeEpoch && epochOf(beforeEpoch) };
  for (let newest: number | undefined; left > 0; newest = (ask["before"] as number) - 1) {
    const [page, life] = await link.callIn(
      name,
      "HISTORY",
      { ...ask, fold, backwards: true, limit: pageSize(link, left) },
      { signal },
    );
    checkJoint(page["high"], newest, page);
    const records = recordsOf(page, life).reverse();
    yield* records;
    left -= records.length;
    if (page["low"] > page["high"] || page["low"] <= page["first"]) return;
    ask = { before: page["low"], epoch: epochOf(life.epoch) };
  }
}

function pageSize(link: Link, left: number): number {
  return Math.min(PAGE_RECORDS, link.limits["page_records"] ?? Infinity, left);
}

/** Pages lie side by side: nothing may be missing between them (PROTOCOL.md 2.2). */
function checkJoint(edge: number, expected: number | undefined, { low, high }: Frame): void {
  if (expected !== undefined && low <= high && edge !== expected)
    throw new Violation(`the page of history ${low} to ${high} leaves ${expected} out`);
}

/** Those that the page means. Throws Violation when one is missing that no tile accounts for (PROTOCOL.md 4.7). */
function recordsOf(page: Frame, life: Life): ChannelRecord[] {
  const { low, high, batches } = page;
  const records = readRun(batches, life.epoch);
  let due = low;
  for (const { offset, last } of low <= high ? spans(batches) : []) {
    if (offset > due || (offset < due && due > low))
      throw new Violation(`a page of history ${low} to ${high} leaves ${due} out, or repeats it`);
    due = safe(last) + 1;
  }
  if (due <= high) throw new Violation(`a page of history says ${low} to ${high} and ends before ${due}`);
  return records.filter(({ offset }) => offset >= low && offset <= high);
}
