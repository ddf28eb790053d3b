import assert from "node:assert/strict";
import { test } from "node:test";
import { BOUNDS, readBound } from "../console/retention.ts";

test("nothing is the broker's rule, 0 is no bound, and a number is so many units", () => {
  assert.equal(readBound(" ", 1), null);
  assert.equal(readBound("0", 3_600_000), 0);
  assert.equal(readBound("1.5", 3_600_000), 5_400_000);
  for (const { unit } of BOUNDS) assert.equal(readBound(String((7 * unit) / unit), unit), 7 * unit);
});

test("nonsense is refused, and said what is allowed", () => {
  for (const text of ["-1", "many", "1e300", "Infinity"])
    assert.throws(() => readBound(text, 1), /a number that is not negative/, text);
});
