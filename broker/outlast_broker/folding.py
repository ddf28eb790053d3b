"""When closed messages are folded in the store, and what is over is erased: a channel at a time (PROTOCOL.md 4.7, 4.8).

A message is folded once it is closed and cold: its last operation lies in a chunk, and is older than `fold_after_ms`.
Until then whoever reconnects finds the operations that he missed.
"""

from __future__ import annotations

import logging
from asyncio import Future
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from . import folded, rewriting
from .channel import Channel
from .log import Rewrite
from .rewriting import Rewritten, Wanted
from .session import FOLDED_ROW, MESSAGE_ROW, THROUGH_ROW, Growing, Session, message_key, unpack_growing

if TYPE_CHECKING:
    from .engine import Engine

logger = logging.getLogger("outlast.folding")

# Rows of folded messages that are looked at for retention with each rewrite.
ROWS_PER_FOLD = 64
# Channels that are looked at in one tick.
CHANNELS_PER_TICK = 2_000


class Round(NamedTuple):
    """What is being rewritten: messages, as they were when it began; chunks, as of `version`."""

    channel: Channel
    version: int
    wanted: Wanted
    messages: list[Growing]


class Folding:
    """Lives on the loop; the reading thread makes the pieces, and the next commit writes them."""

    def __init__(self, engine: Engine, fold_after_ms: int) -> None:
        self._engine = engine
        self._fold_after_ms = fold_after_ms
        self._waiting: dict[Channel, None] = {}
        self._ripe: dict[Channel, None] = {}
        # Of messages that are longer than a piece: up to where they are still to be folded.
        self._reached: dict[tuple[int, int], int] = {}
        self._busy = False

    def note(self, channel: Channel) -> None:
        """Something of this channel may have to be folded, or erased, some time."""
        self._waiting[channel] = None

    def waits(self, channel: Channel) -> bool:
        return channel in self._waiting or channel in self._ripe

    def tick(self, now_ms: int) -> None:
        """Looks at some of those that wait, and begins with what is ripe."""
        if self._busy:
            return
        for channel in list(self._waiting)[:CHANNELS_PER_TICK]:
            del self._waiting[channel]
            self._ripe[channel] = None
        self._next(now_ms)

    def _next(self, now_ms: int) -> None:
        while self._ripe and not self._busy:
            channel = next(iter(self._ripe))
            del self._ripe[channel]
            if channel.dead or channel.session is None:
                continue
            if self._is_moving(channel) or not self._begin(channel, channel.session, now_ms):
                self._keep(channel, channel.session)

    def _keep(self, channel: Channel, session: Session) -> None:
        if channel.perishable or any(not each.is_open for each in session.durable.messages.values()):
            self._waiting[channel] = None

    def _begin(self, channel: Channel, session: Session, now_ms: int) -> bool:
        cold = [each for each in session.durable.messages.values() if self._is_ripe(each, channel, now_ms)]
        ripe = [each for each in cold if each.base >= channel.first or each.message in session.content]
        for each in [each for each in cold if each not in ripe]:
            session.give_up(each)
            self._engine.put_row(channel, message_key(MESSAGE_ROW, each.message), None)
        if ripe:
            reached = {each.message: self._reached.get((channel.number, each.message), each.place) for each in ripe}
            low, high = min(each.lies_from for each in ripe), max(reached.values())
            self._read(channel, session, Wanted(channel.number, low, high, _by_number(ripe), now_ms), ripe)
        elif channel.perishable and self._is_sweeping(channel, session, now_ms):
            low = max(session.sweep_at, session.perishable_from, channel.first)
            self._read(channel, session, Wanted(channel.number, low, channel.stored, {}, now_ms), [])
        return self._busy

    def _is_ripe(self, growing: Growing, channel: Channel, now_ms: int) -> bool:
        cold = growing.time_ms + self._fold_after_ms <= now_ms
        return cold and not growing.is_open and growing.place <= channel.stored

    def _is_sweeping(self, channel: Channel, session: Session, now_ms: int) -> bool:
        late = now_ms - session.swept_ms >= self._fold_after_ms
        return session.sweep_at > 0 or (late and session.perishable_from <= channel.stored)

    def _read(self, channel: Channel, session: Session, wanted: Wanted, messages: list[Growing]) -> None:
        self._busy = True
        snapshot = session.snapshot(channel.first, channel.last)
        seen = folded.see(channel, snapshot, wanted.high, wanted.now_ms, 0)
        turn = Round(channel, channel.chunks_version, wanted, messages)
        rewrite = rewriting.rewrite_back if messages else rewriting.rewrite_on
        self._engine.feeder.read(lambda future: self._got(turn, future), rewrite, self._engine.log, wanted, seen)

    def _got(self, turn: Round, future: Future[Rewritten | None]) -> None:
        self._busy = False
        channel, session = turn.channel, turn.channel.session
        if future.cancelled():
            return
        if (failure := future.exception()) is not None:
            logger.error("not folded: %s", failure)
        elif not channel.dead and session is not None:
            rewritten = future.result()
            if rewritten is not None and channel.chunks_version == turn.version:
                self._commit(turn, rewritten)
            self._keep(channel, session)
        self._next(turn.wanted.now_ms)

    # --- what a rewrite means -----------------------------------------------------------------------------

    def _commit(self, turn: Round, rewritten: Rewritten) -> None:
        """Messages that are folded, or records that are over, shrink the store with the next commit."""
        channel, group = turn.channel, self._engine.group
        session = self._engine.session(channel)
        if rewritten.olds:
            channel.rewrite(rewritten.olds, rewritten.news, rewritten.bytes_saved)
            group.work.rewrites.append(Rewrite(channel.number, rewritten.olds, rewritten.news))
            group.heads.add(channel)
        messages = [each for each in self._done(turn, rewritten) if session.stands(each)]
        rows = rows_of(messages) | self._swept(turn, rewritten) | self._past_retention(channel)
        group.work.rows.update(((channel.number, key), value) for key, value in rows.items())
        group.answers += [partial(session.was_folded, each) for each in messages]
        self._engine.wake()

    def _swept(self, turn: Round, rewritten: Rewritten) -> dict[bytes, bytes | None]:
        """What was over up to here is gone; all of it, if nothing lies in the journal any more."""
        channel, session = turn.channel, self._engine.session(turn.channel)
        if turn.messages:
            return {}
        session.sweep_left = session.sweep_left or rewritten.perishable_from
        session.sweep_at = rewritten.last + 1
        if rewritten.last < channel.stored:
            return {}
        session.perishable_from = session.sweep_left or session.sweep_at
        session.sweep_left = session.sweep_at = 0
        session.swept_ms = turn.wanted.now_ms
        if channel.perishes_ms <= turn.wanted.now_ms and rewritten.last == channel.assigned:
            session.perishable_from = channel.perishes_ms = 0
        return {THROUGH_ROW: session.pack_through()}

    def _past_retention(self, channel: Channel) -> dict[bytes, bytes | None]:
        """Rows of folded messages that are not in the log any more, some of them at a time."""
        oldest = self._engine.log.rows(channel.number, FOLDED_ROW, ROWS_PER_FOLD)
        return {key: None for key, row in oldest.items() if unpack_growing(row).place < channel.first}

    def _is_moving(self, channel: Channel) -> bool:
        """Whether a commit that is not on disk yet changes the channel's chunks."""
        for group in (self._engine.group, self._engine.in_flight):
            if group is not None and group.moves_chunks(channel):
                return True
        return False

    def _done(self, turn: Round, rewritten: Rewritten) -> list[Growing]:
        """The messages that are folded from beginning to end with this; of the others it remembers how far."""
        whole = []
        for each in turn.messages:
            key = (turn.channel.number, each.message)
            if rewritten.first <= each.lies_from:
                self._reached.pop(key, None)
                whole.append(each)
            elif each.place >= rewritten.first:
                self._reached[key] = rewritten.first - 1
        return whole


def rows_of(messages: list[Growing]) -> dict[bytes, bytes | None]:
    """A message that is folded changes its row: from those that are looked at to those that are looked up."""
    rows: dict[bytes, bytes | None] = {}
    for each in messages:
        rows[message_key(MESSAGE_ROW, each.message)] = None
        rows[message_key(FOLDED_ROW, each.message)] = each.pack()
    return rows


def _by_number(messages: list[Growing]) -> dict[int, Growing]:
    return {each.message: each for each in messages}
