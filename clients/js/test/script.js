/** A broker that says what it is told to, over no network at all. */

import { once } from "node:events";
import { connect } from "../dist/index.js";
import { Connection } from "../dist/protocol/index.js";

const WELCOME = {
  type: "WELCOME",
  version: 1,
  heartbeat_ms: 15_000,
  time_ms: 0,
  features: [],
  limits: {},
  server: "script",
};
export const EPOCH = 0xc0ffee00c0ffeen;

/** One connection as the broker has it. `frames` are those that came and were not answered by `answers`. */
export class Wire extends EventTarget {
  frames = [];
  isOver = false;
  #codec = new Connection("broker");
  #events;

  constructor(script, events) {
    super();
    this.script = script;
    this.#events = events;
    queueMicrotask(() => events.opened());
  }

  received(data) {
    for (const frame of this.#codec.receive(data)) {
      const answer = this.script.answers[frame.type]?.(frame, this);
      if (answer) this.say(answer);
      else if (answer === undefined) this.frames.push(frame);
    }
    this.dispatchEvent(new Event("came"));
  }

  /** All in one piece. */
  say(...frames) {
    const bytes = frames.map((frame) => this.#codec.send(frame));
    const all = Buffer.concat(bytes);
    queueMicrotask(() => this.isOver || this.#events.received(new Uint8Array(all)));
  }

  /** Bytes as they are. */
  sayBytes(bytes) {
    this.#events.received(bytes);
  }

  /** The next frame of this type that is not answered by itself. */
  async next(type) {
    for (;;) {
      const at = this.frames.findIndex((frame) => frame.type === type);
      if (at >= 0) return this.frames.splice(at, 1)[0];
      await once(this, "came", { signal: AbortSignal.timeout(5_000) });
    }
  }

  drop(reason = "cut") {
    if (this.isOver) return;
    this.isOver = true;
    this.#events.closed(reason);
  }
}

export class Script extends EventTarget {
  wires = [];
  answers = {
    HELLO: (hello) => ({ ...WELCOME, client_id: hello.client_id ?? "random", ...this.welcome }),
    OPEN: ({ request }) => ({ type: "OPENED", request, number: 9, epoch: EPOCH, first: 1, last: 0 }),
    PONG: () => null,
  };
  welcome = {};
  unsentBytes = 0;
  /** How many bytes each message of the client had. */
  messages = [];

  dial = (url, events) => {
    const wire = new Wire(this, events);
    this.wires.push(wire);
    this.dispatchEvent(new Event("dialled"));
    const script = this;
    return {
      send: (data) => {
        script.messages.push(data.length);
        wire.received(data);
      },
      close: () => (wire.isOver = true),
      abort: () => (wire.isOver = true),
      get unsentBytes() {
        return script.unsentBytes;
      },
    };
  };

  async wire(number) {
    while (this.wires.length < number) await once(this, "dialled", { signal: AbortSignal.timeout(5_000) });
    return this.wires[number - 1];
  }

  connect(options = {}) {
    return connect("ws://script", {
      dial: this.dial,
      page: {},
      backoffBaseMs: 1,
      backoffCapMs: 5,
      closeTimeoutMs: 0,
      ...options,
    });
  }
}
