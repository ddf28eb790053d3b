/** Leases, claims, and what people and agents ask each other: against a real broker. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as outlast from "../dist/index.js";
import { Broker, Proxy, take, until } from "./broker.js";

const broker = new Broker();
let agent, person;
let channels = 0;
const newChannel = () => agent.channel(`rights:${++channels}`);
const asPerson = (channel) => person.channel(channel.name);

before(async () => {
  await broker.start();
  agent = await outlast.connect(broker.url, { clientId: "agent" });
  person = await outlast.connect(broker.url, { clientId: "person" });
});
after(async () => {
  await agent.close();
  await person.close();
  await broker.stop();
});

async function throughProxy(t) {
  const proxy = await new Proxy(broker.url).start();
  const other = await outlast.connect(proxy.url, { backoffBaseMs: 1, backoffCapMs: 20, clientId: "cut" });
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

describe("leases", () => {
  test("one holder at a time; what it wrote under it is fenced when it is taken over", async () => {
    const channel = newChannel();
    const lease = await channel.lease("writer");
    assert.ok(lease.token && lease.isHeld && lease.takenFrom === "");
    await channel.publish("mine", { lease });
    const message = channel.message({ lease, data: "half" });
    await message.flush();
    await assert.rejects(
      asPerson(channel).lease("writer"),
      (error) => error instanceof outlast.LeaseHeld && error.holder === "agent" && error.retryAfterMs > 0,
    );
    const [info] = await channel.leases();
    assert.deepEqual([info.name, info.holder, info.token, info.ttlMs], ["writer", "agent", lease.token, 10_000]);
    const other = await asPerson(channel).lease("writer", { takeOver: true });
    assert.equal(other.takenFrom, "agent");
    await assert.rejects(
      channel.publish("late", { lease }),
      (error) => error instanceof outlast.Fenced && error.token === other.token,
    );
    assert.deepEqual([lease.isHeld, lease.lost.aborted], [false, true]);
    await assert.rejects(channel.publish("later", { lease }), outlast.Fenced);
    await assert.rejects(message.append("!"), outlast.Fenced);
    await other.release();
    assert.equal((await channel.getMessage(message.id)).state, "interrupted");
    await assert.rejects(channel.publish("x", { lease: other }), outlast.Fenced);
  });

  test("who waits gets it when it is free", async () => {
    const channel = newChannel();
    const lease = await channel.lease("writer");
    await assert.rejects(asPerson(channel).lease("writer", { wait: true, timeoutMs: 50 }), outlast.LeaseHeld);
    const waiting = asPerson(channel).lease("writer", { wait: true });
    await lease.release();
    await (await waiting).release();
    const giveUp = AbortSignal.abort(new Error("enough"));
    await assert.rejects(channel.lease("writer", { signal: giveUp }), /enough/);
    await assert.rejects(channel.lease("writer", { ttlMs: 1 }), RangeError);
    await assert.rejects(channel.lease(""), TypeError);
  });

  test("a lease is renewed over cuts, and lapses when its holder is gone", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = newChannel();
    const lease = await other.channel(channel.name).lease("writer", { ttlMs: 1_000 });
    const message = other.channel(channel.name).message({ lease, data: "half" });
    await message.flush();
    proxy.cut();
    await assert.rejects(channel.lease("writer", { wait: true, timeoutMs: 1_500 }), outlast.LeaseHeld);
    assert.equal(lease.isHeld, true);
    await proxy.stop();
    const next = await channel.lease("writer", { wait: true });
    const interrupted = await until(async () => {
      const view = await channel.getMessage(message.id);
      return view.state === "interrupted" && view;
    });
    assert.equal(interrupted.content, "half");
    const adopted = await channel.adopt(message.id, { lease: next });
    adopted.append(" and whole");
    await adopted.complete();
    assert.equal((await channel.getMessage(message.id)).content, "half and whole");
    await next.release();
  });
});

describe("claims", () => {
  test("one is granted it, and all learn what came of it", async () => {
    const channel = newChannel();
    const claim = await channel.claim("charge:42");
    assert.deepEqual([claim.granted, claim.done, claim.attempt], [true, false, 1]);
    await assert.rejects(
      asPerson(channel).claim("charge:42"),
      (error) => error instanceof outlast.ClaimHeld && error.holder === "agent" && error.attempt === 1,
    );
    const waiting = asPerson(channel).claim("charge:42", { wait: true });
    await claim.settle({ receipt: 17 });
    const other = await waiting;
    assert.deepEqual([other.granted, other.done, other.result], [false, true, { receipt: 17 }]);
    assert.deepEqual(
      (await all(channel.claims())).map(({ key, status, holder, attempt }) => [key, status, holder, attempt]),
      [["charge:42", "done", "agent", 1]],
    );
    await assert.rejects(claim.settle(1), TypeError);
  });

  test("what is given back is free for the next", async () => {
    const channel = newChannel();
    const claim = await channel.claim("job");
    await assert.rejects(asPerson(channel).claim("job", { timeoutMs: 50 }), outlast.ClaimHeld);
    await claim.abandon();
    const next = await asPerson(channel).claim("job");
    assert.deepEqual([next.granted, next.attempt], [true, 2]);
    await assert.rejects(next.settle("x".repeat(32_769)), outlast.TooLarge);
    await next.settle("done");
  });

  test("once() works once, whoever calls, and gives the result to all", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = newChannel();
    let worked = 0;
    const work = async () => {
      worked++;
      proxy.cut();
      return { worked };
    };
    const results = await Promise.all(
      [other, person, agent].map((client) => client.channel(channel.name).once("key", work)),
    );
    assert.deepEqual(results, [{ worked: 1 }, { worked: 1 }, { worked: 1 }]);
    await assert.rejects(
      channel.once("other", () => Promise.reject(new Error("failed"))),
      /failed/,
    );
    assert.equal(await channel.once("other", () => "second try"), "second try");
  });

  test("a claim is extended over cuts, and lost when the channel is deleted", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = newChannel();
    const claim = await other.channel(channel.name).claim("job", { ttlMs: 1_000 });
    proxy.cut();
    await assert.rejects(channel.claim("job", { timeoutMs: 1_500 }), outlast.ClaimHeld);
    await channel.delete();
    await assert.rejects(claim.settle(1), outlast.UnknownChannel);
    assert.equal(claim.lost.aborted, true);
  });
});

describe("two ways", () => {
  test("a prompt is asked, accepted, and worked on until it is cancelled", async () => {
    const channel = newChannel();
    const inbox = await channel.inbox({ cursor: "agent" });
    const asked = asPerson(channel).prompt("Summarise the report", { fields: { pages: 3 } });
    const [request] = await take(inbox, 1);
    assert.deepEqual(
      [request.kind, request.text, request.data, request.clientId, request.message],
      ["prompt", "Summarise the report", { text: "Summarise the report", pages: 3 }, "person", null],
    );
    assert.equal(await request.accept({ eta: 5 }), true);
    const outcome = await asked;
    assert.deepEqual(
      [outcome.accepted, outcome.data, outcome.clientId, outcome.id],
      [true, { eta: 5 }, "agent", request.id],
    );

    const message = channel.message({ data: "The report says" });
    await message.flush();
    const cancellation = inbox.cancelled(message, request);
    const cancelled = asPerson(channel).cancel(message, "the wrong report");
    await until(() => cancellation.signal.aborted);
    assert.deepEqual(
      [cancellation.text, cancellation.clientId, (await cancelled).accepted],
      ["the wrong report", "person", true],
    );
    cancellation.close();
    await message.cancel();

    const steered = asPerson(channel).steer(message, "the one of May");
    const [late] = await take(inbox, 1);
    assert.equal(late.message, message.id);
    assert.equal(await late.refuse("it has ended"), true);
    assert.deepEqual([(await steered).accepted, (await steered).reason], [false, "it has ended"]);
    await inbox.close();
  });

  test("what is open comes again in the next inbox, and nothing else", async () => {
    const channel = newChannel();
    const questions = ["one", "two", "three"].map((text) => asPerson(channel).prompt(text, { timeoutMs: null }));
    const first = await channel.inbox({ cursor: "agent" });
    const [one, two] = await take(first, 2);
    await two.accept();
    await first.close();
    assert.equal(two.outcome.accepted, true);
    const second = await channel.inbox({ cursor: "agent" });
    const again = await take(second, 2);
    assert.deepEqual(
      again.map(({ text }) => text),
      ["one", "three"],
    );
    assert.equal(again[0].id, one.id);
    for (const request of again) await request.refuse("no");
    assert.deepEqual(
      (await Promise.all(questions)).map(({ accepted }) => accepted),
      [false, true, false],
    );
    await second.close();
  });

  test("approvals are for others to give", async () => {
    const channel = newChannel();
    const asked = channel.askApproval("May I charge the card?");
    const inbox = await asPerson(channel).inbox({ cursor: "person", kinds: ["approval"] });
    const [request] = await take(inbox, 1);
    await assert.rejects(channel.approve(request.id), TypeError);
    const outcome = await asPerson(channel).approve(request.id, { limit: 20 });
    assert.deepEqual([outcome.accepted, outcome.data], [true, { limit: 20 }]);
    assert.deepEqual(await asked, outcome);
    assert.deepEqual(await channel.outcome(request.id), outcome);
    const second = await asPerson(channel).reject(request.id, "too late");
    assert.equal(second.accepted, true);
    await inbox.close();
  });

  test("nobody answers", async () => {
    const channel = newChannel();
    const unanswered = await channel.prompt("anybody?", { timeoutMs: 50 }).catch((error) => error);
    assert.ok(unanswered instanceof outlast.NotAnswered);
    assert.equal(unanswered.request, 1);
    await assert.rejects(channel.outcome(1, { timeoutMs: 20 }), outlast.NotAnswered);
    const { offset } = await channel.publish("no request");
    await assert.rejects(channel.approve(offset), TypeError);
    await assert.rejects(channel.prompt("x", { fields: { text: "y" } }), TypeError);
    assert.equal((await channel.reject(1, "withdrawn")).reason, "withdrawn");
    const giveUp = new AbortController();
    const asked = channel.prompt("x", { signal: giveUp.signal });
    giveUp.abort(new Error("enough"));
    await assert.rejects(asked, /enough/);
  });

  test("answers are found over cuts", async (t) => {
    const { proxy, other } = await throughProxy(t);
    const channel = newChannel();
    const asked = other.channel(channel.name).prompt("still there?");
    const inbox = await channel.inbox({ cursor: "agent" });
    const [request] = await take(inbox, 1);
    proxy.cut();
    await request.accept();
    assert.equal((await asked).accepted, true);
    await inbox.close();
  });
});
