"""Mosquitto, MQTT 3.1.1, QoS 1 on both sides, raw. In memory only: it has no way to be on disk before its ack.

Its limits on queued and unacknowledged messages are lifted, for with them it drops or throttles.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from ..lane import Feed, Lane
from ..link import Load, LoadFailed, OrderedWriter, Reader
from ..plan import Plan
from ..server import Server, free_port
from .peers import program

_CONNECT = bytes([0x10, 12, 0, 4]) + b"MQTT" + bytes([4, 2, 0, 0, 0, 0])
_CONNACK = bytes([0x20, 2, 0, 0])
_PUBACK_BYTES = 4
_IDS = 65_535
_NAME = re.compile(rb"lane:\d+")


def varint(value: int) -> bytes:
    """MQTT's length: seven bits a byte, the lowest first."""
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def publish_head(name: bytes, message: bytes) -> bytes:
    """A PUBLISH packet of QoS 1 up to its packet id, which the message follows."""
    return b"\x32" + varint(4 + len(name) + len(message)) + len(name).to_bytes(2, "big") + name


class MosquittoWriter(OrderedWriter):
    def greet(self) -> None:
        self._next = 0
        self._bytes = 0
        self._heads = [publish_head(lane.name.encode(), self.load.message) for lane in self.lanes]
        self.transport.write(_CONNECT)

    def encode(self, lane: Lane, count: int) -> None:
        self.sent(lane, count)
        head, message = self._heads[lane.index], self.load.message
        ids = [(1 + number % _IDS).to_bytes(2, "big") for number in range(self._next, self._next + count)]
        self._next = (self._next + count) % _IDS
        self.out += (head, (message + head).join(ids), message)

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            if data != _CONNACK:
                self.load.fail(LoadFailed(f"Mosquitto said {data[:50]!r}"))
            self.opened()
            return
        acks, self._bytes = divmod(self._bytes + len(data), _PUBACK_BYTES)
        self.answered(acks)
        self.flush()


class MosquittoReader(Reader):
    """Packets of one size: acknowledged and counted by slicing."""

    def greet(self) -> None:
        self._rest = b""
        names = [lane.name.encode() for lane in self.lanes]
        self._feeds: dict[bytes, Feed] = dict(zip(names, self.feeds, strict=True))
        self._head_bytes = len(publish_head(names[0], self.load.message))
        self._packet_bytes = self._head_bytes + 2 + len(self.load.message)
        self._suback_bytes = 4 + len(names)
        filters = b"".join([len(name).to_bytes(2, "big") + name + b"\x01" for name in names])
        self.transport.write(_CONNECT + b"\x82" + varint(2 + len(filters)) + b"\x00\x01" + filters)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self.ready.done():
            size = len(_CONNACK) + self._suback_bytes
            if len(data) < size:
                self._rest = data
                return
            data = data[size:]
            self.opened()
        packets = len(data) // self._packet_bytes
        end = packets * self._packet_bytes
        self._rest = data[end:]
        if packets:
            self._acknowledge(data[:end], packets)
            self._count(data[:end], packets)

    def _acknowledge(self, data: bytes, packets: int) -> None:
        acks = bytearray(_PUBACK_BYTES * packets)
        acks[0::4] = b"\x40" * packets
        acks[1::4] = b"\x02" * packets
        acks[2::4] = data[self._head_bytes :: self._packet_bytes]
        acks[3::4] = data[self._head_bytes + 1 :: self._packet_bytes]
        self.transport.write(acks)

    def _count(self, data: bytes, packets: int) -> None:
        now_s = perf_counter()
        if len(self.feeds) == 1:
            self.feeds[0].deliver(packets, now_s)
            return
        for name, count in Counter(_NAME.findall(data)).items():
            self._feeds[name].deliver(count, now_s)


class Mosquitto:
    name = "mosquitto"
    ack_means = "in memory"
    unfit: Mapping[str, str] = dict.fromkeys(("replay", "resume"), "it keeps no log")

    def missing(self) -> str | None:
        return None if program("mosquitto") else "apt-get install mosquitto"

    def start(self, plan: Plan, folder: Path, port: int = 0, options: Sequence[str] = ()) -> Server:
        folder.mkdir(exist_ok=True)
        port = port or free_port()
        config = folder.parent / f"{folder.name}.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
            "max_queued_messages 0\nmax_inflight_messages 0\n"
        )
        server = Server(plan, folder, [program("mosquitto") or "", "-c", str(config), *options])
        server.address = ("127.0.0.1", port)
        server.wait_until(_answers)
        return server

    def writer(self, load: Load, lanes: Sequence[Lane]) -> MosquittoWriter:
        return MosquittoWriter(load, lanes)

    def reader(self, load: Load, lanes: Sequence[Lane], start: str | int) -> MosquittoReader:
        return MosquittoReader(load, lanes, start)


def _answers(probe: socket.socket) -> bool:
    probe.sendall(_CONNECT)
    return probe.recv(16) == _CONNACK
