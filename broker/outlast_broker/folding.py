"""When closed messages are folded in the store, and what is over is erased: a channel at a time (PROTOCOL.md 4.7, 4.8).

A message is folded once it is closed and cold: its last operation lies in a chunk, and is older than `fold_after_ms`.
Until then whoever reconnects finds the operations that he missed.
"""

from __future__ import annotations

from asyncio import Future
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from . import folded, logs, rewriting
from .channel import Channel
from .log import Rewrite
from .rewriting import Rewritten, Wanted
from .session import FOLDED_ROW, MESSAGE_ROW, THROUGH_ROW, Growing, Session, Snapshot, message_key, unpack_growing
from .sweep import Perishing

if TYPE_CHECKING:
    from .engine import Engine

logger = logs.logger("outlast.folding")

# Rows of folded messages that are looked at for retention with each rewrite.
ROWS_PER_FOLD = 64
# Channels that are looked at in one tick.
CHANNELS_PER_TICK = 2_000


class Descent(NamedTuple):
    """Messages on their way into fewer records. All that lies beyond `high` is done."""

    messages: list[Growing]
    high: int


class Round(NamedTuple):
    """What is being rewritten: a piece of a descent, or else of a sweep; chunks, as of `version`."""

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
        # What becomes ripe meanwhile waits for the next one: else those further down would wait for ever.
        self._descents: dict[Channel, Descent] = {}
        self._turn: Round | None = None
        self._stopped = False

    def note(self, channel: Channel) -> None:
        """Something of this channel may have to be folded, or erased, some time."""
        self._waiting[channel] = None

    @property
    def busy(self) -> bool:
        """Whether a piece is being read."""
        return self._turn is not None

    def waits(self, channel: Channel) -> bool:
        at_work = self._turn is not None and self._turn.channel is channel
        return at_work or channel in self._waiting or channel in self._ripe

    def due_ms(self, channel: Channel, now_ms: int) -> int:
        """When to look at it again, should it leave the memory until then; 0: there is nothing to be done."""
        session = channel.session
        if session is None or not self.waits(channel):
            return 0
        due_ms = now_ms + self._fold_after_ms
        return due_ms if _has_closed(session) else max(due_ms, session.sweep.next_ms)

    def stop(self) -> None:
        self._stopped = True

    def tick(self, now_ms: int) -> None:
        """Looks at some of those that wait, and begins with what is ripe."""
        if self.busy:
            return
        for channel in list(self._waiting)[:CHANNELS_PER_TICK]:
            del self._waiting[channel]
            self._ripe[channel] = None
        self._next(now_ms)

    def _next(self, now_ms: int) -> None:
        while self._ripe and not self.busy:
            channel = next(iter(self._ripe))
            del self._ripe[channel]
            if channel.dead or channel.session is None:
                self._descents.pop(channel, None)
            elif self._is_moving(channel) or not self._begin(channel, channel.session, now_ms):
                self._keep(channel, channel.session)

    def _keep(self, channel: Channel, session: Session) -> None:
        if channel.perishable or _has_closed(session):
            self._waiting[channel] = None

    # --- beginning ----------------------------------------------------------------------------------------

    def _begin(self, channel: Channel, session: Session, now_ms: int) -> bool:
        """Whether something of this channel is being read now. Descents and sweeps take turns."""
        ways = (self._begin_sweep, self._begin_descent)
        for begin in reversed(ways) if session.sweep.had_turn else ways:
            begin(channel, session, now_ms)
            if self.busy:
                return True
        return False

    def _begin_sweep(self, channel: Channel, session: Session, now_ms: int) -> None:
        if not channel.perishable or not session.sweep.is_due(channel.stored, now_ms):
            return
        low = session.sweep.begin(channel.first, channel.stored, now_ms)
        if low > channel.stored:
            self._went(channel, session, channel.stored, Perishing(), now_ms)
        else:
            self._read(channel, Wanted(channel.number, low, channel.stored, {}, now_ms), [])

    def _begin_descent(self, channel: Channel, session: Session, now_ms: int) -> None:
        session.sweep.had_turn = False
        descent = self._descents.pop(channel, None) or self._descent(channel, session, now_ms)
        messages = [each for each in descent.messages if session.stands(each)]
        lost = [each for each in messages if not _can_be_folded(each, channel, session)]
        for each in lost:
            session.give_up(each)
            self._engine.put_row(channel, message_key(MESSAGE_ROW, each.message), None)
        messages = [each for each in messages if each not in lost]
        if not messages:
            return
        if descent.high < channel.first:
            self._fold(channel, session, messages)
            return
        low = max(min(each.lies_from for each in messages), channel.first)
        wanted = Wanted(channel.number, low, descent.high, _by_number(messages), now_ms)
        self._descents[channel] = Descent(messages, descent.high)
        self._read(channel, wanted, messages)

    def _descent(self, channel: Channel, session: Session, now_ms: int) -> Descent:
        """All messages that are closed and cold, from the last place on."""
        ripe = [each for each in session.durable.messages.values() if self._is_ripe(each, channel, now_ms)]
        return Descent(ripe, max((each.place for each in ripe), default=0))

    def _is_ripe(self, growing: Growing, channel: Channel, now_ms: int) -> bool:
        cold = growing.time_ms + self._fold_after_ms <= now_ms
        return cold and not growing.is_open and growing.place <= channel.stored

    def _read(self, channel: Channel, wanted: Wanted, messages: list[Growing]) -> None:
        seen = folded.see(channel, Snapshot(channel.last, wanted.growing), wanted.high, wanted.now_ms, 0)
        self._turn = turn = Round(channel, channel.chunks_version, wanted, messages)
        rewrite = rewriting.rewrite_back if messages else rewriting.rewrite_on
        self._engine.feeder.read(lambda future: self._got(turn, future), rewrite, self._engine.log, wanted, seen)

    # --- what a rewrite means -----------------------------------------------------------------------------

    def _got(self, turn: Round, future: Future[Rewritten | None]) -> None:
        self._turn = None
        channel, session = turn.channel, turn.channel.session
        if future.cancelled() or self._stopped:
            return
        if not channel.dead and session is not None and self._take(turn, session, future):
            self._keep(channel, session)
        self._next(turn.wanted.now_ms)

    def _take(self, turn: Round, session: Session, future: Future[Rewritten | None]) -> bool:
        """Whether it is worth trying again: what is damaged is left as it is."""
        failure = future.exception()
        if turn.channel.chunks_version != turn.version:
            return True
        rewritten = None if failure is not None else future.result()
        if rewritten is None:
            missing = f"there is no record {turn.wanted.high}"
            logger.error("not_folded", channel=turn.channel.name, error=str(failure or missing))
            self._descents.pop(turn.channel, None)
            return False
        self._commit(turn, session, rewritten)
        return True

    def _commit(self, turn: Round, session: Session, rewritten: Rewritten) -> None:
        """Messages that are folded, or records that are over, shrink the store with the next commit."""
        channel, group = turn.channel, self._engine.group
        if rewritten.olds:
            channel.rewrite(rewritten.olds, rewritten.news, rewritten.bytes_saved)
            group.rewrite(channel, Rewrite(channel.number, rewritten.olds, rewritten.news))
        if turn.messages:
            self._descended(channel, session, rewritten)
        else:
            self._went(channel, session, rewritten.last, rewritten.left, turn.wanted.now_ms)
        self._engine.wake()

    def _descended(self, channel: Channel, session: Session, rewritten: Rewritten) -> None:
        """Some messages are folded from beginning to end with this; the others wait for the next piece."""
        messages = self._descents.pop(channel).messages
        whole = [each for each in messages if rewritten.first <= max(each.lies_from, channel.first)]
        rest = [each for each in messages if each not in whole]
        if rest:
            self._descents[channel] = Descent(rest, rewritten.first - 1)
        self._fold(channel, session, [each for each in whole if session.stands(each)])

    def _fold(self, channel: Channel, session: Session, messages: list[Growing]) -> None:
        """The store holds these folded, with the next commit at the latest."""
        rows = self._past_retention(channel, session) | rows_of(messages)
        for key, row in rows.items():
            self._engine.put_row(channel, key, row)
        self._engine.group.answers += [partial(session.was_folded, each) for each in messages]

    def _went(self, channel: Channel, session: Session, through: int, left: Perishing, now_ms: int) -> None:
        """What was over up to `through` is gone with the next commit; perhaps nothing is left that will be."""
        if session.sweep.went(through, left, channel.stored, now_ms, self._fold_after_ms):
            self._engine.put_row(channel, THROUGH_ROW, session.pack_through())
            self._engine.group.answers.append(lambda: self._perishes_no_more(channel, session))

    def _perishes_no_more(self, channel: Channel, session: Session) -> None:
        """From now on readers are given what lies there."""
        if not session.sweep.first and not channel.dead:
            channel.perishes_ms = 0
            self._engine.group.heads.add(channel)
            self._engine.wake()

    def _past_retention(self, channel: Channel, session: Session) -> dict[bytes, bytes | None]:
        """Rows of folded messages that are not in the log any more, some of them at a time.

        One that went on since is still asked for, as long as only the journal knows.
        """
        oldest = self._engine.log.rows(channel.number, FOLDED_ROW, ROWS_PER_FOLD)
        known = session.accepted.messages
        growing = [unpack_growing(row) for row in oldest.values()]
        gone = [each for each in growing if each.place < channel.first and each.message not in known]
        return {message_key(FOLDED_ROW, each.message): None for each in gone}

    def _is_moving(self, channel: Channel) -> bool:
        """Whether a commit that is not on disk yet changes the channel's chunks."""
        for group in (self._engine.group, self._engine.in_flight):
            if group is not None and group.moves_chunks(channel):
                return True
        return False


def _has_closed(session: Session) -> bool:
    return any(not each.is_open for each in session.durable.messages.values())


def _can_be_folded(growing: Growing, channel: Channel, session: Session) -> bool:
    """Whether retention has left its place, and what it holds is there or in memory."""
    return growing.place >= channel.first and (growing.base >= channel.first or growing.message in session.content)


def rows_of(messages: list[Growing]) -> dict[bytes, bytes | None]:
    """A message that is folded changes its row: from those that are looked at to those that are looked up."""
    rows: dict[bytes, bytes | None] = {}
    for each in messages:
        rows[message_key(MESSAGE_ROW, each.message)] = None
        rows[message_key(FOLDED_ROW, each.message)] = each.pack()
    return rows


def _by_number(messages: list[Growing]) -> dict[int, Growing]:
    return {each.message: each for each in messages}
