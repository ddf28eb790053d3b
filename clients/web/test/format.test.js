import assert from "node:assert/strict";
import { test } from "node:test";
import { showAgo, showBytes, showClock, showCount, showDuration, showRate, showShort } from "../console/format.ts";

const table = (show, rows) => {
  for (const [given, shown] of rows) assert.equal(show(given), shown, String(given));
};

test("counts", () => {
  table(showCount, [
    [0, "0"],
    [999, "999"],
    [12345678, "12,345,678"],
  ]);
  table(showShort, [
    [0, "0"],
    [999, "999"],
    [12345, "12.3K"],
    [12345678, "12.3M"],
  ]);
});

test("bytes", () => {
  table(showBytes, [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 KiB"],
    [1536, "1.5 KiB"],
    [1 << 20, "1.0 MiB"],
    [200 << 20, "200 MiB"],
    [2 ** 60, "1,048,576 TiB"],
  ]);
});

test("rates", () => {
  table(showRate, [
    [0, "0"],
    [0.01, "<0.1"],
    [0.34, "0.3"],
    [9.96, "10.0"],
    [12, "12.0"],
    [1234, "1.23K"],
  ]);
});

test("durations have one unit", () => {
  table(showDuration, [
    [0, "0 ms"],
    [0.42, "0.4 ms"],
    [340, "340 ms"],
    [4200, "4.2 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [7_200_000, "2 h"],
    [3 * 86_400_000, "3 d"],
  ]);
});

test("how long ago", () => {
  assert.equal(showAgo(0, 5_000), "never");
  assert.equal(showAgo(9_500, 10_000), "now");
  assert.equal(showAgo(11_000, 10_000), "now");
  assert.equal(showAgo(4_500, 10_000), "5 s ago");
  assert.equal(showAgo(1_000, 121_500), "2 min ago");
});

test("the clock", () => {
  assert.match(showClock(new Date(2026, 1, 3, 4, 5, 6, 7).getTime()), /^04:05:06\.007$/);
});
