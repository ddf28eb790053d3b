/** The demo's page: an agent's work as a chat, what this tab received of it, and four ways to break it. */

import { signal } from "@preact/signals";
import { render } from "preact";
import { ChatColumn } from "./column.tsx";
import { Panel } from "./panel.tsx";
import { Reader } from "./reader.ts";
import { isThere, listen, scene, verdict } from "./stage.ts";
import { VerdictCard } from "./verdict.tsx";

const reader = signal<Reader | null>(null);
const tab = signal("");

function App() {
  if (!reader.value) return <p class="waiting">{isThere.value ? "Waiting for the demo ..." : "The demo is not running."}</p>;
  return (
    <>
      <Head />
      <main>
        <ChatColumn reader={reader.value} />
        <aside>
          {verdict.value && <VerdictCard verdict={verdict.value} tab={tab.value} />}
          <Panel reader={reader.value} />
        </aside>
      </main>
    </>
  );
}

function Head() {
  const { seconds, elapsed_s } = scene.value ?? { seconds: 60, elapsed_s: 0 };
  const done = verdict.value ? seconds : Math.max(0, Math.min(elapsed_s, seconds));
  const ending = isThere.value ? `${Math.round(done)} of ${seconds} s` : "the demo is not running any more";
  return (
    <header>
      <h1>
        Outlast <span>demo</span>
      </h1>
      <progress value={done} max={seconds} aria-label="How much of the demo is over" />
      <small>{verdict.value ? "over" : ending}</small>
    </header>
  );
}

render(<App />, document.getElementById("app")!);
listen((stage) => {
  tab.value = stage.tab;
  const mine = new Reader(stage);
  reader.value = mine;
  void mine.follow();
});
verdict.subscribe((told) => void (told && reader.value?.leave()));
