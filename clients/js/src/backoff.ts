/** How long to wait before the next attempt: full jitter over a doubling bound (PROTOCOL.md 11.4). */

/** The bound of the first attempt, and the one that no attempt exceeds. */
export interface Pace {
  readonly baseMs: number;
  readonly capMs: number;
}

/** The longest that `attempt` may wait; attempts count from 0. */
export function boundMs(attempt: number, { baseMs, capMs }: Pace): number {
  return Math.min(capMs, baseMs * 2 ** Math.min(attempt, 32));
}

/** Anything from nothing to the bound, after what the broker asked; `roll` is random in [0, 1). */
export function delayMs(attempt: number, pace: Pace, roll: number, askedMs = 0): number {
  return Math.max(askedMs, 0) + roll * boundMs(attempt, pace);
}

/** Counts from 0 again once a connection has outlived the bound of `attempt`. */
export function attemptAfter(attempt: number, livedMs: number, pace: Pace): number {
  return livedMs >= boundMs(attempt, pace) ? 0 : attempt;
}
