/** The package as people get it: packed, installed into a fresh Vite app, built, and opened in the browser. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Broker, Proxy } from "../../clients/js/test/broker.js";
import { connect } from "../../clients/js/dist/index.js";
import { closeBrowser, newPerson } from "./person.js";
import { sees } from "./sight.js";
import { Site } from "./site.js";

const run = promisify(execFile);
const CLIENT = join(import.meta.dirname, "..", "..", "clients", "js");
const VITE = join(CLIENT, "node_modules", "vite", "bin", "vite.js");
const app = mkdtempSync(join(tmpdir(), "outlast-app-"));
const built = join(app, "dist");
const site = new Site(built, join(built, "assets"));
const broker = new Broker();

before(async () => {
  cpSync(join(import.meta.dirname, "app"), app, { recursive: true });
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", app], { cwd: CLIENT });
  const [packed] = Object.values(JSON.parse(stdout));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(app, packed.filename)], { cwd: app });
  await run(process.execPath, [VITE, "build", "--logLevel", "warn"], { cwd: app });
  await site.start();
  await broker.start("--allow-origin", site.origin);
});
after(async () => {
  await closeBrowser();
  site.stop();
  await broker.stop();
  rmSync(app, { recursive: true, force: true });
});

test("it builds, and what the page can do without at first stays apart", () => {
  const scripts = readdirSync(join(built, "assets")).filter((name) => name.endsWith(".js"));
  assert.ok(scripts.length > 1 && scripts.some((name) => name.startsWith("browser-worker")), scripts.join());
});

test("the page that was built shows a session, and says something", async () => {
  const agent = await connect(broker.url, { clientId: "agent" });
  const channel = agent.channel("app");
  await channel.publish("welcome");
  const person = await newPerson();
  const line = await new Proxy(broker.url).start();
  const open = () => person.open(`${site.origin}/index.html?broker=${line.url.replace("outlast:", "ws:")}`);
  const [tab, other] = [await open(), await open()];
  await sees(tab, "li", ["agent: welcome"]);
  await tab.locator("button").click();
  for (const each of [tab, other]) await sees(each, "li", ["agent: welcome", "page: thank you"]);
  assert.equal(line.connections, 1, "its tabs share a connection");
  await person.leave();
  await agent.close();
  await line.stop();
});
