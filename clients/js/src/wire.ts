/** One connection from dialling to its end: frames in and out, heartbeats, one end with one cause. */

import { Closed, ConnectFailed, ConnectionLost, type OutlastError, violation } from "./errors.js";
import { Connection } from "./protocol/connection.js";
import type { Frame } from "./protocol/frames.js";
import { joined } from "./protocol/words.js";
import type { Dial, Transport } from "./transport.js";

const FRAME_BYTES_MAX = 1_048_576;
const DIAL_TIMEOUT_MS = 10_000;
const GREETING_TIMEOUT_MS = 5_000;
const PROBE_TIMEOUT_MS = 3_000;

/** Who gets what the wire brings. */
export interface Owner {
  received(wire: Wire, frame: Frame): void;
  wireEnded(wire: Wire): void;
}

export class Wire {
  /** Why it ended, or is about to. */
  failure: OutlastError | null = null;
  isGone = false;
  /** What goes out at once has so many bytes at most: over WebSocket it is one message (PROTOCOL.md 3.6). */
  messageBytes = FRAME_BYTES_MAX;
  readonly #owner: Owner;
  #hello: Frame | undefined;
  readonly #codec = new Connection("client");
  #transport: Transport | null = null;
  #out: Uint8Array[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heartbeatMs = 0;
  #openedMs = 0;
  #sentMs = 0;
  #receivedMs = 0;

  constructor(owner: Owner, hello: Promise<Frame>, dial: Dial, url: string) {
    this.#owner = owner;
    this.#expect(DIAL_TIMEOUT_MS, new ConnectFailed(`no connection within ${DIAL_TIMEOUT_MS} ms`));
    // An end is told after the constructor has returned, whatever `dial` does.
    hello.then(
      (frame) => {
        this.#hello = frame;
        this.#dial(dial, url);
      },
      (error) => this.fail(error),
    );
  }

  #dial(dial: Dial, url: string): void {
    if (this.failure) return;
    try {
      this.#transport = dial(url, {
        opened: () => this.#opened(),
        received: (data) => this.#received(data),
        closed: (reason) => this.#closed(reason),
      });
    } catch (error) {
      this.fail(Object.assign(new ConnectFailed(String((error as Error).message)), { retryable: false }));
    }
  }

  get isOpen(): boolean {
    return this.#heartbeatMs > 0;
  }

  /** For how long this wire has been open, 0 before WELCOME. */
  get livedMs(): number {
    return this.isOpen ? performance.now() - this.#openedMs : 0;
  }

  get unsentBytes(): number {
    return this.#transport?.unsentBytes ?? 0;
  }

  /** WELCOME has come: from here on silence is judged by heartbeats. */
  open(heartbeatMs: number): void {
    this.#heartbeatMs = Math.max(heartbeatMs, 1);
    this.#openedMs = performance.now();
    this.#beat();
  }

  /** Goes out at the end of this turn, with all else that is sent in it. */
  send(frame: Frame): void {
    if (this.failure || this.isGone) return;
    if (this.#out.push(this.#codec.send(frame)) === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const out = this.#out;
    this.#out = [];
    if (!out.length || this.isGone || !this.#transport) return;
    this.#sentMs = performance.now();
    let first = 0;
    let bytes = 0;
    out.forEach(({ length }, at) => {
      if (bytes && bytes + length > this.messageBytes) {
        this.#transport!.send(joined(out.slice(first, at)));
        first = at;
        bytes = 0;
      }
      bytes += length;
    });
    this.#transport.send(joined(out.slice(first)));
  }

  /** Ends this wire at once; nothing that arrives later is looked at. */
  fail(failure: OutlastError): void {
    this.failure ??= failure;
    this.#transport?.abort();
    this.#end();
  }

  /** Ends this wire after what was sent has gone out. */
  close(): void {
    this.#flush();
    this.failure ??= new Closed("the client closed the connection");
    this.#transport?.close();
    this.#end();
  }

  /** Asks for a sign of life soon: this machine may have slept, or changed its network. */
  probe(): void {
    if (!this.isOpen || this.isGone) return;
    const askedMs = performance.now();
    this.#ping();
    setTimeout(() => {
      if (this.#receivedMs < askedMs) this.fail(new ConnectionLost("the broker does not answer any more"));
    }, PROBE_TIMEOUT_MS);
  }

  // --- called by the transport ---------------------------------------------------------------------------------

  #opened(): void {
    if (this.isGone) return;
    this.#expect(
      GREETING_TIMEOUT_MS,
      new ConnectionLost(`the broker did not answer HELLO within ${GREETING_TIMEOUT_MS} ms`),
    );
    this.send(this.#hello!);
  }

  #received(data: Uint8Array): void {
    this.#receivedMs = performance.now();
    for (const frame of this.#codec.receive(data)) {
      if (this.failure) return;
      this.#hand(frame);
    }
    const { failure } = this.#codec;
    if (failure)
      this.fail(
        this.isOpen
          ? violation(failure)
          : new ConnectFailed(`what answers there is no Outlast broker (${failure.message})`),
      );
  }

  /** What makes no sense to those who get it ends the wire, not the program. */
  #hand(frame: Frame): void {
    try {
      this.#owner.received(this, frame);
    } catch (error) {
      this.fail(violation(error));
    }
  }

  #closed(reason: string): void {
    this.failure ??= this.isOpen ? new ConnectionLost(`the connection ended: ${reason}`) : new ConnectFailed(reason);
    this.#end();
  }

  #end(): void {
    if (this.isGone) return;
    this.isGone = true;
    clearTimeout(this.#timer);
    this.#owner.wireEnded(this);
  }

  // --- heartbeats ----------------------------------------------------------------------------------------------

  #expect(timeoutMs: number, failure: OutlastError): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.fail(failure), timeoutMs);
  }

  /** Ping after one silent interval of our own; the peer is dead after two and a half of its silence (3.4). */
  #beat(): void {
    const nowMs = performance.now();
    const intervalMs = this.#heartbeatMs;
    clearTimeout(this.#timer);
    if (nowMs - this.#receivedMs >= 2.5 * intervalMs) {
      this.fail(new ConnectionLost(`nothing came from the broker in 2.5 times ${intervalMs} ms`));
      return;
    }
    if (nowMs - this.#sentMs >= intervalMs) this.#ping();
    this.#timer = setTimeout(() => this.#beat(), intervalMs / 4);
  }

  #ping(): void {
    this.send({ type: "PING", token: Math.trunc(performance.now()) });
  }
}
