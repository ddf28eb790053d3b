/** Lets Node read the pages' TypeScript: `node --import ./test/typescript.js`. */

import { readFileSync } from "node:fs";
import { register } from "node:module";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";

/** As bundlers do, a module that is called x.js is looked for as x.ts. */
export async function resolve(specifier, context, next) {
  const isOurs = /^\.{1,2}\//.test(specifier) && context.parentURL?.endsWith(".ts");
  return next(isOurs ? specifier.replace(/\.js$/, ".ts") : specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith(".ts")) return next(url, context);
  const { code } = transformSync(readFileSync(fileURLToPath(url), "utf8"), {
    loader: "ts",
    format: "esm",
    target: "es2022",
  });
  return { format: "module", source: code, shortCircuit: true };
}

// The hooks run in a thread of their own, where this file is loaded by its address with "#hooks".
if (!import.meta.url.endsWith("#hooks")) register(`${import.meta.url}#hooks`);
