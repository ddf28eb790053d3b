/** How old what is shown is, said where it matters. */

import { signal } from "@preact/signals";
import { showAgo } from "./format.js";
import { askToken, hasToken, isOpen, lostAtMs, lostReason } from "./session.js";

// One clock for all, which ticks as long as the page is there.
const now = signal(Date.now());
setInterval(() => (now.value = Date.now()), 1_000);

/** "3 s ago", which goes on by itself. */
export function Ago({ atMs }: { atMs: number }) {
  return <>{showAgo(atMs, Math.max(now.value, atMs))}</>;
}

/** There while there is no connection. */
export function Banner() {
  if (isOpen.value) return null;
  if (!lostAtMs.value)
    return (
      <p class="banner" role="status">
        Connecting to the broker … <Why />
      </p>
    );
  return (
    <p class="banner" role="alert">
      <strong>No connection.</strong> What is shown is as it was <Ago atMs={lostAtMs.value} />; trying again. <Why />
    </p>
  );
}

function Why() {
  if (!lostReason.value) return null;
  const isForToken = hasToken.value || lostReason.value.includes("token");
  return (
    <>
      <span class="muted">{lostReason.value}</span>
      {isForToken && (
        <button type="button" class="small" onClick={askToken}>
          Another token …
        </button>
      )}
    </>
  );
}

/** There while something cannot be looked at. */
export function Failure({ error }: { error: string }) {
  return error && isOpen.value ? (
    <p class="failure" role="alert">
      {error}
    </p>
  ) : null;
}
