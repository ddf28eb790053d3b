// A Durable Streams server on files: node durable_streams.mjs MODULE_FOLDER DATA_FOLDER PORT. Prints its port.
import { Server } from "node:net"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

// The server's own log lines go to stderr: stdout is for the port alone.
console.log = console.info = console.error
const [moduleFolder, dataDir, port] = process.argv.slice(2)
const { DurableStreamTestServer } = await import(pathToFileURL(join(moduleFolder, "dist", "index.js")))
const server = new DurableStreamTestServer({ port: Number(port), host: "127.0.0.1", dataDir, compression: false })

// With its 100 file handles a server that writes to more streams than that closes files before they are synced
// and answers 404 for what it wrote.
const { store } = server
store.fileHandlePool = new store.fileHandlePool.constructor(12_000)

// As long a queue of connections as the other systems have: with Node's 511 a thousand at once are turned away.
const listen = Server.prototype.listen
Server.prototype.listen = function (port, host, ready) {
  return listen.call(this, { port, host, backlog: 4096 }, ready)
}

const url = await server.start()
// A writer that is silent for five seconds keeps its connection.
server.server.keepAliveTimeout = 0
process.stdout.write(`${new URL(url).port}\n`)
