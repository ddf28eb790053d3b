import assert from "node:assert/strict";
import { test } from "node:test";
import { growth, plotPoints, plotTop, Rates, Series } from "../console/rates.ts";

const channel = (name, last, epoch = "e") => ({ name, epoch, last });

test("two looks say how fast a channel grows; one says nothing", () => {
  const rates = new Rates();
  rates.lookAtAll([channel("a", 10), channel("b", 5)], 1_000);
  assert.equal(rates.of("a"), null);
  rates.lookAtAll([channel("a", 30), channel("b", 5), channel("c", 9)], 3_000);
  assert.deepEqual(
    ["a", "b", "c"].map((name) => rates.of(name)),
    [10, 0, null],
  );
});

test("some are looked at more often, each since it was looked at last", () => {
  const rates = new Rates();
  rates.lookAtAll([channel("a", 0), channel("b", 0)], 0);
  rates.lookAtSome([channel("a", 10)], 2_000);
  assert.deepEqual([rates.of("a"), rates.of("b")], [5, null]);
  rates.lookAtAll([channel("a", 40), channel("b", 40)], 4_000);
  assert.deepEqual([rates.of("a"), rates.of("b")], [15, 10]);
});

test("a channel that was made anew is another one", () => {
  const rates = new Rates();
  rates.lookAtAll([channel("a", 100)], 0);
  rates.lookAtAll([channel("a", 2, "f")], 1_000);
  assert.equal(rates.of("a"), null);
  rates.lookAtAll([channel("a", 4, "f")], 2_000);
  assert.equal(rates.of("a"), 2);
});

test("what is not listed any more is forgotten", () => {
  const rates = new Rates();
  rates.lookAtAll([channel("a", 1)], 0);
  rates.lookAtAll([], 1_000);
  rates.lookAtAll([channel("a", 9)], 2_000);
  assert.equal(rates.of("a"), null);
});

test("a count that began anew grew by what it is", () => {
  assert.equal(growth(10, 0, 30, 2_000), 10);
  assert.equal(growth(1_000, 0, 30, 1_000), 30);
  assert.equal(growth(10, 5_000, 30, 5_000), 0);
});

test("a series keeps the newest", () => {
  const series = new Series(3);
  for (const value of [1, 2, 3, 4]) series.add(value);
  assert.deepEqual(series.values, [2, 3, 4]);
});

test("a plot begins at the right edge, under a round number", () => {
  assert.deepEqual(
    [[], [0], [1], [1.5], [3], [7], [10], [11], [4_200]].map((values) => plotTop(values)),
    [1, 1, 1, 2, 5, 10, 10, 20, 5_000],
  );
  assert.deepEqual(
    [[3], [700], [3_000], [600 << 20]].map((values) => plotTop(values, true)),
    [5, 1_000, 5 << 10, 1_000 << 20],
  );
  assert.deepEqual(plotPoints([0, 5], 3, 5), [
    [0.5, 1],
    [1, 0],
  ]);
  assert.deepEqual(plotPoints([], 3, 1), []);
});
