/**
 * The tabs of one browser on one WebSocket (PROTOCOL.md 3.6, Shared). It lives in a worker that all of them share, as long
 * as one of them does; to the broker each tab is a connection of its own, so no tab ever has to take over from another.
 */

import { type Bytes, joined, viewOf } from "./protocol/words.js";
import type { SocketLike } from "./transport.js";

export const SUBPROTOCOL = "outlast.shared.v1";
const NUMBER_BYTES = 4;

/** To a tab: frames, that its connection begins, that it has ended and why, or that it needs one of its own. */
export type Told = Bytes | { readonly opened: true } | { readonly closed: string } | { readonly alone: true };
/** From a tab: frames, null when it leaves. */
export type Said = Bytes | null;

/** The worker's end of the way to a tab. */
export interface Port {
  onmessage: ((event: any) => void) | null;
  postMessage(message: Told): void;
}

function numberBytes(number: number): Bytes {
  const bytes = new Uint8Array(NUMBER_BYTES);
  viewOf(bytes).setUint32(0, number, true);
  return bytes;
}

export class Hub {
  readonly #make: () => SocketLike & { readonly protocol: string };
  readonly #tabs = new Map<number, Port>();
  #socket: SocketLike | null = null;
  #isOpen = false;
  #count = 0;

  constructor(make: () => SocketLike & { readonly protocol: string }) {
    this.#make = make;
  }

  /** A tab has come. What it says before it is told that its connection begins is not heard. */
  join(port: Port): void {
    const number = ++this.#count;
    this.#tabs.set(number, port);
    port.onmessage = ({ data }: { data: Said }) => (data ? this.#send(number, data) : this.#leave(number));
    if (this.#isOpen) port.postMessage({ opened: true });
    else if (!this.#socket) this.#open();
  }

  #leave(number: number): void {
    if (!this.#tabs.delete(number)) return;
    if (this.#isOpen) this.#socket!.send(numberBytes(number));
    if (this.#tabs.size) return;
    this.#socket?.close();
    this.#socket = null;
    this.#isOpen = false;
  }

  #send(number: number, data: Bytes): void {
    if (this.#isOpen && this.#tabs.has(number)) this.#socket!.send(joined([numberBytes(number), data]));
  }

  // --- the socket ----------------------------------------------------------------------------------------------

  #open(): void {
    const socket = this.#make();
    const ended = (reason: string): void => {
      if (socket === this.#socket) this.#end({ closed: reason });
    };
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (socket === this.#socket) this.#opened(socket.protocol);
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#received(new Uint8Array(data));
    };
    socket.onclose = ({ code, reason }) => ended(reason || `the shared WebSocket was closed with code ${code}`);
    socket.onerror = () => ended("the shared WebSocket failed");
  }

  #opened(protocol: string): void {
    if (protocol !== SUBPROTOCOL) {
      this.#socket!.close();
      this.#end({ alone: true });
      return;
    }
    this.#isOpen = true;
    for (const port of this.#tabs.values()) port.postMessage({ opened: true });
  }

  #received(message: Bytes): void {
    const number = viewOf(message).getUint32(0, true);
    const port = this.#tabs.get(number);
    if (message.length > NUMBER_BYTES) port?.postMessage(message.slice(NUMBER_BYTES));
    else if (this.#tabs.delete(number)) port!.postMessage({ closed: "the broker closed the connection" });
  }

  /** For all tabs; those that come again get another one. */
  #end(told: Told): void {
    this.#socket = null;
    this.#isOpen = false;
    const ports = [...this.#tabs.values()];
    this.#tabs.clear();
    for (const port of ports) port.postMessage(told);
  }
}
