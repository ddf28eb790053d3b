/** The console beside ten thousand channels. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Broker } from "../../clients/js/test/broker.js";
import { connect } from "../../clients/js/dist/index.js";
import { NAMES, openConsole } from "./console.js";
import { closeBrowser, newPerson } from "./person.js";
import { texts } from "./sight.js";

const broker = new Broker();
let agent, person;

before(async () => {
  await broker.start();
  agent = await connect(broker.url, { clientId: "agent" });
  person = await newPerson();
});
after(async () => {
  await agent.close();
  await person.leave();
  await closeBrowser();
  await broker.stop();
});

test("ten thousand channels are a list like any other", async () => {
  const crowd = Array.from({ length: 10_000 }, (_, number) => `crowd:${String(number).padStart(5, "0")}`);
  await Promise.all(crowd.map((name) => agent.channel(name).publish("here")));
  const page = await openConsole(person, broker, "channels?prefix=crowd:");
  await page.locator(".count", { hasText: "10,000 channels" }).waitFor();
  await page.keyboard.press("End");
  await page.locator(NAMES, { hasText: crowd.at(-1) }).waitFor();
  assert.ok((await texts(page, NAMES)).length < 60);
  await page.locator(".channels .body").evaluate((body) => (body.scrollTop = 5_000 * 34));
  await page.locator(NAMES, { hasText: "crowd:05003" }).waitFor();
  await page.click(".channels .head >> text=Channel");
  await page.keyboard.press("Home");
  await page.locator('.row[aria-selected="true"]', { hasText: crowd.at(-1) }).waitFor();
  assert.equal(await page.locator(".channels").getAttribute("aria-rowcount"), "10001");
});
