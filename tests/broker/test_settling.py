from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, strategies as st
from outlast_broker.channel import Channel
from outlast_broker.head import Head
from outlast_broker.settling import BYTES_PER_CHANNEL, SLICE_CHANNELS, Settling
from outlast_protocol.batch import encode_batch

from tests.support.bounds import bounded

BATCH = encode_batch("agent", [("x", None, None)])


def channel(number: int = 1) -> Channel:
    return Channel(number, Head(f"room {number}", 7, 0))


def release(each: Channel, count: int = 1) -> int:
    """Publishes to the channel's tail; returns how many bytes."""
    stamped = [each.accept(BATCH, 1, 0) for _ in range(count)]
    each.release(list(range(each.last + 1, each.last + 1 + count)), stamped)
    return sum(map(len, stamped))


def noted(settling: Settling, channels: int, now_ms: int = 1_000) -> list[Channel]:
    made = [channel(number) for number in range(channels)]
    for each in made:
        settling.note(each, release(each))
    settling.released(1, now_ms)
    return made


# --- when -------------------------------------------------------------------------------------------------


def test_an_empty_journal_is_never_ripe() -> None:
    settling = Settling(1, 0)
    assert not settling.ripe(10**15)
    assert list(settling.slice(0, 10**15)) == [] and settling.forget_through == 0


def test_the_journal_is_moved_when_it_has_grown_enough() -> None:
    settling = Settling(3_000, 10**9)
    settling.note(channel(), 2_999)
    settling.released(1, 1_000)
    assert not settling.ripe(2_000)
    settling.note(channel(), 5_000)
    assert settling.ripe(2_000)


def test_the_journal_is_moved_when_it_is_old() -> None:
    settling = Settling(10**9, 500)
    noted(settling, 1, now_ms=1_000)
    assert not settling.ripe(1_499)
    assert settling.ripe(1_500)


def test_age_counts_from_the_first_record_and_anew_after_a_move() -> None:
    settling = Settling(10**9, 500)
    [each] = noted(settling, 1, now_ms=1_000)
    settling.note(each, release(each))
    settling.released(2, 1_400)
    assert list(settling.slice(0, 1_500)) == [each]
    settling.note(each, release(each))
    settling.released(3, 5_000)
    assert not settling.ripe(5_499) and settling.ripe(5_500)


def test_many_quiet_channels_wait_for_more() -> None:
    """A page or two are written for each channel that moves."""
    settling = Settling(1, 10**9)
    made = noted(settling, 10)
    assert not settling.ripe(2_000)
    settling.note(made[0], 10 * BYTES_PER_CHANNEL)
    assert settling.ripe(2_000)


# --- how many at once -------------------------------------------------------------------------------------


def test_a_commit_moves_a_slice_of_the_channels() -> None:
    settling = Settling(10**9, 0)
    made = noted(settling, 3 * SLICE_CHANNELS)
    moved = list(settling.slice(0, 1_000))
    assert moved == made[:SLICE_CHANNELS] and settling.busy
    while settling.busy:
        moved += settling.slice(0, 1_000)
    assert moved == made


def test_a_larger_group_moves_more() -> None:
    """Otherwise a busy journal would grow faster than it is moved."""
    settling = Settling(10**9, 0)
    each = [channel(number) for number in range(50)]
    for one in each:
        settling.note(one, release(one, 1_500))
    settling.released(1, 0)
    few = len(list(settling.slice(0, 0)))
    many = len(list(settling.slice(4 << 20, 0)))
    assert 0 < few < many


def test_what_is_published_while_a_slice_waits_is_moved_the_next_time() -> None:
    settling = Settling(10**9, 0)
    made = noted(settling, 2 * SLICE_CHANNELS)
    assert len(list(settling.slice(0, 1_000))) == SLICE_CHANNELS
    settling.note(made[0], release(made[0]))
    settling.released(2, 1_000)
    assert list(settling.slice(0, 1_000)) == made[SLICE_CHANNELS:]
    assert settling.forget_through == 1, "value 2 holds a record that did not move"
    made[0].plan_move()
    assert list(settling.slice(0, 1_000)) == [made[0]]
    assert settling.forget_through == 2


@pytest.mark.parametrize("count", [0, 1, SLICE_CHANNELS])
def test_nothing_is_forgotten_until_all_that_was_sealed_has_moved(count: int) -> None:
    settling = Settling(10**9, 0)
    noted(settling, SLICE_CHANNELS + count)
    list(settling.slice(0, 1_000))
    assert settling.forget_through == (0 if count else 1)


# --- nothing is ever forgotten too early ------------------------------------------------------------------


class Group(NamedTuple):
    """What one commit takes: records per channel, and what moves with it."""

    fresh: list[tuple[Channel, bytes]]
    moving: list[Channel]
    heads: dict[Channel, int]
    forget_through: int


class Broker:
    """Channels, their settling, and a disk that is asked after each commit what a restart would find."""

    def __init__(self, journal_bytes: int, age_ms: int, channels: int) -> None:
        self.settling = Settling(journal_bytes, age_ms)
        self.channels = [channel(number) for number in range(channels)]
        self.now_ms = 0
        self.gathering: list[tuple[Channel, bytes]] = []
        self.in_flight: Group | None = None
        self.journal: dict[int, list[tuple[Channel, int]]] = {}
        self.stored = dict.fromkeys(self.channels, 0)
        self.newest = 0

    def publish(self, index: int, count: int) -> None:
        each = self.channels[index % len(self.channels)]
        self.gathering += [(each, each.accept(BATCH, 1, self.now_ms)) for _ in range(count)]

    def hand_over(self) -> None:
        if self.in_flight is not None:
            return
        fresh, self.gathering = self.gathering, []
        moving = [
            each
            for each in self.settling.slice(sum(len(batch) for _, batch in fresh), self.now_ms)
            if each.plan_move() is not None
        ]
        heads = {each: each.head().next - 1 for each in moving}
        self.in_flight = Group(fresh, moving, heads, self.settling.forget_through)

    def commit(self, eager: bool) -> None:
        """Ends the commit under way; `eager`, as the engine: the next group goes before this one is released."""
        group, self.in_flight = self.in_flight, None
        if group is None:
            return
        self._write(group)
        for each in group.moving:
            each.moved()
        if eager:
            self.hand_over()
        for each, batch in group.fresh:
            each.release([each.last + 1], [batch])
            self.settling.note(each, len(batch))
        self.settling.released(self.newest, self.now_ms)

    def _write(self, group: Group) -> None:
        self.stored.update(group.heads)
        if group.fresh:
            self.newest += 1
            places: dict[Channel, int] = {}
            entries = []
            for each, _ in group.fresh:
                places[each] = places.get(each, each.last) + 1
                entries.append((each, places[each]))
            self.journal[self.newest] = entries
        for journal_id in range(1, group.forget_through + 1):
            for each, offset in self.journal.pop(journal_id, []):
                assert offset <= self.stored[each], f"a restart would lose record {offset} of {each.name}"


STEPS = st.lists(
    st.tuples(st.sampled_from(["publish", "hand over", "commit", "commit eagerly", "wait"]), st.integers(0, 9)),
    max_size=200,
)


@bounded(150)
@given(STEPS, st.sampled_from([1, 200, 10**9]), st.sampled_from([0, 5, 10**9]), st.integers(1, 6))
def test_no_interleaving_forgets_a_record_that_is_nowhere_else(
    steps: list[tuple[str, int]], journal_bytes: int, age_ms: int, channels: int
) -> None:
    broker = Broker(journal_bytes, age_ms, channels)
    for step, amount in steps:
        match step:
            case "publish":
                broker.publish(amount, 1 + amount % 3)
            case "hand over":
                broker.hand_over()
            case "wait":
                broker.now_ms += amount
            case _:
                broker.commit(eager=step == "commit eagerly")


@bounded(50)
@given(STEPS, st.integers(1, 6))
def test_in_the_end_everything_moves_and_is_forgotten(steps: list[tuple[str, int]], channels: int) -> None:
    broker = Broker(1, 0, channels)
    for step, amount in steps:
        if step == "publish":
            broker.publish(amount, 1)
        broker.hand_over()
        broker.commit(eager=False)
    for _ in range(4):
        broker.hand_over()
        broker.commit(eager=False)
    assert not broker.settling.busy and not broker.journal
    assert [each.stored for each in broker.channels] == [each.assigned for each in broker.channels]


def test_a_hurried_journal_is_sealed_whole_however_young_it_is() -> None:
    settling = Settling(1 << 20, 30_000)
    channels = noted(settling, 3)
    settling.hurry()
    assert settling.hurried
    assert list(settling.slice(0, 1_000)) == channels
    assert not settling.hurried and settling.forget_through > 0


def test_a_hurried_journal_that_holds_only_what_is_deleted_is_forgotten() -> None:
    settling = Settling(1 << 20, 30_000)
    settling.released(7, 1_000)
    assert list(settling.slice(0, 1_000)) == [] and settling.forget_through == 0
    settling.hurry()
    assert list(settling.slice(0, 1_000)) == [] and settling.forget_through == 7
