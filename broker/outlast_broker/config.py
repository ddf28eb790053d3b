"""What an operator can decide, in one frozen place. Names say their unit; each says what it is for, once for all.

A part of the broker that has several options keeps them in a frozen dataclass beside its code and has a field here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from outlast_protocol.limits import CHANNELS_MAX

from .auth.settings import AuthSettings
from .configuration.option import inlined, option
from .doors.address import parse_address
from .doors.limits import Limits
from .retention import Retention
from .rules import Rule
from .tls_files import TlsFiles
from .web.origins import check_origin

MIB = 1 << 20
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Config:
    """`data` None keeps everything in memory."""

    listen: tuple[str, ...] = option(
        ("127.0.0.1:6180",), "HOST:PORT or [IPV6]:PORT, with tls: in front for TLS, or unix:PATH; may be several. "
        "Port 0 takes a free one.",
        check=parse_address,
    )  # fmt: skip
    data: Path | None = option(Path("outlast-data"), "The data folder. It is made if it is not there.")
    retention: Retention = inlined(Retention)
    rules: tuple[Rule, ...] = field(default=())
    allow_origins: tuple[str, ...] = option(
        (), "Lets pages of this origin come here out of a browser, as https://app.example.org, or * for all; "
        "may be several.", name="allow_origin", check=check_origin, live=True,
    )  # fmt: skip
    tls: TlsFiles = field(default_factory=TlsFiles)
    limits: Limits = field(default_factory=Limits)
    auth: AuthSettings = field(default_factory=AuthSettings)
    insecure_no_auth: bool = option(False, "Lets it listen where other machines can reach it.")
    reader_buffer_bytes: int = option(
        MIB, "What may wait for one connection's socket; beyond it, its readers are served from the log.", live=True
    )
    commit_backlog_bytes: int = option(
        16 * MIB, "What may wait for the disk; beyond it, publishers are not read from.", live=True
    )
    journal_bytes: int = option(
        32 * MIB, "The journal moves into the channels' chunks when it has grown by so much ...", name="journal_size"
    )
    journal_age_ms: int = option(30_000, "... or is so old.")
    disk_reserve_bytes: int = option(256 * MIB, "With less free disk the broker is read-only.", live=True)
    fold_after_ms: int = option(60_000, "A growing message becomes one record once it was closed for so long.")
    contents_bytes: int = option(
        64 * MIB, "What open messages hold is kept in memory up to this.", name="contents_size"
    )
    map_bytes: int = option(
        16 << 30, "Address space set aside for the store at the start. It is doubled when the store outgrows it.",
        name="map_size",
    )  # fmt: skip
    channels_per_connection: int = option(
        CHANNELS_MAX, "How many channels one connection may open.", least=1, live=True
    )
    hello_timeout_ms: int = option(5_000, "How long a new connection may stay silent.", live=True)
    handshake_timeout_ms: int = option(10_000, "How long a TLS handshake may take.", live=True)
    drain_ms: int = option(
        5_000, "How long a stop waits for readers to take what is theirs.", name="drain_time", live=True
    )
    come_back_ms: int = option(500, "When clients are told to come back after a stop.", name="come_back", live=True)
    console: bool = option(True, "Serves the console, the page for people, at /.")
    log_level: str = option("warning", "What is logged, on standard error.", one_of=LOG_LEVELS, live=True)
