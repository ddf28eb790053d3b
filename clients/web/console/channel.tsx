/** One channel, live: what is said in it on the left, what it is on the right. */

import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { About } from "./about.js";
import { Composer } from "./composer.js";
import { Follower } from "./follow.js";
import { showCount, showRate } from "./format.js";
import { useKeys } from "./keyboard.js";
import { usePolled } from "./polling.js";
import { growth } from "./rates.js";
import { goBack } from "./route.js";
import { client } from "./session.js";
import { Stream } from "./stream.js";

const INFO_EVERY_MS = 2_000;

export function ChannelPage({ name }: { name: string }) {
  const from = client.value;
  const follower = useMemo(() => from && new Follower(from, name), [from, name]);
  useEffect(() => () => follower?.close(), [follower]);
  const isAboutShown = useSignal(false);
  const info = usePolled(INFO_EVERY_MS, (client, signal) => client.channel(name).info(signal), [name]);
  const rate = useRate(info.value.value?.last, info.value.atMs);
  useKeys((key) => {
    if (key !== "Escape") return false;
    goBack();
    return true;
  });
  if (!follower) return <main class="page" />;
  const known = info.value.value;
  return (
    <main class="page fills channel">
      <div class="tools">
        <button type="button" class="quiet back" onClick={goBack} aria-label="All channels" title="All channels (Esc)">
          ←
        </button>
        <h1 class="name" title={name}>
          {name}
        </h1>
        {follower.phase.value === "live" && known && (
          <span class="muted count">
            {showCount(known.last - known.first + 1)} records{rate === null ? "" : ` · ${showRate(rate)}/s`}
          </span>
        )}
        <div class="switch" role="group" aria-label="What to see">
          <button type="button" aria-pressed={!isAboutShown.value} onClick={() => (isAboutShown.value = false)}>
            Messages
          </button>
          <button type="button" aria-pressed={isAboutShown.value} onClick={() => (isAboutShown.value = true)}>
            About
          </button>
        </div>
      </div>
      <div class={`halves ${isAboutShown.value ? "second" : "first"}`}>
        <section class="live" aria-label="Messages">
          <Stream follower={follower} />
          <Composer channel={follower.channel} />
        </section>
        <aside aria-label="About this channel">
          <About follower={follower} info={info.value} />
        </aside>
      </div>
    </main>
  );
}

/** Records a second between the last two looks. */
function useRate(last: number | undefined, atMs: number): number | null {
  const seen = useMemo(() => ({ last: 0, atMs: 0, rate: null as number | null }), []);
  if (last !== undefined && atMs > seen.atMs) {
    seen.rate = seen.atMs ? growth(seen.last, seen.atMs, last, atMs) : null;
    Object.assign(seen, { last, atMs });
  }
  return seen.rate;
}
