"""What happened since the start, as plain integers: the hot path adds, whoever asks reads."""

from __future__ import annotations


class Counters:
    __slots__ = (
        "bytes_in", "bytes_out", "commits", "connections_opened", "crowded_out", "damaged", "deliveries",
        "descriptors_short", "duplicates", "ephemeral_dropped", "ephemeral_sent", "forbidden", "handshakes_failed",
        "overloaded", "paced", "rate_limited",
        "records_in", "refused", "resyncs", "turned_away",
        "unauthorized",
    )  # fmt: skip

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    bytes_in: int
    bytes_out: int
    commits: int
    connections_opened: int
    crowded_out: int
    damaged: int
    deliveries: int
    descriptors_short: int
    duplicates: int
    ephemeral_dropped: int
    ephemeral_sent: int
    forbidden: int
    handshakes_failed: int
    overloaded: int
    paced: int
    rate_limited: int
    records_in: int
    refused: int
    resyncs: int
    turned_away: int
    unauthorized: int

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}
