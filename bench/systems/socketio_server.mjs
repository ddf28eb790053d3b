// A Socket.IO server: node socketio_server.mjs MODULE_FOLDER PORT. Prints its port.
import { createServer } from "node:http"
import { createRequire } from "node:module"

const [moduleFolder, port] = process.argv.slice(2)
const { Server } = createRequire(import.meta.url)(moduleFolder)
const http = createServer()
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
})

io.on("connection", (socket) => {
  socket.on("subscribe", (rooms, done) => {
    socket.join(rooms)
    done()
  })
  socket.on("publish", (room, message, done) => {
    io.to(room).emit("message", room, message)
    done()
  })
})

// As long a queue of connections as the other systems have: with Node's 511 a thousand at once are turned away.
http.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 }, () => {
  process.stdout.write(`${http.address().port}\n`)
})
