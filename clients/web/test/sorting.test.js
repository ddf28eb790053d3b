import assert from "node:assert/strict";
import { test } from "node:test";
import { orderText, readOrder, sorted, turned } from "../console/sorting.ts";

const rows = [
  ["b", 2],
  ["a", null],
  ["c", 10],
  ["d", 2],
];
const names = (down) =>
  sorted(rows, ([, count]) => count, down)
    .map(([name]) => name)
    .join("");

test("both ways, what is not known last, and equals as they were", () => {
  assert.equal(names(false), "bdca");
  assert.equal(names(true), "cbda");
  assert.deepEqual(
    sorted(rows, ([name]) => name, false).map(([name]) => name),
    ["a", "b", "c", "d"],
  );
  assert.equal(rows[0][0], "b");
});

test("a click turns a column, or begins with another in its own direction", () => {
  assert.deepEqual(turned({ column: "rate", down: true }, "rate", true), { column: "rate", down: false });
  assert.deepEqual(turned({ column: "name", down: false }, "rate", true), { column: "rate", down: true });
});

test("an address says the order, and nonsense says none", () => {
  const fallback = { column: "name", down: false };
  for (const order of [{ column: "rate", down: true }, { column: "name", down: true }, fallback])
    assert.deepEqual(readOrder(orderText(order), ["name", "rate"], fallback), order);
  for (const text of [null, "", "-", "size", "--rate"])
    assert.deepEqual(readOrder(text, ["name", "rate"], fallback), fallback);
});
