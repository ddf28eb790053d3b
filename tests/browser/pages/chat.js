/**
 * A chat as anybody would write it: chat.html?broker=ws://...&channel=...[&share]
 *
 * #messages has one item per growing message, with its text as it stands; its `data-state` says whether it is open. The button
 * cancels the newest.
 */

import { connect } from "./browser.js";

const asked = new URLSearchParams(location.search);
const list = document.querySelector("#messages");
const items = new Map();

const options = { timeoutMs: null, backoffBaseMs: 20, backoffCapMs: 200, share: asked.has("share") };
const client = await connect(asked.get("broker"), options);
const channel = client.channel(asked.get("channel"));
const session = await channel.attach({ last: 50 });

function show({ id, content, state }, delta) {
  if (!items.has(id)) items.set(id, list.appendChild(document.createElement("li")));
  const item = items.get(id);
  item.dataset.state = state;
  if (delta === null) item.textContent = content;
  else item.append(delta);
}

document.querySelector("#cancel").onclick = () => channel.cancel([...items.keys()].at(-1), "enough");

for (const message of session.messages.values()) show(message, null);
for await (const event of session) if (event.type === "message") show(event.message, event.delta);
