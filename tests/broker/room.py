"""A channel on a stage, whose messages are folded when the test says so."""

from __future__ import annotations

from typing import Any

from outlast_broker.log import Log
from outlast_broker.session import Session

from tests.broker.growing import Row, say, until_folded
from tests.broker.stage import Actor, Stage, Time
from tests.broker.test_feeder import Staged

FOLD_AFTER_MS = 2_000


class Room:
    """One channel of a broker whose journal moves into chunks as soon as there is a reason to commit."""

    def __init__(self, staged: Staged, time: Time, log: Log | None = None, **settings: Any) -> None:
        self.staged = staged
        self.time = time
        self.settings = {"journal_bytes": 1, "journal_age_ms": 0, "fold_after_ms": FOLD_AFTER_MS, **settings}
        self.begin(log)

    def begin(self, log: Log | None) -> None:
        self.stage: Stage = self.staged(log, **self.settings)
        self.agent: Actor = self.stage.client("agent")
        self.number = self.agent.open("room").number

    def say(self, *rows: Row) -> int:
        return say(self.agent, self.number, *rows)

    def settle(self) -> None:
        self.stage.settle("room")

    def fold(self) -> None:
        until_folded(self.stage, "room", self.time.advance)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.time.advance(FOLD_AFTER_MS)
            self.stage.tick()

    def crash(self) -> None:
        self.begin(self.stage.crash())

    @property
    def session(self) -> Session:
        session = self.stage.channel("room").session
        assert session is not None
        return session

    @property
    def chunks(self) -> bytes:
        return b"".join(each.batches for each in self.stage.log.kept.read(self.number, 1, 1 << 30))

    def rows(self, kind: bytes) -> int:
        return len(self.stage.log.kept.rows(self.number, kind))

    def check_bytes(self) -> None:
        """What INFO tells is what lies there."""
        channel = self.stage.channel("room")
        kept = self.stage.log.kept.oldest(self.number, 1 << 30)
        assert channel.stored_bytes == sum(each.bytes for each in kept)
        if kept and channel.last_chunk:
            assert (channel.last_chunk, channel.last_chunk_bytes) == (kept[-1].first, kept[-1].bytes)
