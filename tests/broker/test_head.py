from __future__ import annotations

import msgpack
from hypothesis import given, strategies as st
from outlast_broker import head
from outlast_broker.head import Head

from tests.support.bounds import bounded

U64 = st.integers(0, 2**64 - 1)
PRODUCERS = st.lists(st.tuples(U64, U64, U64, st.lists(U64, min_size=1, max_size=64)).map(list), max_size=5)
RETENTION = st.dictionaries(st.sampled_from(["age_ms", "records", "bytes", "idle_ttl_ms"]), U64)
HEADS = st.builds(
    Head, st.text(min_size=1, max_size=255), U64, U64, U64, U64, U64, U64, U64, U64, U64, RETENTION, PRODUCERS
)


@bounded(100)
@given(HEADS)
def test_a_head_comes_back_as_it_was(each: Head) -> None:
    assert head.decode(each.encode()) == each


def test_a_head_of_fewer_fields_is_read_with_their_defaults() -> None:
    short = msgpack.packb(["room", 7, 1_000])
    assert head.decode(short) == Head("room", 7, 1_000)
    assert head.decode(short).next == 1


def test_a_quiet_channel_costs_few_bytes() -> None:
    """A million channels are a million heads."""
    assert len(Head("session:42", 2**63, 1_700_000_000_000).encode()) < 60
