/** Tabs of one browser that share their connection, in a real one. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Broker, Proxy } from "../../clients/js/test/broker.js";
import { connect } from "../../clients/js/dist/index.js";
import { closeBrowser, newPerson } from "./person.js";
import { sees } from "./sight.js";
import { Site } from "./site.js";

const site = new Site();
const broker = new Broker();
let line;

before(async () => {
  await site.start();
  await broker.start("--allow-origin", site.origin);
  line = await new Proxy(broker.url).start();
});
after(async () => {
  await closeBrowser();
  await line.stop();
  site.stop();
  await broker.stop();
});

test("three tabs, one connection: it is lost, tabs are closed, and nobody misses anything", async () => {
  const agent = await connect(broker.url, { clientId: "agent" });
  const channel = agent.channel("shared");
  const person = await newPerson();
  const asked = new URLSearchParams({ broker: line.url.replace("outlast:", "ws:"), channel: "shared", share: "1" });
  const open = () => person.open(`${site.origin}/chat.html?${asked}`);
  const answer = channel.message({ data: "One " });
  await answer.flush();
  const [first, second, third] = [await open(), await open(), await open()];
  for (const tab of [first, second, third]) await sees(tab, "li", ["One "]);
  assert.equal(line.connections, 1);

  line.cut();
  await answer.append("connection ");
  for (const tab of [first, second, third]) await sees(tab, "li", ["One connection "]);
  await first.close();
  await answer.append("for all.");
  await answer.complete();
  for (const tab of [second, third]) await sees(tab, "li[data-state=complete]", ["One connection for all."]);
  assert.equal(line.connections, 2);
  await agent.close();
  await person.leave();
});
