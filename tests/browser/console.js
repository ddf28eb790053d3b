/** The console of a broker, opened at a place in it. */

// Where channels are in their list.
export const NAMES = ".channels .whole .name";
// A broker that was killed is no fault of the page.
const UNREACHABLE = /WebSocket connection to .* failed|ERR_CONNECTION_REFUSED/;

/** What the browser complains of on it, as of something that the page's policy forbids, is a mistake. */
export async function openConsole(person, broker, place) {
  const page = await person.context.newPage();
  page.on("console", (said) => {
    const isComplaint = ["error", "warning"].includes(said.type()) && !UNREACHABLE.test(said.text());
    if (isComplaint) person.mistakes.push(new Error(said.text()));
  });
  await page.goto(`${broker.url.replace("outlast:", "http:")}/#/${place}`);
  return page;
}
