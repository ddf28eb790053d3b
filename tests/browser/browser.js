/** The one Chromium that all browser tests share. */

import { chromium } from "playwright-core";
import { findChromium } from "./chromium.js";

// A browser under test has no business with anybody but the pages that it is given.
const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts it, for `joinBrowser` in this process and others. */
export function startBrowser() {
  const executablePath = findChromium();
  if (!executablePath) throw new Error("there is no Chromium: run scripts/setup_browser.sh, it says what to install");
  return chromium.launchServer({ executablePath, args: FLAGS });
}

/** The browser that run.js has started, or one of this file's own when it is run without. */
export async function joinBrowser() {
  const { OUTLAST_BROWSER: address } = process.env;
  if (address) return chromium.connect(address);
  const server = await startBrowser();
  const browser = await chromium.connect(server.wsEndpoint());
  browser.on("disconnected", () => server.close());
  return browser;
}
