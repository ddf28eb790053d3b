"""PROTOCOL.md 6.3."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st
from outlast_broker.producers import Producers
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import PRODUCERS_REMEMBERED, PUBLISHES_REMEMBERED

from tests.support.bounds import bounded

ID = 77


def published(*sequences: int, epoch: int = 0, producers: Producers | None = None) -> Producers:
    """Sequence n got offset 10 n."""
    producers = producers or Producers()
    for sequence in sequences:
        assert producers.admit(ID, epoch, sequence) is None
        producers.note(ID, epoch, sequence, 10 * sequence)
    return producers


def refusal(call: Callable[[], object]) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("first", [1, 5, 2**63, 2**64 - 1])
def test_the_first_sequence_of_a_producer_may_be_any(first: int) -> None:
    assert Producers().admit(ID, 0, first) is None


def test_the_next_sequence_is_new_and_those_before_are_duplicates() -> None:
    producers = published(5, 6, 7)
    assert producers.admit(ID, 0, 8) is None
    assert [producers.admit(ID, 0, sequence) for sequence in (7, 6, 5)] == [70, 60, 50]


def test_a_duplicate_from_before_the_first_sequence_has_no_offset() -> None:
    assert published(5, 6).admit(ID, 0, 4) == 0


def test_the_offsets_of_the_last_publishes_are_remembered_and_no_more() -> None:
    producers = published(*range(1, 101))
    oldest = 100 - PUBLISHES_REMEMBERED + 1
    assert PUBLISHES_REMEMBERED == 64
    assert [producers.admit(ID, 0, sequence) for sequence in range(oldest, 101)] == [
        10 * sequence for sequence in range(oldest, 101)
    ]
    assert [producers.admit(ID, 0, sequence) for sequence in range(1, oldest)] == [0] * (oldest - 1)


@pytest.mark.parametrize("sequence", [9, 10, 2**64 - 1])
def test_a_gap_is_refused_with_what_is_expected(sequence: int) -> None:
    error = refusal(lambda: published(5, 6, 7).admit(ID, 0, sequence))
    assert (error.code, error.detail) == (ErrorCode.SEQUENCE_GAP, {"expected": 8})


def test_a_refused_publish_does_not_use_up_its_sequence() -> None:
    producers = published(1)
    assert producers.admit(ID, 0, 2) is None, "admitted, and then refused for another reason"
    assert producers.admit(ID, 0, 2) is None
    assert refusal(lambda: producers.admit(ID, 0, 3)).detail == {"expected": 2}


def test_a_higher_epoch_replaces_the_lower_one() -> None:
    producers = published(1, 2, 3)
    published(900, epoch=4, producers=producers)
    assert producers.admit(ID, 4, 901) is None
    assert producers.admit(ID, 4, 900) == 9_000
    assert producers.admit(ID, 4, 3) == 0, "what an older epoch published under this sequence is another publish"


def test_a_lower_epoch_is_fenced_with_the_current_one() -> None:
    producers = published(1, epoch=4)
    for sequence in (1, 2, 9):
        error = refusal(lambda: producers.admit(ID, 3, sequence))  # noqa: B023
        assert (error.code, error.detail) == (ErrorCode.FENCED, {"epoch": 4})


def test_an_epoch_that_published_nothing_fences_nobody() -> None:
    producers = published(1, 2)
    assert producers.admit(ID, 9, 1) is None
    assert producers.admit(ID, 0, 3) is None


def test_producers_do_not_disturb_each_other() -> None:
    producers = published(1, 2, 3)
    producers.note(78, 0, 1, 500)
    assert producers.admit(78, 0, 1) == 500
    assert producers.admit(ID, 0, 3) == 30


def test_those_who_published_last_are_remembered() -> None:
    producers = Producers()
    for index in range(PRODUCERS_REMEMBERED):
        producers.note(index, 0, 1, 1 + index)
    producers.note(0, 0, 2, 1_000)
    producers.note(999, 0, 1, 1_001)
    remembered = {id_ for id_, *_ in producers.pack()}
    assert remembered == {*range(PRODUCERS_REMEMBERED), 999} - {1}, "1 is the one that was silent for longest"
    assert PRODUCERS_REMEMBERED == 64
    assert producers.admit(1, 0, 50) is None, "and is a new producer when it comes back"


# --- against a model --------------------------------------------------------------------------------------

PUBLISHES = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2), st.integers(1, 6), st.integers(1, 3)), max_size=60)


def run(publishes: list[tuple[int, int, int, int]]) -> tuple[Producers, list[tuple[int, int, int, int]]]:
    """Publishes whatever is admitted; returns the table, and who got which offset."""
    producers = Producers()
    noted: list[tuple[int, int, int, int]] = []
    offset = 1
    for id_, epoch, sequence, records in publishes:
        try:
            duplicate = producers.admit(id_, epoch, sequence)
        except ProtocolError:
            continue
        if duplicate is None:
            producers.note(id_, epoch, sequence, offset)
            noted.append((id_, epoch, sequence, offset))
            offset += records
        else:
            known = {each[:3]: each[3] for each in noted}
            assert duplicate == known.get((id_, epoch, sequence), 0)
    return producers, noted


@bounded(100)
@given(PUBLISHES)
def test_nothing_is_ever_stored_twice(publishes: list[tuple[int, int, int, int]]) -> None:
    _, noted = run(publishes)
    assert len({each[:3] for each in noted}) == len(noted)
    for id_ in {each[0] for each in noted}:
        order = [each[1:3] for each in noted if each[0] == id_]
        assert order == sorted(order)


@bounded(100)
@given(PUBLISHES)
def test_a_packed_table_answers_like_the_one_it_was_made_of(publishes: list[tuple[int, int, int, int]]) -> None:
    producers, _ = run(publishes)
    again = Producers(producers.pack())
    assert again.pack() == producers.pack()
    for question in publishes:
        assert answer(again, question) == answer(producers, question)


def answer(producers: Producers, publish: tuple[int, int, int, int]) -> object:
    try:
        return producers.admit(*publish[:3])
    except ProtocolError as error:
        return error.code, error.detail


@bounded(100)
@given(PUBLISHES, st.integers(0, 60))
def test_recovering_what_the_table_knows_already_changes_nothing(
    publishes: list[tuple[int, int, int, int]], stored: int
) -> None:
    """The journal may begin before the point at which the table was stored."""
    producers, noted = run(publishes)
    early = Producers()
    for each in noted[:stored]:
        early.note(*each)
    again = Producers(early.pack())
    for _ in range(2):
        for each in noted:
            again.recover(*each)
    assert sorted(again.pack()) == sorted(producers.pack())
