/** The one connection of this page to its broker, and what is known of it. */

import { computed, signal } from "@preact/signals";
import { type Client, connect, type LinkState, OutlastError } from "outlast";

const TOKEN = "outlast.token";
// People look at this page: they should not wait long once the broker is back.
const BACKOFF_CAP_MS = 3_000;
const NEED_TOKEN = ["unauthorized", "token_expired"];

export const client = signal<Client | null>(null);
export const linkState = signal<LinkState>("connecting");
/** Why the latest connection ended. */
export const lostReason = signal("");
/** Since when there is no connection; 0: there is one, or there was none yet. */
export const lostAtMs = signal(0);
/** What to say to somebody who has to give a token; null: nobody has to. */
export const tokenAsked = signal<string | null>(null);
export const isOpen = computed(() => linkState.value === "open");

/** With the token that this tab was given last, if any. It is kept for the tab alone, and goes with it. */
export function begin(): Promise<void> {
  return enter(sessionStorage.getItem(TOKEN));
}

export function forgetToken(): Promise<void> {
  sessionStorage.removeItem(TOKEN);
  return enter(null);
}

export const hasToken = (): boolean => sessionStorage.getItem(TOKEN) !== null;

export async function enter(token: string | null): Promise<void> {
  const earlier = client.value;
  client.value = null;
  tokenAsked.value = null;
  await earlier?.close();
  try {
    // A token may say itself whose it is.
    const who = token === null ? { clientId: `console-${crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36)}` } : { token };
    client.value = await connect(undefined, {
      ...who,
      timeoutMs: null,
      closeTimeoutMs: 0,
      backoffCapMs: BACKOFF_CAP_MS,
      onState: changed,
    });
    if (token !== null) sessionStorage.setItem(TOKEN, token);
  } catch (error) {
    refused(error, token !== null);
  }
}

function changed(state: LinkState, reason: string): void {
  if (state !== "open" && linkState.value === "open") lostAtMs.value = Date.now();
  if (state === "open") lostAtMs.value = 0;
  else if (reason) lostReason.value = reason;
  linkState.value = state;
}

function refused(error: unknown, hadToken: boolean): void {
  const cause = error instanceof OutlastError && error.cause instanceof OutlastError ? error.cause : error;
  const code = cause instanceof OutlastError ? cause.code : "";
  if (NEED_TOKEN.includes(code)) tokenAsked.value = hadToken ? `The broker refuses this token: ${(cause as Error).message}` : "";
  else lostReason.value = messageOf(error);
}

/** What to tell people of something that went wrong. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
