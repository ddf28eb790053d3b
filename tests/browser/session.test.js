/** A session in the browser: its people come and go, networks and brokers do, and everybody has all of it. */

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { Broker, Proxy } from "../../clients/js/test/broker.js";
import { connect } from "../../clients/js/dist/index.js";
import { closeBrowser, newPerson } from "./person.js";
import { sees, texts } from "./sight.js";
import { Site } from "./site.js";

const site = new Site();
const broker = new Broker();
let agent, channel, person;

before(async () => {
  await site.start();
  await broker.start("--allow-origin", site.origin);
});
beforeEach(async ({ name }) => {
  agent = await connect(broker.url, { clientId: "agent", backoffCapMs: 200 });
  channel = agent.channel(name);
  person = await newPerson();
});
afterEach(async () => {
  await agent.close();
  await person.leave();
});
after(async () => {
  await closeBrowser();
  site.stop();
  await broker.stop();
});

/** The address of one of the site's pages, for the channel of the test that runs. */
function address(page, { origin = site.origin, by = broker, ...more } = {}) {
  const asked = new URLSearchParams({ broker: by.url.replace("outlast:", "ws:"), channel: channel.name, ...more });
  return `${origin}/${page}.html?${asked}`;
}

const say = (...words) => Promise.all(words.map((word) => channel.publish(word)));

test("a tab is closed and opened again: exactly the rest", async () => {
  await say("one", "two");
  const tab = await person.open(address("reader"));
  await sees(tab, "li", ["one", "two"]);
  await tab.close();
  await say("three", "four");
  const again = await person.open(address("reader"));
  await sees(again, "li", ["three", "four"]);
  await say("five");
  await sees(again, "li", ["three", "four", "five"]);
});

test("two tabs and another person's are in step, whenever they came", async () => {
  const answer = channel.message({ name: "answer" });
  const first = await person.open(address("chat"));
  await answer.append("Leave, ");
  await sees(first, "li", ["Leave, "]);
  const second = await person.open(address("chat"));
  await answer.append("come ");
  const other = await newPerson();
  const third = await other.open(address("chat"));
  await answer.append("back.");
  await answer.complete();
  for (const tab of [first, second, third]) await sees(tab, "li[data-state=complete]", ["Leave, come back."]);
  await other.leave();
});

test("the network goes and comes: nothing is missing, and the tab is back at once", async () => {
  const line = await new Proxy(broker.url).start();
  // Only the browser's word that it is online brings this page back before the test has given up.
  const tab = await person.open(address("reader", { by: line, backoff: 600_000 }));
  await say("before");
  await sees(tab, "li", ["before"]);
  await person.goOffline();
  line.cut();
  await tab.locator("body[data-state=waiting]").waitFor({ state: "attached" });
  await say("meanwhile", "more");
  assert.deepEqual(await texts(tab, "li"), ["before"]);
  await person.goOnline();
  await sees(tab, "li", ["before", "meanwhile", "more"]);
  await line.stop();
});

test("the broker is killed in the middle of a message: it grows on where it was", async () => {
  const tab = await person.open(address("chat"));
  const answer = channel.message({ data: "The broker died" });
  await answer.flush();
  await sees(tab, "li[data-state=open]", ["The broker died"]);
  await broker.end("SIGKILL");
  answer.append(" and nobody");
  await broker.start("--allow-origin", site.origin);
  answer.append(" noticed.");
  await answer.complete();
  await sees(tab, "li[data-state=complete]", ["The broker died and nobody noticed."]);
});

test("a cancel on the page reaches the agent, and its end the page", async () => {
  const inbox = await channel.inbox({ cursor: "agent" });
  const tab = await person.open(address("chat"));
  const answer = channel.message({ data: "Once upon a" });
  await answer.flush();
  await sees(tab, "li[data-state=open]", ["Once upon a"]);
  const cancellation = inbox.cancelled(answer);
  await tab.click("#cancel");
  await new Promise((resolve) => (cancellation.signal.aborted ? resolve() : (cancellation.signal.onabort = resolve)));
  await answer.cancel(cancellation.text);
  await sees(tab, "li[data-state=cancelled]", ["Once upon a"]);
  assert.equal((await channel.getMessage(answer)).reason, "enough");
  await inbox.close();
});

test("a page of an origin that nobody allowed learns nothing", async () => {
  await say("secret");
  const complaints = [];
  const tab = await person.context.newPage();
  tab.on("websocket", (socket) => socket.on("socketerror", (error) => complaints.push(error)));
  await tab.goto(address("reader", { origin: site.strangeOrigin }));
  await tab.locator("body[data-state=waiting]").waitFor({ state: "attached" });
  assert.match(complaints[0], /403/);
  const url = broker.url.replace("outlast:", "http:");
  const asked = (path) => tab.evaluate((from) => fetch(from).then((said) => said.text(), String), `${url}${path}`);
  for (const path of ["/v1/channels", `/v1/channels/${encodeURIComponent(channel.name)}/records`])
    assert.equal(await asked(path), "TypeError: Failed to fetch");
  assert.deepEqual(await texts(tab, "li"), []);

  const friend = await person.open(address("reader"));
  await sees(friend, "li", ["secret"]);
});

const CLIENT = "**/browser-client.js";

test("it dials while the most of the client is loaded", async () => {
  await say("one");
  const tab = await person.context.newPage();
  const dialled = new Promise((resolve) => tab.once("websocket", resolve));
  await tab.route(CLIENT, (route) => dialled.then(() => route.continue()));
  await tab.goto(address("reader"));
  await sees(tab, "li", ["one"]);
});

test("a client that could not be loaded says so, and is loaded by the next who connects", async () => {
  const tab = await person.open(`${site.origin}/blank.html`);
  await tab.route(CLIENT, (route) => route.abort(), { times: 1 });
  const connected = () =>
    tab.evaluate(async (url) => {
      const { connect } = await import("/browser.js");
      return connect(url).then(
        (client) => client.state,
        ({ name, message }) => `${name}: ${message}`,
      );
    }, broker.url.replace("outlast:", "ws:"));
  assert.match(await connected(), /^ConnectFailed: the client could not be loaded: /);
  assert.equal(await connected(), "open");
});
