"""What an operator can decide, in one frozen place. Names say their unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from outlast_protocol.limits import CHANNELS_MAX

from .limits import Limits
from .retention import Retention
from .tls import TlsFiles

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Config:
    """`listen` holds HOST:PORT, tls:HOST:PORT and unix:PATH addresses. `data` None keeps everything in memory."""

    listen: tuple[str, ...] = ("127.0.0.1:6180",)
    data: Path | None = Path("outlast-data")
    retention: Retention = field(default_factory=Retention)
    # A reader whose socket holds more than this falls behind and is served from the log instead.
    reader_buffer_bytes: int = MIB
    # Publishers are not read from while more than this waits for the disk.
    commit_backlog_bytes: int = 16 * MIB
    # The journal is moved into chunks when it has grown by this much, or is this old.
    journal_bytes: int = 32 * MIB
    journal_age_ms: int = 30_000
    # Below this much free disk publishing stops; reading, trimming and deleting go on.
    disk_reserve_bytes: int = 256 * MIB
    # A message is folded in the store once it has been closed for so long.
    fold_after_ms: int = 60_000
    # What open messages hold is kept in memory up to this, all channels together; the rest is read from the log.
    contents_bytes: int = 64 * MIB
    map_bytes: int = 16 << 30
    channels_per_connection: int = CHANNELS_MAX
    hello_timeout_ms: int = 5_000
    limits: Limits = field(default_factory=Limits)
    tls: TlsFiles = field(default_factory=TlsFiles)
    # Within so long a handshake of TLS is done; HELLO, or the head of a request, has its time after it.
    handshake_timeout_ms: int = 10_000
    drain_ms: int = 5_000
    come_back_ms: int = 500
    # Of whose pages browsers may come here, beside the broker's own: origins, or "*" for all.
    allow_origins: tuple[str, ...] = ()
    console: bool = True
