/** What a return brought: what was accepted before this tab was back was replayed to it; what comes later is live. Pure. */

/** A return that is complete: `replayed` records from offset `first` on were waiting. */
export interface Return {
  readonly first: number;
  readonly replayed: number;
}

export class Catchup {
  #sinceMs = 0;
  #first = 0;
  #replayed = 0;

  /** The tab is back, and `first` is the offset that it needs next. */
  begin(nowMs: number, first: number): void {
    if (!this.#sinceMs) [this.#first, this.#replayed] = [first, 0];
    this.#sinceMs = nowMs;
  }

  /** A record came; a Return when it is the first that was not waiting, or the last of all. */
  see(timeMs: number, isEnd: boolean): Return | null {
    if (!this.#sinceMs) return null;
    const isOld = timeMs < this.#sinceMs;
    this.#replayed += Number(isOld);
    if (isOld && !isEnd) return null;
    this.#sinceMs = 0;
    return { first: this.#first, replayed: this.#replayed };
  }
}
