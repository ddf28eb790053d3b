/** The demo's page, with somebody at its buttons: what they break is mended, and the tabs prove that nothing was lost. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, afterEach, beforeEach, test } from "node:test";
import { closeBrowser, newPerson } from "./person.js";

const ROOT = join(import.meta.dirname, "..", "..");
// Processes are killed and started here: on a machine that is busy that takes its time.
const PATIENCE_MS = 60_000;
let person;

beforeEach(async () => {
  person = await newPerson();
  person.context.setDefaultTimeout(PATIENCE_MS);
});
afterEach(() => person.leave());
after(closeBrowser);

/** `outlast demo` in a process of its own: `url` of its page, and what it has said when it ends. */
class Demo {
  said = "";
  #process;
  #looking = [];
  #isSilent = false;

  async start(seconds, ...options) {
    const python = process.env.OUTLAST_PYTHON ?? join(ROOT, ".venv", "bin", "python");
    this.#process = spawn(python, ["-m", "outlast_cli", "demo", "--seconds", String(seconds), ...options], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface(this.#process.stdout);
    lines.on("line", (line) => this.#heard(`${line}\n`));
    lines.on("close", () => this.#heard(null));
    [, this.url] = await this.hears(/page: (http:\S+)/);
    return this;
  }

  /** The match, once the demo has said something that fits. */
  hears(pattern) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(this.said);
        if (match) resolve(match);
        else if (this.#isSilent) reject(new Error(`the demo never said ${pattern}:\n${this.said}`));
        else this.#looking.push(look);
      };
      look();
    });
  }

  #heard(line) {
    if (line === null) this.#isSilent = true;
    else this.said += line;
    for (const look of this.#looking.splice(0)) look();
  }

  interrupt() {
    this.#process.kill("SIGINT");
  }

  /** Its exit code. */
  async end() {
    if (this.#process.exitCode === null) await once(this.#process, "exit");
    return this.#process.exitCode;
  }
}

const figure = (tab, name) => tab.innerText(`[data-figure=${name}] dd`).then((text) => Number(text.replaceAll(",", "")));
const press = (tab, button) => tab.click(`#${button}:enabled`);
const enabled = (tab, button) => tab.locator(`#${button}:enabled`).waitFor();

/** The row of this tab in the proof, without its name. */
async function proofOf(tab) {
  await tab.locator(".verdict.good").waitFor();
  return tab.locator("tr[data-mine=true] td").allTextContents();
}

test("a cut, a killed agent, a killed broker, a cancel: both tabs have all of it, once, as the proof says", async () => {
  const demo = await new Demo().start(600);
  const one = await person.open(demo.url);
  const other = await person.open(demo.url);
  await other.locator("article p", { hasText: "It has" }).first().waitFor();
  await press(one, "page");
  await one.locator(".received .badge.bad").waitFor();
  await press(one, "agent");
  await press(other, "broker");
  for (const button of ["page", "agent", "broker"]) await enabled(other, button);
  await press(one, "cancel");

  const [mine, theirs] = [await proofOf(one), await proofOf(other)];
  assert.deepEqual(mine, theirs);
  const [records, gaps, repeats, sha256] = mine;
  assert.deepEqual([gaps, repeats], ["0", "0"]);
  for (const tab of [one, other]) {
    assert.equal(await figure(tab, "records"), Number(records.replaceAll(",", "")));
    assert.ok((await figure(tab, "resumes")) >= 1);
    assert.ok((await tab.innerText(".digest code")).startsWith(sha256));
    await tab.getByText("The run is cancelled.").waitFor();
    for (const button of ["page", "broker", "agent", "cancel"]) assert.ok(await tab.locator(`#${button}`).isDisabled());
  }
  assert.equal(await demo.end(), 0, demo.said);
  for (const name of ["agent, acknowledged", "page, tab 1", "page, tab 2"])
    assert.match(demo.said, new RegExp(`${name} +${records} +0 +0   ${sha256}`));
  assert.match(demo.said, /PROVED {2}The broker was killed \d times?, the agent 1 time/);
});

test("a tab that comes when all is over finds all of it", async () => {
  const demo = await new Demo().start(5, "--stay");
  await demo.hears(/The page stays/);
  const tab = await person.open(demo.url);
  const records = await tab.locator(".verdict.good tbody td").first().innerText();
  await tab.getByText("has it all").waitFor();
  assert.equal(await figure(tab, "records"), Number(records.replaceAll(",", "")));
  assert.equal(await tab.innerText(".resumed"), "It has every record, each once.");
  demo.interrupt();
  assert.equal(await demo.end(), 0, demo.said);
});
