/** The broker's WebSocket door, by the global WebSocket, as a browser has it. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as bundle from "../dist/browser.js";
import * as outlast from "../dist/index.js";
import { Broker, take } from "./broker.js";

const broker = new Broker();
before(() => broker.start());
after(() => broker.stop());

const addressOf = (scheme) => broker.url.replace("outlast:", `${scheme}:`);

for (const [what, { connect }] of [
  ["the modules", outlast],
  ["the bundle for browsers", bundle],
])
  test(`${what}: publish, attach, prompt`, async () => {
    const client = await connect(addressOf("http"), { clientId: "page" });
    const agent = await connect(addressOf("ws"), { clientId: "agent" });
    const channel = client.channel(what);
    await Promise.all(Array.from({ length: 500 }, (_, at) => channel.publish({ at })));
    const inbox = await agent.channel(what).inbox({ cursor: "agent" });
    const session = await channel.attach({ last: 3 });
    assert.deepEqual(
      (await take(session, 3)).map(({ record }) => record.data.at),
      [497, 498, 499],
    );
    const asked = channel.prompt("Hello?");
    const [request] = await take(inbox, 1);
    await request.accept();
    assert.equal((await asked).accepted, true);
    await client.close();
    await agent.close();
  });

test("megabytes go through", async () => {
  const client = await outlast.connect(addressOf("ws"));
  const data = new Uint8Array(900_000).map((_, at) => at * 7);
  await Promise.all(["a", "b", "c", "d"].map((name) => client.channel(name).publish(data)));
  const [record] = await take(client.channel("d").subscribe({ start: "earliest" }), 1);
  assert.deepEqual(record.data, data);
  await client.close();
});

test("a broker that is killed and comes back is found again", async () => {
  const client = await outlast.connect(addressOf("ws"), { backoffBaseMs: 5, backoffCapMs: 50 });
  const channel = client.channel("survivor");
  const records = channel.subscribe({ start: "earliest" });
  await channel.publish("before");
  await take(records, 1);
  await broker.end();
  const published = channel.publish("after");
  await broker.start();
  assert.equal((await published).offset, 2);
  assert.equal((await take(records, 1))[0].data, "after");
  await client.close();
});
