"""COMPACT, and what DELETE with `hard` adds: the store is written anew, without what was erased (PROTOCOL.md 6.8).

What was erased lies on in the journal, in pages that are free, and in gaps of pages that are not. So first the journal
is moved into chunks and the deleted channels are erased, and then everything that is left goes into another file.
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError, frames as f

from . import logs
from .log import Compacted, Outcome

if TYPE_CHECKING:
    from .connection import ClientConnection
    from .engine import Engine

logger = logs.logger("outlast.compacting")

# What could not be done for lack of room is tried again.
RETRY_S = 600.0
Told = Callable[[Compacted | Exception], None]


class Compacting:
    """Lives on the loop; the copy is made by a thread of its own. One at a time, for all who asked before it began."""

    def __init__(self, engine: Engine, loop: AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._asking: list[Told] = []
        self._waiting: list[Told] = []
        self._thread: threading.Thread | None = None
        # Up to where the journal must be forgotten before the copy begins; None: it has begun, or nobody asked.
        self._target: int | None = None
        self._accepted = False

    def ask(self, told: Told) -> None:
        """Begins, or comes behind the one that is under way: what is erased by now is gone when `told` is called."""
        self._asking.append(told)
        self._begin()

    def pay(self) -> None:
        """What a broker before this one promised to erase, and did not live to."""
        if self._engine.log.owes_compaction() and not self._waiting:
            self.ask(self._paid)

    def _paid(self, outcome: Compacted | Exception) -> None:
        if isinstance(outcome, Exception) and not self._engine.leaving:
            self._loop.call_later(RETRY_S, self.pay)

    def _begin(self) -> None:
        if self._asking and not self._waiting:
            self._waiting, self._asking = self._asking, []
            self._engine.group.work.tidy = True
            self._engine.after_commit(self._commits)

    def _commits(self) -> None:
        """All that was accepted before anybody asked is in the journal with the commit that ends now."""
        self._accepted = True

    def committed(self, outcome: Outcome) -> None:
        """A commit has ended."""
        if self._accepted:
            self._accepted, self._target = False, outcome.journal_newest
            self._engine.settling.hurry()
        elif self._target is not None and self._target < outcome.journal_oldest and not outcome.erasing:
            self._target = None
            self._copy()

    def _copy(self) -> None:
        self._thread = threading.Thread(target=self._run, name="compacting", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        outcome: Compacted | Exception
        try:
            outcome = self._engine.log.compact(self._engine.config.disk_reserve_bytes)
        except Exception as error:
            outcome = error
        self._loop.call_soon_threadsafe(self._copied, outcome)

    def _copied(self, outcome: Compacted | Exception) -> None:
        waiting, self._waiting = self._waiting, []
        if isinstance(outcome, Exception):
            logger.error("not_compacted", error=str(outcome))
        else:
            logger.info("compacted", before_bytes=outcome.before_bytes, after_bytes=outcome.after_bytes)
        for told in waiting:
            told(outcome)
        self._engine.outbox.flush()
        self._begin()

    def stop(self) -> None:
        """Before the log is closed: a copy that is being made is given up."""
        if self._thread is not None:
            self._engine.log.give_up_compaction()
            self._thread.join()


# --- frames -----------------------------------------------------------------------------------------------


def compact(connection: ClientConnection, frame: f.Compact) -> None:
    def told(outcome: Compacted | Exception) -> None:
        if isinstance(outcome, Exception):
            connection.refuse(frame.request, _refusal(f"not compacted: {outcome}"))
        else:
            connection.reply(frame.request, outcome._asdict())

    connection.engine.compacting.ask(told)


def erase(connection: ClientConnection, request: int, epoch: int) -> None:
    """Answers a DELETE when nothing of the channel can be read in the file."""

    def told(outcome: Compacted | Exception) -> None:
        if isinstance(outcome, Exception):
            text = f"the channel is deleted, and what it held is not yet erased from the file: {outcome}"
            connection.refuse(request, _refusal(text))
        else:
            connection.reply(request, {"epoch": epoch})

    connection.engine.compacting.ask(told)


def _refusal(text: str) -> ProtocolError:
    return ProtocolError(ErrorCode.READ_ONLY, text, retry_after_ms=int(RETRY_S * 1000))
