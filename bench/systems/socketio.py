"""Socket.IO on Node, a room per session, raw: WebSocket frames with packets of Engine.IO 4 and Socket.IO 5 as text.

Connection state recovery is on, so what was emitted stays in memory for two minutes or more; there is no log beyond
that. WebSocket is the only transport. It has no batches: each message is an event of its own with an acknowledgement
of its own, which the server sends after it has emitted to the room.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter

from ..lane import Feed, Lane
from ..link import Link, Load, LoadFailed, Reader, Writer
from ..plan import Plan
from ..server import Server
from ..websocket import Frames, Head, frame, upgrade
from .peers import folder as peers_folder, node_module

# Engine.IO's packets, of which a message (4) bears a packet of Socket.IO's: connected, event, ack.
_OPEN, _PING, _PONG = b"0", b"2", b"3"
_CONNECT, _EVENT, _ACK = b"40", b"42", b"43"
_SUBSCRIBED = b"430[]"


class Session:
    """One connection's handshakes and heartbeat; `events` leaves the events and acks to its owner."""

    def __init__(self, link: Link, connected: Callable[[], None]) -> None:
        self._link = link
        self._connected = connected
        self._frames = Frames()
        self._head = Head()
        link.transport.write(upgrade("/socket.io/?EIO=4&transport=websocket"))

    def events(self, data: bytes) -> list[bytes]:
        try:
            texts = list(self._frames.feed(self._head.after(data)))
            return [text for text in texts if text[:2] in (_EVENT, _ACK) or self._control(text)]
        except LoadFailed as error:
            self._link.load.fail(error)
            return []

    def _control(self, text: bytes) -> bool:
        """Always False: a packet that is not for the owner."""
        if text == _PING:
            self._link.transport.write(frame(_PONG))
        elif text.startswith(_OPEN):
            self._link.transport.write(frame(_CONNECT))
        elif text.startswith(_CONNECT):
            self._connected()
        else:
            raise LoadFailed(f"the server said {text[:200]!r}")
        return False


class SocketIoWriter(Writer):
    """The server gives an event's id back in its ack; here it is the lane's index, so an ack tells the lane."""

    def greet(self) -> None:
        message = self.load.message
        self._requests = [
            frame(b'42%d["publish","%s","%s"]' % (lane.index, lane.name.encode(), message)) for lane in self.lanes
        ]
        self._by_ack: dict[bytes, Lane] = {b"43%d[]" % lane.index: lane for lane in self.lanes}
        self._session = Session(self, self.opened)

    def encode(self, lane: Lane, count: int) -> None:
        self.out.append(self._requests[lane.index] * count)

    def data_received(self, data: bytes) -> None:
        acks = Counter(self._session.events(data))
        now_s = perf_counter()
        for ack, count in acks.items():
            lane = self._by_ack.get(ack)
            if lane is None:
                self.load.fail(LoadFailed(f"no event has this ack: {ack[:200]!r}"))
                return
            self.acked(lane, count, now_s)
        self.flush()


class SocketIoReader(Reader):
    """An event's first bytes name the room; the rest is not looked at."""

    def greet(self) -> None:
        heads = [b'42["message","%s"' % lane.name.encode() for lane in self.lanes]
        self._head_bytes = len(heads[0])
        self._by_head: dict[bytes, Feed] = dict(zip(heads, self.feeds, strict=True))
        self._session = Session(self, self._subscribe)

    def _subscribe(self) -> None:
        rooms = b",".join([b'"%s"' % lane.name.encode() for lane in self.lanes])
        self.transport.write(frame(b'420["subscribe",[%s]]' % rooms))

    def data_received(self, data: bytes) -> None:
        size = self._head_bytes
        heads = Counter([event[:size] for event in self._session.events(data)])
        now_s = perf_counter()
        for head, count in heads.items():
            if head == _SUBSCRIBED:
                self.opened()
            elif (feed := self._by_head.get(head)) is not None:
                feed.deliver(count, now_s)
            else:
                self.load.fail(LoadFailed(f"the server said {head!r}"))


class SocketIo:
    name = "socketio"
    ack_means = "in memory, emitted to the room"
    unfit: Mapping[str, str] = {
        **dict.fromkeys(("replay", "resume"), "it keeps no log that a new client could read from the start"),
        **dict.fromkeys(("startup", "storm", "trimmed", "cursors"), "it keeps nothing that outlives its process"),
        "growth": "it keeps no log that could grow",
        "batch_publish": "it has no batches",
    }

    def missing(self) -> str | None:
        if shutil.which("node") is None:
            return "install Node.js 20 or newer"
        if node_module("socket.io") is None:
            return f"npm install --prefix {peers_folder()} socket.io"
        return None

    def start(self, plan: Plan, folder: Path, port: int = 0, options: Sequence[str] = ()) -> Server:
        folder.mkdir(exist_ok=True)
        script = Path(__file__).with_name("socketio_server.mjs")
        server = Server(plan, folder, ["node", str(script), str(node_module("socket.io")), str(port), *options])
        server.address = ("127.0.0.1", int(server.read_line()))
        return server

    def writer(self, load: Load, lanes: Sequence[Lane]) -> SocketIoWriter:
        return SocketIoWriter(load, lanes)

    def reader(self, load: Load, lanes: Sequence[Lane], start: str | int) -> SocketIoReader:
        return SocketIoReader(load, lanes, start)
