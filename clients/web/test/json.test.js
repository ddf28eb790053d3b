import assert from "node:assert/strict";
import { test } from "node:test";
import { jsonParts, readData, textOf } from "../console/json.ts";

test("the parts of JSON are its text, in their colours", () => {
  const text = JSON.stringify({ a: 'say "1": {true}', b: [-1.5e3, null, true], "c:": {} }, null, 2);
  assert.equal(
    jsonParts(text)
      .map(([, part]) => part)
      .join(""),
    text,
  );
  const kinds = jsonParts('{"a": "b", "c": [1, null]}')
    .filter(([kind]) => kind)
    .map(([kind, part]) => `${kind} ${part}`);
  assert.deepEqual(kinds, ['key "a"', 'text "b"', 'key "c"', "number 1", "word null"]);
});

test("what is no JSON keeps its text, too", () => {
  for (const text of ["", "plain", '"open', "1 2", "{"])
    assert.equal(
      jsonParts(text)
        .map(([, part]) => part)
        .join(""),
      text,
    );
});

test("data as text", () => {
  assert.equal(textOf("as it is", 2), "as it is");
  assert.equal(textOf({ a: [1] }, 0), '{"a":[1]}');
  assert.equal(textOf(new Uint8Array([0, 10, 255]), 0), "00 0a ff");
  assert.match(textOf(new Uint8Array(1_000), 0), /^(00 ){255}00 …$/);
});

test("what somebody wrote", () => {
  assert.equal(readData("{", "text"), "{");
  assert.deepEqual(readData('{"a": 1}', "json"), { a: 1 });
  assert.throws(() => readData("{", "json"), SyntaxError);
});
