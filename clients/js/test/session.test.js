/** Messages that grow, attaching, shared state, presence, cursors, ephemeral messages: against a real broker. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as outlast from "../dist/index.js";
import { Broker, Proxy, take, until } from "./broker.js";

const broker = new Broker();
let client, reader;
let channels = 0;
const newChannel = () => client.channel(`session:${++channels}`);
/** The same channel as another client has it. */
const seen = (channel) => reader.channel(channel.name);

before(async () => {
  await broker.start();
  client = await outlast.connect(broker.url, { clientId: "agent" });
  reader = await outlast.connect(broker.url, { clientId: "reader" });
});
after(async () => {
  await client.close();
  await reader.close();
  await broker.stop();
});

async function throughProxy(t, options = {}) {
  const proxy = await new Proxy(broker.url).start();
  const other = await outlast.connect(proxy.url, { backoffBaseMs: 1, backoffCapMs: 20, clientId: "cut", ...options });
  t.after(async () => {
    await other.close();
    await proxy.stop();
  });
  return { proxy, other };
}

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

describe("messages that grow", () => {
  test("are opened, appended to and completed, and history has each once", async () => {
    const channel = newChannel();
    const message = channel.message({ name: "answer", headers: { run: "7" }, data: "Once " });
    for (const word of ["upon ", "a ", "time"]) message.append(word);
    const ack = await message.complete();
    assert.equal(message.id, 1);
    assert.equal(message.position, ack.position);
    const [folded, ...more] = await all(channel.history());
    assert.deepEqual(more, []);
    assert.deepEqual(
      [folded.data, folded.name, folded.headers, folded.operation.op, folded.operation.state],
      ["Once upon a time", "answer", { run: "7" }, "folded", "complete"],
    );
    const raw = await all(channel.history({ raw: true }));
    assert.deepEqual(
      raw.map(({ operation }) => operation.op),
      ["open", "append", "append", "append", "close"],
    );
    const view = await seen(channel).getMessage(message.id);
    assert.deepEqual(
      [view.content, view.state, view.whole, view.clientId],
      ["Once upon a time", "complete", true, "agent"],
    );
    await assert.rejects(message.append("!"), outlast.MessageClosed);
  });

  test("run() completes, or says how it ended", async () => {
    const channel = newChannel();
    const written = await channel.message().run(async (message) => {
      message.append("fine");
      return message.flush().then(() => message.id);
    });
    const broken = channel.message();
    await assert.rejects(
      broken.run(() => Promise.reject(new Error("out of ideas"))),
      /out of ideas/,
    );
    const stopped = channel.message();
    await assert.rejects(
      stopped.run(() => AbortSignal.abort().throwIfAborted()),
      { name: "AbortError" },
    );
    const states = await Promise.all(
      [written, broken.id, stopped.id].map(async (id) => {
        const { state, reason } = await channel.getMessage(id);
        return [state, reason];
      }),
    );
    assert.deepEqual(
      states.map(([state]) => state),
      ["complete", "error", "cancelled"],
    );
    assert.equal(states[1][1], "out of ideas");
  });

  test("bytes are added to bytes, and text to text", async () => {
    const channel = newChannel();
    const message = channel.message({ data: new Uint8Array([1]) });
    message.append(new Uint8Array([2, 3]));
    assert.throws(() => message.append("text"), TypeError);
    await message.complete();
    assert.deepEqual((await channel.getMessage(message)).content, new Uint8Array([1, 2, 3]));
  });

  test("replace, remove, and what belongs to others", async () => {
    const channel = newChannel();
    const message = channel.message({ data: "first" });
    await message.complete();
    await channel.replace(message, "second");
    assert.equal((await channel.getMessage(message)).content, "second");
    await assert.rejects(
      seen(channel).replace(message.id, "mine"),
      (error) => error instanceof outlast.ForeignMessage && error.clientId === "agent",
    );
    await channel.remove(message.id);
    assert.deepEqual(await channel.getMessage(message).then(({ content, state }) => [content, state]), ["", "removed"]);
    await assert.rejects(channel.getMessage(99), outlast.UnknownMessage);
  });

  test("what was refused is told by everything that follows, and the message can be failed", async () => {
    const channel = newChannel();
    const message = channel.message();
    await message.append("x".repeat(600_000));
    const tooMuch = message.append("x".repeat(600_000));
    const after = message.append("tail");
    await assert.rejects(tooMuch, outlast.LimitExceeded);
    await assert.rejects(after, outlast.LimitExceeded);
    await assert.rejects(message.complete(), outlast.LimitExceeded);
    await message.fail("too long");
    assert.equal((await channel.getMessage(message)).state, "error");
  });

  test("tokens survive cuts, each once", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = other.channel("tokens");
    const message = channel.message();
    const words = Array.from({ length: 200 }, (_, at) => `${at} `);
    for (const [at, word] of words.entries()) {
      message.append(word);
      if (at % 40 === 20) {
        await message.flush();
        proxy.cut();
      }
    }
    await message.complete();
    assert.equal((await channel.getMessage(message)).content, words.join(""));
    assert.ok(proxy.connections > 2);
  });

  test("one that is open is adopted by its client's next process", async () => {
    const channel = newChannel();
    await channel.message({ data: "half" }).append(" a");
    const message = await channel.adopt(1);
    assert.equal(message.content, "half a");
    message.append(" sentence");
    await message.complete();
    assert.equal((await channel.getMessage(1)).content, "half a sentence");
    await assert.rejects(channel.adopt(1), outlast.MessageClosed);
  });
});

describe("attach", () => {
  test("what is, then what happens: records, messages, state, members", async () => {
    const channel = newChannel();
    await channel.publish("hello");
    await channel.state.set("mode", "draft");
    const message = channel.message({ name: "answer" });
    await message.append("Once ");
    const session = await seen(channel).attach({ last: 10 });
    assert.equal(session.state.get("mode"), "draft");
    assert.equal(session.state.version("mode"), 2);
    assert.match(session.through, /:4$/);
    const history = await take(session, 2);
    assert.deepEqual(
      history.map(({ type }) => type),
      ["record", "message"],
    );
    assert.equal(history[0].record.data, "hello");
    assert.deepEqual([history[1].message.content, history[1].delta], ["Once ", "Once "]);
    assert.equal(session.messages.get(message.id).content, "Once ");

    message.append("upon");
    const [grown] = await take(session, 1);
    assert.deepEqual([grown.type, grown.delta, grown.message.content], ["message", "upon", "Once upon"]);
    await message.complete();
    const [closed] = await take(session, 1);
    assert.deepEqual([closed.message.state, closed.delta, session.messages.size], ["complete", "", 0]);

    await channel.state.set("mode", "final");
    const [changed] = await take(session, 1);
    assert.deepEqual(
      [changed.type, changed.key, changed.value, session.state.get("mode")],
      ["state", "mode", "final", "final"],
    );

    const member = await channel.presence.enter({ typing: true });
    const [came] = await take(session, 1);
    assert.deepEqual(
      [came.type, came.event.member.clientId, came.event.member.data],
      ["presence", "agent", { typing: true }],
    );
    assert.equal(session.members.length, 1);
    await member.leave();
    await session.close();
  });

  test("an open message that said nothing in the history is there at once", async () => {
    const channel = newChannel();
    const quiet = channel.message({ data: "thinking" });
    await quiet.flush();
    await channel.publish("later");
    const session = await seen(channel).attach({ last: 1 });
    assert.equal(session.messages.get(quiet.id).content, "thinking");
    assert.equal((await take(session, 1))[0].record.data, "later");
    await session.close();
  });

  test("survives cuts without a gap or a repeat", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = newChannel();
    const message = channel.message();
    await message.append("0 ");
    const session = await other.channel(channel.name).attach({ start: "earliest", presence: false });
    let shown = "";
    for (let round = 1; round <= 40; round++) {
      message.append(`${round} `);
      if (round % 10 === 5) proxy.cut();
    }
    await message.complete();
    for await (const { message: view, delta } of session) {
      shown = delta === null ? view.content : shown + delta;
      assert.equal(shown, view.content);
      if (view.state === "complete") break;
    }
    assert.equal(shown, Array.from({ length: 41 }, (_, at) => `${at} `).join(""));
  });

  test("raw gives every operation", async () => {
    const channel = newChannel();
    const message = channel.message({ data: "a" });
    message.append("b");
    await message.complete();
    const session = await channel.attach({ start: "earliest", raw: true, presence: false });
    assert.deepEqual(
      (await take(session, 3)).map(({ operation, delta }) => [operation.op, delta]),
      [
        ["open", "a"],
        ["append", "b"],
        ["close", ""],
      ],
    );
    await session.close();
  });
});

describe("state", () => {
  test("is written and read, with conditions", async () => {
    const { state } = newChannel();
    const ack = await state.set("mode", { a: 1 });
    assert.deepEqual((await state.get()).toObject(), { mode: { a: 1 } });
    await assert.rejects(
      state.set("mode", 2, { version: 0 }),
      (error) => error instanceof outlast.VersionMismatch && error.key === "mode" && error.version === ack.offset,
    );
    await state.set("mode", 2, { version: ack.offset });
    await state.increment("mode", 5);
    await state.increment("count");
    await assert.rejects(
      state.update([{ set: "x", value: 1 }, { increment: "text" }, { set: "text", value: "t" }, { increment: "text" }]),
      outlast.NotANumber,
    );
    assert.deepEqual((await state.get()).toObject(), { mode: 7, count: 1 });
    await state.delete("count");
    await state.update([{ set: "a", value: null }, { increment: "b", by: -3 }, { delete: "mode" }]);
    const snapshot = await state.get();
    assert.deepEqual(snapshot.toObject(), { a: null, b: -3 });
    assert.deepEqual([snapshot.entries.get("a").clientId, snapshot.version("mode")], ["agent", 0]);
    await assert.rejects(state.set("", 1), TypeError);
    await assert.rejects(state.update([]), TypeError);
  });

  test("a watch follows, over cuts, and never misses a key", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = newChannel();
    await channel.state.set("before", 1);
    const watch = await other.channel(channel.name).state.watch();
    assert.equal(watch.get("before"), 1);
    for (let at = 0; at < 50; at++) {
      await channel.state.increment(`key ${at % 5}`);
      if (at % 20 === 10) proxy.cut();
    }
    const ack = await channel.state.delete("before");
    await watch.reached(ack.position);
    assert.deepEqual(watch.toObject(), { "key 0": 10, "key 1": 10, "key 2": 10, "key 3": 10, "key 4": 10 });
    const changes = await take(watch, 51);
    assert.deepEqual(
      [changes[0].key, changes[0].value, changes[50].key, changes[50].deleted],
      ["key 0", 1, "before", true],
    );
    await watch.close();
  });

  test("a watch tells that the channel was deleted, and goes on in its next life", async () => {
    const channel = newChannel();
    await channel.state.set("a", 1);
    const watch = await channel.state.watch();
    await channel.delete();
    const [gone] = await take(watch, 1);
    assert.deepEqual([gone.key, gone.deleted], ["a", true]);
    await assert.rejects(watch.next(), (error) => error instanceof outlast.Resync && error.reason === "deleted");
    const next = watch.next();
    await channel.state.set("b", 2);
    assert.equal((await next).value.key, "b");
    await watch.close();
  });
});

describe("presence", () => {
  test("members come, change and go, and a watch tells", async () => {
    const channel = newChannel();
    const watch = seen(channel).presence.watch();
    const first = await take(watch, 1);
    assert.deepEqual(
      first.map(({ type, members }) => [type, members]),
      [["members", []]],
    );
    const member = await channel.presence.enter("typing");
    assert.deepEqual(
      (await take(watch, 2)).map(({ type, member: who }) => [type, who?.data]),
      [
        ["member", "typing"],
        ["occupied", undefined],
      ],
    );
    await member.update("reading");
    const [changed] = await take(watch, 1);
    assert.deepEqual([changed.member.data, changed.member.memberId, changed.present], ["reading", member.memberId, 1]);
    assert.deepEqual(
      (await channel.presence.members()).map(({ clientId, status }) => [clientId, status]),
      [["agent", "present"]],
    );
    assert.equal(await channel.presence.occupied(), true);
    await channel.presence.untilOccupied(AbortSignal.timeout(5_000));
    await member.leave();
    assert.deepEqual(
      (await take(watch, 2)).map(({ type, member: who }) => [type, who?.reason]),
      [
        ["member", "left"],
        ["vacated", undefined],
      ],
    );
    await watch.close();
    assert.equal(await channel.presence.occupied(), false);
    await assert.rejects(member.update("x"), outlast.Closed);
    await assert.rejects(channel.presence.enter("x".repeat(1_025)), RangeError);
  });

  test("a member whose connection is lost is away, and comes back with it", async (t) => {
    const { proxy, other } = await throughProxy(t, { backoffBaseMs: 300, backoffCapMs: 300 });
    const channel = newChannel();
    await other.channel(channel.name).presence.enter();
    const watch = channel.presence.watch();
    await take(watch, 2);
    proxy.cut();
    assert.deepEqual(
      (await take(watch, 2)).map(({ member }) => member.status),
      ["away", "present"],
    );
    await watch.close();
  });

  test("counts alone", async () => {
    const channel = newChannel();
    const watch = channel.presence.watch({ members: false });
    assert.deepEqual(
      (await take(watch, 1)).map(({ type, present }) => [type, present]),
      [["counts", 0]],
    );
    const giveUp = new AbortController();
    const waiting = channel.presence.untilOccupied(giveUp.signal);
    giveUp.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await watch.close();
  });
});

describe("cursors", () => {
  test("a reader goes on where its cursor stands", async () => {
    const channel = newChannel();
    await channel.publishMany(["one", "two", "three"]);
    const first = channel.subscribe({ cursor: "phone" });
    await take(first, 2);
    await first.close();
    const second = channel.subscribe({ cursor: "phone" });
    assert.equal((await second.next()).value.data, "three");
    await second.return();
    assert.deepEqual(
      (await all(channel.cursors())).map(({ name, offset, lag }) => [name, offset, lag]),
      [["phone", 2, 1]],
    );
    const manual = channel.subscribe({ cursor: "phone", ack: "manual" });
    const { value } = await manual.next();
    assert.equal(value.data, "three");
    value.ack();
    await manual.acked();
    await manual.close();
    assert.equal(await channel.forgetCursor("phone"), 3);
    await assert.rejects(channel.forgetCursor("phone"), outlast.UnknownCursor);
    assert.throws(() => channel.subscribe({ cursor: "" }), TypeError);
  });

  test("a publisher waits until its message was read", async () => {
    const channel = newChannel();
    const ack = await channel.publish("read me");
    await assert.rejects(
      ack.delivered({ cursor: "person", timeoutMs: 10 }),
      (error) => error instanceof outlast.NotDelivered && error.offset === 0,
    );
    const delivered = ack.delivered({ cursor: "person" });
    const records = seen(channel).subscribe({ cursor: "person" });
    await take(records, 1);
    await records.close();
    await delivered;
    await channel.delivered(1, { cursor: "person" });
    await assert.rejects(channel.delivered(9, { cursor: "person" }), outlast.OffsetAhead);
    await assert.rejects(channel.delivered("0000000000000001:1", { cursor: "person" }), outlast.StaleEpoch);
  });

  test("acknowledgements survive cuts", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = newChannel();
    await channel.publishMany(Array.from({ length: 100 }, (_, at) => at));
    const records = other.channel(channel.name).subscribe({ cursor: "phone" });
    for (let round = 0; round < 5; round++) {
      await take(records, 20);
      proxy.cut();
    }
    await records.close();
    const [cursor] = await all(channel.cursors());
    assert.ok(cursor.offset >= 80 && cursor.offset <= 100);
  });

  test("an attachment acknowledges, too", async () => {
    const channel = newChannel();
    await channel.publishMany(["one", "two"]);
    const session = await channel.attach({ cursor: "tab", presence: false });
    await take(session, 2);
    session.ack();
    await session.acked();
    await session.close();
    assert.deepEqual(
      (await all(channel.cursors())).map(({ offset }) => offset),
      [2],
    );
  });
});

describe("ephemeral messages", () => {
  test("reach those who listen, and nobody else", async () => {
    const channel = newChannel();
    await channel.publish("one");
    const heard = await seen(channel).ephemeral().open();
    assert.equal(channel.sendEphemeral({ typing: true }, { name: "typing" }), true);
    const [message] = await take(heard, 1);
    assert.deepEqual([message.data, message.name, message.clientId], [{ typing: true }, "typing", "agent"]);
    const records = await seen(channel).subscribe().open();
    channel.sendEphemeral("still here");
    assert.equal((await take(heard, 1))[0].data, "still here");
    await records.close();
    await heard.open();
    channel.sendEphemeral("again");
    assert.equal((await take(heard, 1))[0].data, "again");
    await heard.close();
    assert.equal((await channel.info()).last, 1);
    assert.throws(() => channel.sendEphemeral("x".repeat(65_536)), outlast.TooLarge);
  });

  test("the newest are kept", async () => {
    const channel = newChannel();
    await channel.publish("one");
    const heard = await channel.ephemeral({ limit: 2 }).open();
    const other = await seen(channel).ephemeral().open();
    for (const word of ["a", "b", "c"]) channel.sendEphemeral(word);
    await take(other, 3);
    await until(() => heard.dropped);
    assert.deepEqual(
      (await take(heard, 2)).map(({ data }) => data),
      ["b", "c"],
    );
    await heard.close();
    await other.close();
  });
});
