/** The console as people use it: with the keyboard, and on a channel that lives. */

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Broker, outlast } from "../../clients/js/test/broker.js";
import { connect } from "../../clients/js/dist/index.js";
import { NAMES, openConsole } from "./console.js";
import { closeBrowser, newPerson } from "./person.js";
import { sees } from "./sight.js";

const broker = new Broker();
let agent, person;

before(() => broker.start());
beforeEach(async () => {
  agent = await connect(broker.url, { clientId: "agent", backoffCapMs: 200 });
  person = await newPerson();
});
afterEach(async () => {
  await agent.close();
  await person.leave();
});
after(async () => {
  await closeBrowser();
  await broker.stop();
});

const named = (name) => `channels/${encodeURIComponent(name)}`;

test("channels are found by prefix, and opened, with the keyboard alone", async () => {
  for (const name of ["key:a", "key:b", "lock:c"]) await agent.channel(name).publish("hello");
  const page = await openConsole(person, broker, "channels");
  await page.locator(NAMES, { hasText: "lock:c" }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("key:");
  await sees(page, NAMES, ["key:a", "key:b"]);
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("ArrowDown");
  await page.locator('.row[aria-selected="true"]', { hasText: "key:b" }).waitFor();
  await page.keyboard.press("Enter");
  await sees(page, "h1", ["key:b"]);
  assert.ok(page.url().endsWith("/#/channels/key%3Ab"));
  await page.keyboard.press("Escape");
  await sees(page, NAMES, ["key:a", "key:b"]);
  await page.keyboard.press("?");
  await sees(page, "dialog h2", ["Keys"]);
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
});

test("a channel is seen live: messages that grow, records, state, who is there, who has read how far", async ({
  name,
}) => {
  const channel = agent.channel(name);
  const answer = channel.message({ name: "answer" });
  await answer.append("Leave, ");
  const page = await openConsole(person, broker, named(name));
  await sees(page, ".item.message.open pre", ["Leave, "]);
  await answer.append("come back.");
  await sees(page, ".item.message.open pre", ["Leave, come back."]);
  await answer.complete();
  await sees(page, ".item.message.complete pre", ["Leave, come back."]);
  await channel.publish({ tool: "search" }, { name: "tool_call", headers: { run: "7" } });
  await sees(page, ".item.record .data", ['{"tool":"search"}']);
  await sees(page, ".item.record .tag", ["tool_call"]);
  await channel.state.set("mode", "draft");
  await sees(page, "aside details:nth-of-type(1) .pair", ["mode draftv6"]);
  await channel.presence.enter({ device: "phone" });
  await sees(page, "aside details:nth-of-type(2) .data", ['{"device":"phone"}']);
  const records = channel.subscribe({ cursor: "reader" });
  await records.next();
  await records.next();
  await records.close();
  await sees(page, "aside details:nth-of-type(3) .late", ["4 behind"]);
});

test("text and JSON are published by hand, and what is no JSON is not", async ({ name }) => {
  const channel = agent.channel(name);
  await channel.publish("first");
  const page = await openConsole(person, broker, named(name));
  await page.fill(".composer textarea", "by hand");
  await page.fill(".record-name", "note");
  await page.click(".composer .main");
  await sees(page, ".item.record .data", ["first", "by hand"]);
  await page.click(".composer >> text=JSON");
  await page.fill(".composer textarea", "{");
  await page.keyboard.press("Control+Enter");
  await page.locator(".composer .warned", { hasText: "This is no JSON" }).waitFor();
  await page.fill(".composer textarea", '{"ok": true}');
  await page.keyboard.press("Control+Enter");
  await sees(page, ".item.record .data", ["first", "by hand", '{"ok":true}']);
  const stored = [];
  for await (const { data, name } of channel.history()) stored.push([name, data]);
  assert.deepEqual(stored, [
    [null, "first"],
    ["note", "by hand"],
    ["note", { ok: true }],
  ]);
});

test("a message is cancelled by hand, and its agent hears of it", async ({ name }) => {
  const channel = agent.channel(name);
  const inbox = await channel.inbox({ cursor: "agent" });
  const answer = channel.message({ data: "Once upon a" });
  await answer.flush();
  const page = await openConsole(person, broker, named(name));
  const cancellation = inbox.cancelled(answer);
  await page.click(".item.message >> text=Cancel");
  await new Promise((resolve) => (cancellation.signal.aborted ? resolve() : (cancellation.signal.onabort = resolve)));
  await answer.cancel(cancellation.text);
  await sees(page, ".item.message.cancelled .muted", ["cancelled from the console"]);
  await inbox.close();
});

test("what an agent asks for is approved by hand", async ({ name }) => {
  const channel = agent.channel(name);
  const asked = channel.askApproval("Deploy it?");
  const page = await openConsole(person, broker, named(name));
  await sees(page, ".item.record .words", ["Deploy it?"]);
  await page.click(".item.record >> text=Approve");
  assert.equal((await asked).accepted, true);
  await page.locator(".item.record .state.complete", { hasText: "accepted by console-" }).waitFor();
  assert.equal(await page.locator("text=Refuse").count(), 0);
});

test("a channel is deleted only by somebody who writes its name", async ({ name }) => {
  await agent.channel(name).publish("soon gone");
  const page = await openConsole(person, broker, named(name));
  await page.click("text=Delete channel");
  const button = page.locator("dialog .main");
  assert.ok(await button.isDisabled());
  await page.fill("dialog input", name);
  await button.click();
  await page.locator(".channels").waitFor();
  await assert.rejects(agent.channel(name).info(), { code: "unknown_channel" });
});

test("what a channel keeps is changed behind a question", async ({ name }) => {
  const channel = agent.channel(name);
  await channel.publish("kept");
  const page = await openConsole(person, broker, named(name));
  await page.click("text=Change …");
  await page.fill("dialog input[name=ageMs]", "-1");
  await page.click("dialog >> text=Save");
  await page.locator("dialog .failure", { hasText: "not negative" }).waitFor();
  await page.fill("dialog input[name=ageMs]", "1.5");
  await page.fill("dialog input[name=records]", "500");
  await page.click("dialog >> text=Save");
  await page.locator(".keeps", { hasText: "Keeps records of the last 1 h, at most the last 500 records." }).waitFor();
  const { ageMs, records } = (await channel.info()).retention;
  assert.deepEqual([ageMs, records], [5_400_000, 500]);
});

test("a page whose broker is gone says how old what it shows is, and goes on by itself", async ({ name }) => {
  const channel = agent.channel(name);
  await channel.publish("before");
  const page = await openConsole(person, broker, named(name));
  await sees(page, ".item.record .data", ["before"]);
  await broker.end("SIGKILL");
  await page.locator(".banner", { hasText: "No connection" }).waitFor();
  await sees(page, ".item.record .data", ["before"]);
  await broker.start();
  await channel.publish("after");
  await page.locator(".banner").waitFor({ state: "detached" });
  await sees(page, ".item.record .data", ["before", "after"]);
});

test("colours follow the system, or what somebody chose, also the next time", async () => {
  const page = await openConsole(person, broker, "channels");
  const ground = () => page.evaluate(() => getComputedStyle(document.body.parentElement).backgroundColor);
  await page.emulateMedia({ colorScheme: "light" });
  const light = await ground();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await ground();
  assert.notEqual(light, dark);
  await page.keyboard.press("t");
  await page.locator(':root[data-theme="light"]').waitFor();
  assert.equal(await ground(), light);
  await page.reload();
  await page.locator(':root[data-theme="light"]').waitFor();
  assert.equal(await ground(), light);
});

test("a broker that wants a token is given one, for this tab alone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "outlast-keys-"));
  const keys = join(folder, "keys.toml");
  const token = outlast("key", "add", keys, "operator", "--grant", "*=all");
  const guarded = await new Broker().start("--auth-keys", keys);
  const page = await openConsole(person, guarded, "connections");
  await page.fill("input[type=password]", "outlast_operator_wrong");
  await page.keyboard.press("Enter");
  await page.locator(".failure", { hasText: "does not take this token" }).waitFor();
  await page.fill("input[type=password]", token);
  await page.keyboard.press("Enter");
  await page.locator(".connections .client", { hasText: "operatorthis page" }).waitFor();
  await page.reload();
  await page.locator(".connections .client", { hasText: "operator" }).waitFor();
  assert.deepEqual(await page.evaluate(() => [Object.keys(localStorage), document.cookie]), [["outlast.theme"], ""]);
  const other = await openConsole(person, guarded, "connections");
  await other.locator("input[type=password]").waitFor();
  await page.click("text=Leave");
  await page.locator("input[type=password]").waitFor();
  await page.reload();
  await page.locator("input[type=password]").waitFor();
  await guarded.stop();
  rmSync(folder, { recursive: true });
});

test("there is room for it on a phone", async ({ name }) => {
  await agent.channel(name).publish({ long: "x".repeat(500) });
  const page = await openConsole(person, broker, named(name));
  await page.setViewportSize({ width: 360, height: 640 });
  await page.locator(".item").waitFor();
  await page.click("text=About");
  await page.locator("aside .facts").waitFor();
  for (const place of [named(name), "channels", "connections", ""]) {
    await page.goto(page.url().replace(/#.*/, `#/${place}`));
    await page.locator("main").waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, place);
  }
});
