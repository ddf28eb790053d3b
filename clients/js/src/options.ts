/** What a client can be told, checked before any I/O. */

import type { Pace } from "./backoff.js";
import { isName, isWhole, utf8, type Whole } from "./protocol/words.js";
import { socketDial } from "#socket";
import { chooseUrl, type Dial, lateDial, type SocketLike, webSocketDial } from "./transport.js";

export type LinkState = "connecting" | "open" | "waiting" | "closed";

/** The part of a page that tells when it is worth trying again; in a browser it is there by itself. */
export interface Page {
  window?: Pick<EventTarget, "addEventListener" | "removeEventListener"> | undefined;
  document?: (Pick<EventTarget, "addEventListener" | "removeEventListener"> & { visibilityState?: string }) | undefined;
}

export interface ConnectOptions {
  /** Whose records these are, for readers to see; by default what the token says, or a random one. */
  clientId?: string;
  /** How long `connect` tries before ConnectFailed, 10 s; null: for ever. */
  timeoutMs?: number | null;
  /** How long `close` waits for publishes that are not acknowledged, 5 s. */
  closeTimeoutMs?: number;
  /** Bound of what is not acknowledged, 8 MiB. A message counts its bytes and 256 more. */
  bufferBytes?: number;
  /** Beyond it, `publish` waits, or throws BufferFull. */
  whenFull?: "wait" | "throw";
  /** Called at each change of the connection. */
  onState?: (state: LinkState, reason: string) => void;
  /** [id, epoch] of a publisher that restarts under one id. The epoch MUST be higher after each restart. Random by default. */
  producer?: readonly [id: Whole, epoch: Whole];
  /** For a broker that asks who comes: text, or a function that is asked whenever one is needed. */
  token?: string | (() => Promise<string>);
  /** How long silence may last, 15 s. */
  heartbeatMs?: number;
  /** Reconnecting waits at random up to a bound that doubles from 100 ms ... */
  backoffBaseMs?: number;
  /** ... to 10 s. */
  backoffCapMs?: number;
  /** A WebSocket class where there is no global one. */
  WebSocket?: new (url: string) => SocketLike;
  /**
   * Whether the tabs of a browser share one connection where they can; each has its own otherwise. Where a page cannot load
   * browser-worker.js of this package by itself, the address of that.
   */
  share?: boolean | string;
  /** Another way to the broker, whatever the address. */
  dial?: Dial;
  /** In place of the global window and document. */
  page?: Page;
  /** Told what people may want to know, as that publishing waits. */
  log?: (message: string) => void;
  /** Gives up connecting. */
  signal?: AbortSignal;
}

/** What the client works with. */
export interface Options {
  readonly url: string;
  readonly dial: Dial;
  readonly clientId: string | null;
  readonly producer: readonly [Whole, Whole];
  readonly token: ConnectOptions["token"];
  readonly timeoutMs: number | null;
  readonly closeTimeoutMs: number;
  readonly bufferBytes: number;
  readonly waitsWhenFull: boolean;
  readonly heartbeatMs: number;
  readonly pace: Pace;
  readonly page: Page;
  readonly onState: ConnectOptions["onState"];
  log(message: string): void;
}

const U64_MAX = 2n ** 64n - 1n;
export const CURSOR_NAME_BYTES_MAX = 128;

/** The names of a verb's options. */
export type Known<T> = { readonly [name in keyof Required<T>]: 1 };

const CONNECT: Known<ConnectOptions> = {
  clientId: 1, timeoutMs: 1, closeTimeoutMs: 1, bufferBytes: 1, whenFull: 1, onState: 1, producer: 1, token: 1, heartbeatMs: 1,
  backoffBaseMs: 1, backoffCapMs: 1, WebSocket: 1, share: 1, dial: 1, page: 1, log: 1, signal: 1,
};

/** One that is not known would do nothing without a word: `if_offset` would make a publish unconditional. Throws TypeError. */
export function checkOptions<T extends object>(what: string, given: T, known: Known<T>): T {
  if (typeof given !== "object" || given === null) throw new TypeError(`${what} takes its options as an object, not ${given}`);
  const unknown = Object.entries(given).find(([name, value]) => value !== undefined && !(name in known));
  if (!unknown) return given;
  throw new TypeError(`${what} has no option "${unknown[0]}": it has ${Object.keys(known).join(", ")}`);
}

export function makeOptions(url: string | undefined, given: ConnectOptions): Options {
  checkOptions("connect", given, CONNECT);
  const full = chooseUrl(url);
  const { window, document } = globalThis as Page;
  const baseMs = checkWhole("backoffBaseMs", given.backoffBaseMs ?? 100, 1);
  const [id, epoch] = given.producer ?? [random64(), 0];
  return {
    url: full,
    dial: given.dial ?? dialFor(full, given),
    clientId: given.clientId === undefined ? null : checkName("clientId", given.clientId, 128),
    producer: [checkWhole("producer", id, 0, U64_MAX), checkWhole("producer", epoch, 0, U64_MAX)],
    token: given.token,
    timeoutMs: given.timeoutMs === undefined ? 10_000 : given.timeoutMs,
    closeTimeoutMs: given.closeTimeoutMs ?? 5_000,
    bufferBytes: checkWhole("bufferBytes", given.bufferBytes ?? 8 * 1_048_576, 1),
    waitsWhenFull: given.whenFull !== "throw",
    heartbeatMs: checkWhole("heartbeatMs", given.heartbeatMs ?? 15_000, 1),
    pace: { baseMs, capMs: checkWhole("backoffCapMs", given.backoffCapMs ?? Math.max(10_000, baseMs), baseMs) },
    page: given.page ?? { window, document },
    onState: given.onState,
    log: given.log ?? (() => {}),
  };
}

function dialFor(url: string, { WebSocket: given, share }: ConnectOptions): Dial {
  if (url.startsWith("outlast")) return socketDial;
  const { WebSocket: make = given, SharedWorker: worker } = globalThis as Partial<typeof globalThis>;
  if (!make)
    throw new TypeError("there is no global WebSocket here: give one as options.WebSocket, or use outlast://HOST:PORT");
  const own = webSocketDial(given ?? make);
  if (!share || !worker) return own;
  return lateDial(async () => (await import("./shared.js")).sharedDial(own, share === true ? undefined : share));
}

/** A random u64 other than 0. */
export function random64(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0]! || 1n;
}

/** `value` if it is a whole number within the bounds. Throws RangeError. */
export function checkWhole<T extends Whole>(what: string, value: T, lowest: Whole, highest: Whole = Infinity): T {
  if (isWhole(value) && value >= lowest && value <= highest) return value;
  throw new RangeError(`${what} is ${value}, expected a whole number from ${lowest} to ${highest}`);
}

/** `name` if it is 1 to `bytesMax` bytes of UTF-8 without control characters. Throws TypeError. */
export function checkName(what: string, name: string, bytesMax: number): string {
  if (isName(name, bytesMax)) return name;
  const said =
    typeof name === "string"
      ? `has ${utf8(name).length} bytes or characters that are not allowed`
      : `is ${typeof name}`;
  throw new TypeError(`${what} ${said}: expected 1 to ${bytesMax} bytes of UTF-8 without control characters`);
}
