/** A tab's way to the broker by the connection that it shares with the browser's other tabs. */

import type { Told } from "./hub.js";
import type { Dial, Transport, TransportEvents } from "./transport.js";

/** `script` is the address of the worker. Where there is none to be had, a tab goes its `own` way. */
export function sharedDial(own: Dial, script?: string): Dial {
  // What is inlined by a build has another origin, and a worker of its own for each tab.
  const found = script ?? new URL("./browser-worker.js?no-inline", import.meta.url);
  return (url, events) => new SharedTransport(url, events, own, found);
}

class SharedTransport implements Transport {
  readonly #events: TransportEvents;
  readonly #port: MessagePort;
  readonly #left = (): void => {
    this.abort();
    this.#events.closed("the page was left");
  };
  #own: Transport | null = null;
  #isOver = false;

  constructor(url: string, events: TransportEvents, own: Dial, script: string | URL) {
    const alone = (): void => {
      if (!this.#isOver) this.#own ??= own(url, events);
    };
    const worker = new SharedWorker(script, url);
    worker.onerror = alone;
    this.#events = events;
    this.#port = worker.port;
    this.#port.onmessage = ({ data }: { data: Told }) => {
      if (data instanceof Uint8Array) events.received(data);
      else if ("opened" in data) events.opened();
      else if ("alone" in data) alone();
      else {
        this.#end();
        events.closed(data.closed);
      }
    };
    // Nobody tells the worker that a tab is gone; the broker would find out when it hears nothing for a while.
    globalThis.addEventListener?.("pagehide", this.#left);
  }

  send(data: Uint8Array): void {
    if (this.#own) this.#own.send(data);
    else this.#port.postMessage(data);
  }

  close(): void {
    this.#own?.close();
    this.abort();
  }

  abort(): void {
    if (this.#isOver) return;
    this.#own?.abort();
    this.#port.postMessage(null);
    this.#end();
  }

  #end(): void {
    this.#isOver = true;
    globalThis.removeEventListener?.("pagehide", this.#left);
    this.#port.close();
  }

  /** What waits in the worker is not known here. */
  get unsentBytes(): number {
    return this.#own?.unsentBytes ?? 0;
  }
}
