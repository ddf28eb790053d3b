/** What comes first in the guide: a page that shows a session and answers. */

import { connect } from "outlast";

const client = await connect(new URLSearchParams(location.search).get("broker"), { clientId: "page", share: true });
const channel = client.channel("app");
document.querySelector("button").onclick = () => channel.publish("thank you");
const session = await channel.attach({ last: 10 });
for await (const event of session) {
  if (event.type !== "record") continue;
  const { clientId, data } = event.record;
  document.querySelector("#records").appendChild(document.createElement("li")).textContent = `${clientId}: ${data}`;
}
