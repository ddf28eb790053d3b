/** What is to be seen on a page, waited for. */

import assert from "node:assert/strict";

/** The texts of what `selector` finds, in the order of the page. */
export function texts(page, selector) {
  return page.locator(selector).allTextContents();
}

/** Waits until what `selector` finds has exactly these texts. Throws what is there instead. */
export async function sees(page, selector, expected) {
  try {
    await page.waitForFunction(
      ([where, wanted]) =>
        JSON.stringify(Array.from(document.querySelectorAll(where), (each) => each.textContent)) === wanted,
      [selector, JSON.stringify(expected)],
    );
  } catch {
    assert.deepEqual(await texts(page, selector), expected, `${selector} of ${page.url()}`);
  }
}
