/** The client against a real broker: publishing, reading, and what happens when connections end. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as outlast from "../dist/index.js";
import { Broker, Proxy, take, until } from "./broker.js";

const broker = new Broker();
let client;
let channels = 0;
const newChannel = () => client.channel(`channel:${++channels}`);

before(async () => {
  await broker.start();
  client = await outlast.connect(broker.url, { clientId: "agent" });
});
after(async () => {
  await client.close();
  await broker.stop();
});

/** A client whose connections can be cut. */
async function throughProxy(t, options = {}) {
  const proxy = await new Proxy(broker.url).start();
  const other = await outlast.connect(proxy.url, { backoffBaseMs: 1, backoffCapMs: 20, ...options });
  t.after(async () => {
    await other.close();
    await proxy.stop();
  });
  return { proxy, other };
}

describe("publishing", () => {
  test("bytes, text and JSON come back as they were", async () => {
    const channel = newChannel();
    const datas = [new Uint8Array([0, 255]), "zwölf 😀", { a: [1, 2.5, null, true] }, 7, null, "", []];
    for (const data of datas) await channel.publish(data, { name: "n", headers: { b: "2", a: "1" } });
    const records = await all(channel.history());
    assert.deepEqual(
      records.map(({ data }) => data),
      datas,
    );
    const [first] = records;
    assert.deepEqual(
      [first.offset, first.name, first.headers, first.clientId, first.operation],
      [1, "n", { a: "1", b: "2" }, "agent", null],
    );
    assert.ok(Math.abs(first.time - Date.now()) < 60_000);
    assert.match(first.position, /^[0-9a-f]{16}:1$/);
  });

  test("what is published while an acknowledgement is outstanding goes as one batch, in order", async () => {
    const channel = newChannel();
    const acks = await Promise.all(Array.from({ length: 1_000 }, (_, at) => channel.publish(`${at}`)));
    assert.deepEqual(
      acks.map(({ offset }) => offset),
      Array.from({ length: 1_000 }, (_, at) => at + 1),
    );
    const records = await all(channel.history({ limit: 10 }));
    assert.deepEqual(
      records.map(({ data }) => data),
      Array.from({ length: 10 }, (_, at) => `${at}`),
    );
  });

  test("publishMany stores all or nothing", async () => {
    const channel = newChannel();
    const ack = await channel.publishMany(["question", new outlast.Message({ ok: true }, { name: "result" })]);
    assert.deepEqual([ack.offset, ack.last, ack.offsets, ack.duplicate], [1, 2, [1, 2], false]);
    await assert.rejects(channel.publishMany([]), TypeError);
    await assert.rejects(channel.publishMany("text"), TypeError);
  });

  test("a condition that does not hold is told, with the last offset", async () => {
    const channel = newChannel();
    await channel.publish("one");
    await channel.publish("two", { ifOffset: 1 });
    await assert.rejects(
      channel.publish("three", { ifOffset: 1 }),
      (error) => error instanceof outlast.OffsetMismatch && error.last === 2,
    );
  });

  test("what can never be one batch is refused before it is sent", async () => {
    const channel = newChannel();
    await assert.rejects(
      channel.publish(new Uint8Array(1_048_600)),
      (error) => error instanceof outlast.TooLarge && error.detail.limit === 1_048_512,
    );
    await assert.rejects(channel.publish(undefined), TypeError);
    await assert.rejects(channel.publish(NaN), TypeError);
    await assert.rejects(channel.publish("\ud800"), TypeError);
    await assert.rejects(channel.publish("x", { name: "x".repeat(256) }), TypeError);
    assert.equal((await channel.publish("small")).offset, 1);
  });

  test("a buffer that is full makes publishing wait, or throw", async (t) => {
    const { other } = await throughProxy(t, { bufferBytes: 1_000, whenFull: "throw" });
    const results = await Promise.allSettled(
      ["a", "b", "c", "d", "e"].map((data) => other.channel("full").publish(data)),
    );
    assert.deepEqual(
      results.map(({ status, reason }) => reason?.code ?? status),
      ["fulfilled", "fulfilled", "fulfilled", "buffer_full", "buffer_full"],
    );
    const { other: patient } = await throughProxy(t, { bufferBytes: 1_000 });
    const acks = await Promise.all(Array.from({ length: 20 }, (_, at) => patient.channel("patient").publish(at)));
    assert.deepEqual(
      acks.map(({ offset }) => offset),
      Array.from({ length: 20 }, (_, at) => at + 1),
    );
  });

  test("publishing survives cuts: each message is stored once, in order", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = other.channel("cut while publishing");
    const published = [];
    for (let at = 0; at < 300; at++) {
      published.push(channel.publish(at));
      if (at % 30 === 15) {
        await published[at - 10];
        proxy.cut();
      }
    }
    await Promise.all(published);
    assert.ok(proxy.connections > 3);
    assert.deepEqual(
      (await all(channel.history())).map(({ data }) => data),
      Array.from({ length: 300 }, (_, at) => at),
    );
  });

  test("an abort stops waiting", async (t) => {
    const { proxy, other } = await throughProxy(t);
    await proxy.stop();
    await until(() => other.state !== "open");
    const reason = new Error("enough");
    await assert.rejects(other.channel("x").publish("y", { signal: AbortSignal.abort(reason) }), reason);
    const giveUp = new AbortController();
    const published = other.channel("x").publish("y", { signal: giveUp.signal });
    giveUp.abort(reason);
    await assert.rejects(published, reason);
  });

  test("a record with a time to live goes when that is over", async () => {
    const channel = newChannel();
    await channel.publish("soon gone", { ttlMs: 1 });
    await channel.publish("stays");
    await until(async () => (await all(channel.history())).length === 1);
    const [record] = await all(channel.history());
    assert.deepEqual([record.offset, record.data, record.ttlMs], [2, "stays", 0]);
    await channel.publishMany([new outlast.Message("stays a while", { ttlMs: 60_000 })]);
    assert.equal((await all(channel.history())).at(-1).ttlMs, 60_000);
  });
});

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

describe("reading", () => {
  test("from the beginning, then live, each once", async () => {
    const channel = newChannel();
    await channel.publishMany(["one", "two"]);
    const records = channel.subscribe({ start: "earliest" });
    assert.deepEqual(
      (await take(records, 2)).map(({ data }) => data),
      ["one", "two"],
    );
    await channel.publish("three");
    const [third] = await take(records, 1);
    assert.deepEqual([third.offset, records.position], [3, third.position]);
    await records.close();
    assert.equal((await records.next()).done, true);
  });

  test("every start begins where it says", async () => {
    const channel = newChannel();
    const ack = await channel.publishMany(["one", "two", "three"]);
    const first = async (options) => (await take(channel.subscribe(options), 1))[0].offset;
    assert.equal(await first({ after: 1 }), 2);
    assert.equal(await first({ after: ack.position.replace(/:3$/, ":2") }), 3);
    assert.equal(await first({ last: 1 }), 3);
    assert.equal(await first({ since: 0 }), 1);
    assert.equal(await first({ since: new Date(0) }), 1);
    assert.throws(() => channel.subscribe({ after: 1, last: 1 }), TypeError);
    assert.throws(() => channel.subscribe({ after: "x" }), RangeError);
    await assert.rejects(first({ after: 9 }), (error) => error instanceof outlast.OffsetAhead && error.last === 3);
  });

  test("open() returns when nothing more can be missed", async () => {
    const channel = newChannel();
    const records = await channel.subscribe().open();
    await channel.publish("now");
    assert.equal((await records.next()).value.data, "now");
  });

  test("several subscriptions of one client to one channel", async () => {
    const channel = newChannel();
    await channel.publishMany(["one", "two"]);
    const [a, b] = [channel.subscribe({ start: "earliest" }), channel.subscribe({ after: 1 })];
    assert.equal((await a.next()).value.data, "one");
    assert.equal((await b.next()).value.data, "two");
    assert.equal((await a.next()).value.data, "two");
  });

  test("leaving a loop ends the subscription", async () => {
    const channel = newChannel();
    await channel.publish("one");
    const records = channel.subscribe({ start: "earliest" });
    for await (const { data } of records) {
      assert.equal(data, "one");
      break;
    }
    assert.equal((await records.next()).done, true);
    await until(async () => (await channel.info()).subscribers === 0);
  });

  test("each() calls back for every record", async () => {
    const channel = newChannel();
    await channel.publishMany([1, 2, 3]);
    const seen = [];
    const enough = new Error("enough");
    await assert.rejects(
      channel.subscribe({ start: "earliest" }).each(({ data }) => {
        seen.push(data);
        if (data === 3) throw enough;
      }),
      enough,
    );
    assert.deepEqual(seen, [1, 2, 3]);
  });

  test("an abort ends the iteration with its reason", async () => {
    const reason = new Error("enough");
    const giveUp = new AbortController();
    const next = newChannel().subscribe({ signal: giveUp.signal }).next();
    giveUp.abort(reason);
    await assert.rejects(next, reason);
    await assert.rejects(
      newChannel()
        .subscribe({ signal: AbortSignal.abort(reason) })
        .next(),
      reason,
    );
  });

  test("a small window loses nothing", async () => {
    const channel = newChannel();
    for (let at = 0; at < 20; at++) await channel.publish("x".repeat(1_000));
    const records = await take(channel.subscribe({ start: "earliest", windowBytes: 2_000 }), 20);
    assert.deepEqual(
      records.map(({ offset }) => offset),
      Array.from({ length: 20 }, (_, at) => at + 1),
    );
  });

  test("reading survives cuts: nothing twice, nothing missing", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = client.channel("cut while reading");
    const records = other.channel(channel.name).subscribe({ start: "earliest" });
    const seen = [];
    for (let round = 0; round < 10; round++) {
      for (let at = 0; at < 20; at++) await channel.publish(round * 20 + at);
      for (const { data } of await take(records, 15)) seen.push(data);
      proxy.cut();
    }
    for (const { data } of await take(records, 50)) seen.push(data);
    assert.deepEqual(
      seen,
      Array.from({ length: 200 }, (_, at) => at),
    );
  });

  test("a broker that is killed and comes back is found again", async (t) => {
    const own = await new Broker().start();
    const other = await outlast.connect(own.url, { backoffBaseMs: 5, backoffCapMs: 50 });
    t.after(async () => {
      await other.close();
      await own.stop();
    });
    const channel = other.channel("survivor");
    await channel.publish("before");
    const records = channel.subscribe({ start: "earliest" });
    await take(records, 1);
    await own.end();
    const published = channel.publish("after");
    await own.start();
    assert.equal((await published).offset, 2);
    assert.equal((await records.next()).value.data, "after");
  });

  test("what retention took is told, and reading goes on", async () => {
    const channel = newChannel();
    for (let at = 0; at < 5; at++) await channel.publish(at);
    assert.equal(await channel.truncate({ before: 4 }), 4);
    const records = channel.subscribe({ after: 1 });
    await assert.rejects(
      records.next(),
      (error) => error instanceof outlast.Resync && error.reason === "trimmed" && error.position.endsWith(":3"),
    );
    assert.equal((await records.next()).value.offset, 4);
  });

  test("a deletion is told, and reading goes on with the next life", async () => {
    const channel = newChannel();
    const { position } = await channel.publish("old");
    const told = [];
    const records = channel.subscribe({ start: "earliest", onResync: ({ reason }) => told.push(reason) });
    await take(records, 1);
    await channel.delete({ hard: true });
    const next = records.next();
    await until(() => told.length);
    await channel.publish("new");
    assert.equal((await next).value.data, "new");
    const again = channel.subscribe({ after: position, onResync: ({ reason }) => told.push(reason) });
    assert.equal((await again.next()).value.data, "new");
    assert.deepEqual(told, ["deleted", "recreated"]);
  });
});

describe("history", () => {
  test("forwards, backwards, with bounds, over pages", async () => {
    const channel = newChannel();
    await channel.publishMany(Array.from({ length: 4_500 }, (_, at) => at + 1));
    const offsets = async (options) => (await all(channel.history(options))).map(({ offset }) => offset);
    const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
    assert.deepEqual(await offsets(), range(1, 4_500));
    assert.deepEqual(await offsets({ backwards: true }), range(1, 4_500).reverse());
    assert.deepEqual(await offsets({ after: 10, before: 13 }), [11, 12]);
    assert.deepEqual(await offsets({ backwards: true, before: 13, limit: 2 }), [12, 11]);
    assert.deepEqual(await offsets({ last: 3 }), [4_498, 4_499, 4_500]);
    assert.deepEqual(await offsets({ limit: 0 }), []);
    assert.throws(() => channel.history({ backwards: true, last: 3 }), TypeError);
  });

  test("of a channel that does not exist", async () => {
    await assert.rejects(all(newChannel().history()), outlast.UnknownChannel);
  });
});

describe("the channel itself", () => {
  test("info, configure, lists", async () => {
    const channel = client.channel("list:a");
    await channel.publish("one");
    await client.channel("list:b").publish("two");
    const info = await channel.info();
    assert.deepEqual([info.name, info.first, info.last, info.subscribers], ["list:a", 1, 1, 0]);
    assert.match(info.epoch, /^[0-9a-f]{16}$/);
    assert.deepEqual(await channel.configure({ retention: { records: 10 } }), {
      ageMs: 0,
      records: 10,
      bytes: 0,
      idleTtlMs: 0,
    });
    assert.deepEqual(
      (await all(client.channels({ prefix: "list:" }))).map(({ name, last }) => [name, last]),
      [
        ["list:a", 1],
        ["list:b", 1],
      ],
    );
    assert.throws(() => client.channel(""), TypeError);
    assert.throws(() => client.channel("a\nb"), TypeError);
  });
});

describe("options that nobody knows", () => {
  const wrong = [
    ["connect", () => outlast.connect(broker.url, { client_id: "x" }), "clientId"],
    ["publish", (channel) => channel.publish("x", { if_offset: 1 }), "ifOffset"],
    ["publishMany", (channel) => channel.publishMany(["x"], { name: "x" }), "ifOffset"],
    ["Message", () => new outlast.Message("x", { ttl: 1 }), "ttlMs"],
    ["message", (channel) => channel.message({ ttlMs: 1 }), "lease"],
    ["subscribe", (channel) => channel.subscribe({ from: 1 }), "after"],
    ["attach", (channel) => channel.attach({ folded: true }), "raw"],
    ["history", (channel) => channel.history({ reverse: true }), "backwards"],
    ["lease", (channel) => channel.lease("x", { ttl: 1 }), "ttlMs"],
    ["claim", (channel) => channel.claim("x", { ttl: 1 }), "ttlMs"],
    ["configure", (channel) => channel.configure({ records: 1 }), "retention"],
    ["retention", (channel) => channel.configure({ retention: { age: 1 } }), "ageMs"],
  ];
  for (const [verb, call, known] of wrong)
    test(`${verb} names one, and those it has`, async () => {
      await assert.rejects(async () => call(newChannel()), (error) => {
        assert.ok(error instanceof TypeError);
        return error.message.startsWith(`${verb} has no option "`) && error.message.includes(known);
      });
    });

  test("null in the place of options is said", async () => {
    await assert.rejects(async () => newChannel().publish("x", null), /publish takes its options as an object, not null/);
  });
});

describe("connecting", () => {
  test("status and connections: the broker itself", async () => {
  const before = await client.status();
  const channel = newChannel();
  await channel.publish("x");
  const { server, recordsIn, refusing, commitP99Us, leaving } = await client.status();
  assert.match(server, /^outlast\//);
  assert.deepEqual([recordsIn - before.recordsIn, refusing, leaving], [1, "", false]);
  assert.ok(commitP99Us > 0);
  const mine = (await all(client.connections())).filter(({ clientId }) => clientId === client.clientId);
  assert.ok(mine.some(({ sinceMs, channels, waitingBytes }) => sinceMs > 1e12 && channels && !waitingBytes));
});

test("tokens are revoked, and what is revoked is listed", async () => {
  const before = Date.now();
  assert.equal(await client.revoke({ subject: "alice" }), 0);
  assert.equal(await client.revoke({ tokenId: "7f3a" }), 0);
  const [token, alice] = await all(client.revocations());
  assert.deepEqual([token.tokenId, token.subject, alice.subject, alice.tokenId], ["7f3a", undefined, "alice", undefined]);
  assert.ok(alice.issuedBeforeMs >= before && alice.untilMs > alice.issuedBeforeMs);
  for (const wrong of [{}, { subject: "a", tokenId: "b" }, { subject: "" }])
    await assert.rejects(client.revoke(wrong), { code: "bad_body" });
});

test("over a Unix socket", async () => {
    const other = await outlast.connect(`outlast+unix://${broker.path}`);
    assert.equal((await other.channel("unix").publish("x")).offset, 1);
    await other.close();
    assert.equal(other.state, "closed");
    await assert.rejects(other.channel("unix").publish("y"), outlast.Closed);
    await assert.rejects(other.channel("unix").subscribe().next(), outlast.Closed);
  });

  test("to nobody", async () => {
    const nobody = await new Proxy(broker.url).start();
    await nobody.stop();
    await assert.rejects(outlast.connect(nobody.url, { timeoutMs: 50 }), outlast.ConnectFailed);
    const giveUp = AbortSignal.timeout(20);
    await assert.rejects(outlast.connect(nobody.url, { timeoutMs: null, signal: giveUp }), { name: "TimeoutError" });
    await assert.rejects(outlast.connect("ftp://x"), TypeError);
    await assert.rejects(outlast.connect(broker.url, { clientId: "" }), TypeError);
  });

  test("every change of the connection is told", async () => {
    const states = [];
    const own = await new Broker().start();
    const other = await outlast.connect(own.url, {
      onState: (state) => states.push(state),
      backoffBaseMs: 1,
      backoffCapMs: 20,
    });
    await own.end("SIGTERM");
    await until(() => other.state !== "open");
    await own.start();
    await until(() => other.state === "open");
    await other.close();
    await own.stop();
    assert.deepEqual(states.slice(0, 3), ["connecting", "open", "waiting"]);
    assert.deepEqual(states.slice(-2), ["open", "closed"]);
  });

  test("closing waits for acknowledgements", async () => {
    const other = await outlast.connect(broker.url);
    const published = other.channel("last words").publish("goodbye");
    await other.close();
    assert.equal((await published).offset, 1);
  });
});
