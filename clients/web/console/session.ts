/** The one connection of this page to its broker, and what is known of it. */

import { computed, signal } from "@preact/signals";
import { type Client, connect, Forbidden, type LinkState, Unauthorized } from "outlast";

const TOKEN = "outlast.token";
// People look at this page: they should not wait long once the broker is back.
const BACKOFF_CAP_MS = 3_000;

export const client = signal<Client | null>(null);
export const linkState = signal<LinkState>("connecting");
/** Why the latest connection ended. */
export const lostReason = signal("");
/** Since when there is no connection; 0: there is one, or there was none yet. */
export const lostAtMs = signal(0);
/** What to say to somebody who has to give a token; null: nobody has to. */
export const tokenAsked = signal<string | null>(null);
export const hasToken = signal(false);
export const isOpen = computed(() => linkState.value === "open");

// The connection that is looked for, or was found.
let attempt = new AbortController();

/** With the token that this tab was given last, if any. It is kept for the tab alone, and goes with it. */
export function begin(): Promise<void> {
  return enter(sessionStorage.getItem(TOKEN));
}

/** Ends the connection and asks for a token, as for another person, or where the one that was good has ended. */
export async function askToken(): Promise<void> {
  sessionStorage.removeItem(TOKEN);
  hasToken.value = false;
  await leave();
  tokenAsked.value = "";
}

async function leave(): Promise<void> {
  attempt.abort();
  const earlier = client.value;
  client.value = null;
  await earlier?.close();
  lostAtMs.value = 0;
  lostReason.value = "";
}

export async function enter(token: string | null): Promise<void> {
  tokenAsked.value = null;
  await leave();
  const { signal } = (attempt = new AbortController());
  try {
    // A token may say itself whose it is.
    const who =
      token === null
        ? { clientId: `console-${crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36)}` }
        : { token };
    client.value = await connect(undefined, {
      ...who,
      timeoutMs: null,
      closeTimeoutMs: 0,
      backoffCapMs: BACKOFF_CAP_MS,
      onState: changed,
      signal,
    });
    if (token === null) return;
    sessionStorage.setItem(TOKEN, token);
    hasToken.value = true;
  } catch (error) {
    if (!signal.aborted) refused(error, token !== null);
  }
}

function changed(state: LinkState, reason: string): void {
  if (state !== "open" && linkState.value === "open") lostAtMs.value = Date.now();
  if (state === "open") lostAtMs.value = 0;
  else if (reason) lostReason.value = reason;
  linkState.value = state;
}

function refused(error: unknown, hadToken: boolean): void {
  if (!(error instanceof Unauthorized || error instanceof Forbidden)) {
    lostReason.value = messageOf(error);
    return;
  }
  sessionStorage.removeItem(TOKEN);
  tokenAsked.value = hadToken ? `The broker does not take this token: ${error.message}` : "";
}

/** What to tell people of something that went wrong. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
