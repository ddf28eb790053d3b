/** How fast counts grow, from what two looks at them say. Pure. */

/** A life of a channel, and how many records it has had. */
interface Counted {
  readonly name: string;
  readonly epoch: string;
  readonly last: number;
}

/** Rates of channels, each between the last two looks at it. */
export class Rates {
  #seen = new Map<string, Counted & { atMs: number; rate: number | null }>();

  /** At all that there are: others are forgotten. */
  lookAtAll(channels: readonly Counted[], nowMs: number): void {
    const before = this.#seen;
    this.#seen = new Map();
    for (const channel of channels) this.#look(channel, before.get(channel.name), nowMs);
  }

  lookAtSome(channels: readonly Counted[], nowMs: number): void {
    for (const channel of channels) this.#look(channel, this.#seen.get(channel.name), nowMs);
  }

  #look({ name, epoch, last }: Counted, before: { epoch: string; last: number; atMs: number } | undefined, nowMs: number): void {
    const seconds = (nowMs - (before?.atMs ?? nowMs)) / 1_000;
    const rate = before?.epoch === epoch && seconds > 0 ? Math.max(last - before.last, 0) / seconds : null;
    this.#seen.set(name, { name, epoch, last, atMs: nowMs, rate });
  }

  /** Records a second; null: seen once only. */
  of(name: string): number | null {
    return this.#seen.get(name)?.rate ?? null;
  }
}

/** By how much a second a count grew. One that is lower than before began anew, and is what it is since then. */
export function growth(before: number, beforeMs: number, now: number, nowMs: number): number {
  const seconds = (nowMs - beforeMs) / 1_000;
  return seconds > 0 ? (now >= before ? now - before : now) / seconds : 0;
}

/** The newest values of something that is measured again and again. */
export class Series {
  readonly #size: number;
  values: readonly number[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  add(value: number): void {
    this.values = [...this.values, value].slice(-this.#size);
  }
}

/** The points of a plot that is 1 wide and 1 high, the newest value at the right edge; 0 is at the bottom. */
export function plotPoints(values: readonly number[], size: number, top: number): [x: number, y: number][] {
  const start = size - values.length;
  return values.map((value, index) => [(start + index) / (size - 1), 1 - value / top]);
}

/** A round number that no value exceeds; of bytes, so many KiB, MiB and so on. 1, where there is nothing but 0. */
export function plotTop(values: readonly number[], isBytes = false): number {
  const most = Math.max(...values, 0);
  if (most === 0) return 1;
  const unit = isBytes ? 1_024 ** Math.max(Math.floor(Math.log2(most) / 10), 0) : 1;
  const step = unit * 10 ** Math.floor(Math.log10(most / unit));
  return [1, 2, 5, 10].map((factor) => factor * step).find((top) => top >= most)!;
}
