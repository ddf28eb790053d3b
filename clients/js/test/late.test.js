/** What is loaded late: in the order of asking, tried again, and never in the way of what a page shows. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConnectFailed } from "../dist/index.js";
import { Late, lend, part } from "../dist/late.js";
import * as rest from "../dist/rest.js";
import { LISTS, VERBS } from "../dist/channel.js";
import { ChannelVerbs } from "../dist/verbs.js";
import { readRecords, stamped } from "../dist/protocol/index.js";
import { Script } from "./script.js";

/** A Late whose thing comes when `come` is called. */
function later() {
  let come, fail;
  const late = new Late(() => new Promise((resolve, reject) => ([come, fail] = [resolve, reject])));
  return { late, come: (it) => come(it), fail: (error) => fail(error) };
}

describe("Late", () => {
  test("does what was asked in the order of asking, whatever part was asked", async () => {
    const { late, come } = later();
    const asked = [];
    const state = part(late, (it) => it.state);
    const all = [
      late.run(() => asked.push("one")),
      state.run((it) => asked.push(it)),
      late.run(() => asked.push("three")),
    ];
    assert.deepEqual(asked, []);
    come({ state: "two" });
    await Promise.all(all);
    assert.deepEqual(asked, ["one", "two", "three"]);
    assert.equal(late.run((it) => it.state), "two", "at once, now that it is there");
  });

  test("what could not be loaded is tried again by the next who asks", async () => {
    const { late, come, fail } = later();
    const first = late.run(() => "one");
    fail(new TypeError("no network"));
    await assert.rejects(first, (error) => error instanceof ConnectFailed && /could not be loaded: no network/.test(error));
    const second = late.run(() => "two");
    come({});
    assert.equal(await second, "two");
  });

  test("lends methods and lists", async () => {
    class Shell {}
    lend(Shell, ["add"], ["all"]);
    const { late, come } = later();
    const shell = Object.assign(new Shell(), { late });
    const sum = shell.add(1, 2);
    const all = shell.all();
    come({
      add: (a, b) => a + b,
      *all() {
        yield* [1, 2];
      },
    });
    assert.equal(await sum, 3);
    const got = [];
    for await (const each of all) got.push(each);
    assert.deepEqual(got, [1, 2]);
  });
});

test("what is published before the rest is there goes in the order in which it was said", async () => {
  const script = new Script();
  const client = await script.connect();
  const channel = client.channel("early");
  // As if it were still on its way.
  channel.late.here = undefined;
  const said = [];
  script.answers.PUBLISH = ({ request, batch }) => {
    const first = said.length + 1;
    said.push(...readRecords(stamped(batch, first, 1)).map(({ data }) => Buffer.from(data).toString()));
    return { type: "PUBLISHED", acks: [[request, first, false]] };
  };
  const message = channel.message({ data: "two" });
  const done = [channel.publish("one"), message.append("three"), channel.state.set("key", "four"), message.complete()];
  await Promise.all(done);
  assert.deepEqual(said, ["one", "two", "three", "four", ""]);
  assert.equal(message.id, 2);
  await client.close();
});

test("every verb that a channel lends is there", () => {
  for (const verb of [...VERBS, ...LISTS]) assert.equal(typeof ChannelVerbs.prototype[verb], "function", verb);
  assert.equal(typeof rest.Rest.prototype.channels, "function");
});
