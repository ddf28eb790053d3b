/** In place of socket.ts where there are no TCP sockets. */

import type { Dial } from "./transport.js";

export const socketDial: Dial = () => {
  throw new TypeError("a browser cannot open TCP or Unix sockets: use a ws:// or wss:// address");
};
