/** A web site whose pages use the client, at an origin that is not the broker's. */

import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, extname, join } from "node:path";

const PAGES = join(import.meta.dirname, "pages");
const CLIENT = join(import.meta.dirname, "..", "..", "clients", "js", "dist");
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript" };

/** Serves what is in `folders`: by default pages/ and the client that was built, /browser.js and what that loads. */
export class Site {
  #folders;
  #server = createServer((request, response) => this.#answer(request, response));

  constructor(...folders) {
    this.#folders = folders.length ? folders : [PAGES, CLIENT];
  }

  async start() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return this;
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** The same pages, but to a browser a stranger's: an origin that no broker was told of. */
  get strangeOrigin() {
    return this.origin.replace("127.0.0.1", "localhost");
  }

  async #answer(request, response) {
    const name = basename(new URL(request.url, this.origin).pathname);
    const found = this.#folders.map((folder) => join(folder, name)).find((path) => extname(name) && existsSync(path));
    if (found) response.writeHead(200, { "Content-Type": TYPES[extname(name)] }).end(await readFile(found));
    else response.writeHead(name === "favicon.ico" ? 204 : 404).end();
  }

  stop() {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
