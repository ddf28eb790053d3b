/** The broker's channels as lists show them, looked at again and again. */

import { signal } from "@preact/signals";
import type { ChannelSummary, Client } from "outlast";
import { poll } from "./polling.js";
import { Rates } from "./rates.js";

// More than this nobody reads, and a browser should not hold: a longer prefix shows the rest.
export const CHANNELS_MAX = 20_000;
const SHOWN_MEANWHILE = 1_000;

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
export function watchDirectory(prefix: string, everyMs: number): () => void {
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
    everyMs,
    (client, signal) => list(client, prefix, signal),
    (said) => {
      if ("error" in said) directory.value = { ...directory.peek(), error: said.error };
      else {
        const {
          value: { found, more },
          atMs,
        } = said;
        rates.look(found, atMs);
        directory.value = { prefix, rows: rowsOf(found), more, atMs, error: "" };
      }
    },
  );
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
