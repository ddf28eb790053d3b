"""Cursors: what a reader has acknowledged, on its way to the broker, and what a channel knows of its readers.

A `Receipt` sends one ACK at a time and then the newest offset, however many records were acknowledged
meanwhile (PROTOCOL.md 6.9). It outlives wires: what was not answered goes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from random import random
from typing import Any, Literal, NamedTuple, TypeAlias

from outlast_protocol import frames
from outlast_protocol.limits import CURSOR_NAME_BYTES_MAX

from .backoff import Pace, delay_ms
from .errors import Closed, ConnectionLost, OutlastError, UnknownChannel
from .link import Answer, Life, Link
from .records import Record, moment
from .turns import settle

AckMode: TypeAlias = Literal["auto", "manual"]

_log = logging.getLogger("outlast")


class Cursor(NamedTuple):
    """A cursor as lists show it: `lag` records lie beyond it, `acked` is when it last moved, in UTC."""

    name: str
    offset: int
    lag: int
    acked: datetime


def cursor_from(result: Mapping[str, Any]) -> Cursor:
    return Cursor(result["cursor"], result["offset"], result["lag"], moment(result["acked_ms"]))


def check_cursor_name(name: object) -> str:
    """`name` if it is 1 to 128 bytes of UTF-8 without control characters (PROTOCOL.md 6.9)."""
    if not isinstance(name, str):
        raise TypeError(f"a cursor's name is text, not {type(name).__name__}")
    size = len(name.encode(errors="surrogatepass"))
    if not 1 <= size <= CURSOR_NAME_BYTES_MAX:
        raise ValueError(f"the cursor's name has {size} bytes, expected 1 to {CURSOR_NAME_BYTES_MAX}")
    if any(letter < "\x20" or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in name):
        raise ValueError(f"the cursor's name {name!r} has a control character or a lone surrogate: leave it out")
    return name


class TrackedRecord(Record):
    """A record that came by way of a cursor, and can be acknowledged."""

    receipt: Receipt

    def ack(self) -> None:
        self.receipt.acknowledge(self.epoch, self.offset)


class Receipt:
    """What one subscription has acknowledged of the present life of its channel."""

    def __init__(self, name: str, pace: Pace, failed: Callable[[OutlastError], None]) -> None:
        self.name = name
        self._pace = pace
        self._failed = failed
        self._link: Link | None = None
        self._life: Life | None = None
        self._epoch = -1
        self._wanted = self._answered = -1
        self._on_its_way = False
        self._attempt = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._failure: OutlastError | None = None

    def track(self, record: Record) -> Record:
        tracked = TrackedRecord._make(record)
        tracked.receipt = self
        return tracked

    def acknowledge(self, epoch: int, offset: int) -> None:
        """Everything up to `offset` is done with. Of an earlier life nothing is left to acknowledge."""
        if epoch == self._epoch and offset > self._wanted:
            self._wanted = offset
            if not self._on_its_way and self._timer is None:
                self._send()

    async def acked(self) -> None:
        """Returns when everything acknowledged so far is on disk. Raises what ended the acknowledging."""
        if self._failure is not None:
            raise self._failure
        if self._answered < self._wanted:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn

    def push(self) -> None:
        """Sends what is left at once: the subscription ends."""
        if self._answered < self._wanted:
            self._send()

    # --- called by the feed -------------------------------------------------------------------------------

    def enter(self, link: Link, life: Life) -> None:
        """The channel can be named again; what was not answered goes again, unless it is another life now."""
        self._link, self._life = link, life
        if life.epoch != self._epoch:
            self.forget()
            self._life, self._epoch = life, life.epoch
        self._on_its_way = False
        self.push()

    def forget(self) -> None:
        """The channel's life is over, and the cursor with it: nothing of it is left to acknowledge."""
        self.lost()
        self._epoch = self._wanted = self._answered = -1
        self._settle(UnknownChannel("the channel was deleted, and its cursors with it"))

    def lost(self) -> None:
        """There is no connection at present."""
        self._life = None
        self._cancel_timer()

    def end(self) -> None:
        """Nobody sends for this subscription any more."""
        self.push()
        self.lost()
        if self._failure is None:
            self._failure = Closed("the subscription ended before this was acknowledged on disk")
        self._settle(self._failure)

    # --- sending ------------------------------------------------------------------------------------------

    def _send(self) -> None:
        link, life, offset = self._link, self._life, self._wanted
        self._cancel_timer()
        if link is None or life is None or self._failure is not None:
            return
        self._on_its_way = True
        link.request(
            lambda request: frames.Ack(request, life.number, self.name, offset),
            partial(self._heard, life, offset),
        )

    def _heard(self, life: Life, offset: int, answer: Answer) -> None:
        if life is not self._life:
            return
        self._on_its_way = False
        if isinstance(answer, OutlastError):
            self._refused(answer)
            return
        self._attempt = 0
        self._answered = max(self._answered, offset)
        if self._answered < self._wanted:
            self._send()
        else:
            self._settle(None)

    def _refused(self, error: OutlastError) -> None:
        """A lost connection, or a channel that is gone, is the feed's to see to."""
        if isinstance(error, ConnectionLost):
            return
        if isinstance(error, UnknownChannel):
            self.forget()
        elif error.retryable:
            _log.warning("acknowledging by cursor %r waits: %s", self.name, error)
            wait_ms = delay_ms(self._attempt, self._pace, random(), error.retry_after_ms)
            self._attempt += 1
            self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._send)
        else:
            self._failure = error
            self._settle(error)
            self._failed(error)

    def _settle(self, error: OutlastError | None) -> None:
        waiting, self._waiting = self._waiting, []
        settle(waiting, error)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
