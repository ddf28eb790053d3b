/** Tabs that share a connection: clients of this process as the tabs, their worker's hub, and a real broker. */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import { Hub } from "../dist/hub.js";
import { connect } from "../dist/index.js";
import { Broker, Proxy, take, until } from "./broker.js";

const broker = new Broker();
let line;
let hubs = new Map();
let makes = (url, protocol) => new WebSocket(url, protocol);

/** As the browser's: one hub per name, a port for each that asks. */
class Worker {
  constructor(script, name) {
    const { port1, port2 } = new MessageChannel();
    if (!hubs.has(name)) hubs.set(name, new Hub(() => makes(name, "outlast.shared.v1")));
    hubs.get(name).join(port1);
    this.port = port2;
    scripts.push(String(script));
  }
}
const scripts = [];

function newTab(clientId, options = {}) {
  const url = line.url.replace("outlast:", "ws:");
  return connect(url, { clientId, share: true, backoffBaseMs: 5, backoffCapMs: 20, ...options });
}

describe("tabs that share a connection", () => {
  before(async () => {
    globalThis.SharedWorker = Worker;
    await broker.start();
    line = await new Proxy(broker.url).start();
  });
  afterEach(() => {
    hubs = new Map();
    line.connections = 0;
    makes = (url, protocol) => new WebSocket(url, protocol);
  });
  after(async () => {
    delete globalThis.SharedWorker;
    await line.stop();
    await broker.stop();
  });

  test("each is a client of its own, on one connection", async () => {
    const [one, two] = [await newTab("one"), await newTab("two")];
    const session = await two.channel("tabs").attach({ presence: true });
    const records = await one.channel("tabs").subscribe().open();
    await one.channel("tabs").publish("hello");
    await two.channel("tabs").publish("and hello");
    const read = (await take(records, 2)).map(({ clientId, data }) => [clientId, data]);
    assert.deepEqual(read, [["one", "hello"], ["two", "and hello"]]);
    const events = [];
    while (events.length < 2) {
      const { value } = await session.next();
      if (value.type === "record") events.push(value.record.data);
    }
    assert.deepEqual(events, ["hello", "and hello"]);
    assert.equal(line.connections, 1);
    assert.match(scripts[0], /dist\/browser-worker\.js/);
    await one.close();
    assert.equal((await two.channel("tabs").publish("still here")).offset, 3);
    await two.close();
  });

  test("a connection that is lost is lost to all, and what they say and read is neither lost nor twice", async () => {
    const tabs = [await newTab("one"), await newTab("two"), await newTab("three")];
    const readers = [];
    for (const tab of tabs) readers.push(await tab.channel("lost").subscribe({ start: "earliest" }).open());
    const said = [];
    for (let round = 0; round < 20; round++) {
      for (const tab of tabs) said.push(tab.channel("lost").publish(`${tab.clientId} ${round}`));
      if (round % 7 === 3) line.cut();
      await Promise.race([said.at(-1), new Promise((resolve) => setTimeout(resolve, 5))]);
    }
    await Promise.all(said);
    const read = await Promise.all(readers.map((reader) => take(reader, 60)));
    for (const records of read) {
      assert.deepEqual(records.map(({ offset }) => offset), Array.from({ length: 60 }, (_, at) => at + 1));
      assert.equal(new Set(records.map(({ data }) => data)).size, 60);
    }
    await Promise.all(tabs.map((tab) => tab.close()));
  });

  test("the last one closes it; whoever comes then opens another", async () => {
    const sockets = [];
    makes = (...given) => sockets[sockets.push(new WebSocket(...given)) - 1];
    const one = await newTab("one");
    await one.close();
    await until(() => sockets[0].readyState === WebSocket.CLOSED);
    const two = await newTab("two");
    assert.equal((await two.channel("again").publish("x")).offset, 1);
    assert.equal(sockets.length, 2);
    await two.close();
  });

  test("with a broker that does not know of it each goes its own way", async () => {
    makes = (url) => new WebSocket(url);
    const [one, two] = [await newTab("one"), await newTab("two")];
    await one.channel("alone").publish("x");
    assert.equal((await two.channel("alone").publish("y")).offset, 2);
    await Promise.all([one.close(), two.close()]);
  });

  test("where the worker cannot be loaded, too", async () => {
    globalThis.SharedWorker = class {
      port = { postMessage() {}, close() {} };
      constructor() {
        queueMicrotask(() => this.onerror({}));
      }
    };
    const one = await newTab("one");
    assert.equal((await one.channel("no worker").publish("x")).offset, 1);
    await one.close();
    globalThis.SharedWorker = Worker;
  });

  test("a page that is left leaves", async () => {
    const listeners = new Map();
    globalThis.addEventListener = (name, callback) => listeners.set(name, callback);
    globalThis.removeEventListener = () => {};
    const states = [];
    const one = await newTab("one", { onState: (state) => states.push(state) });
    listeners.get("pagehide")();
    assert.equal(states.at(-1), "waiting");
    // It was only put aside, and is shown again.
    assert.equal((await one.channel("left").publish("x")).offset, 1);
    await one.close();
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  });
});
