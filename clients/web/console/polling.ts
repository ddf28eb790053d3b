/** Looking again and again, while there is somebody to see it and a broker to ask. */

import { type Signal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Client } from "outlast";
import { client, isOpen, messageOf } from "./session.js";

/** What was seen last. `error` says why it is not newer. */
export interface Seen<T> {
  readonly value: T | null;
  readonly atMs: number;
  readonly error: string;
}

const NOTHING = { value: null, atMs: 0, error: "" };
// What takes long is done more seldom: the broker and this page have other things to do.
const PATIENCE = 3;

/** Calls `ask` now and every `everyMs()`, one call after the other; more seldom when it takes long. Returns what ends it. */
export function poll<T>(
  everyMs: () => number,
  ask: (client: Client, signal: AbortSignal) => Promise<T>,
  tell: (seen: { value: T; atMs: number } | { error: string }) => void,
): () => void {
  const ending = new AbortController();
  let timer = 0;
  const again = async () => {
    timer = 0;
    const from = client.peek();
    const beganMs = performance.now();
    if (from && isOpen.peek() && !document.hidden) {
      try {
        const value = await ask(from, ending.signal);
        if (!ending.signal.aborted) tell({ value, atMs: Date.now() });
      } catch (error) {
        if (!ending.signal.aborted) tell({ error: messageOf(error) });
      }
    }
    if (ending.signal.aborted) return;
    timer = window.setTimeout(again, Math.max(everyMs(), (performance.now() - beganMs) * PATIENCE));
  };
  const soon = () => {
    if (timer && !document.hidden) {
      clearTimeout(timer);
      void again();
    }
  };
  const unwatch = isOpen.subscribe(soon);
  document.addEventListener("visibilitychange", soon);
  void again();
  return () => {
    ending.abort();
    clearTimeout(timer);
    unwatch();
    document.removeEventListener("visibilitychange", soon);
  };
}

/** As long as the component is there. `again` names what is looked at: when it changes, it begins anew. */
export function usePolled<T>(
  everyMs: number,
  ask: (client: Client, signal: AbortSignal) => Promise<T>,
  again: readonly unknown[],
): Signal<Seen<T>> {
  const seen = useMemo(() => signal<Seen<T>>(NOTHING), again);
  useEffect(
    () =>
      poll(() => everyMs, ask, (said) => {
        seen.value = "error" in said ? { ...seen.peek(), ...said } : { ...said, error: "" };
      }),
    again,
  );
  return seen;
}
