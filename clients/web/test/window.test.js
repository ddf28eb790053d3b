import assert from "node:assert/strict";
import { test } from "node:test";
import { rowAfterKey, rowsMax, scrollToRow, visibleRows } from "../console/window.ts";

test("only the rows in sight are drawn, and a few beyond", () => {
  assert.deepEqual(visibleRows(0, 340, 34, 10_000), [0, 18]);
  assert.deepEqual(visibleRows(3_400, 340, 34, 10_000), [92, 118]);
  assert.deepEqual(visibleRows(34 * 10_000 - 340, 340, 34, 10_000), [9_982, 10_000]);
});

test("wherever a list is scrolled to, no more rows are drawn than there are places", () => {
  for (let top = 0; top < 1_000; top++) {
    const [first, end] = visibleRows(3_000 + top, 345, 34, 10_000);
    assert.ok(end - first <= rowsMax(345, 34));
  }
});

test("a list that became shorter than where it was scrolled to has nothing in sight, and nothing breaks", () => {
  assert.deepEqual(visibleRows(34_000, 340, 34, 3), [3, 3]);
  assert.deepEqual(visibleRows(0, 340, 34, 0), [0, 0]);
});

test("as little as possible is scrolled to bring a row into sight", () => {
  assert.equal(scrollToRow(5, 0, 340, 34), 0);
  assert.equal(scrollToRow(10, 0, 340, 34), 34);
  assert.equal(scrollToRow(2, 340, 340, 34), 68);
});

test("keys lead from row to row, and never out of the list", () => {
  for (const [key, row, next] of [
    ["j", 3, 4],
    ["ArrowDown", 3, 4],
    ["k", 3, 2],
    ["ArrowUp", 0, 0],
    ["j", 9, 9],
    ["j", -1, 0],
    ["k", -1, 0],
    ["PageDown", 3, 7],
    ["PageDown", 8, 9],
    ["PageUp", 3, 0],
    ["g", 5, 0],
    ["Home", 5, 0],
    ["G", 5, 9],
    ["End", 5, 9],
  ])
    assert.equal(rowAfterKey(key, row, 10, 4), next, key);
  assert.equal(rowAfterKey("x", 3, 10, 4), null);
  assert.equal(rowAfterKey("j", -1, 0, 4), null);
});
