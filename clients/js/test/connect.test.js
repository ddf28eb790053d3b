/** How a client begins: on its way to the broker while the most of it is still being loaded. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConnectFailed, connect } from "../dist/index.js";
import { dialAhead } from "../dist/transport.js";
import { Script } from "./script.js";

const URL = "ws://broker.example";

/** What a dial was asked for, and what its transport and its owner were told. */
function line() {
  const told = [];
  const transport = { abort: () => told.push("abort"), close: () => told.push("close"), unsentBytes: 0 };
  const dial = (url, events) => {
    told.push("dialled");
    dial.events = events;
    return transport;
  };
  const owner = { opened: () => told.push("opened"), received: (data) => told.push(data), closed: (why) => told.push(why) };
  return { told, transport, dial, owner };
}

describe("dialling ahead", () => {
  test("begins at once; whoever dials first is told all of it, when it has the transport", async () => {
    const { told, transport, dial, owner } = line();
    const ahead = dialAhead(dial, URL);
    dial.events.opened();
    assert.deepEqual(told, ["dialled"]);
    assert.equal(ahead.dial(URL, owner), transport);
    dial.events.received("early");
    assert.deepEqual(told, ["dialled"]);
    await null;
    dial.events.closed("cut");
    assert.deepEqual(told, ["dialled", "opened", "early", "cut"]);
  });

  test("the second who dials has a line of its own", () => {
    const { told, dial, owner } = line();
    const ahead = dialAhead(dial, URL);
    ahead.dial(URL, owner);
    ahead.dial(URL, owner);
    assert.deepEqual(told, ["dialled", "dialled"]);
  });

  test("what nobody takes is dropped, what somebody has is not", () => {
    const { told, dial, owner } = line();
    dialAhead(dial, URL).drop();
    assert.deepEqual(told, ["dialled", "abort"]);
    const ahead = dialAhead(dial, URL);
    ahead.dial(URL, owner);
    ahead.drop();
    assert.deepEqual(told, ["dialled", "abort", "dialled"]);
  });

  test("what keeps it from dialling is said to whoever dials", () => {
    const ahead = dialAhead(() => {
      throw new TypeError("no TCP here");
    }, URL);
    ahead.drop();
    assert.throws(() => ahead.dial(URL, {}), /no TCP here/);
  });
});

describe("connect", () => {
  test("dials before anything else is there, and once", async () => {
    const script = new Script();
    const connecting = connect(URL, { dial: script.dial, page: {} });
    assert.equal(script.wires.length, 1, "in the same turn");
    const client = await connecting;
    assert.equal(script.wires.length, 1);
    await client.close();
  });

  test("a token is asked for before the broker is", async () => {
    const script = new Script();
    let show;
    const token = () => new Promise((resolve) => (show = resolve));
    const connecting = connect(URL, { dial: script.dial, page: {}, token, onState: () => script.dispatchEvent(new Event("asked")) });
    await new Promise((resolve) => script.addEventListener("asked", resolve, { once: true }));
    assert.equal(script.wires.length, 0);
    show("secret");
    await (await connecting).close();
    assert.equal(script.wires.length, 1);
  });

  test("whoever gives up at once leaves no line behind", async () => {
    const { told, dial } = line();
    const reason = new Error("enough");
    const stop = new AbortController();
    const connecting = connect(URL, { dial, page: {}, signal: stop.signal });
    stop.abort(reason);
    await assert.rejects(connecting, reason);
    assert.deepEqual(told, ["dialled", "abort"]);
  });

  test("a line that ends before its client is there is dialled again", async () => {
    const script = new Script();
    const connecting = connect(URL, { dial: script.dial, page: {}, backoffBaseMs: 1 });
    script.wires[0].drop("cut early");
    const client = await connecting;
    assert.equal(script.wires.length, 2);
    await client.close();
  });

  test("no time is left", async () => {
    const { told, dial } = line();
    await assert.rejects(
      connect(URL, { dial, page: {}, timeoutMs: 1 }),
      (error) => error instanceof ConnectFailed && /no connection to .* within 1 ms/.test(error.message),
    );
    assert.match(told.at(-1), /abort|close/);
  });
});
