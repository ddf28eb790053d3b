/** Builds dist/: one file per module with its types, and browser.js with its parts, minified. */

import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");

rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [compiler, "--project", here], { stdio: "inherit" });

/** The table of frames for browsers. A client writes what it sends as it is given: the keys of those frames are for the broker to check. */
const { TABLE } = await import("./dist/protocol/table.js");
const OFTEN = ["client", 65_536, "u32 request, map"];
const short = ([number, type, ...more]) =>
  OFTEN.every((each, at) => more[at] === each || (at === 1 && more[0] === "client" && more[2] === OFTEN[2]))
    ? [number, type]
    : [number, type, ...(more[0] === "client" ? more.slice(0, 3) : more)];

const forBrowsers = {
  name: "for browsers",
  setup({ onLoad }) {
    onLoad({ filter: /dist\/protocol\/table\.js$/ }, () => ({
      contents: `export const BOTH_ENDS = false; export const TABLE = ${JSON.stringify(TABLE.map(short))};`,
    }));
  },
};

const { outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: { browser: "dist/index.js" },
  outdir: "dist",
  chunkNames: "browser-[name]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  legalComments: "none",
  plugins: [forBrowsers],
  write: false,
});
for (const { path, text } of outputFiles) {
  const { code } = await minify(text, { module: true, ecma: 2022, compress: { passes: 3, keep_fargs: false } });
  writeFileSync(path, code);
}
/** A shared worker is one file, found beside whatever has loaded it. */
await build({
  absWorkingDir: here,
  entryPoints: { "browser-worker": "dist/worker.js" },
  outdir: "dist",
  bundle: true,
  format: "iife",
  target: "es2022",
  minify: true,
});
writeFileSync(join(dist, "browser.d.ts"), 'export * from "./index.js";\n');
