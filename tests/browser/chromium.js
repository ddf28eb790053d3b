/** Where Chromium is on this machine. Run by itself, it prints that, and fails where there is none. */

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The path that OUTLAST_CHROMIUM says, or the first of its usual names in PATH; undefined: nowhere. */
export function findChromium({ OUTLAST_CHROMIUM, PATH = "" } = process.env) {
  const places = PATH.split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return [OUTLAST_CHROMIUM, ...places].filter(Boolean).find(isProgram);
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = findChromium();
  if (path) console.log(path);
  else process.exitCode = 1;
}
