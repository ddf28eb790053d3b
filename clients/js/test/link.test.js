/** What the client does with connections, told by a scripted broker: PROTOCOL.md 3 and 11. */

import assert from "node:assert/strict";
import { connect as dial } from "node:net";
import { after, before, describe, test } from "node:test";
import * as outlast from "../dist/index.js";
import { encodeBatch, makeRow, stamped } from "../dist/protocol/index.js";
import { completeUrl } from "../dist/transport.js";
import { Broker, until } from "./broker.js";
import { EPOCH, Script } from "./script.js";

const label = { encoding: 1, name: null, headers: {}, operation: null, ttlMs: 0 };
const batchAt = (offset, ...texts) =>
  stamped(
    encodeBatch(
      "agent",
      texts.map((text) => makeRow(label, new TextEncoder().encode(text))),
    ),
    offset,
    1,
  );
const subscribed = ({ request }, after = 0) => ({
  type: "SUBSCRIBED",
  request,
  after,
  epoch: EPOCH,
  first: 1,
  last: after,
  resync: null,
});
const published = ({ request }, offset = 1, duplicate = false) => ({
  type: "PUBLISHED",
  acks: [[request, offset, duplicate]],
});

async function opened(t, script, options) {
  const client = await script.connect(options);
  t.after(() => client.close());
  return client;
}

/** A page that can be hidden, and go online. */
class Page {
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });

  show(state) {
    this.document.visibilityState = state;
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  goOnline() {
    this.window.dispatchEvent(new Event("online"));
  }
}

describe("greeting", () => {
  test("HELLO says who comes, and the second one the same", async (t) => {
    const script = new Script();
    const hellos = [];
    const greet = script.answers.HELLO;
    script.answers.HELLO = (hello) => (hellos.push(hello), greet(hello));
    await opened(t, script, { clientId: "agent", producer: [7, 2n ** 63n], token: "secret", heartbeatMs: 20_000 });
    script.wires[0].drop();
    await script.wire(2);
    await until(() => hellos.length === 2);
    const { versions, client_id, producer, token, heartbeat_ms, agent } = hellos[0];
    assert.deepEqual(
      [versions, client_id, producer, token, heartbeat_ms],
      [[1], "agent", [7, 2n ** 63n], "secret", 20_000],
    );
    assert.match(agent, /^outlast-js\//);
    assert.deepEqual(hellos[1], hellos[0]);
  });

  test("a refusal that no second try can change ends connecting at once", async () => {
    const script = new Script();
    const states = [];
    script.answers.HELLO = () => ({ type: "ERROR", request: 0, code: 6, message: "speak version 2", detail: {} });
    await assert.rejects(
      script.connect({ onState: (state) => states.push(state) }),
      (error) => error instanceof outlast.ConnectFailed && !error.retryable && /version 2/.test(error.message),
    );
    assert.deepEqual(states, ["connecting", "closed"], "it does not wait to try again");
  });

  test("something else that answers is no broker", async () => {
    const script = new Script();
    script.answers.HELLO = (_, wire) => (wire.sayBytes(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")), null);
    await assert.rejects(script.connect({ timeoutMs: 50 }), /no Outlast broker/);
  });
});

describe("coming back", () => {
  test("not earlier than GOAWAY asked, whatever else happens", async (t) => {
    const script = new Script();
    const page = new Page();
    const client = await opened(t, script, { page });
    const startMs = performance.now();
    script.wires[0].say({ type: "GOAWAY", reason: "restart", retry_after_ms: 120 });
    await until(() => client.state === "waiting");
    page.goOnline();
    await script.wire(2);
    assert.ok(performance.now() - startMs >= 115);
  });

  test("what is unanswered when the broker leaves is waited for", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const ack = client.channel("c").publish("last");
    const [wire] = script.wires;
    const publish = await wire.next("PUBLISH");
    wire.say({ type: "GOAWAY", reason: "restart", retry_after_ms: 1 }, published(publish));
    assert.equal((await ack).offset, 1);
    await script.wire(2);
  });

  for (const [what, wake] of [
    ["the network is back", (page) => page.goOnline()],
    ["the tab is looked at", (page) => page.show("visible")],
  ])
    test(`at once when ${what}`, async (t) => {
      const script = new Script();
      const page = new Page();
      const client = await opened(t, script, { page, backoffBaseMs: 60_000, backoffCapMs: 60_000 });
      page.show("hidden");
      script.wires[0].drop();
      await until(() => client.state === "waiting");
      page.goOnline();
      assert.equal(script.wires.length, 1, "nobody looks");
      page.document.visibilityState = "visible";
      wake(page);
      await script.wire(2);
      await until(() => client.state === "open");
    });

  test("a page that is looked at again asks whether the connection still lives", async (t) => {
    const script = new Script();
    const page = new Page();
    await opened(t, script, { page });
    page.show("visible");
    await script.wires[0].next("PING");
  });

  test("a closed client listens to nothing any more", async () => {
    const script = new Script();
    const page = new Page();
    const client = await script.connect({ page });
    await client.close();
    page.goOnline();
    page.show("visible");
    assert.deepEqual([script.wires.length, client.state], [1, "closed"]);
  });
});

describe("heartbeats", () => {
  test("silence is broken by PING, and a broker that stays silent is given up", async (t) => {
    const script = new Script();
    script.welcome = { heartbeat_ms: 40 };
    await opened(t, script);
    await script.wires[0].next("PING");
    await script.wire(2);
  });

  test("PING is answered with its token", async (t) => {
    const script = new Script();
    const pongs = [];
    script.answers.PONG = (pong) => (pongs.push(pong.token), null);
    await opened(t, script);
    script.wires[0].say({ type: "PING", token: 2n ** 63n });
    await until(() => pongs.length);
    assert.deepEqual(pongs, [2n ** 63n]);
  });
});

describe("publishing", () => {
  test("one batch is on its way; what comes meanwhile goes as one, and resending keeps its sequence", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const channel = client.channel("c");
    const acks = [channel.publish("a")];
    const first = await script.wires[0].next("PUBLISH");
    acks.push(channel.publish("b"), channel.publish("c"));
    script.wires[0].drop();
    const wire = await script.wire(2);
    const again = await wire.next("PUBLISH");
    assert.deepEqual([again.sequence, Buffer.from(again.batch)], [first.sequence, Buffer.from(first.batch)]);
    wire.say(published(again, 4, true));
    const second = await wire.next("PUBLISH");
    assert.equal(second.sequence, again.sequence + 1);
    wire.say(published(second, 5));
    assert.deepEqual(
      (await Promise.all(acks)).map(({ offset, duplicate }) => [offset, duplicate]),
      [
        [4, true],
        [5, false],
        [6, false],
      ],
    );
  });

  test("what goes out at once is no longer than a message may be", async (t) => {
    const script = new Script();
    let channels = 0;
    script.answers.OPEN = ({ request }) => ({
      type: "OPENED",
      request,
      number: ++channels,
      epoch: EPOCH,
      first: 1,
      last: 0,
    });
    script.answers.PUBLISH = (publish) => published(publish);
    const client = await opened(t, script);
    const names = ["a", "b", "c", "d", "e"];
    await Promise.all(names.map((name) => client.channel(name).publish("small")));
    script.messages.length = 0;
    await Promise.all(names.map((name) => client.channel(name).publish("x".repeat(400_000))));
    assert.ok(
      Math.max(...script.messages) <= 1_048_576 && Math.max(...script.messages) > 800_000,
      `${script.messages}`,
    );
  });

  test("of a batch that is refused for one message each goes alone", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const channel = client.channel("c");
    const acks = ["good", "bad", "fine"].map((data) => channel.publish(data));
    const [wire] = script.wires;
    const refuse = ({ request }) => wire.say({ type: "ERROR", request, code: 35, message: "too much", detail: {} });
    refuse(await wire.next("PUBLISH"));
    wire.say(published(await wire.next("PUBLISH"), 1));
    const bad = await wire.next("PUBLISH");
    refuse(bad);
    const fine = await wire.next("PUBLISH");
    assert.equal(fine.sequence, bad.sequence, "a refused publish does not use its sequence up");
    wire.say(published(fine, 2));
    assert.deepEqual(
      (await Promise.allSettled(acks)).map(({ value, reason }) => value?.offset ?? reason.code),
      [1, "limit_exceeded", 2],
    );
  });

  test("a broker that takes nothing now is asked again", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const ack = client.channel("c").publish("a");
    const [wire] = script.wires;
    const { request } = await wire.next("PUBLISH");
    wire.say({ type: "ERROR", request, code: 60, message: "full", detail: { retry_after_ms: 1 } });
    wire.say(published(await wire.next("PUBLISH")));
    assert.equal((await ack).offset, 1);
  });

  test("an acknowledgement that cannot be right ends the connection, not the program", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const ack = client.channel("c").publish("a");
    const [wire] = script.wires;
    wire.say(published(await wire.next("PUBLISH"), 2n ** 60n));
    const second = await script.wire(2);
    second.say(published(await second.next("PUBLISH"), 1, true));
    assert.equal((await ack).duplicate, true);
  });

  test("a timer that fires early does not keep a publish from going again", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const ack = client.channel("c").publish("a");
    const [wire] = script.wires;
    const { request } = await wire.next("PUBLISH");
    const patient = globalThis.setTimeout;
    t.mock.method(globalThis, "setTimeout", (run, delayMs) => patient(run, delayMs / 2));
    wire.say({ type: "ERROR", request, code: 60, message: "full", detail: { retry_after_ms: 30 } });
    wire.say(published(await wire.next("PUBLISH")));
    assert.equal((await ack).offset, 1);
  });

  test("a sequence that the broker does not know of is followed", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const ack = client.channel("c").publish("a");
    const [wire] = script.wires;
    const { request } = await wire.next("PUBLISH");
    wire.say({ type: "ERROR", request, code: 32, message: "gap", detail: { expected: 17 } });
    const again = await wire.next("PUBLISH");
    assert.equal(again.sequence, 17);
    wire.say(published(again));
    await ack;
  });

  test("an operation on a message never goes into another life of the channel", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const message = client.channel("c").message();
    const open = message.append("a");
    const [wire] = script.wires;
    wire.say(published(await wire.next("PUBLISH"), 41));
    wire.say(published(await wire.next("PUBLISH"), 42));
    await open;
    const lost = message.append("b");
    await wire.next("PUBLISH");
    script.answers.OPEN = ({ request }) => ({ type: "OPENED", request, number: 10, epoch: 1, first: 1, last: 0 });
    wire.drop();
    await assert.rejects(lost, (error) => error instanceof outlast.StaleEpoch && error.epoch === "0000000000000001");
    await assert.rejects(message.complete(), outlast.StaleEpoch);
  });
});

describe("reading", () => {
  test("a hole is not accepted: the records are fetched again over a new connection", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const records = client.channel("c").subscribe({ start: "earliest" });
    const next = records.next();
    const [wire] = script.wires;
    wire.say(subscribed(await wire.next("SUBSCRIBE")), { type: "DELIVER", number: 9, batches: batchAt(2, "two") });
    const second = await script.wire(2);
    const ask = await second.next("SUBSCRIBE");
    assert.deepEqual([ask.start, ask.after], [null, 0]);
    second.say(subscribed(ask), { type: "DELIVER", number: 9, batches: batchAt(1, "one") });
    assert.equal((await next).value.data, "one");
  });

  test("a changed byte is not accepted", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const next = client.channel("c").subscribe({ start: "earliest" }).next();
    const [wire] = script.wires;
    const batch = batchAt(1, "one");
    batch[batch.length - 1] ^= 1;
    wire.say(subscribed(await wire.next("SUBSCRIBE")), { type: "DELIVER", number: 9, batches: batch });
    const second = await script.wire(2);
    second.say(subscribed(await second.next("SUBSCRIBE")), { type: "DELIVER", number: 9, batches: batchAt(1, "one") });
    assert.equal((await next).value.data, "one");
  });

  test("a batch that begins with what is known is delivered from there", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const next = client.channel("c").subscribe({ after: 1 }).next();
    const [wire] = script.wires;
    wire.say(subscribed(await wire.next("SUBSCRIBE"), 1), {
      type: "DELIVER",
      number: 9,
      batches: batchAt(1, "one", "two"),
    });
    assert.equal((await next).value.data, "two");
  });

  test("a broker that resumes elsewhere and does not say so is not believed", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const next = client.channel("c").subscribe({ after: 5 }).next();
    const [wire] = script.wires;
    wire.say(subscribed(await wire.next("SUBSCRIBE"), 7));
    const second = await script.wire(2);
    second.say(subscribed(await second.next("SUBSCRIBE"), 5), {
      type: "DELIVER",
      number: 9,
      batches: batchAt(6, "six"),
    });
    assert.equal((await next).value.data, "six");
  });

  test("credit is given back for what was taken", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const records = client.channel("c").subscribe({ start: "earliest", windowBytes: 4_000 });
    const next = records.next();
    const [wire] = script.wires;
    const ask = await wire.next("SUBSCRIBE");
    assert.equal(ask.credit, 4_000);
    const batches = batchAt(1, "x".repeat(1_500));
    wire.say(subscribed(ask), { type: "DELIVER", number: 9, batches });
    await next;
    records.next().catch(() => {});
    assert.equal((await wire.next("CREDIT")).credit, batches.length + 16);
  });

  test("damage ends the subscription, and is told", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const next = client.channel("c").subscribe({ start: "earliest" }).next();
    const [wire] = script.wires;
    wire.say(subscribed(await wire.next("SUBSCRIBE")), {
      type: "ERROR",
      request: 0,
      code: 62,
      message: "damaged",
      detail: { number: 9 },
    });
    await assert.rejects(next, outlast.Damaged);
  });

  test("an offset that JavaScript cannot tell from the next is refused", async (t) => {
    const script = new Script();
    const client = await opened(t, script);
    const next = client.channel("c").subscribe({ start: "earliest" }).next();
    const [wire] = script.wires;
    wire.say(subscribed(await wire.next("SUBSCRIBE"), 2n ** 53n));
    await script.wire(2);
    await client.close();
    await assert.rejects(next, outlast.Closed);
  });
});

test("an ephemeral message is not sent when the connection does not drain", async (t) => {
  const script = new Script();
  const client = await opened(t, script);
  script.unsentBytes = 300_000;
  assert.equal(client.channel("c").sendEphemeral("x"), false);
  script.unsentBytes = 0;
  assert.equal(client.channel("c").sendEphemeral("x"), true);
  const { number } = await script.wires[0].next("EPHEMERAL");
  assert.equal(number, 9);
});

describe("addresses", () => {
  for (const [given, full] of [
    ["ws://host:1", "ws://host:1/v1/ws"],
    ["wss://host/else", "wss://host/else"],
    ["http://host:6180/", "ws://host:6180/v1/ws"],
    ["https://host", "wss://host/v1/ws"],
    ["outlast://host", "outlast://host"],
    ["outlast://[::1]:6180", "outlast://[::1]:6180"],
    ["outlast+unix:///run/x.sock", "outlast+unix:///run/x.sock"],
  ])
    test(given, () => assert.equal(completeUrl(given), full));
  for (const given of [
    "",
    "host:1",
    "ftp://host",
    "outlast://",
    "outlast://a/b",
    "outlast+unix://x",
    "ws://u@host",
    "ws://host#x",
  ])
    test(`"${given}" is none`, () => assert.throws(() => completeUrl(given), TypeError));
});

/** A WebSocket over a bare socket: a message is whatever came. */
class Tunnel {
  static target;
  binaryType = "";
  #socket;

  constructor(url) {
    const { port, hostname } = new URL(Tunnel.target.replace("outlast:", "http:"));
    this.url = url;
    this.#socket = dial(Number(port), hostname);
    this.#socket.on("connect", () => this.onopen({}));
    this.#socket.on("data", (data) => this.onmessage({ data: new Uint8Array(data).buffer }));
    this.#socket.on("close", () => this.onclose({ code: 1006, reason: "" }));
    this.#socket.on("error", () => this.onerror({}));
  }

  get bufferedAmount() {
    return this.#socket.writableLength;
  }

  send(data) {
    this.#socket.write(data);
  }

  close() {
    this.#socket.destroySoon();
  }
}

describe("an injected WebSocket", () => {
  const broker = new Broker();
  before(() => broker.start());
  after(() => broker.stop());

  test("carries everything", async () => {
    Tunnel.target = broker.url;
    const client = await outlast.connect("https://example.org", { WebSocket: Tunnel });
    const channel = client.channel("over a WebSocket");
    await Promise.all(Array.from({ length: 100 }, (_, at) => channel.publish(at)));
    const session = await channel.attach({ start: "earliest" });
    for (let at = 0; at < 100; at++) assert.equal((await session.next()).value.record.data, at);
    await client.close();
  });

  test("a text message is no frame", async () => {
    const sockets = [];
    class Silent {
      constructor() {
        sockets.push(this);
        queueMicrotask(() => this.onopen({}));
      }
      send() {
        queueMicrotask(() => this.onmessage({ data: "hello" }));
      }
      close() {}
    }
    await assert.rejects(outlast.connect("ws://x", { WebSocket: Silent, timeoutMs: 30 }), outlast.ConnectFailed);
    assert.equal(sockets[0].binaryType, "arraybuffer");
  });
});
