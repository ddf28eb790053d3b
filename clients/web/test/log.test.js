import assert from "node:assert/strict";
import { test } from "node:test";
import { BYTES_KEPT, ITEMS_KEPT, ITEMS_KEPT_LOOKING, Log, pastItem } from "../console/log.ts";

const base = { epoch: "e", timeMs: 1, clientId: "agent", headers: {}, name: null, operation: null, position: "e:1" };
const record = (offset, more = {}) => ({ type: "record", record: { ...base, offset, data: `r${offset}`, ...more } });
const message = (id, content, more = {}) => ({
  type: "message",
  message: { ...base, id, content, state: "open", reason: "", whole: true, place: id, ...more },
});
const keys = (log) => log.items.map(({ key }) => key).join(" ");

test("a message that grows stays where it began, and is another object each time", () => {
  const log = new Log();
  log.take(message(1, "Leave,"));
  log.take(record(2));
  const [before, other] = log.items;
  log.take(message(1, "Leave, come back", { timeMs: 9 }));
  assert.equal(keys(log), "m1 r2");
  assert.equal(log.items[0].message.content, "Leave, come back");
  assert.equal(log.items[0].timeMs, 1);
  assert.notEqual(log.items[0], before);
  assert.equal(log.items[1], other);
});

test("state and presence are told between records", () => {
  const log = new Log();
  log.take({ type: "state", key: "mode", value: "draft", deleted: false, version: 3, timeMs: 1, clientId: "a" });
  for (const [status, reason] of [
    ["present", ""],
    ["left", "left"],
    ["left", "timed_out"],
  ])
    log.take({ type: "presence", event: { type: "member", member: { clientId: "mara", status, reason, sinceMs: 5 } } });
  log.take({ type: "presence", event: { type: "counts", present: 1, away: 0 } });
  assert.deepEqual(
    log.items.map(({ kind, said }) => said ?? kind),
    ["state", "is here", "left", "left (timed out)"],
  );
});

test("the first answer to a request counts", () => {
  const log = new Log();
  log.take(record(1, { name: "outlast.approval", data: { text: "Send it?" } }));
  log.take(record(2, { name: "outlast.refused", headers: { re: "1" }, clientId: "mara" }));
  log.take(record(3, { name: "outlast.accepted", headers: { re: "1" }, clientId: "jo" }));
  log.take(record(4, { name: "outlast.accepted", headers: { re: "01" } }));
  log.take(record(5, { name: "outlast.accepted", headers: { re: "77" } }));
  assert.deepEqual(log.items[0].answer, { accepted: false, by: "mara" });
});

test("however long it goes on, so many items are kept", () => {
  const log = new Log();
  for (let offset = 1; offset <= 3 * ITEMS_KEPT; offset++) {
    log.take(record(offset));
    log.trim(false);
  }
  assert.equal(log.items.length, ITEMS_KEPT);
  assert.equal(log.items[0].offset, 2 * ITEMS_KEPT + 1);
  log.take(message(9_999, "still"));
  log.take(message(9_999, "still found"));
  assert.equal(log.items.at(-1).message.content, "still found");
});

test("and so many bytes, but always the newest", () => {
  const log = new Log();
  const large = "x".repeat(BYTES_KEPT / 8);
  for (let offset = 1; offset <= 20; offset++) {
    log.take(record(offset, { data: large }));
    log.trim(true);
  }
  assert.ok(log.bytes <= BYTES_KEPT && log.items.length >= 2, log.items.length);
  const one = new Log();
  one.take(message(1, new Uint8Array(2 * BYTES_KEPT)));
  one.trim(false);
  assert.equal(one.items.length, 1);
  one.take(message(1, "short"));
  assert.ok(one.bytes < 1_000);
});

test("who looks at what is further up is not disturbed as soon", () => {
  const log = new Log();
  for (let offset = 1; offset <= ITEMS_KEPT_LOOKING + 5; offset++) log.take(record(offset));
  log.trim(true);
  assert.equal(log.items.length, ITEMS_KEPT_LOOKING);
  log.trim(false);
  assert.equal(log.items.length, ITEMS_KEPT);
});

test("what was before goes before, once, and messages are still found", () => {
  const log = new Log();
  log.take(message(10, "grows"));
  log.take(record(12));
  log.putBefore([record(8), record(9)].map(({ record }) => pastItem(record)));
  log.putBefore([
    pastItem({ ...base, offset: 9, data: "again" }),
    pastItem({
      ...base,
      offset: 11,
      data: "whole",
      operation: { op: "folded", message: 10, state: "complete", reason: "" },
    }),
  ]);
  assert.equal(keys(log), "r8 r9 m10 r12");
  log.take(message(10, "grows on"));
  assert.equal(log.items[2].message.content, "grows on");
});

test("history tells of a message as one record", () => {
  const folded = {
    ...base,
    offset: 20,
    name: "answer",
    data: "all of it",
    operation: { op: "folded", message: 7, state: "interrupted", reason: "gone" },
  };
  const item = pastItem(folded);
  assert.deepEqual([item.kind, item.key, item.offset], ["message", "m7", 7]);
  assert.deepEqual(
    [item.message.content, item.message.state, item.message.reason],
    ["all of it", "interrupted", "gone"],
  );
  assert.equal(pastItem({ ...base, offset: 1, data: { a: 1 } }).kind, "record");
});

test("and of a change of the state as what was asked for", () => {
  const past = (operation, data = null) => pastItem({ ...base, offset: 3, operation, data });
  const shown = ({ kind, key, stateKey, value, deleted }) => [kind, key, stateKey, value, deleted];
  assert.deepEqual(shown(past({ op: "set", key: "mode" }, "draft")), ["state", "s3", "mode", "draft", false]);
  assert.deepEqual(shown(past({ op: "unset", key: "mode" })), ["state", "s3", "mode", null, true]);
  assert.deepEqual(shown(past({ op: "increment", key: "n", by: 2 })), ["state", "s3", "n", "+ 2", false]);
});

test("another life begins with nothing", () => {
  const log = new Log();
  log.take(record(1));
  log.clear();
  log.take(record(1, { data: "other" }));
  assert.equal(log.items.length, 1);
  assert.equal(log.items[0].data, "other");
});
