"""What happened since the start, as plain integers: the hot path adds, whoever asks reads."""

from __future__ import annotations

from collections import Counter

from outlast_protocol import ErrorCode

# What each counts, in words for an operator: docs/metrics.md has these rows, `/metrics` these lines.
COUNTED = {
    "bytes_in": "Bytes of frames read from clients.",
    "bytes_out": "Bytes of frames written to clients.",
    "clock_jumps": "Times that the machine's clock jumped by two seconds or more.",
    "commits": "Commits that ended, each with one sync of the disk.",
    "connections_opened": "Connections that were made, whatever became of them.",
    "crowded_out": "Sockets that said nothing and had to make room for others.",
    "damaged": "Reads that found stored bytes to fail their checksum.",
    "deliveries": "DELIVER frames given to subscriptions.",
    "descriptors_short": "Seconds in which no file descriptor was left.",
    "duplicates": "Publishes that had been stored already, and were sent again.",
    "ephemeral_dropped": "Ephemeral messages that a reader did not get.",
    "ephemeral_sent": "Ephemeral messages given to readers.",
    "fallen_behind": "Live subscriptions that had to be served from the log: slow readers, and those without credit.",
    "forbidden": "Requests that a token does not allow.",
    "handshakes_failed": "TLS handshakes that failed or took too long.",
    "overloaded": "Connections closed because too much waited for sockets that took nothing.",
    "paced": "Times that a connection was read later because of a rate.",
    "rate_limited": "HTTP requests refused because of a rate.",
    "records_in": "Records accepted.",
    "refused": "Errors of any kind told to clients.",
    "reloads_refused": "Reloads that changed nothing, for something was wrong.",
    "resyncs": "Subscriptions that were told that records are gone.",
    "turned_away": "Sockets refused at the door: too many, or too often.",
    "unauthorized": "Tokens that were not believed, or missing.",
}


class Counters:
    """`errors` are those of `refused` by their code, `responses` answers to HTTP requests by their status."""

    __slots__ = (*COUNTED, "errors", "responses")

    def __init__(self) -> None:
        for name in COUNTED:
            setattr(self, name, 0)
        self.errors = dict.fromkeys(ErrorCode, 0)
        self.responses: Counter[int] = Counter()

    bytes_in: int
    bytes_out: int
    clock_jumps: int
    commits: int
    connections_opened: int
    crowded_out: int
    damaged: int
    deliveries: int
    descriptors_short: int
    duplicates: int
    ephemeral_dropped: int
    ephemeral_sent: int
    fallen_behind: int
    forbidden: int
    handshakes_failed: int
    overloaded: int
    paced: int
    rate_limited: int
    records_in: int
    refused: int
    reloads_refused: int
    resyncs: int
    turned_away: int
    unauthorized: int

    def refuse(self, code: ErrorCode) -> None:
        self.refused += 1
        self.errors[code] += 1
