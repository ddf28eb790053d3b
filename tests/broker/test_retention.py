"""PROTOCOL.md 6.8."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_broker.retention import RETENTION_KEYS, ChunkFacts, Retention, due_ms, first_kept

from tests.support.bounds import bounded

NOW_MS = 10_000
# Five chunks of two records and 100 bytes, a second apart; the newest two records are in no chunk yet.
CHUNKS = [ChunkFacts(1 + 2 * at, 2 + 2 * at, 1_000 * (at + 1), 100) for at in range(5)]
LAST = 12


def kept(rule: Retention, first: int = 1, chunks: list[ChunkFacts] | None = None, now_ms: int = NOW_MS) -> int:
    chunks = CHUNKS if chunks is None else chunks
    return first_kept(rule, first, LAST, sum(chunk.bytes for chunk in chunks), chunks, now_ms)


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        (Retention(), 1),
        (Retention(idle_ttl_ms=1), 1),
        (Retention(records=100), 1),
        (Retention(records=12), 1),
        (Retention(records=11), 2),
        (Retention(records=5), 8),
        (Retention(records=1), 12),
        (Retention(bytes=1_000), 1),
        (Retention(bytes=500), 1),
        (Retention(bytes=401), 1),
        (Retention(bytes=400), 3),
        (Retention(bytes=399), 3),
        (Retention(bytes=1), 9),
        (Retention(age_ms=20_000), 1),
        (Retention(age_ms=9_001), 1),
        (Retention(age_ms=9_000), 3),
        (Retention(age_ms=6_500), 7),
        (Retention(age_ms=1), 11),
        (Retention(age_ms=9_000, records=3), 10),
        (Retention(age_ms=6_500, records=11, bytes=400), 7),
        (Retention(age_ms=20_000, bytes=200), 7),
    ],
)
def test_the_first_record_that_is_kept(rule: Retention, first: int) -> None:
    assert kept(rule) == first


def test_what_is_forgotten_stays_forgotten() -> None:
    assert kept(Retention(), first=7) == 7
    assert kept(Retention(records=10), first=7) == 7


def test_without_chunks_only_the_count_acts() -> None:
    assert kept(Retention(age_ms=1, bytes=1), chunks=[]) == 1
    assert kept(Retention(records=4), chunks=[]) == 9


RULES = st.builds(Retention, *[st.just(0) | st.integers(1, 12_000) for _ in range(2)], st.just(0) | st.integers(1, 900))
FACTS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 900), st.integers(1, 200)), max_size=10)


def chunks_of(facts: list[tuple[int, int, int]]) -> list[ChunkFacts]:
    chunks: list[ChunkFacts] = []
    last, time_ms = 0, 0
    for records, later_ms, size in facts:
        time_ms += later_ms
        chunks.append(ChunkFacts(last + 1, last + records, time_ms, size))
        last += records
    return chunks


@bounded(300)
@given(RULES, FACTS, st.integers(0, 10))
def test_nothing_goes_that_every_bound_allows_to_keep(
    rule: Retention, facts: list[tuple[int, int, int]], tail: int
) -> None:
    chunks = chunks_of(facts)
    last = (chunks[-1].last if chunks else 0) + tail
    keep = first_kept(rule, 1, last, sum(chunk.bytes for chunk in chunks), chunks, NOW_MS)
    assert 1 <= keep <= last + 1
    for at, chunk in enumerate(chunks):
        if chunk.last >= keep:
            break
        counted = rule.records and chunk.last <= last - rule.records
        aged = rule.age_ms and chunk.last_ms <= NOW_MS - rule.age_ms
        sized = rule.bytes and sum(each.bytes for each in chunks[at + 1 :]) >= rule.bytes
        assert counted or aged or sized, f"{chunk} went, and no bound is passed without it"


@bounded(300)
@given(RULES, FACTS, st.integers(0, 10))
def test_no_more_than_a_chunk_too_much_is_kept(rule: Retention, facts: list[tuple[int, int, int]], tail: int) -> None:
    chunks = chunks_of(facts)
    last = (chunks[-1].last if chunks else 0) + tail
    keep = first_kept(rule, 1, last, sum(chunk.bytes for chunk in chunks), chunks, NOW_MS)
    left = [chunk for chunk in chunks if chunk.last >= keep]
    assert not rule.records or last - keep + 1 <= rule.records
    assert not rule.age_ms or all(chunk.last_ms > NOW_MS - rule.age_ms for chunk in left)
    assert not rule.bytes or sum(chunk.bytes for chunk in left[1:]) < rule.bytes


# --- when to look again -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "oldest_ms", "last_ms", "due"),
    [
        (Retention(), 5, 7, 0),
        (Retention(records=5, bytes=5), 5, 7, 0),
        (Retention(age_ms=100), 5, 7, 105),
        (Retention(age_ms=100), 0, 7, 0),
        (Retention(idle_ttl_ms=100), 0, 7, 107),
        (Retention(age_ms=100, idle_ttl_ms=50), 5, 7, 57),
        (Retention(age_ms=10, idle_ttl_ms=50), 5, 7, 15),
    ],
)
def test_when_time_alone_changes_something(rule: Retention, oldest_ms: int, last_ms: int, due: int) -> None:
    assert due_ms(rule, oldest_ms, last_ms) == due


@pytest.mark.parametrize("rule", [Retention(age_ms=2**64 - 1), Retention(idle_ttl_ms=2**64 - 1)])
def test_a_due_time_fits_where_it_is_stored(rule: Retention) -> None:
    assert due_ms(rule, 1_700_000_000_000, 1_700_000_000_000) < 2**64


@bounded(100)
@given(RULES, FACTS)
def test_nothing_changes_before_it_is_due(rule: Retention, facts: list[tuple[int, int, int]]) -> None:
    """Once the counting bounds have acted, only age is left, and it waits for its time."""
    chunks = chunks_of(facts)
    last = chunks[-1].last if chunks else 0
    size = sum(chunk.bytes for chunk in chunks)
    keep = first_kept(rule, 1, last, size, chunks, NOW_MS)
    left = [chunk for chunk in chunks if chunk.last >= keep]
    due = due_ms(rule, left[0].last_ms if left else 0, 0)
    until = min(due - 1, NOW_MS + 50_000) if due else NOW_MS + 50_000
    size = sum(chunk.bytes for chunk in left)
    assert until < NOW_MS or first_kept(rule, keep, last, size, left, until) == keep


# --- rules ------------------------------------------------------------------------------------------------


def test_a_channels_own_values_go_over_the_brokers() -> None:
    rule = Retention(age_ms=100, records=5)
    assert rule.overridden({}) == rule
    assert rule.overridden({"records": 9, "bytes": 7}) == Retention(age_ms=100, records=9, bytes=7)
    assert rule.overridden({"age_ms": 0}) == Retention(records=5), "0 is no bound"


def test_only_bounds_on_records_trim() -> None:
    assert not Retention(idle_ttl_ms=5).trims
    assert Retention(age_ms=1).trims and Retention(records=1).trims and Retention(bytes=1).trims


def test_the_keys_are_those_of_the_protocol() -> None:
    assert set(RETENTION_KEYS) == set(Retention().as_dict()) == {"age_ms", "records", "bytes", "idle_ttl_ms"}
