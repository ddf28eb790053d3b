/** Builds dist/: one file per module with its types, and browser.js with its parts, minified. */

import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");

rmSync(join(here, "dist"), { recursive: true, force: true });
execFileSync(process.execPath, [compiler, "--project", here], { stdio: "inherit" });
await build({
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
});
writeFileSync(join(here, "dist", "browser.d.ts"), 'export * from "./index.js";\n');
