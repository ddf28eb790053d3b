/**
 * Builds the pages into the packages that serve them, from where they are committed: whoever installs Outlast needs no Node.
 * With --check nothing is written: it fails when what is committed is not what the sources make.
 */

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");

/** A page: its folder here has index.html, main.tsx and main.css; `path` is where its server has its files. */
const PAGES = [
  { folder: "console", path: "/console/", target: "broker/outlast_broker/web/page" },
  { folder: "demo", path: "/", target: "clients/cli/outlast_cli/demo/page" },
];

/** The client comes from its sources; what it has for Node alone stays out. */
const client = {
  name: "client",
  setup({ onResolve }) {
    onResolve({ filter: /^outlast$/ }, () => ({ path: join(here, "..", "js", "src", "index.ts") }));
    onResolve({ filter: /^#socket$/ }, () => ({ path: join(here, "..", "js", "src", "no-socket.ts") }));
  },
};

/** Names of files and their bytes, the same on every machine. */
async function built({ folder, path }) {
  const { outputFiles } = await build({
    absWorkingDir: here,
    entryPoints: [`${folder}/main.tsx`, `${folder}/main.css`],
    outdir: "out",
    entryNames: folder,
    write: false,
    bundle: true,
    format: "esm",
    platform: "browser",
    target: ["es2022", "chrome123", "firefox120", "safari17.5"],
    minify: true,
    charset: "utf8",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    nodePaths: [join(here, "node_modules")],
    plugins: [client],
  });
  const files = new Map(outputFiles.map(({ path, contents }) => [relative(join(here, "out"), path), contents]));
  for (const name of readdirSync(join(here, folder, "files")))
    files.set(name, readFileSync(join(here, folder, "files", name)));
  return files.set(
    "index.html",
    Buffer.from(linked(readFileSync(join(here, folder, "index.html"), "utf8"), path, files)),
  );
}

/** The page's HTML, in which each file's address says what is in it, so that a browser may keep it for ever. */
function linked(html, path, files) {
  return html.replace(/\{\{(.+?)\}\}/g, (_, name) => `${path}${name}?v=${versionOf(files.get(name))}`);
}

/** The broker says the same of a file (`web/console.py`). */
export function versionOf(bytes) {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}

function differences(folder, files) {
  const there = new Set(readdirSync(folder));
  const wrong = [...files].filter(
    ([name, bytes]) => !there.delete(name) || !readFileSync(join(folder, name)).equals(bytes),
  );
  return [...wrong.map(([name]) => name), ...there].map((name) => relative(root, join(folder, name)));
}

function write(folder, files) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
}

const wrong = [];
for (const page of PAGES) {
  const files = await built(page);
  const folder = join(root, page.target);
  if (process.argv.includes("--check")) wrong.push(...differences(folder, files));
  else write(folder, files);
}
if (wrong.length) {
  console.error(`${wrong.join(", ")}: not what clients/web makes: run make pages, and commit what it writes`);
  process.exitCode = 1;
}
