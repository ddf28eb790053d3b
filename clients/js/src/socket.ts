/** TCP, TLS and Unix sockets, by Node. Browsers get no-socket.ts in place of this file. */

import { readFileSync } from "node:fs";
import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
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

/** Trusts what Node trusts, or OUTLAST_CA_FILE alone; shows the certificate in OUTLAST_CERTIFICATE_FILE to who asks. */
function withTls(to: { host: string; port: number }): Socket {
  const { OUTLAST_CA_FILE: ca, OUTLAST_CERTIFICATE_FILE: certificate } = process.env;
  const own = certificate && readFileSync(certificate);
  return connectTls({
    ...to,
    minVersion: "TLSv1.2",
    // A name says which certificate is meant; an address cannot (RFC 6066).
    ...(isIP(to.host) ? {} : { servername: to.host }),
    ...(ca ? { ca: readFileSync(ca) } : {}),
    ...(own ? { cert: own, key: own } : {}),
  }).setNoDelay(true);
}

export const socketDial: Dial = (url, events) => {
  const to = target(url);
  const tls = url.startsWith("outlasts:") && "host" in to;
  const socket = tls ? withTls(to) : connect({ ...to, noDelay: true });
  let reason = "the broker closed the connection";
  socket.on(tls ? "secureConnect" : "connect", () => events.opened());
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
