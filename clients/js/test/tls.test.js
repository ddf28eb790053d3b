/** The client over TLS. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import * as outlast from "../dist/index.js";
import { Broker, python, until } from "./broker.js";

const folder = mkdtempSync(join(tmpdir(), "outlast-tls-"));
const file = (name) => join(folder, name);
const authority = file("client.pem");
const broker = new Broker();

before(async () => {
  execFileSync(python(), ["-m", "trustme", "-q", "-d", folder, "-i", "127.0.0.1", "localhost"]);
  writeFileSync(file("both.pem"), readFileSync(file("server.pem"), "utf8") + readFileSync(file("server.key"), "utf8"));
  const options = ["--tls-certificate", file("server.pem"), "--tls-key", file("server.key")];
  await broker.start("--listen", "tls:127.0.0.1:0", "--tls-client-ca", authority, ...options);
  await until(() => broker.tlsUrl);
});
after(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true });
});

function trusting(t, variables) {
  Object.assign(process.env, variables);
  t.after(() => Object.keys(variables).forEach((name) => delete process.env[name]));
}

describe("TLS", () => {
  const shown = { OUTLAST_CA_FILE: authority, OUTLAST_CERTIFICATE_FILE: file("both.pem") };

  test("publishes over it, by address and by name, and shows a certificate to who asks", async (t) => {
    trusting(t, shown);
    for (const url of [broker.tlsUrl, broker.tlsUrl.replace("127.0.0.1", "localhost")]) {
      const client = await outlast.connect(url);
      const ack = await client.channel("room").publish("x".repeat(100_000));
      assert.ok(ack.offset > 0);
      await client.close();
    }
  });

  test("does not trust whom it does not know", async () => {
    await assert.rejects(outlast.connect(broker.tlsUrl, { timeoutMs: 300, backoffBaseMs: 1 }), /certificate/);
  });

  test("says that a file is missing", async (t) => {
    trusting(t, { OUTLAST_CA_FILE: file("nowhere") });
    await assert.rejects(outlast.connect(broker.tlsUrl, { timeoutMs: 300 }), /nowhere/);
  });

  test("hears that TLS is not spoken there", async (t) => {
    trusting(t, shown);
    const url = broker.url.replace("outlast:", "outlasts:");
    await assert.rejects(outlast.connect(url, { timeoutMs: 300, backoffBaseMs: 1 }), /handshake failure/i);
  });

  test("hears that TLS is spoken there", async () => {
    const url = broker.tlsUrl.replace("outlasts:", "outlast:");
    await assert.rejects(outlast.connect(url, { timeoutMs: 5_000 }), /outlasts:/);
  });
});
