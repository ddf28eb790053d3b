from __future__ import annotations

from outlast_broker.web.idempotency import KEY_ROW, KEYS_MAX, Keys, Stored, row_key


def test_a_key_is_its_clients_own() -> None:
    assert row_key("alice", "k") == row_key("alice", "k")
    assert len({row_key("alice", "k"), row_key("bob", "k"), row_key("alice", "l"), row_key("alicek", "")}) == 4
    assert row_key("alice", "k").startswith(KEY_ROW)


def test_what_was_stored_is_known_again_from_its_row() -> None:
    stored = Stored(5, 3, 0xFFFFFFFF)
    keys = Keys({row_key("a", "k"): stored.encode()})
    assert keys.get(row_key("a", "k")) == stored and stored.last == 7
    assert keys.get(row_key("a", "l")) is None


def test_the_oldest_makes_room() -> None:
    """Also after a restart, when rows come in the order of their keys."""
    rows = {row_key("a", str(at)): Stored(at, 1, 0).encode() for at in range(1, KEYS_MAX + 1)}
    keys = Keys(dict(sorted(rows.items())))
    assert keys.note(b"new", Stored(KEYS_MAX + 1, 1, 0)) == [row_key("a", "1")]
    assert keys.get(row_key("a", "1")) is None and keys.get(b"new") is not None
    assert Keys({}).note(b"new", Stored(1, 1, 0)) == []
