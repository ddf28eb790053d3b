/** Tokens: which one is shown, when the next one is, and what a client says without (PROTOCOL.md 3.7). */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as outlast from "../dist/index.js";
import { until } from "./broker.js";
import { Script } from "./script.js";

/** Gives one token after another; the first `broken` times it fails. */
function issuer(broken = 0) {
  let given = 0;
  return async () => {
    if (broken-- > 0) throw new Error("no network");
    return `token ${++given}`;
  };
}

function listening(script) {
  const hellos = [];
  const greet = script.answers.HELLO;
  script.answers.HELLO = (hello) => (hellos.push(hello), greet(hello));
  return hellos;
}

test("each connection has a token of its own, and the name that the broker gave", async (t) => {
  const script = new Script();
  const hellos = listening(script);
  const client = await script.connect({ token: issuer() });
  t.after(() => client.close());
  script.wires[0].drop();
  await until(() => hellos.length === 2);
  assert.deepEqual(
    hellos.map(({ token, client_id }) => [token, client_id]),
    [["token 1", null], ["token 2", "random"]],
  );
});

test("a token that does not come is asked for again", async (t) => {
  const script = new Script();
  const hellos = listening(script);
  const client = await script.connect({ token: issuer(2) });
  t.after(() => client.close());
  assert.equal(hellos[0].token, "token 1");
});

test("what keeps it from coming is said", async () => {
  const broken = () => Promise.reject(new Error("no network"));
  await assert.rejects(new Script().connect({ token: broken, timeoutMs: 30 }), /no token: no network/);
  const refused = () => Promise.reject(new outlast.Unauthorized("the session has ended"));
  await assert.rejects(new Script().connect({ token: refused }), outlast.Unauthorized);
});

test("it is refreshed before it ends, and nothing is interrupted", async (t) => {
  const script = new Script();
  script.welcome = { expires_in_ms: 30 };
  const shown = [];
  script.answers.AUTH = ({ request, token }) => {
    shown.push(token);
    return { type: "REPLY", request, result: shown.length < 3 ? { expires_in_ms: 30 } : {} };
  };
  const client = await script.connect({ token: issuer() });
  t.after(() => client.close());
  await until(() => shown.length === 3);
  assert.deepEqual(shown, ["token 2", "token 3", "token 4"]);
  assert.deepEqual([client.state, script.wires.length], ["open", 1]);
});

test("when it has expired, the client comes back with another one", async (t) => {
  const script = new Script();
  const hellos = listening(script);
  const client = await script.connect({ token: issuer() });
  t.after(() => client.close());
  script.wires[0].say({ type: "ERROR", request: 0, code: 10, message: "the token has expired", detail: {} });
  await until(() => hellos.length === 2);
  assert.equal(hellos[1].token, "token 2");
});

for (const [code, kind] of [[9, "Unauthorized"], [10, "TokenExpired"], [45, "Forbidden"]])
  test(`a first connection that is refused says so by its type: ${kind}`, async () => {
    const script = new Script();
    script.answers.HELLO = () => ({ type: "ERROR", request: 0, code, message: "no", detail: { verb: "history" } });
    const error = await script.connect({ token: "text" }).catch((refusal) => refusal);
    assert.ok(error instanceof outlast[kind], String(error));
    if (kind === "Forbidden") assert.equal(error.detail.verb, "history");
  });
