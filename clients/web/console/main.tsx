/** The console: what a broker holds, seen with the client that everybody has. */

import { signal } from "@preact/signals";
import { type ChannelSummary, connect } from "outlast";
import { render } from "preact";

const channels = signal<readonly ChannelSummary[]>([]);

function App() {
  return (
    <ul>
      {channels.value.map(({ name, last }) => (
        <li key={name}>
          {name} {last}
        </li>
      ))}
    </ul>
  );
}

render(<App />, document.getElementById("app")!);
const client = await connect(undefined, { clientId: "console" });
const found: ChannelSummary[] = [];
for await (const summary of client.channels()) found.push(summary);
channels.value = found;
