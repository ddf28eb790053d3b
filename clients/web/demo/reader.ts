/** This tab as a reader of the report: it attaches, counts, comes back by itself, and hands in what it saw. */

import { signal } from "@preact/signals";
import { type ChannelRecord, type Client, Closed, connect, type LinkState, type SessionEvent } from "outlast";
import { Catchup, type Return } from "./catchup.ts";
import { Chat } from "./chat.ts";
import { hand, type Stage } from "./stage.ts";
import { type Account, Tally } from "./tally.ts";

// The demo is short: nobody stays away for the ten seconds that are right in earnest.
const BACKOFF_CAP_MS = 1_000;
const DIGEST_EVERY_MS = 1_000;
// How long a proof that is there waits for the last words about the run.
const LEAVE_MS = 2_000;

/** The task, and the message that stands for it: who cancels that, cancels the run. */
export interface Run {
  readonly id: number;
  readonly task: string;
  readonly state: string;
}

export class Reader {
  readonly chat = new Chat();
  readonly tally = new Tally();
  /** Grows with the frames in which there is something new to see. */
  readonly frame = signal(0);
  readonly link = signal<LinkState>("connecting");
  readonly resumes = signal(0);
  readonly lastReturn = signal<Return | null>(null);
  readonly resyncs = signal(0);
  readonly account = signal<Account | null>(null);
  readonly run = signal<Run | null>(null);
  readonly isCancelling = signal(false);
  readonly #catchup = new Catchup();
  readonly #stage: Stage;
  #client: Client | null = null;
  #wasOpen = false;
  #isDrawn = true;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** Returns after the report's last record and the end of the run, or when it is closed before. */
  follow(): Promise<void> {
    return untilClosed(this.#follow());
  }

  async #follow(): Promise<void> {
    const client = (this.#client = await connect(this.#stage.url, {
      clientId: `page-${crypto.randomUUID()}`,
      timeoutMs: null,
      backoffCapMs: BACKOFF_CAP_MS,
      onState: (state) => this.#entered(state),
    }));
    await Promise.all([this.#readReport(client), this.#readRun(client)]);
    await client.close();
  }

  /** After the proof the broker goes, too: who has the report need not look for it. */
  leave(): void {
    setTimeout(() => void (this.chat.hasEnded && this.#client?.close()), LEAVE_MS);
  }

  async cancel(): Promise<void> {
    this.isCancelling.value = true;
    const control = this.#client!.channel(this.#stage.control);
    await untilClosed(control.cancel(this.run.value!.id, "cancelled on the page"));
  }

  #entered(state: LinkState): void {
    this.link.value = state;
    if (state !== "open") return;
    if (this.#wasOpen) {
      this.resumes.value++;
      this.#catchup.begin(Date.now(), this.tally.last + 1);
    }
    this.#wasOpen = true;
  }

  async #readReport(client: Client): Promise<void> {
    const digesting = setInterval(() => void this.#digest(), DIGEST_EVERY_MS);
    const session = await client.channel(this.#stage.channel).attach({
      start: "earliest",
      raw: true,
      presence: false,
      onResync: () => this.resyncs.value++,
    });
    for await (const event of session) {
      if (event.type === "record" || event.type === "message") this.#see(event);
      if (this.chat.hasEnded) break;
    }
    clearInterval(digesting);
    await this.#digest();
    await hand(this.account.value!);
  }

  #see(event: Extract<SessionEvent, { record: ChannelRecord }>): void {
    const { record } = event;
    this.tally.add(record.offset, record.data);
    this.chat.see(event);
    this.lastReturn.value = this.#catchup.see(record.timeMs, this.chat.hasEnded) ?? this.lastReturn.value;
    this.#draw();
  }

  async #readRun(client: Client): Promise<void> {
    const session = await client.channel(this.#stage.control).attach({ start: "earliest", presence: false });
    for await (const event of session) {
      if (event.type !== "message") continue;
      const { id, content, state } = event.message;
      this.run.value = { id, task: String(content), state };
      if (state !== "open" && this.chat.hasEnded) break;
    }
  }

  async #digest(): Promise<void> {
    this.account.value = await this.tally.account();
  }

  /** Once a frame, however much comes in between; not at all while nobody looks. */
  #draw(): void {
    if (!this.#isDrawn) return;
    this.#isDrawn = false;
    requestAnimationFrame(() => {
      this.#isDrawn = true;
      this.frame.value++;
    });
  }
}

/** Whatever the client was about to do, when it is closed there is no need of it any more. */
async function untilClosed(doing: Promise<unknown>): Promise<void> {
  try {
    await doing;
  } catch (error) {
    if (!(error instanceof Closed)) throw error;
  }
}
