from __future__ import annotations

from hashlib import sha256

from outlast_cli.demo.tally import Account, Tally, data_bytes


def tally_of(offsets: list[int]) -> Tally:
    tally = Tally()
    for offset in offsets:
        tally.add(offset, str(offset).encode())
    return tally


def test_dense_offsets() -> None:
    assert tally_of([1, 2, 3]).account() == Account(3, 0, 0, sha256(b"123").hexdigest())


def test_gaps_and_repeats_are_counted() -> None:
    assert tally_of([1, 3, 7]).gaps == 1 + 3
    assert tally_of([2]).gaps == 1
    assert tally_of([1, 2, 2, 1, 3]).repeats == 2


def test_a_tally_goes_on_where_another_stopped() -> None:
    first, second = tally_of([1, 2]), Tally(records=2, last=2)
    second.add_stored(b"12")
    for tally in (first, second):
        tally.add(3, b"3")
    assert first.account() == second.account()


def test_the_same_bytes_at_both_ends() -> None:
    assert data_bytes("ü") == "ü".encode()
    assert data_bytes(b"\xff") == b"\xff"
    assert data_bytes({"b": 1, "a": [None]}) == data_bytes({"a": [None], "b": 1}) == b'{"a":[null],"b":1}'
