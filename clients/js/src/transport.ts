/** Where a broker is, as text, and the ways to it. */

/** What carries bytes to the broker. */
export interface Transport {
  send(data: Uint8Array): void;
  /** Ends it after what was sent has gone out. */
  close(): void;
  /** Ends it at once. */
  abort(): void;
  /** What was sent and has not gone out yet, in bytes. */
  readonly unsentBytes: number;
}

/** What a transport tells: `opened` and `closed` at most once each, in this order. */
export interface TransportEvents {
  opened(): void;
  received(data: Uint8Array): void;
  closed(reason: string): void;
}

/** Begins to connect; it is told by `events` what becomes of it. */
export type Dial = (url: string, events: TransportEvents) => Transport;

/** The part of WebSocket that is needed. */
export interface SocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: any): void;
  close(): void;
}

const URL_DEFAULT = "outlast://127.0.0.1:6180";
const PATH = "/v1/ws";
const ALLOWED =
  "allowed are ws://, wss://, http:// and https:// addresses, outlast[s]://HOST[:PORT] and outlast+unix:///PATH";

/** What was asked for, else OUTLAST_URL, else where the page came from, else the broker on this machine. */
export function chooseUrl(url?: string): string {
  const { process, location } = globalThis as { process?: { env?: Record<string, string> }; location?: Location };
  const origin = location?.origin?.startsWith("http") ? location.origin : undefined;
  return completeUrl(url ?? process?.env?.["OUTLAST_URL"] ?? origin ?? URL_DEFAULT);
}

/** The address in full. Throws TypeError that says what is allowed. */
export function completeUrl(url: string): string {
  const [, scheme, rest] = /^(outlasts?|outlast\+unix|https?|wss?):\/\/(.*)$/s.exec(url) ?? [];
  try {
    if (scheme === "outlast+unix" && rest!.startsWith("/")) return url;
    if (/^outlasts?$/.test(scheme!) && /^(\[[^\]]+\]|[^/:?#@]+)(:\d+)?\/?$/.test(rest!)) return url;
    if (/^[hw]/.test(scheme ?? "")) {
      const parts = new URL(url.replace(/^http/, "ws"));
      if (parts.pathname === "/") parts.pathname = PATH;
      if (!parts.hash && !parts.username) return parts.href;
    }
  } catch {}
  throw new TypeError(`"${url}" is no address of a broker: ${ALLOWED}`);
}

/** Over WebSocket: a binary message carries whole frames (PROTOCOL.md 3.1). */
export function webSocketDial(make: new (url: string) => SocketLike): Dial {
  return (url, events) => {
    const socket = new make(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => events.opened();
    socket.onmessage = ({ data }) =>
      events.received(typeof data === "string" ? new Uint8Array(0) : new Uint8Array(data));
    socket.onclose = ({ code, reason }) => events.closed(reason || `the WebSocket was closed with code ${code}`);
    // Not every WebSocket tells its end after a failed beginning.
    socket.onerror = () => events.closed("the WebSocket failed: no broker is there, or it does not let in pages from here");
    return {
      send: (data) => socket.send(data),
      close: () => socket.close(),
      abort: () => socket.close(),
      get unsentBytes() {
        return socket.bufferedAmount;
      },
    };
  };
}

/** As the Dial that `load` brings, which is loaded first. */
export function lateDial(load: () => Promise<Dial>): Dial {
  return (url, events) => {
    let transport: Transport | undefined;
    let isOver = false;
    const end = (how: "close" | "abort"): void => {
      isOver = true;
      transport?.[how]();
    };
    load().then(
      (dial) => (transport = isOver ? undefined : dial(url, events)),
      (error) => events.closed(error.message),
    );
    return {
      send: (data) => transport!.send(data),
      close: () => end("close"),
      abort: () => end("abort"),
      get unsentBytes() {
        return transport?.unsentBytes ?? 0;
      },
    };
  };
}

/** As `dial`, which begins at once: the first who dials is given what has come of that. `drop` ends it if nobody has. */
export function dialAhead(dial: Dial, url: string): { dial: Dial; drop: () => void } {
  let owner: TransportEvents | undefined;
  const untold: ((owner: TransportEvents) => void)[] = [];
  const tell = (what: (owner: TransportEvents) => void): void => void (owner ? what(owner) : untold.push(what));
  let ahead: Transport | undefined;
  const take = (): Transport | undefined => {
    const transport = ahead;
    ahead = undefined;
    return transport;
  };
  try {
    ahead = dial(url, {
      opened: () => tell((owner) => owner.opened()),
      received: (data) => tell((owner) => owner.received(data)),
      closed: (reason) => tell((owner) => owner.closed(reason)),
    });
  } catch {
    // Whoever dials is told the same.
  }
  return {
    dial: (url, events) => {
      const transport = take();
      if (!transport) return dial(url, events);
      // Nobody is told anything before the transport is in its hands.
      queueMicrotask(() => {
        owner = events;
        for (const what of untold) what(events);
      });
      return transport;
    },
    drop: () => take()?.abort(),
  };
}
