"""How much may come from whom: what an operator can bound (docs/limits.md). Bounds of the protocol are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .bucket import Rates

MIB = 1 << 20
# Of the process's descriptors: the store, its threads, the listeners, and what libraries open for a moment.
DESCRIPTORS_RESERVED = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """0: no bound. What ends with `_per_s` is a rate, with a second's worth at once."""

    connections: int = 10_000
    connections_per_address: int = 1_000
    connections_per_client: int = 1_000
    # Sockets that have not said yet what they want: one more than this, and the one that waits longest has to go.
    arrivals: int = 4_096
    # What waits for all sockets together that take nothing for now.
    outgoing_bytes: int = 256 * MIB
    address_connects_per_s: int = 0
    connection_frames_per_s: int = 0
    connection_bytes_per_s: int = 0
    connection_publishes_per_s: int = 0
    client_frames_per_s: int = 0
    client_bytes_per_s: int = 0
    client_publishes_per_s: int = 0
    address_frames_per_s: int = 0
    address_bytes_per_s: int = 0
    address_publishes_per_s: int = 0

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
