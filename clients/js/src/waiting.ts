/** Waiting: for one value, for news, for a while; all of it ends when a signal says so. */

export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly isDone: boolean;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A promise that is kept from outside. It need not be looked at. */
export function defer<T>(): Deferred<T> {
  let settle!: [(value: T) => void, (error: unknown) => void];
  const promise = new Promise<T>((...both) => (settle = both));
  promise.catch(ignore);
  const deferred = {
    promise,
    isDone: false,
    resolve: (value: T) => ((deferred.isDone = true), settle[0](value)),
    reject: (error: unknown) => ((deferred.isDone = true), settle[1](error)),
  };
  return deferred;
}

export function ignore(): void {}

/** As `promise`, unless the signal comes first: then its reason is thrown. */
export async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal | null): Promise<T> {
  if (!signal) return promise;
  promise.catch(ignore);
  signal.throwIfAborted();
  const aborted = defer<never>();
  const stop = onAbort(signal, aborted.reject);
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    stop();
  }
}

/** Calls `callback` with the reason once the signal comes, at once if it has. Gives what ends that. */
export function onAbort(signal: AbortSignal | undefined, callback: (reason: unknown) => void): () => void {
  if (!signal) return ignore;
  const abort = (): void => callback(signal.reason);
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort);
  return () => signal.removeEventListener("abort", abort);
}

export function sleep(delayMs: number, signal?: AbortSignal | null): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const over = new Promise<void>((resolve) => (timer = setTimeout(resolve, delayMs)));
  return unlessAborted(over, signal).finally(() => clearTimeout(timer));
}

/** Rings for everybody who waits at that moment. */
export class Bell {
  #turn: Deferred<void> | null = null;

  ring(): void {
    this.#turn?.resolve();
    this.#turn = null;
  }

  wait(): Promise<void> {
    return (this.#turn ??= defer<void>()).promise;
  }
}

/** A signal that comes with the user's, or after `timeoutMs`; `isOver` tells that it was the time. */
export class Patience {
  readonly signal: AbortSignal;
  isOver = false;
  readonly #own = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #stop: () => void;

  constructor(timeoutMs?: number | null, signal?: AbortSignal) {
    this.signal = this.#own.signal;
    this.#stop = onAbort(signal, (reason) => this.#own.abort(reason));
    if (timeoutMs != null)
      this.#timer = setTimeout(() => {
        this.isOver = !this.signal.aborted;
        this.#own.abort();
      }, timeoutMs);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#stop();
  }
}

/** Runs what may take `timeoutMs`, and gives what `late` throws when that is over. */
export async function within<T>(
  timeoutMs: number | null | undefined,
  signal: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<T>,
  late: () => T | Promise<T>,
): Promise<T> {
  const patience = new Patience(timeoutMs, signal);
  try {
    return await run(patience.signal);
  } catch (error) {
    if (patience.isOver && error === patience.signal.reason) return await late();
    throw error;
  } finally {
    patience.end();
  }
}

/**
 * What comes one after the other, for `for await`. Leaving the loop by `break` or by an error closes it; use `next()`
 * to take single ones. After an error that it has thrown itself, iterating goes on.
 */
export abstract class Stream<T> implements AsyncIterableIterator<T, undefined> {
  #taking = false;

  /** The next one; undefined: it has ended. */
  protected abstract take(): Promise<T | undefined>;

  /** Ends it; a loop that waits ends, too. May be called twice. */
  abstract close(): Promise<void>;

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#taking) throw new TypeError("two loops read this: let one of them, or make another one");
    this.#taking = true;
    try {
      const value = await this.take();
      return value === undefined ? { done: true, value: undefined } : { done: false, value };
    } finally {
      this.#taking = false;
    }
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** Calls `callback` with each, and waits for what it gives; ends with what it throws. */
  async each(callback: (item: T) => unknown): Promise<void> {
    for await (const item of this) await callback(item);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
