/** What is published: its size, its types, and that it installs and works. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import * as bundle from "../dist/browser.js";
import * as modules from "../dist/index.js";
import { Broker } from "./broker.js";
import { Script } from "./script.js";

const run = promisify(execFile);
const HERE = fileURLToPath(new URL("..", import.meta.url));
// Minified and gzipped: what a page has before it connects, and all there is.
const FIRST_BYTES_MAX = 6_000;
const ALL_BYTES_MAX = 36_800;

/** The files that a browser fetches for `name` before any of it runs. */
function files(name, found = new Map()) {
  const text = readFileSync(join(HERE, "dist", name), "utf8");
  found.set(name, text);
  for (const [, other] of text.matchAll(/(?:from|import)"\.\/([^"]+)"/g)) if (!found.has(other)) files(other, found);
  return found;
}

const zipped = (parts) => [...parts.values()].reduce((sum, text) => sum + gzipSync(text, { level: 9 }).length, 0);

describe("the bundle for browsers", () => {
  const first = files("browser.js");
  const all = new Map([...first, ...files("browser-client.js")]);

  test("is small", (t) => {
    const [bytes, allBytes] = [zipped(first), zipped(all)];
    t.diagnostic(`minified and gzipped: ${bytes} bytes before it connects, ${allBytes} in all`);
    assert.ok(bytes <= FIRST_BYTES_MAX, `${bytes} bytes of ${FIRST_BYTES_MAX}`);
    assert.ok(allBytes <= ALL_BYTES_MAX, `${allBytes} bytes of ${ALL_BYTES_MAX}`);
  });

  test("loads the most of it while it dials", () => {
    assert.ok(!first.has("browser-client.js"));
    assert.match([...first.values()].join(), /import\("\.\/browser-client\.js"\)/);
  });

  test("needs nothing of Node", () =>
    assert.doesNotMatch([...all.values()].join(), /node:|\bBuffer\b|\brequire\(/));

  test("has the same exports, and errors keep their names", () => {
    assert.deepEqual(Object.keys(bundle).sort(), Object.keys(modules).sort());
    const error = new bundle.OffsetAhead("x", { last: 3 });
    assert.deepEqual([error.name, error.code, error.retryable, error.last], ["OffsetAhead", "offset_ahead", false, 3]);
    assert.equal(new bundle.ClaimHeld().retryable, true);
  });

  test("publishes", async () => {
    const script = new Script();
    script.answers.PUBLISH = ({ request }) => ({ type: "PUBLISHED", acks: [[request, 1, false]] });
    const client = await bundle.connect("https://example.org", { dial: script.dial, page: {} });
    assert.equal((await client.channel("c").publish("x")).offset, 1);
    await client.close();
  });

  test("says that browsers have no TCP", async () => {
    await assert.rejects(bundle.connect("outlast://127.0.0.1", { timeoutMs: 50 }), /a browser cannot open TCP/);
  });
});

describe("the package", () => {
  const folder = mkdtempSync(join(tmpdir(), "outlast-package-"));
  const broker = new Broker();

  before(async () => {
    const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: HERE });
    const packed = Object.values(JSON.parse(stdout))[0];
    writeFileSync(join(folder, "package.json"), '{"type": "module"}');
    await run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(folder, packed.filename)], {
      cwd: folder,
    });
    await broker.start();
  });
  after(async () => {
    await broker.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test("brings nothing else along", async () => {
    const { stdout } = await run("npm", ["ls", "--all", "--parseable"], { cwd: folder });
    assert.equal(stdout.trim().split("\n").length, 2);
  });

  test("works on Node", async () => {
    const program = `
      import { connect } from "outlast";
      import { parsePosition } from "outlast/protocol";
      const client = await connect();
      const channel = client.channel("packed");
      const ack = await channel.publish("hello");
      // What is left behind must not keep the program from ending.
      await channel.lease("forgotten");
      await channel.claim("forgotten");
      await channel.presence.enter();
      await channel.attach();
      console.log(ack.offset, parsePosition(ack.position).offset);
      await client.close();
    `;
    writeFileSync(join(folder, "program.js"), program);
    const env = { ...process.env, OUTLAST_URL: broker.url };
    const { stdout } = await run(process.execPath, ["program.js"], { cwd: folder, env, timeout: 15_000 });
    assert.equal(stdout, "1 1\n");
  });

  test("has types that a strict program can use", async () => {
    const program = `
      import { connect, OffsetMismatch, type Client, type SessionEvent } from "outlast";
      export async function follow(client: Client): Promise<number> {
        const channel = client.channel("typed");
        await using session = await channel.attach({ last: 5, signal: AbortSignal.timeout(10) });
        for await (const event of session) show(event);
        try {
          return (await channel.publish({ a: [1, "b", null] }, { ifOffset: 1 })).offset;
        } catch (error) {
          return error instanceof OffsetMismatch ? error.last : 0;
        }
      }
      function show(event: SessionEvent): string {
        switch (event.type) {
          case "record": return String(event.record.data);
          case "message": return event.message.state + event.delta;
          case "state": return event.key;
          case "presence": return event.event.type === "member" ? event.event.member.clientId : "";
        }
      }
      // @ts-expect-error: what is no data
      export const wrong = async () => (await connect()).channel("c").publish(Symbol());
    `;
    writeFileSync(join(folder, "program.ts"), program);
    const options = {
      target: "es2022",
      lib: ["es2022", "dom"],
      module: "nodenext",
      strict: true,
      noEmit: true,
      types: [],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["program.ts"] }));
    await run(process.execPath, [join(HERE, "node_modules", "typescript", "bin", "tsc"), "--project", folder]).catch(
      ({ stdout }) => assert.fail(stdout),
    );
  });
});
