"""Socket.IO on Node, a room per session, raw: WebSocket frames with packets of Engine.IO 4 and Socket.IO 5 as text.

Connection state recovery is on, so what was emitted stays in memory for two minutes or more; there is no log beyond
that. WebSocket is the only transport. It has no batches: each message is an event of its own with an acknowledgement
of its own, which the server sends after it has emitted to the room. The load masks its frames with zeros, which
costs neither side anything: a little better than what a browser's frames cost the server.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter

from ..lane import Feed, Lane
from ..link import Link, Load, LoadFailed, Reader, Writer
from ..plan import Plan
from ..server import Server
from .peers import folder as peers_folder, node_module

_UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_SWITCHED = b"HTTP/1.1 101 "
_HEAD_END = b"\r\n\r\n"
_TEXT = 0x81
# Engine.IO's packets, of which a message (4) bears a packet of Socket.IO's: connected, event, ack.
_OPEN, _PING, _PONG = b"0", b"2", b"3"
_CONNECT, _EVENT, _ACK = b"40", b"42", b"43"
_SUBSCRIBED = b"430[]"


def frame(text: bytes) -> bytes:
    """A client's text frame of at most 65,535 bytes. Clients must mask; a key of zeros changes nothing."""
    size = len(text)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([_TEXT]) + length + bytes(4) + text


class Frames:
    """Cuts what the server sends into the texts of its frames. Raises LoadFailed at a frame that is not text."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._rest + data
        start, size = 0, len(data)
        while size - start >= 2:
            if data[start] != _TEXT:
                raise LoadFailed(f"the server sent {data[start : start + 50]!r}")
            body, length = start + 2, data[start + 1]
            if length >= 126:
                body += 2 if length == 126 else 8
                length = int.from_bytes(data[start + 2 : body], "big")
            if size < body or size < body + length:
                break
            start = body + length
            yield data[body:start]
        self._rest = data[start:]


class Session:
    """One connection's handshakes and heartbeat; `events` leaves the events and acks to its owner."""

    def __init__(self, link: Link, connected: Callable[[], None]) -> None:
        self._link = link
        self._connected = connected
        self._frames = Frames()
        self._head: bytes | None = b""
        link.transport.write(_UPGRADE)

    def events(self, data: bytes) -> list[bytes]:
        try:
            texts = list(self._frames.feed(self._after_head(data)))
            return [text for text in texts if text[:2] in (_EVENT, _ACK) or self._control(text)]
        except LoadFailed as error:
            self._link.load.fail(error)
            return []

    def _after_head(self, data: bytes) -> bytes:
        """What follows the response to the upgrade."""
        if self._head is None:
            return data
        self._head += data
        if _HEAD_END not in self._head:
            return b""
        if not self._head.startswith(_SWITCHED):
            raise LoadFailed(f"the server said {self._head[:200]!r}")
        rest = self._head.partition(_HEAD_END)[2]
        self._head = None
        return rest

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
