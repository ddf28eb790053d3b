/** Somebody with a browser: what they have stored and whether they are online belongs to all of their tabs. */

import { joinBrowser } from "./browser.js";

export const PATIENCE_MS = 15_000;

let shared;

/** A person with a browser of their own: other persons' tabs know nothing of theirs. */
export async function newPerson(options = {}) {
  shared ??= joinBrowser();
  const context = await (await shared).newContext(options);
  context.setDefaultTimeout(PATIENCE_MS);
  return new Person(context);
}

/** The file's tests are over. */
export async function closeBrowser() {
  await (await shared)?.close();
}

/** `mistakes` are the errors that nobody caught on their pages. */
export class Person {
  mistakes = [];

  constructor(context) {
    this.context = context;
    context.on("weberror", (error) => this.mistakes.push(error.error()));
  }

  /** A new tab at `url`. */
  async open(url) {
    const page = await this.context.newPage();
    await page.goto(url);
    return page;
  }

  async goOffline() {
    await this.context.setOffline(true);
  }

  async goOnline() {
    await this.context.setOffline(false);
  }

  /** All tabs at once. Throws the first error that nobody caught. */
  async leave() {
    await this.context.close();
    if (this.mistakes.length) throw this.mistakes[0];
  }
}
