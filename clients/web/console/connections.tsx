/** Who is connected. */

import type { Client, ConnectionInfo } from "outlast";
import { useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { showBytes, showCount } from "./format.js";
import { useKeys } from "./keyboard.js";
import { usePolled } from "./polling.js";
import { reshape, route } from "./route.js";
import { client } from "./session.js";
import { orderText, readOrder } from "./sorting.js";
import { Ago, Failure } from "./stale.js";
import { type Column, Table } from "./table.js";

const EVERY_MS = 2_000;
const CONNECTIONS_MAX = 20_000;

const COLUMNS: readonly Column<ConnectionInfo>[] = [
  {
    id: "client",
    title: "Client",
    cell: ({ clientId }) => clientId,
    show: ({ clientId }) => (
      <span title={clientId}>
        {clientId}
        {clientId === client.value?.clientId && <span class="tag">this page</span>}
      </span>
    ),
  },
  { id: "door", title: "Door", cell: ({ door }) => door },
  {
    id: "address",
    title: "Address",
    cell: ({ address }) => address,
    show: ({ address }) => <span class="muted">{address || "–"}</span>,
  },
  {
    id: "agent",
    title: "Software",
    cell: ({ agent }) => agent,
    show: ({ agent }) => <span class="muted">{agent}</span>,
  },
  {
    id: "since",
    title: "Since",
    isNumber: true,
    cell: ({ sinceMs }) => sinceMs,
    show: ({ sinceMs }) => <Ago atMs={sinceMs} />,
  },
  {
    id: "channels",
    title: "Channels",
    isNumber: true,
    cell: ({ channels }) => channels,
    show: ({ channels }) => showCount(channels),
  },
  {
    id: "subscriptions",
    title: "Reads",
    hint: "Subscriptions",
    isNumber: true,
    cell: ({ subscriptions }) => subscriptions,
    show: ({ subscriptions }) => showCount(subscriptions),
  },
  {
    id: "behind",
    title: "Behind",
    hint: "Subscriptions that are not live",
    isNumber: true,
    cell: ({ behind }) => behind,
    show: ({ behind }) => <span class={behind ? "late" : "faint"}>{showCount(behind)}</span>,
  },
  {
    id: "waiting",
    title: "Waiting",
    hint: "Written to the socket, and not taken by it",
    isNumber: true,
    cell: ({ waitingBytes }) => waitingBytes,
    show: ({ waitingBytes }) => <span class={waitingBytes ? "late" : "faint"}>{showBytes(waitingBytes)}</span>,
  },
];

async function list(client: Client, signal: AbortSignal): Promise<ConnectionInfo[]> {
  const found: ConnectionInfo[] = [];
  for await (const connection of client.connections({ signal })) if (found.push(connection) === CONNECTIONS_MAX) break;
  return found;
}

export function Connections() {
  const seen = usePolled(EVERY_MS, list, []);
  const filter = useSignal("");
  const search = useRef<HTMLInputElement>(null);
  useKeys((key) => key === "/" && (search.current!.focus(), true));
  const { value, error } = seen.value;
  const all = value ?? [];
  const rows = filter.value
    ? all.filter(({ clientId, address, agent, door }) =>
        `${clientId} ${address} ${agent} ${door}`.includes(filter.value),
      )
    : all;
  const order = readOrder(
    route.value.sort,
    COLUMNS.map(({ id }) => id),
    { column: "since", down: true },
  );
  return (
    <main class="page fills">
      <div class="tools">
        <h1>Connections</h1>
        <input
          ref={search}
          class="search"
          type="search"
          placeholder="Client, address, software"
          aria-label="Filter"
          spellcheck={false}
          value={filter.value}
          onInput={({ currentTarget }) => (filter.value = currentTarget.value)}
        />
        <span class="muted count" role="status">
          {value && showCount(rows.length)}
        </span>
      </div>
      <Failure error={error} />
      <Table
        name="connections"
        label="Connections"
        columns={COLUMNS}
        rows={rows}
        keyOf={({ id }) => String(id)}
        order={order}
        onOrder={(order) => reshape({ sort: orderText(order) })}
      >
        {value ? "Nobody of that kind is connected." : "Looking …"}
      </Table>
    </main>
  );
}
