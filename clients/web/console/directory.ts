/** The broker's channels as lists show them, looked at again and again: a long list as a whole more seldom than what is seen of it. */

import { signal } from "@preact/signals";
import type { ChannelSummary, Client } from "outlast";
import { poll } from "./polling.js";
import { Rates } from "./rates.js";

// More than this nobody reads, and a browser should not hold: a longer prefix shows the rest.
export const CHANNELS_MAX = 20_000;
const SHOWN_MEANWHILE = 1_000;
const EVERY_MS = 2_000;
// A row of a list costs the broker about 20 us: so much rest makes that one or two hundredths of its time.
const REST_MS_PER_ROW = 1.5;

export interface Row extends ChannelSummary {
  /** Records a second; null: not known yet. */
  readonly rate: number | null;
}

export interface Directory {
  readonly prefix: string;
  readonly rows: readonly Row[];
  /** There are more than are shown. */
  readonly more: boolean;
  /** When it was looked at; 0: not yet. */
  readonly atMs: number;
  readonly error: string;
}

export const directory = signal<Directory>({ prefix: "", rows: [], more: false, atMs: 0, error: "" });
const rates = new Rates();

/** Looks at the channels that begin with `prefix`. Returns what ends it. */
export function watchDirectory(prefix: string, everyMs = EVERY_MS): () => void {
  const { rows } = directory.peek();
  // What is known of them already is shown at once.
  directory.value = {
    ...directory.peek(),
    prefix,
    rows: rows.filter(({ name }) => name.startsWith(prefix)),
    more: false,
    atMs: 0,
  };
  return poll(
    () => Math.max(everyMs, restMs()),
    (client, signal) => list(client, prefix, signal),
    (said) => {
      if ("error" in said) directory.value = { ...directory.peek(), error: said.error };
      else {
        const {
          value: { found, more },
          atMs,
        } = said;
        rates.lookAtAll(found, atMs);
        directory.value = { prefix, rows: rowsOf(found), more, atMs, error: "" };
      }
    },
  );
}

/** Looks at those `inSight` when the whole list has to wait. Returns what ends it. */
export function watchSight(inSight: () => readonly Row[]): () => void {
  return poll(
    () => EVERY_MS,
    (client, signal) => {
      const names = restMs() > EVERY_MS ? inSight().map(({ name }) => name) : [];
      return Promise.all(names.map((name) => client.channel(name).info(signal).catch(missing)));
    },
    (said) => {
      if ("error" in said) return;
      const seen = said.value.filter((info) => info !== null);
      if (!seen.length) return;
      rates.lookAtSome(seen, said.atMs);
      const fresh = new Map(rowsOf(seen).map((row) => [row.name, row]));
      const { rows } = directory.peek();
      directory.value = { ...directory.peek(), rows: rows.map((row) => fresh.get(row.name) ?? row) };
    },
  );
}

function restMs(): number {
  return directory.peek().rows.length * REST_MS_PER_ROW;
}

/** The next look at the whole list says what has become of it. */
function missing(): null {
  return null;
}

function rowsOf(found: readonly ChannelSummary[]): Row[] {
  return found.map((summary) => ({ ...summary, rate: rates.of(summary.name) }));
}

/** All of them. The first time, those that have come are shown meanwhile. */
async function list(client: Client, prefix: string, signal: AbortSignal) {
  const found: ChannelSummary[] = [];
  for await (const summary of client.channels({ prefix, signal })) {
    if (found.length === CHANNELS_MAX) return { found, more: true };
    found.push(summary);
    const { atMs, rows } = directory.peek();
    if (!atMs && found.length % SHOWN_MEANWHILE === 0 && found.length > rows.length)
      directory.value = { ...directory.peek(), rows: rowsOf(found) };
  }
  return { found, more: false };
}
