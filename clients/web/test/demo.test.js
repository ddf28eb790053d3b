/** The pure parts of the demo's page. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Catchup } from "../demo/catchup.ts";
import { Chat } from "../demo/chat.ts";
import { dataBytes, Tally } from "../demo/tally.ts";

const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const text = (data) => new TextDecoder().decode(dataBytes(data));

test("data is the bytes that Python makes of it", () => {
  assert.equal(text("Grüße"), "Grüße");
  assert.deepEqual(dataBytes(Uint8Array.of(1, 2)), Uint8Array.of(1, 2));
  // json.dumps(data, sort_keys=True, separators=(",", ":"))
  assert.equal(
    text({ tool: "outline", lines: 7, deep: { b: [1, null], a: true } }),
    '{"deep":{"a":true,"b":[1,null]},"lines":7,"tool":"outline"}',
  );
  assert.equal(text({ name: "Grüße\u007f\n😀" }), '{"name":"Gr\\u00fc\\u00dfe\\u007f\\n\\ud83d\\ude00"}');
});

test("a tally counts gaps and repeats, and digests everything in order", async () => {
  const tally = new Tally();
  for (const [offset, data] of [
    [1, "a"],
    [2, "b"],
    [5, "c"],
    [5, "c"],
  ])
    tally.add(offset, data);
  assert.deepEqual(await tally.account(), { records: 4, gaps: 2, repeats: 1, sha256: sha256("abcc") });
});

test("a tally takes more than it has room for at first", async () => {
  const tally = new Tally();
  for (let offset = 1; offset <= 3; offset++) tally.add(offset, "x".repeat(100_000));
  assert.equal((await tally.account()).sha256, sha256("x".repeat(300_000)));
});

test("what was accepted while a tab was away was replayed to it", () => {
  const catchup = new Catchup();
  assert.equal(catchup.see(10, false), null);
  catchup.begin(100, 42);
  assert.deepEqual([catchup.see(90, false), catchup.see(99, false)], [null, null]);
  assert.deepEqual(catchup.see(100, false), { first: 42, replayed: 2 });
  catchup.begin(200, 50);
  assert.deepEqual(catchup.see(150, true), { first: 50, replayed: 1 });
});

const message = (id, content, state = "open", headers = { file: "ast.py" }) => ({
  type: "message",
  message: { id, content, state, headers },
});
const record = (name, data) => ({ type: "record", record: { name, data } });

test("a chat has a section for each message, with what its tools said", () => {
  const chat = new Chat();
  chat.see(message(1, "## ast.py\n\n"));
  chat.see(record("tool_call", { tool: "outline", file: "ast.py" }));
  assert.deepEqual(chat.sections[0].calls, [{ tool: "outline", result: null }]);
  chat.see(record("tool_result", { tool: "outline", lines: 9 }));
  chat.see(message(1, "## ast.py\n\nIt has"));
  chat.see(message(7, "# In short\n\n", "open", { file: "" }));
  chat.see(message(1, "## ast.py\n\nIt has 9.", "complete"));
  const shown = chat.sections.map(({ title, text, state, calls }) => [title, text, state, calls]);
  assert.deepEqual(shown, [
    ["ast.py", "It has 9.", "complete", [{ tool: "outline", result: "lines 9" }]],
    ["In short", "", "open", []],
  ]);
  assert.equal(chat.hasEnded, false);
  chat.see(record("end", ""));
  assert.equal(chat.hasEnded, true);
});
