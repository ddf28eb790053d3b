/** TCP and Unix sockets, by Node. Browsers get no-socket.ts in place of this file. */

import { connect } from "node:net";
import type { Dial } from "./transport.js";

const PORT_DEFAULT = 6180;
// For a broker that does not take what was sent.
const CLOSE_TIMEOUT_MS = 1_000;

function target(url: string): { path: string } | { host: string; port: number } {
  const rest = url.slice(url.indexOf("//") + 2);
  if (url.startsWith("outlast+unix:")) return { path: decodeURIComponent(rest) };
  const { hostname, port } = new URL(`http://${rest}`);
  const explicit = /:80\/?$/.test(rest) ? 80 : PORT_DEFAULT;
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || explicit) };
}

export const socketDial: Dial = (url, events) => {
  const socket = connect({ ...target(url), noDelay: true });
  let reason = "the broker closed the connection";
  socket.on("connect", () => events.opened());
  socket.on("data", (data) => events.received(new Uint8Array(data.buffer, data.byteOffset, data.length)));
  socket.on("error", (error) => (reason = error.message));
  socket.on("close", () => events.closed(reason));
  return {
    send: (data) => void socket.write(data),
    close: () => {
      socket.destroySoon();
      setTimeout(() => socket.destroy(), CLOSE_TIMEOUT_MS).unref();
    },
    abort: () => socket.destroy(),
    get unsentBytes() {
      return socket.writableLength;
    },
  };
};
