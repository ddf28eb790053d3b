/**
 * What one subscription has acknowledged of the present life of its channel: one ACK at a time, then the newest offset
 * (PROTOCOL.md 6.9). It outlives wires: what was not answered goes again.
 */

import { delayMs } from "./backoff.js";
import { Closed, ConnectionLost, OutlastError, UnknownChannel } from "./errors.js";
import type { Life, Link } from "./link.js";
import type { Acknowledger } from "./records.js";
import { Bell } from "./waiting.js";

export class Receipt implements Acknowledger {
  readonly name: string;
  readonly #failed: (error: OutlastError) => void;
  #link: Link | null = null;
  #life: Life | null = null;
  #epoch = "";
  #wanted = -1;
  #answered = -1;
  #onItsWay = false;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failure: OutlastError | null = null;
  /** Of the life of the channel that is over: why what was waited for cannot come. */
  #loss: OutlastError | null = null;
  readonly #news = new Bell();

  constructor(name: string, failed: (error: OutlastError) => void) {
    this.name = name;
    this.#failed = failed;
  }

  /** Everything up to `offset` is done with. Of an earlier life nothing is left to acknowledge. */
  acknowledge(epoch: string, offset: number): void {
    if (epoch !== this.#epoch || offset <= this.#wanted) return;
    this.#wanted = offset;
    if (!this.#onItsWay && !this.#timer) this.#send();
  }

  /** Returns when everything acknowledged so far is on disk. Throws what ended the acknowledging. */
  async acked(): Promise<void> {
    const epoch = this.#epoch;
    const wanted = this.#wanted;
    while (!this.#failure && epoch === this.#epoch && this.#answered < wanted) await this.#news.wait();
    const failure = this.#failure ?? (epoch === this.#epoch ? null : this.#loss);
    if (failure && (this.#answered < wanted || epoch !== this.#epoch)) throw failure;
  }

  // --- called by the feed --------------------------------------------------------------------------------------

  /** The channel can be named again; what was not answered goes again, unless it is another life now. */
  enter(link: Link, life: Life): void {
    if (life.epoch !== this.#epoch) this.forget();
    this.#link = link;
    this.#life = life;
    this.#epoch = life.epoch;
    this.#onItsWay = false;
    this.#push();
  }

  /** The channel's life is over, and the cursor with it. */
  forget(): void {
    this.lost();
    this.#epoch = "";
    this.#wanted = this.#answered = -1;
    this.#loss = new UnknownChannel("the channel was deleted, and its cursors with it");
    this.#news.ring();
  }

  /** There is no connection at present. */
  lost(): void {
    this.#life = null;
    this.#stopTimer();
  }

  /** Nobody sends for this subscription any more. */
  end(): void {
    this.#push();
    this.lost();
    this.#failure ??= new Closed("the subscription ended before this was acknowledged on disk");
    this.#news.ring();
  }

  // --- sending -------------------------------------------------------------------------------------------------

  #push(): void {
    if (this.#answered < this.#wanted) this.#send();
  }

  #send(): void {
    const life = this.#life;
    const offset = this.#wanted;
    this.#stopTimer();
    if (!this.#link || !life || this.#failure) return;
    this.#onItsWay = true;
    this.#link.request("ACK", { number: life.number, cursor: this.name, offset }, (answer) => {
      if (life === this.#life) this.#heard(offset, answer);
    });
  }

  #heard(offset: number, answer: unknown): void {
    this.#onItsWay = false;
    if (answer instanceof OutlastError) {
      this.#refused(answer);
      return;
    }
    this.#attempt = 0;
    this.#answered = Math.max(this.#answered, offset);
    this.#push();
    this.#news.ring();
  }

  /** A lost connection, or a channel that is gone, is the feed's to see to. */
  #refused(error: OutlastError): void {
    if (error instanceof ConnectionLost) return;
    if (error instanceof UnknownChannel) this.forget();
    else if (error.retryable) {
      const { pace, log } = this.#link!.options;
      log(`acknowledging by cursor "${this.name}" waits: ${error.message}`);
      this.#timer = setTimeout(() => this.#send(), delayMs(this.#attempt++, pace, Math.random(), error.retryAfterMs));
    } else {
      this.#failure = error;
      this.#news.ring();
      this.#failed(error);
    }
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
