from __future__ import annotations

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from outlast_broker.channel import Channel
from outlast_broker.chunk import CHUNK_BYTES
from outlast_broker.head import Head
from outlast_broker.log import Creation, Cut, Move, Work
from outlast_broker.memory_log import MemoryLog
from outlast_broker.retention import Retention
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.batch import encode_batch, read_records

from tests.broker.logs import batch
from tests.support.bounds import FACTOR, SEED

HEAD = Head("room", 7, 1_000)
ALL = 1 << 30


def fresh(*datas: str) -> bytes:
    return encode_batch("agent", [(data, None, None) for data in datas])


def publish(channel: Channel, *sizes: int, time_ms: int = 5) -> list[bytes]:
    """Accepts and releases batches of so many records."""
    firsts, batches = [], []
    for size in sizes:
        firsts.append(channel.assigned + 1)
        batches.append(channel.accept(fresh(*["x"] * size), size, time_ms))
    channel.release(firsts, batches)
    return batches


def offsets(batches: list[bytes]) -> list[int]:
    return [record.offset for record in read_records(b"".join(batches))]


@pytest.fixture
def channel() -> Channel:
    return Channel(3, HEAD)


# --- publishing -------------------------------------------------------------------------------------------


def test_a_new_channel_is_empty(channel: Channel) -> None:
    assert (channel.first, channel.last, channel.assigned, channel.stored) == (1, 0, 0, 0)
    assert channel.settled and channel.head() == HEAD


def test_what_is_accepted_has_a_place_but_cannot_be_read(channel: Channel) -> None:
    stamped = channel.accept(fresh("a", "b"), 2, 50)
    assert stamped == batch(1, "a", "b", time_ms=50)
    assert (channel.assigned, channel.last) == (2, 0)
    assert not channel.settled and not channel.in_tail(1)


def test_what_is_released_can_be_read(channel: Channel) -> None:
    batches = publish(channel, 2, 1)
    assert (channel.assigned, channel.last, channel.last_ms) == (3, 3, 5)
    assert channel.settled and channel.in_tail(1) and channel.tail_from(1, ALL) == batches


def test_time_never_runs_backwards(channel: Channel) -> None:
    times = [read_records(channel.accept(fresh("x"), 1, now_ms))[0].time_ms for now_ms in (100, 50, 100, 101)]
    assert times == [100, 100, 100, 101]


def test_time_goes_on_where_the_stored_records_end() -> None:
    channel = Channel(3, HEAD._replace(next=2, last_ms=900))
    assert read_records(channel.accept(fresh("x"), 1, 50))[0].time_ms == 900


def test_a_condition_is_judged_by_what_was_accepted_last(channel: Channel) -> None:
    channel.check_condition(0)
    channel.accept(fresh("a", "b"), 2, 5)
    channel.check_condition(2)
    with pytest.raises(ProtocolError) as caught:
        channel.check_condition(0)
    assert (caught.value.code, caught.value.detail) == (ErrorCode.OFFSET_MISMATCH, {"last": 2})


# --- recovering -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [0, 2, 3, 5])
def test_the_journal_goes_on_where_the_chunks_end(stored: int) -> None:
    """It may begin with what lies in chunks already."""
    channel = Channel(3, HEAD._replace(next=stored + 1, last_ms=4))
    for each in (batch(1, "a", "b", time_ms=5), batch(3, "c", time_ms=70), batch(4, "d", "e", time_ms=80)):
        channel.recover(each)
    assert (channel.stored, channel.last, channel.assigned) == (stored, 5, 5)
    assert not channel.in_tail(stored)
    if stored < 5:
        assert channel.last_ms == 80
        assert offsets(channel.tail_from(stored + 1, ALL)) == list(range(stored + 1, 6))
    assert read_records(channel.accept(fresh("f"), 1, 90))[0][:2] == (6, 90)


def test_a_journal_with_a_hole_is_not_believed() -> None:
    with pytest.raises(AssertionError):
        Channel(3, HEAD).recover(batch(2, "b"))


# --- reading the tail -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "bytes_max", "found"),
    [(1, ALL, 1), (2, ALL, 1), (3, ALL, 3), (6, ALL, 4), (1, 0, 1), (3, 0, 3)],
)
def test_the_tail_is_read_from_the_batch_that_holds_the_offset(
    channel: Channel, offset: int, bytes_max: int, found: int
) -> None:
    publish(channel, 2, 1, 3)
    got = offsets(channel.tail_from(offset, bytes_max))
    assert got[0] == found and got[-1] == (6 if bytes_max else {1: 2, 3: 3}[offset])


def test_the_tail_is_read_as_far_as_the_bytes_go(channel: Channel) -> None:
    batches = publish(channel, *[1] * 10)
    assert channel.tail_from(4, 3 * len(batches[0])) == batches[3:6]
    assert channel.tail_from(4, 3 * len(batches[0]) - 1) == batches[3:5]


@pytest.mark.parametrize(
    ("offset", "records", "found"),
    [(6, 1, [4, 5, 6]), (6, 3, [4, 5, 6]), (6, 4, [3, 4, 5, 6]), (6, 99, [1, 2, 3, 4, 5, 6]), (3, 1, [3]),
     (2, 1, [1, 2]), (5, 2, [4, 5, 6]), (5, 3, [3, 4, 5, 6])],
)  # fmt: skip
def test_the_tail_is_read_back_until_it_holds_enough(
    channel: Channel, offset: int, records: int, found: list[int]
) -> None:
    publish(channel, 2, 1, 3)
    assert offsets(channel.tail_before(offset, records, ALL)) == found


def test_the_tail_is_read_back_as_far_as_the_bytes_go(channel: Channel) -> None:
    batches = publish(channel, *[1] * 10)
    assert channel.tail_before(8, 99, 3 * len(batches[0])) == batches[5:8]
    assert channel.tail_before(8, 99, 1) == batches[7:8], "one at least"


def test_a_time_is_found_in_the_tail(channel: Channel) -> None:
    for time_ms, size in ((10, 2), (20, 1), (20, 2), (30, 1)):
        publish(channel, size, time_ms=time_ms)
    assert [channel.tail_time(asked) for asked in (0, 10, 11, 20, 21, 30, 31)] == [0, 0, 2, 2, 5, 5, 6]


# --- moving into chunks -----------------------------------------------------------------------------------


def test_the_whole_tail_moves_and_is_read_until_it_has(channel: Channel) -> None:
    batches = publish(channel, 2, 1)
    assert channel.plan_move() == Move(3, [batches], 0)
    assert channel.head().next == 4
    assert offsets(channel.tail_from(1, ALL)) == [1, 2, 3]
    channel.moved()
    assert not channel.in_tail(3) and (channel.stored, channel.last) == (3, 3)


def test_what_is_released_during_a_move_stays_in_the_tail(channel: Channel) -> None:
    publish(channel, 2)
    channel.plan_move()
    later = publish(channel, 1)
    channel.moved()
    assert channel.tail_from(3, ALL) == later and not channel.in_tail(2)
    move = channel.plan_move()
    assert move is not None and move.groups == [later]


def test_nothing_moves_twice_or_after_the_end(channel: Channel) -> None:
    assert channel.plan_move() is None
    publish(channel, 2)
    channel.plan_move()
    channel.moved()
    assert channel.plan_move() is None
    publish(channel, 2)
    channel.dead = True
    assert channel.plan_move() is None


def test_a_small_chunk_is_joined_with_what_comes_next(channel: Channel) -> None:
    merges = []
    for _ in range(60):
        publish(channel, 1)
        move = channel.plan_move()
        assert move is not None
        merges.append(move.merge)
        channel.moved()
    starts = sorted({each for each in merges if each})
    assert merges[0] == 0 and merges[1] == 1
    assert 0 in merges[2:], "a chunk that is large enough is left alone"
    assert all(merges[start] in (0, start) for start in starts)


def test_large_batches_move_into_chunks_of_their_own(channel: Channel) -> None:
    big = "x" * CHUNK_BYTES
    stamped = [channel.accept(fresh(big), 1, 5) for _ in range(3)]
    channel.release([1, 2, 3], stamped)
    move = channel.plan_move()
    assert move is not None and move.groups == [[each] for each in stamped]


# --- forgetting -------------------------------------------------------------------------------------------


def test_the_tail_forgets_whole_batches(channel: Channel) -> None:
    publish(channel, 2, 3, 1)
    channel.keep_from(4)
    assert channel.first == 4
    assert offsets(channel.tail_from(4, ALL)) == [3, 4, 5, 6], "the batch that holds 4 stays whole"
    assert channel.head().next == 3, "what begins the tail is what the chunks lack"


def test_everything_may_be_forgotten(channel: Channel) -> None:
    publish(channel, 2, 3)
    channel.keep_from(6)
    assert (channel.first, channel.last) == (6, 5)
    assert channel.plan_move() is None
    assert channel.head()._replace(last_ms=0) == HEAD._replace(first=6, next=6)
    publish(channel, 1)
    assert offsets(channel.tail_from(6, ALL)) == [6]


def test_what_is_forgotten_never_comes_back(channel: Channel) -> None:
    publish(channel, 2, 3)
    channel.keep_from(3)
    channel.keep_from(1)
    assert channel.first == 3


def test_what_moves_may_be_forgotten_meanwhile(channel: Channel) -> None:
    publish(channel, 2, 3)
    channel.plan_move()
    publish(channel, 1)
    channel.keep_from(7)
    channel.moved()
    assert (channel.first, channel.last, channel.stored) == (7, 6, 6)
    publish(channel, 2)
    move = channel.plan_move()
    assert move is not None and move.merge == 0, "the chunk is being erased: nothing can be joined to it"


# --- the rest ---------------------------------------------------------------------------------------------


def test_a_channels_own_retention_goes_over_the_brokers(channel: Channel) -> None:
    rule = Retention(records=5)
    assert channel.retention(rule) == rule
    channel.own_retention = {"records": 7}
    assert channel.retention(rule) == Retention(records=7)
    assert channel.head().retention == {"records": 7}


def test_a_head_brings_a_channel_back(channel: Channel) -> None:
    publish(channel, 2, 3)
    channel.producers.note(9, 1, 4, 3)
    channel.own_retention = {"age_ms": 9}
    channel.plan_move()
    head = channel.head()
    again = Channel(3, head)
    assert again.head() == head
    assert (again.first, again.last, again.stored) == (1, 5, 5) and again.producers.admit(9, 1, 4) == 3


class Life(RuleBasedStateMachine):
    """Any order of accepting, releasing, moving, trimming, reading and restarting, against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.log = MemoryLog()
        work = Work()
        work.births.append(Creation(1, HEAD))
        self.log.commit(work)
        self.channel = Channel(1, HEAD)
        self.records: list[str] = []
        self.unreleased: list[tuple[int, bytes]] = []
        self.journal: list[bytes] = []
        self.moving: Move | None = None

    @rule(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), length=st.sampled_from([1, 20, 900, 12_000]))
    def accept(self, sizes: list[int], length: int) -> None:
        for size in sizes:
            first = self.channel.assigned + 1
            datas = [f"{first + at}:".ljust(length, "x") for at in range(size)]
            self.unreleased.append((first, self.channel.accept(fresh(*datas), size, 5)))
            self.records += datas

    @precondition(lambda self: self.unreleased)
    @rule()
    def release(self) -> None:
        firsts, batches = zip(*self.unreleased, strict=True)
        self.channel.release(list(firsts), list(batches))
        self.journal += batches
        self.unreleased = []

    @precondition(lambda self: self.moving is None)
    @rule()
    def plan_move(self) -> None:
        self.moving = self.channel.plan_move()
        if self.moving is not None:
            work = Work()
            work.moves.append(self.moving)
            work.heads.append((1, self.channel.head()))
            self.log.commit(work)

    @precondition(lambda self: self.moving is not None)
    @rule()
    def moved(self) -> None:
        self.channel.moved()
        self.moving = None

    @precondition(lambda self: self.moving is None)
    @rule(share=st.integers(0, 100))
    def truncate(self, share: int) -> None:
        first = self.channel.first + (self.channel.last + 1 - self.channel.first) * share // 100
        self.channel.keep_from(first)
        work = Work()
        work.cuts.append(Cut(1, first))
        work.heads.append((1, self.channel.head()))
        self.log.commit(work)

    @precondition(lambda self: self.moving is None and not self.unreleased)
    @rule()
    def restart(self) -> None:
        head = self.log.head(1)
        assert head is not None
        before = (self.channel.first, self.channel.last)
        self.channel = Channel(1, head)
        for each in self.journal:
            self.channel.recover(each)
        assert (self.channel.first, self.channel.last) == before

    @rule(offset=st.integers(0, 400), bytes_max=st.sampled_from([0, 100, 5_000, ALL]))
    def read(self, offset: int, bytes_max: int) -> None:
        """From any kept record on, piece by piece, from chunks and tail."""
        offset = max(self.channel.first, min(offset, self.channel.last + 1))
        found: list[str] = []
        begun = offset
        while offset <= self.channel.last:
            run = self._piece(offset, bytes_max)
            records = [record for record in read_records(run) if record.offset >= offset]
            assert [record.offset for record in records] == list(range(offset, offset + len(records))) and records
            found += [str(record.decoded()) for record in records]
            offset = records[-1].offset + 1
        assert found == self.records[begun - 1 : self.channel.last]

    def _piece(self, offset: int, bytes_max: int) -> bytes:
        if self.channel.in_tail(offset):
            return b"".join(self.channel.tail_from(offset, bytes_max))
        chunks = self.log.read(1, offset, bytes_max)
        return chunks[0].since(offset) + b"".join(each.batches for each in chunks[1:])

    @rule(offset=st.integers(1, 400), records=st.integers(1, 20), bytes_max=st.sampled_from([1, 5_000, ALL]))
    def read_back(self, offset: int, records: int, bytes_max: int) -> None:
        offset = min(offset, self.channel.last)
        if not self.channel.in_tail(offset):
            return
        found = read_records(b"".join(self.channel.tail_before(offset, records, bytes_max)))
        assert found[0].offset <= offset <= found[-1].offset
        for record in found:
            assert record.decoded() == self.records[record.offset - 1]

    @invariant()
    def counts_agree(self) -> None:
        assert self.channel.assigned == len(self.records)
        assert self.channel.last == len(self.records) - len(read_records(b"".join(each for _, each in self.unreleased)))
        assert self.channel.first <= self.channel.last + 1
        assert self.channel.stored <= self.channel.last


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80 * FACTOR, deadline=None, database=None, derandomize=SEED == 0)
