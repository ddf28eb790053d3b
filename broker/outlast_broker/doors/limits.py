"""How much may come from whom: what an operator can bound (docs/limits.md). Bounds of the protocol are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..configuration.option import option
from .bucket import Rates

MIB = 1 << 20
# Of the process's descriptors: the store, its threads, the listeners, and what libraries open for a moment.
DESCRIPTORS_RESERVED = 64


def _limit(default: int, text: str) -> Any:
    return option(default, text, live=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """0: no bound."""

    connections: int = _limit(10_000, "How many connections there may be; and not more than there are descriptors for.")
    connections_per_address: int = _limit(1_000, "How many of them from one address, this machine's own not counted.")
    connections_per_client: int = _limit(1_000, "How many of them with one client id.")
    arrivals: int = _limit(4_096, "How many sockets may have come and not said what they want, beside the connections.")
    outgoing_bytes: int = _limit(256 * MIB, "What may wait for all sockets together that take nothing for now.")
    address_connects_per_s: int = _limit(0, "New connections a second from one address.")
    connection_frames_per_s: int = _limit(0, "Frames a second over one connection.")
    connection_bytes_per_s: int = _limit(0, "Bytes a second over one connection.")
    connection_publishes_per_s: int = _limit(0, "Publishes a second, batches of records, over one connection.")
    client_frames_per_s: int = _limit(0, "Frames and HTTP requests a second of one client, over all its connections.")
    client_bytes_per_s: int = _limit(0, "Bytes a second of one client.")
    client_publishes_per_s: int = _limit(0, "Publishes a second of one client.")
    address_frames_per_s: int = _limit(0, "Frames and HTTP requests a second from one address.")
    address_bytes_per_s: int = _limit(0, "Bytes a second from one address.")
    address_publishes_per_s: int = _limit(0, "Publishes a second from one address.")

    @property
    def of_connection(self) -> Rates:
        return Rates(self.connection_frames_per_s, self.connection_bytes_per_s, self.connection_publishes_per_s)

    @property
    def of_client(self) -> Rates:
        return Rates(self.client_frames_per_s, self.client_bytes_per_s, self.client_publishes_per_s)

    @property
    def of_address(self) -> Rates:
        return Rates(self.address_frames_per_s, self.address_bytes_per_s, self.address_publishes_per_s)


def fitting(limits: Limits, descriptors: int) -> Limits:
    """As many connections as the process has descriptors for, so that a refusal comes before the kernel's."""
    arrivals = min(limits.arrivals or descriptors, descriptors // 4)
    most = max(descriptors - DESCRIPTORS_RESERVED - arrivals, 1)
    return replace(limits, arrivals=max(arrivals, 1), connections=min(limits.connections or most, most))
