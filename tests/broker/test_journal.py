from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_broker import journal
from outlast_broker.damage import Damaged
from outlast_broker.journal import Entry, entry_head

from tests.broker.logs import batch, entry
from tests.support.bounds import bounded

U64 = st.integers(0, 2**64 - 1)
LEASES = st.text(st.characters(codec="utf-8"), max_size=32)
BATCHES = st.builds(batch, st.integers(1, 2**40), st.binary(max_size=200))
ENTRIES = st.lists(st.builds(Entry, U64, U64, U64, U64, BATCHES, LEASES), min_size=1, max_size=8)


def seal(entries: list[Entry]) -> bytes:
    return journal.seal([part for each in entries for part in (entry_head(*each[:4], each.lease), each.batch)])


@bounded(100)
@given(ENTRIES)
def test_entries_come_back_in_order(entries: list[Entry]) -> None:
    assert list(journal.read_entries(seal(entries), 1)) == entries


def test_every_flipped_bit_is_noticed_before_anything_is_read() -> None:
    value = seal([entry(1, 1, "x"), entry(2, 1, "y")])
    for bit in range(8 * len(value)):
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged, match="journal value 5 "):
            next(journal.read_entries(bytes(flipped), 5))


def test_every_shorter_value_is_noticed() -> None:
    value = seal([entry(1, 1, "x")])
    for length in range(len(value)):
        with pytest.raises(Damaged, match="journal value 5 "):
            list(journal.read_entries(value[:length], 5))
