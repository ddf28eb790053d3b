/** The examples of docs/javascript.md and of README.md do what they say. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import * as outlast from "../dist/index.js";
import { table } from "./vectors.js";
import { Broker } from "./broker.js";

const page = (path) => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
const GUIDE = page("docs/javascript.md");
const AsyncFunction = (async () => {}).constructor;
const NAMES = ["outlast", "client", "channel", "url", "console"];

const examples = (text) => [...text.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code);
const expected = (code) => [...code.matchAll(/console\.log\(.*\);? +\/\/ (.*)$/gm)].map(([, text]) => text);

const broker = new Broker();
before(() => broker.start());
after(() => broker.stop());

/** Each in a channel of its own that holds one, two, three. */
async function printed(code, number) {
  const client = await outlast.connect(broker.url, { clientId: "agent" });
  const channel = client.channel(`example:${number}`);
  await channel.publishMany(["one", "two", "three"]);
  const lines = [];
  const log = (...values) =>
    lines.push(values.map((value) => (typeof value === "object" ? JSON.stringify(value) : String(value))).join(" "));
  try {
    await new AsyncFunction(...NAMES, code)(outlast, client, channel, broker.url, { log });
  } finally {
    await client.close();
  }
  return lines;
}

describe("docs/javascript.md", () => {
  for (const [number, code] of examples(GUIDE).entries())
    test(`example ${number + 1}: ${code.split("\n", 1)[0]}`, async () => {
      const lines = expected(code);
      assert.equal(
        lines.length,
        code.match(/console\.log/g)?.length ?? 0,
        "say behind each console.log what it prints",
      );
      assert.deepEqual(await printed(code, number), lines);
    });

  test("the table of errors is the client's", () => {
    const coded = Object.entries(outlast)
      .filter(
        ([name, kind]) =>
          typeof kind === "function" && kind.prototype instanceof outlast.OutlastError && name !== "Refused",
      )
      .map(([name, { prototype }]) => [name, prototype.code, prototype.retryable ? "yes" : "no"]);
    const stated = table(GUIDE, ["error", "code", "retryable", "what to do"]).map(([name, ...more]) => [
      name.replaceAll("`", ""),
      more[0].replaceAll("`", ""),
      more[1],
    ]);
    assert.deepEqual(stated.sort(), coded.sort());
  });
});

test("the program of README.md runs", async () => {
  const [code] = examples(page("clients/js/README.md"));
  const body = `{\n${code}}`
    .replace(/^import .*$/m, "const { connect } = outlast;")
    .replace("outlast://127.0.0.1:6180", broker.url);
  assert.deepEqual(await printed(body, "readme"), expected(code));
});
