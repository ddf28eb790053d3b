/** What the broker does, looked at all the time that the page is open, so that the plots have something to show. */

import { signal } from "@preact/signals";
import type { Client, Status } from "outlast";
import { poll } from "./polling.js";
import { growth, Series } from "./rates.js";

export const EVERY_MS = 2_000;
/** So many looks are remembered: two minutes. */
export const LOOKS = 60;

const PLOTTED = ["records", "deliveries", "commits", "commit", "publish", "lag", "store", "in", "out"] as const;
export type Plotted = (typeof PLOTTED)[number];

export interface Pulse {
  readonly status: Status | null;
  readonly atMs: number;
  readonly error: string;
  readonly values: Readonly<Record<Plotted, readonly number[]>>;
}

const series = Object.fromEntries(PLOTTED.map((name) => [name, new Series(LOOKS)])) as Record<Plotted, Series>;
export const pulse = signal<Pulse>({ status: null, atMs: 0, error: "", values: valuesNow() });

function valuesNow(): Pulse["values"] {
  return Object.fromEntries(PLOTTED.map((name) => [name, series[name].values])) as Pulse["values"];
}

/** A figure of STATUS; 0 where this broker does not say it. */
export function figure(status: Status | null, key: string): number {
  const value = status?.[key];
  return typeof value === "number" ? value : 0;
}

export function watchPulse(): () => void {
  return poll(
    () => EVERY_MS,
    (client: Client, signal) => client.status({ signal }),
    (said) => {
      if ("error" in said) {
        pulse.value = { ...pulse.peek(), error: said.error };
        return;
      }
      const before = pulse.peek().status;
      if (before) note(before, said.value);
      pulse.value = { status: said.value, atMs: said.atMs, error: "", values: valuesNow() };
    },
  );
}

/** The broker's own clock says how far apart two looks are. */
function note(before: Status, now: Status): void {
  const rate = (key: string) =>
    growth(figure(before, key), figure(before, "timeMs"), figure(now, key), figure(now, "timeMs"));
  series.records.add(rate("recordsIn"));
  series.deliveries.add(rate("deliveries"));
  series.commits.add(rate("commits"));
  series.in.add(rate("bytesIn"));
  series.out.add(rate("bytesOut"));
  series.commit.add(figure(now, "commitP99Us"));
  series.publish.add(figure(now, "publishP99Us"));
  series.lag.add(figure(now, "loopLagP99Us"));
  series.store.add(figure(now, "storeUsedBytes"));
}
