/**
 * What is loaded after the client: a page that shows a session has it on the screen before the module of the other verbs
 * is there. What is asked for meanwhile is done when it has come, in the order of asking.
 */

import { ConnectFailed } from "./errors.js";
import { ignore, Stream } from "./waiting.js";

/** Does what is asked of something as soon as that is there, at once if it is. */
export interface Runner<T> {
  run<R>(ask: (it: T) => R): R | Promise<Awaited<R>>;
}

export class Late<T> implements Runner<T> {
  here: T | undefined;
  /** Somebody waits for it, or has it. */
  isWanted = false;
  readonly #load: () => Promise<T>;
  #coming: Promise<T> | undefined;

  constructor(load: () => Promise<T>) {
    this.#load = load;
  }

  /** Begins to load it, if nobody has. What has failed is tried again by the next who asks. */
  get(): Promise<T> {
    return (this.#coming ??= this.#load().then(
      (it) => (this.here ??= it),
      (error) => {
        this.#coming = undefined;
        throw new ConnectFailed(`a part of the client could not be loaded: ${error.message}`);
      },
    ));
  }

  run<R>(ask: (it: T) => R): R | Promise<Awaited<R>> {
    this.isWanted = true;
    return this.here ? ask(this.here) : (this.get().then(ask) as Promise<Awaited<R>>);
  }
}

/** A part of what is late, which is late as all of it is. */
export function part<T, P>(late: Runner<T>, pick: (it: T) => P): Runner<P> {
  return { run: (ask) => late.run((it) => ask(pick(it))) };
}

/** What lends: a class with a `late` whose methods it has as its own. */
type Shell = { readonly prototype: { readonly late: Runner<any> } };

/** Gives `shell` the methods of its `late` that return promises, and `lists` those that are iterated. */
export function lend({ prototype }: Shell, verbs: readonly PropertyKey[], lists: readonly PropertyKey[] = []): void {
  const methods = prototype as any;
  for (const verb of verbs)
    methods[verb] = async function (this: typeof prototype, ...given: unknown[]) {
      return this.late.run((it) => it[verb](...given));
    };
  for (const verb of lists)
    methods[verb] = function (this: typeof prototype, ...given: unknown[]) {
      const list = this.late.run((it) => it[verb](...given));
      if (!(list instanceof Promise)) return list;
      list.catch(ignore);
      return iterated(list);
    };
}

async function* iterated<T>(list: Promise<AsyncIterable<T>>): AsyncGenerator<T, void, undefined> {
  yield* await list;
}

/** A stream that is late. */
export class LateStream<T, S extends Stream<T>> extends Stream<T> {
  readonly #late: Runner<S>;
  #stream: S | undefined;

  constructor(late: Runner<any>, make: (it: any) => S) {
    super();
    this.#late = part(late, (it) => (this.#stream ??= make(it)));
  }

  /** The stream itself, once it is there. */
  protected get stream(): S | undefined {
    return this.#stream;
  }

  protected on<R>(ask: (stream: S) => R): R | Promise<Awaited<R>> {
    return this.#late.run(ask);
  }

  protected async take(): Promise<T | undefined> {
    return (await this.on((stream) => stream.next())).value;
  }

  async close(): Promise<void> {
    await this.on((stream) => stream.close());
  }
}
