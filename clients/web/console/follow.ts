/** Follows one channel for as long as it is open here, and tells at most once a frame what there is to draw. */

import { signal } from "@preact/signals";
import {
  type Attachment,
  type Channel,
  type Client,
  type Member,
  Resync,
  type StateEntry,
  UnknownChannel,
} from "outlast";
import { type Item, Log, pastItem } from "./log.js";
import { messageOf } from "./session.js";

const LAST = 200;
const EARLIER = 200;
const LOOK_AGAIN_MS = 2_000;

export type Phase = "opening" | "live" | "absent" | "failed";

export class Follower {
  readonly channel: Channel;
  readonly phase = signal<Phase>("opening");
  /** What went wrong, or what is missing. */
  readonly note = signal("");
  readonly items = signal<readonly Item[]>([]);
  readonly state = signal<ReadonlyMap<string, StateEntry>>(new Map());
  readonly members = signal<readonly Member[]>([]);
  /** Whether there may be more in the log before the first item. */
  readonly hasEarlier = signal(false);
  /** Somebody looks at what is further up, and not at what comes. */
  isLooking = false;
  readonly #log = new Log();
  readonly #ending = new AbortController();
  #attachment: Attachment | null = null;
  #frame = 0;
  #hasNews = { state: false, members: false };

  constructor(client: Client, name: string) {
    this.channel = client.channel(name);
    void this.#follow();
  }

  close(): void {
    this.#ending.abort();
    cancelAnimationFrame(this.#frame);
    void this.#attachment?.close();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await this.channel.info(signal); // to attach would make it
        await this.#attach();
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(error);
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
      }
    }
  }

  #failed(error: unknown): void {
    const isAbsent = error instanceof UnknownChannel || (error instanceof Resync && error.reason === "deleted");
    this.phase.value = isAbsent ? "absent" : "failed";
    this.note.value = messageOf(error);
    this.#log.clear();
    this.#hasNews = { state: true, members: true };
    this.#attachment = null;
    this.#draw();
  }

  async #attach(): Promise<void> {
    const attachment = await this.channel.attach({ last: LAST, signal: this.#ending.signal });
    this.#attachment = attachment;
    this.phase.value = "live";
    this.note.value = "";
    this.#log.clear();
    for (const message of attachment.messages.values()) this.#log.message(message);
    this.#hasNews = { state: true, members: true };
    this.#soon();
    for (;;) {
      try {
        for await (const event of attachment) {
          this.#log.take(event);
          this.#log.trim(this.isLooking);
          if (event.type === "state") this.#hasNews.state = true;
          if (event.type === "presence") this.#hasNews.members = true;
          this.#soon();
        }
        return;
      } catch (error) {
        if (!(error instanceof Resync) || error.reason === "deleted") throw error;
        this.note.value = `Some records were missed: ${error.message}`;
        this.#log.clear();
      }
    }
  }

  #soon(): void {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    this.#frame = 0;
    const { items } = this.#log;
    this.items.value = [...items];
    this.hasEarlier.value = (items.find(({ offset }) => offset > 0)?.offset ?? 1) > 1;
    if (this.#hasNews.state) this.state.value = this.#attachment?.state.entries ?? new Map();
    if (this.#hasNews.members) this.members.value = this.#attachment?.members ?? [];
    this.#hasNews = { state: false, members: false };
  }

  /** Puts what came before the first item there. */
  async showEarlier(): Promise<void> {
    const before = this.#log.items.find(({ offset }) => offset > 0)?.offset;
    if (before === undefined) return;
    const found: Item[] = [];
    for await (const record of this.channel.history({
      backwards: true,
      before,
      limit: EARLIER,
      signal: this.#ending.signal,
    }))
      found.push(pastItem(record));
    this.#log.putBefore(found.reverse());
    this.#draw();
    if (!found.length) this.hasEarlier.value = false;
  }
}
