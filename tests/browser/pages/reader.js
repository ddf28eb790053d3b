/**
 * Reads a channel record by record: reader.html?broker=ws://...&channel=...
 *
 * It keeps its place where the browser keeps it, so a tab that is closed and opened again goes on there. #records has what
 * came to this tab.
 */

import { connect } from "./browser.js";

const asked = new URLSearchParams(location.search);
const place = `place in ${asked.get("channel")}`;
const list = document.querySelector("#records");

const client = await connect(asked.get("broker"), {
  timeoutMs: null,
  backoffBaseMs: Number(asked.get("backoff") ?? 20),
  onState: (state) => (document.body.dataset.state = state),
});
const after = localStorage[place];
for await (const record of client.channel(asked.get("channel")).subscribe(after ? { after } : { start: "earliest" })) {
  const item = list.appendChild(document.createElement("li"));
  item.value = record.offset;
  item.textContent = record.data;
  localStorage[place] = record.position;
}
