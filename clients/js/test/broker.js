/** A real broker to talk to, and a way to it that can be cut. */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect as dial, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PATIENCE_MS = 20_000;

export function python() {
  const made = join(ROOT, ".venv", "bin", "python");
  return process.env.OUTLAST_PYTHON ?? (existsSync(made) ? made : "python3");
}

function environment() {
  const sources = ["protocol", "broker", "clients/python", "clients/cli"].map((folder) => join(ROOT, folder));
  return { ...process.env, PYTHONPATH: sources.join(delimiter) };
}

/** What `outlast` prints when it is called so. */
export function outlast(...given) {
  const said = execFileSync(python(), ["-m", "outlast_cli", ...given], { env: environment(), encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  return said.trim();
}

/** Runs `outlast serve` until `stop`, and may kill it and start it again at the same place. */
export class Broker {
  #process;
  #folder = mkdtempSync(join(tmpdir(), "outlast-js-"));
  path = join(this.#folder, "broker.sock");
  url;
  /** Of an address with TLS, once it is said that there is one. */
  tlsUrl;

  async start(...options) {
    const env = environment();
    const port = this.url ? new URL(this.url.replace("outlast:", "http:")).port : "0";
    const listen = [
      "--listen",
      `127.0.0.1:${port}`,
      "--listen",
      `unix:${this.path}`,
      "--data",
      join(this.#folder, "data"),
    ];
    this.#process = spawn(python(), ["-m", "outlast_cli", "serve", ...listen, "--come-back", "10ms", ...options], {
      env,
      stdio: ["ignore", "inherit", "pipe"],
    });
    this.url = await this.#ready();
    return this;
  }

  /** Where it listens, once it says so. Throws what it says instead. */
  async #ready() {
    const said = [];
    const lines = createInterface(this.#process.stderr);
    const ready = new Promise((resolve, reject) => {
      lines.on("line", (line) => {
        const url = /ready at (outlast:\/\/[\d.]+:\d+)/.exec(line)?.[1];
        said.push(line);
        this.tlsUrl = /ready at (outlasts:\/\/[\d.]+:\d+)/.exec(line)?.[1] ?? this.tlsUrl;
        if (url) resolve(url);
      });
      lines.on("close", () => reject(new Error(`no broker: ${said.join("\n")}`)));
      this.#process.on("error", reject);
    });
    return ready;
  }

  /** Ends it at once, or as systemd would. */
  async end(signal = "SIGKILL") {
    if (this.#process.exitCode !== null || this.#process.signalCode) return;
    this.#process.kill(signal);
    await once(this.#process, "exit");
  }

  async stop() {
    await this.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Passes on what clients and a broker say to each other; `cut` ends all connections. */
export class Proxy {
  #server;
  #sockets = new Set();
  #target;
  connections = 0;
  url;

  constructor(target) {
    this.#target = new URL(target.replace("outlast:", "http:"));
  }

  async start() {
    this.#server = createServer((client) => {
      this.connections++;
      const broker = dial(Number(this.#target.port), this.#target.hostname);
      for (const [from, to] of [
        [client, broker],
        [broker, client],
      ]) {
        this.#sockets.add(from);
        from.on("error", () => {});
        from.on("close", () => (this.#sockets.delete(from), to.destroy()));
        from.pipe(to);
      }
    });
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.url = `outlast://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop() {
    this.#server.close();
    this.cut();
  }
}

/** The next `count` of what is iterated. */
export async function take(stream, count) {
  const taken = [];
  while (taken.length < count) taken.push((await stream.next()).value);
  return taken;
}

/** Calls `check` until it gives something, and gives that. */
export async function until(check) {
  for (const endMs = performance.now() + PATIENCE_MS; performance.now() < endMs;) {
    const found = await check();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`waited in vain for ${check}`);
}
