/** Starts one browser, and runs the tests in it: all, or those whose files are named as `node run.js chat`. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { startBrowser } from "./browser.js";

// Of a test, and of a file of them: each of their waits has an end of its own.
const TEST_TIMEOUT_MS = 240_000;
const wanted = process.argv.slice(2);

const files = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".test.js"))
  .filter((file) => !wanted.length || wanted.includes(file.replace(".test.js", "")));
if (!files.length) throw new Error(`no tests of that name: ${wanted}`);

const server = await startBrowser();
const tests = spawn(
  process.execPath,
  ["--test", "--test-concurrency=1", `--test-timeout=${TEST_TIMEOUT_MS}`, ...files],
  { cwd: import.meta.dirname, env: { ...process.env, OUTLAST_BROWSER: server.wsEndpoint() }, stdio: "inherit" },
);
[process.exitCode] = await once(tests, "exit");
await server.close();
