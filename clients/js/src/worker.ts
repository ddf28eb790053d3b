/** The worker that tabs share: its name is the address of the broker. */

import { Hub, type Port, SUBPROTOCOL } from "./hub.js";

const scope = globalThis as unknown as { name: string; onconnect: (event: { ports: readonly [Port] }) => void };
const hub = new Hub(() => new WebSocket(scope.name, SUBPROTOCOL));

scope.onconnect = ({ ports: [port] }) => hub.join(port);
