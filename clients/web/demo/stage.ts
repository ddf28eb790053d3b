/** What happens on the demo's stage, as its server tells it: who lives, what was broken, and the verdict. */

import { signal } from "@preact/signals";
import type { Account } from "./tally.ts";

interface Viewer {
  readonly state: string;
  readonly offset: number;
  readonly gaps: number;
  readonly repeats: number;
}

export interface Scene {
  readonly seconds: number;
  readonly elapsed_s: number;
  readonly broker: { readonly state: string; readonly pid: number; readonly kills: number };
  readonly agent: {
    readonly state: string;
    readonly written: number;
    readonly acknowledged: number;
    readonly file: string;
    readonly kills: number;
  };
  readonly viewers: { readonly [name: string]: Viewer };
  readonly page: { readonly state: string };
}

/** `url` is where the broker is, over the line that can be cut. */
export interface Stage {
  readonly url: string;
  readonly channel: string;
  readonly control: string;
  readonly tab: string;
}

export interface Said {
  readonly at_s: number;
  readonly text: string;
  readonly colour: string | null;
}

export interface Verdict {
  readonly holds: boolean;
  readonly checks: readonly { readonly claim: string; readonly holds: boolean }[];
  readonly rows: readonly ({ readonly name: string } & Account)[];
}

/** What the demo's buttons break. */
export type Button = "page" | "broker" | "agent";

export const scene = signal<Scene | null>(null);
export const said = signal<readonly Said[]>([]);
export const verdict = signal<Verdict | null>(null);
/** False while the demo itself cannot be heard. */
export const isThere = signal(true);

const tab = crypto.randomUUID();

/** Listens until the verdict. Calls `begin` once the stage is known. */
export function listen(begin: (stage: Stage) => void): void {
  const source = new EventSource(`events?tab=${tab}`);
  const on = <T>(event: string, hear: (told: T) => void) =>
    source.addEventListener(event, ({ data }) => hear(JSON.parse(data)));
  let hasBegun = false;
  on<Stage>("stage", (stage) => {
    isThere.value = true;
    said.value = [];
    if (!hasBegun) begin(stage);
    hasBegun = true;
  });
  on<Scene>("scene", (told) => (scene.value = told));
  on<Said>("said", (told) => (said.value = [...said.value, told]));
  on<Verdict>("verdict", (told) => {
    verdict.value = told;
    source.close();
  });
  source.onerror = () => (isThere.value = false);
}

export async function press(button: Button): Promise<void> {
  await fetch(`press/${button}`, { method: "POST" });
}

/** What this tab saw, for the proof. */
export async function hand(account: Account): Promise<void> {
  await fetch(`account?tab=${tab}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(account),
  });
}
