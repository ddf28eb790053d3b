"""Making stored chunks smaller, in a log without a broker."""

from __future__ import annotations

import pytest
from outlast_broker import folded, rewriting
from outlast_broker.damage import Damaged
from outlast_broker.log import Rewrite
from outlast_broker.memory_log import MemoryLog
from outlast_broker.rewriting import Rewritten, Wanted, rewrite_back, rewrite_on, stored_bytes
from outlast_broker.sweep import Perishing
from outlast_protocol.operations import Op

from tests.broker.growing import Kept, Row, batches_of, briefs, check_dense, closed, grown, opened, plain
from tests.broker.logs import BIRTH_MS, commit, ranges

ALL = 1 << 30


def wanted(kept: Kept, low: int, high: int, *messages: int, now_ms: int = BIRTH_MS) -> Wanted:
    growing = kept.session.durable.messages
    return Wanted(kept.number, low, high, {each: growing[each] for each in messages}, now_ms)


def write(kept: Kept, rewritten: Rewritten | None) -> Rewritten:
    assert rewritten is not None
    commit(kept.log, Rewrite(kept.number, rewritten.olds, rewritten.news))
    return rewritten


def whole(kept: Kept) -> bytes:
    run = b"".join(chunk.batches for chunk in kept.log.read(kept.number, 1, ALL))
    check_dense(run, 1, kept.last)
    return run


def size(kept: Kept) -> int:
    return sum(stored_bytes(chunk) for chunk in kept.log.read(kept.number, 1, ALL))


def talk(tokens: int = 100, token: str = "t", per_chunk: int = 4) -> Kept:
    """Message 1, with something else on both sides."""
    rows: list[list[Row]] = [[opened("")], *[[grown(1, token)] for _ in range(tokens)], [closed(1)], [plain("end")]]
    return Kept(MemoryLog(), batches_of(*rows), len(rows), per_chunk)


def test_a_message_becomes_one_record() -> None:
    kept = talk()
    before = size(kept)
    rewritten = write(kept, rewrite_back(kept.log, wanted(kept, 1, 102, 1), kept.seen()))
    assert (rewritten.first, rewritten.last) == (1, 103)
    assert briefs(whole(kept)) == [(102, Op.FOLDED, b"t" * 100), (103, None, b"end")]
    assert rewritten.bytes_saved == before - size(kept)
    assert len(kept.log.read(kept.number, 1, ALL)) == 1, "small chunks side by side become one"


def test_tokens_cost_next_to_nothing_once_they_are_folded() -> None:
    kept = talk(10_000, "to ", per_chunk=400)
    write(kept, rewrite_back(kept.log, wanted(kept, 1, 10_002, 1), kept.seen()))
    assert size(kept) <= 1.2 * 30_000 + 200


def test_a_piece_at_a_time_and_the_folded_record_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "PIECE_BYTES", 2_000)
    kept = talk(200)
    high, pieces = 202, 0
    while high >= 1:
        rewritten = write(kept, rewrite_back(kept.log, wanted(kept, 1, high, 1), kept.seen(memory=False)))
        assert rewritten.first <= high <= rewritten.last
        left = briefs(whole(kept))
        assert left[-2:] == [(202, Op.FOLDED, b"t" * 200), (203, None, b"end")]
        assert all(each.offset < rewritten.first for each in left[:-2]), "of the others only what lies before is left"
        high, pieces = rewritten.first - 1, pieces + 1
    assert pieces > 3 and len(left) == 2


def test_what_is_interrupted_between_pieces_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a crash: nobody knows how far it was."""
    monkeypatch.setattr(rewriting, "PIECE_BYTES", 2_000)
    kept = talk(200)
    write(kept, rewrite_back(kept.log, wanted(kept, 1, 202, 1), kept.seen()))
    seen = kept.seen(memory=False)
    assert folded.content_of(kept.log, seen, seen.growing[1]) == b"t" * 200
    monkeypatch.setattr(rewriting, "PIECE_BYTES", ALL)
    write(kept, rewrite_back(kept.log, wanted(kept, 1, 202, 1), seen))
    assert briefs(whole(kept)) == [(202, Op.FOLDED, b"t" * 200), (203, None, b"end")]


def test_only_what_is_wanted_is_folded() -> None:
    rows = [[opened("a")], [opened("b")], [grown(1, "c")], [grown(2, "d")], [closed(1)], [closed(2)]]
    kept = Kept(MemoryLog(), batches_of(*rows), 6)
    write(kept, rewrite_back(kept.log, wanted(kept, 1, 5, 1), kept.seen()))
    assert briefs(whole(kept)) == [(2, Op.OPEN, b"b"), (4, Op.APPEND, b"d"), (5, Op.FOLDED, b"ac"), (6, Op.CLOSE, b"")]


def test_chunks_in_which_nothing_changes_are_left_alone() -> None:
    large = [plain("x" * 3_000)]
    kept = Kept(MemoryLog(), batches_of(large, [opened("a")], large, [closed(2)], large), 5)
    rewritten = write(kept, rewrite_back(kept.log, wanted(kept, 2, 4, 2), kept.seen()))
    assert rewritten.olds == [2, 4]
    assert ranges(kept.log.read(kept.number, 1, ALL)) == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]


def test_small_neighbours_join_in_and_it_stops_somewhere() -> None:
    """Else every fold would leave a chunk of its own."""
    rows = [[plain("x" * 100)] for _ in range(9)]
    kept = Kept(MemoryLog(), batches_of(*rows, [opened("a")], [closed(10)]), 11)
    rewritten = write(kept, rewrite_back(kept.log, wanted(kept, 10, 11, 10), kept.seen()))
    assert rewritten.first == 1 and len(kept.log.read(kept.number, 1, ALL)) == 1


def test_new_chunks_are_no_larger_than_others() -> None:
    kept = talk(300, "t" * 100)
    for_ever = [[plain("x" * 900)] for _ in range(100)]
    rows = [[opened("")], *[each for pair in zip(for_ever, [[grown(1, "t")]] * 100, strict=True) for each in pair]]
    kept = Kept(MemoryLog(), batches_of(*rows, [closed(1)]), 202, 20)
    write(kept, rewrite_back(kept.log, wanted(kept, 1, 202, 1), kept.seen()))
    chunks = kept.log.read(kept.number, 1, ALL)
    assert len(chunks) > 2 and max(len(chunk.batches) for chunk in chunks) < 40_000


def test_what_cannot_be_found_is_not_erased() -> None:
    """The message begins elsewhere than the session says: nobody knows why, and folding would make it final."""
    kept = talk(5)
    seen = kept.seen(memory=False)
    odd = kept.session.durable.messages[1]._replace(base=3)
    with pytest.raises(Damaged):
        rewrite_back(kept.log, wanted(kept, 1, 7)._replace(growing={1: odd}), seen)


def test_what_is_not_there_is_not_rewritten() -> None:
    kept = talk(5)
    assert rewrite_back(kept.log, wanted(kept, 1, 99, 1), kept.seen()) is None
    assert rewrite_on(kept.log, wanted(kept, 99, 120), kept.seen()) is None


# --- what is over -----------------------------------------------------------------------------------------


def test_what_is_over_goes_and_what_is_left_is_told() -> None:
    rows = [[plain("a", ttl_ms=5)], [plain("b" * 3_000)], [plain("c", ttl_ms=90)], [plain("d", ttl_ms=50)]]
    kept = Kept(MemoryLog(), batches_of(*rows), 4)
    rewritten = write(kept, rewrite_on(kept.log, wanted(kept, 1, 4, now_ms=BIRTH_MS + 10), kept.seen()))
    assert [each.data[:1] for each in briefs(whole(kept))] == [b"b", b"c", b"d"]
    assert (rewritten.first, rewritten.last) == (1, 4)
    assert rewritten.left == Perishing(3, BIRTH_MS + 53)


def test_a_sweep_goes_on_from_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "PIECE_BYTES", 500)
    rows = [[plain("x" * 100, ttl_ms=5)] for _ in range(20)]
    kept = Kept(MemoryLog(), batches_of(*rows), 20)
    low, pieces = 1, 0
    while low <= 20:
        low = write(kept, rewrite_on(kept.log, wanted(kept, low, 20, now_ms=BIRTH_MS + 99), kept.seen())).last + 1
        pieces += 1
    assert pieces > 3 and briefs(whole(kept)) == []
