import assert from "node:assert/strict";
import { test } from "node:test";
import { channelLink, HOME, readRoute, routeText } from "../console/route.ts";

test("whatever makes no sense leads home", () => {
  for (const hash of ["", "#", "#/", "#/nowhere", "#/nowhere/a", "#%"]) assert.deepEqual(readRoute(hash), HOME, hash);
});

test("a place can be sent to somebody else", () => {
  for (const route of [
    { view: "channels", channel: null, prefix: "session:", sort: "-rate" },
    { view: "channels", channel: null, prefix: "a&b=c ü", sort: null },
    { view: "connections", channel: null, prefix: "", sort: "since" },
    HOME,
  ])
    assert.deepEqual(readRoute(routeText(route)), route);
});

test("every name of a channel has an address, and it is that channel's", () => {
  for (const name of ["session:42", "a/b", "..", "a?b", "a#b", "%2F", "a b", "ü", "100%", "\u{1f600}"])
    assert.equal(readRoute(channelLink(name)).channel, name);
});

test("an address that somebody typed is taken as it is", () => {
  assert.equal(readRoute("#/channels/a/b").channel, "a/b");
  assert.equal(readRoute("#/channels/100%").channel, "100%");
  assert.equal(readRoute("#/channels/").channel, null);
});
