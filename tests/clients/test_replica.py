"""Following a channel's state: what a replica makes of records, and what its user is handed."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast import Position, Record, StateChanged, StateEntry, StateSnapshot, Violation
from outlast.replica import CHANGES_KEPT, Changes, Replica, differences
from outlast_protocol import Data
from outlast_protocol.operations import WHOLE_MAX, Op, Operation

from tests.support.bounds import bounded

EPOCH = 7


def record(offset: int, operation: Operation | None, data: Data = b"") -> Record:
    return Record(offset, data, None, {}, "ada", 1_000 + offset, EPOCH, operation)


def setting(offset: int, key: str, value: Data) -> Record:
    return record(offset, Operation(Op.SET, key=key), value)


def unsetting(offset: int, key: str) -> Record:
    return record(offset, Operation(Op.UNSET, key=key))


def adding(offset: int, key: str, by: int) -> Record:
    return record(offset, Operation(Op.INCREMENT, key=key, by=by))


def snapshot(offset: int, **values: Data) -> StateSnapshot:
    """Every key was written at offset 1."""
    entries = {key: StateEntry(value, 1, "bob", 500) for key, value in values.items()}
    return StateSnapshot(entries, Position(EPOCH, offset))


def replica_at(offset: int, **values: Data) -> Replica:
    replica = Replica()
    replica.reset(snapshot(offset, **values))
    return replica


def values(replica: Replica) -> dict[str, Data]:
    return {key: entry.value for key, entry in replica.entries.items()}


def test_each_operation_is_one_change() -> None:
    replica = replica_at(4, n=41)
    assert replica.apply(setting(5, "a", "text")) == StateChanged("a", "text", 5, "ada", False, 1_005)
    assert replica.apply(adding(6, "n", 1)) == StateChanged("n", 42, 6, "ada", False, 1_006)
    assert replica.apply(adding(7, "new", -3)) == StateChanged("new", -3, 7, "ada", False, 1_007)
    assert replica.apply(unsetting(8, "a")) == StateChanged("a", None, 8, "ada", True, 1_008)
    assert values(replica) == {"n": 42, "new": -3}
    assert replica.entries["n"] == StateEntry(42, 6, "ada", 1_006)
    assert replica.position == Position(EPOCH, 8)


def test_what_the_snapshot_holds_is_not_done_again() -> None:
    replica = replica_at(4, n=1)
    assert replica.apply(adding(4, "n", 1)) is None
    assert (values(replica), replica.position.offset) == ({"n": 1}, 4)


def test_other_records_move_it_on_and_change_nothing() -> None:
    replica = replica_at(4, n=1)
    for offset, operation in enumerate((None, Operation(Op.OPEN), Operation(Op.UNSET, key="none")), start=5):
        assert replica.apply(record(offset, operation, "data")) is None
        assert (values(replica), replica.position.offset) == ({"n": 1}, offset)


@pytest.mark.parametrize("held", ["41", 1.5, True, None, b"41", WHOLE_MAX])
def test_an_increment_that_the_broker_would_not_have_taken_is_its_violation(held: Data) -> None:
    with pytest.raises(Violation, match="'n'"):
        replica_at(4, n=held).apply(adding(5, "n", 1))


def test_a_new_snapshot_says_what_is_different() -> None:
    replica = replica_at(4, same=1, changed=1, gone=1)
    entries = dict(replica.entries)
    new = {"b": StateEntry("b", 9, "ada", 9), "changed": StateEntry(2, 7, "ada", 7), "same": entries["same"]}
    assert replica.reset(StateSnapshot(new, Position(EPOCH, 10))) == [
        StateChanged("changed", 2, 7, "ada", False, 7),
        StateChanged("b", "b", 9, "ada", False, 9),
        StateChanged("gone", None, 10, "", True, 0),
    ]
    assert (replica.entries, replica.position) == (new, Position(EPOCH, 10))


def test_a_snapshot_is_a_mapping_that_stays_as_it_is() -> None:
    replica = replica_at(4, a=1)
    taken = StateSnapshot(dict(replica.entries), replica.position)
    replica.apply(setting(5, "a", 2))
    assert (dict(taken), taken.version("a"), taken.version("none"), len(taken)) == ({"a": 1}, 1, 0, 1)
    assert taken.get("none", "default") == "default"
    assert "'a': 1" in repr(taken) and f"{EPOCH:016x}:4" in repr(taken)


# --- changes ----------------------------------------------------------------------------------------------


def drain(changes: Changes, replica: Replica) -> list[StateChanged]:
    return list(iter(lambda: changes.take(replica), None))


def feed(changes: Changes, replica: Replica, *records: Record) -> None:
    for each in records:
        change = replica.apply(each)
        changes.add(() if change is None else (change,))


def test_changes_are_handed_over_in_their_order() -> None:
    replica = replica_at(0)
    changes = Changes(replica.entries)
    feed(changes, replica, setting(1, "a", 1), setting(2, "a", 2), unsetting(3, "a"))
    assert [(change.version, change.value) for change in drain(changes, replica)] == [(1, 1), (2, 2), (3, None)]


def test_a_user_that_lags_gets_the_newest_of_each_key() -> None:
    replica = replica_at(0, gone=1, same=1)
    changes = Changes(replica.entries)
    for offset in range(1, CHANGES_KEPT + 1):
        feed(changes, replica, setting(offset, f"k{offset % 3}", offset))
    last = CHANGES_KEPT + 1
    feed(changes, replica, unsetting(last, "gone"))
    handed = [(change.key, change.version, change.deleted) for change in drain(changes, replica)]
    newest = sorted((offset, f"k{offset % 3}") for offset in range(CHANGES_KEPT - 2, CHANGES_KEPT + 1))
    assert handed == [*((key, offset, False) for offset, key in newest), ("gone", last, True)]
    feed(changes, replica, setting(last + 1, "k1", "on"))
    assert [change.value for change in drain(changes, replica)] == ["on"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "unset", "add", "reset", "take"]), st.sampled_from("abc"), st.integers(0, 9)),
    max_size=60,
)


@bounded(200)
@given(STEPS, st.booleans())
def test_who_follows_the_changes_holds_what_the_replica_holds(steps: list[tuple[str, str, int]], lags: bool) -> None:
    replica = replica_at(0, a=1, b=2)
    changes = Changes(replica.entries)
    held = dict(replica.entries)
    versions = [0]

    def take() -> None:
        for change in drain(changes, replica):
            versions.append(change.version)
            held.pop(change.key, None)
            held.update({change.key: change.entry} if change.entry else {})

    for offset, (step, key, number) in enumerate(steps, start=2):
        match step:
            case "set":
                feed(changes, replica, setting(offset, key, number))
            case "unset":
                feed(changes, replica, unsetting(offset, key))
            case "add":
                feed(changes, replica, adding(offset, key, number))
            case "reset":
                entries = {key: StateEntry(number, offset, "ada", offset)}
                changes.add(replica.reset(StateSnapshot(entries, Position(EPOCH, offset))))
            case "take":
                take()
        if lags and offset == 2:
            changes.add([StateChanged("a", 0, 0, "", False, 0)] * (CHANGES_KEPT + 1))
    take()
    assert held == replica.entries
    assert versions == sorted(versions)


def test_nothing_differs_between_a_state_and_itself() -> None:
    held = replica_at(1, a=1).entries
    assert list(differences(held, dict(held), 5)) == []
