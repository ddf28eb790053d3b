"""PROTOCOL.md 6.8, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from outlast_broker.retention import Retention
from outlast_protocol import ErrorCode
from outlast_protocol.batch import encode_labelled
from outlast_protocol.frames import (
    UNCONDITIONAL,
    Configure,
    Delete,
    Enter,
    Info,
    List,
    Open,
    Opened,
    Publish,
    Reply,
    Subscribe,
    Truncate,
)
from outlast_protocol.operations import Op, Operation

from tests.broker.stage import Stage, Time
from tests.support.broker import Broker, RawClient, running_broker

RULE = Retention(records=1_000)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with running_broker(retention=RULE) as broker:
        yield broker


@pytest.fixture
def alice(broker: Broker) -> Iterator[RawClient]:
    alice = broker.client("alice")
    yield alice
    alice.close()


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def ten(alice: RawClient, room: str) -> int:
    number = alice.open(room).number
    alice.publish(number, *(["0123456789"] * 10))
    return number


# --- INFO -------------------------------------------------------------------------------------------------


def test_info_of_an_empty_channel(alice: RawClient, room: str) -> None:
    opened = alice.open(room)
    info = alice.info(room)
    assert info.pop("created_ms") > 1_600_000_000_000
    assert info == {
        "channel": room, "number": opened.number, "epoch": opened.epoch, "first": 1, "last": 0, "bytes": 0,
        "last_ms": 0, "subscribers": 0, "members": 0, "messages": 0, "retention": RULE.as_dict(),
    }  # fmt: skip


def test_info_of_a_channel_in_use(broker: Broker, alice: RawClient, room: str, ten: int) -> None:
    bob = broker.client("bob")
    bob.open(room)
    bob.subscribe(ten)
    alice.subscribe(ten)
    info = alice.info(room)
    assert (info["first"], info["last"], info["subscribers"]) == (1, 10, 2)
    assert info["bytes"] > 100 and info["last_ms"] >= info["created_ms"]
    bob.close()


@pytest.mark.parametrize(
    "frame", [Info(1, "nowhere"), Delete(1, "nowhere"), Truncate(1, "nowhere", 1), Configure(1, "nowhere", {})]
)
def test_what_does_not_exist_is_unknown_and_not_created(alice: RawClient, frame: Any) -> None:
    alice.refused(frame, ErrorCode.UNKNOWN_CHANNEL)
    alice.refused(Open(2, "nowhere", create=False), ErrorCode.UNKNOWN_CHANNEL)


# --- LIST -------------------------------------------------------------------------------------------------


def listed(client: RawClient, **asked: Any) -> tuple[list[str], bool]:
    result = client.result(List(client.request(), **asked))
    return [row["channel"] for row in result["channels"]], result["more"]


def test_channels_are_listed_in_byte_order(alice: RawClient) -> None:
    names = [f"list/{name}" for name in ("b", "a", "ä", "🦊", "aa", "日本")]
    for name in names:
        alice.open(name)
    ordered = sorted(names, key=str.encode)
    assert listed(alice, prefix="list/") == (ordered, False)
    assert listed(alice, prefix="list/", limit=6) == (ordered, False)
    assert listed(alice, prefix="list/", limit=2) == (ordered[:2], True)
    assert listed(alice, prefix="list/", limit=2, after=ordered[1]) == (ordered[2:4], True)
    assert listed(alice, prefix="list/", after=ordered[-1]) == ([], False)
    assert listed(alice, prefix="list/a") == (["list/a", "list/aa"], False)
    assert listed(alice, prefix="nothing") == ([], False)
    assert listed(alice)[0][: len(ordered)]


def test_a_row_tells_of_its_channel(alice: RawClient, room: str, ten: int) -> None:
    [row] = alice.result(List(90, prefix=room))["channels"]
    info = alice.info(room)
    keys = ("channel", "epoch", "first", "last", "bytes", "last_ms", "subscribers", "members")
    assert row == {key: info[key] for key in keys}, "of open messages it tells only when it knows"


def test_who_is_there_and_what_is_open(broker: Broker, alice: RawClient, room: str, ten: int) -> None:
    alice.subscribe(ten)
    alice.result(Enter(alice.request(), ten, 1))
    alice.result(Enter(alice.request(), ten, 2))
    opening = encode_labelled("alice", [((1, None, (), Operation(Op.OPEN), 0), b"Once ")])
    alice.ask(Publish(alice.request(), ten, 0, UNCONDITIONAL, 0, opening))
    [row] = alice.result(List(90, prefix=room))["channels"]
    assert (row["subscribers"], row["members"], row["messages"]) == (1, 2, 1)


def test_a_list_loads_no_channel(stage: Stage, time: Time) -> None:
    """What it says of them is what it would say if they were in memory."""
    writer = stage.client()
    for index in range(20):
        writer.publish(writer.open(f"{index:02}").number, "x" * index)
    time.advance(60_000)
    for index in range(20):
        stage.settle(f"{index:02}")
    writer.leave()
    stage.engine.hub.evict(lambda channel: False)
    alice = stage.client()
    assert len(stage.engine.hub) == 0
    cold = alice.result(List(90))["channels"]
    assert len(stage.engine.hub) == 0
    assert len(cold) == 20
    for row in cold:
        info = alice.info(row["channel"])
        assert row == {key: info[key] for key in row}


@pytest.mark.parametrize("limit", [0, 10_001, 2**63])
def test_a_list_has_a_bound(alice: RawClient, limit: int) -> None:
    alice.refused(List(90, limit=limit), ErrorCode.BAD_BODY)


@pytest.mark.parametrize("frame", [List(90, prefix="x" * 600), List(90, after="x" * 60_000)])
def test_names_longer_than_any_harm_nobody(alice: RawClient, frame: List) -> None:
    answer = alice.ask(frame)
    assert isinstance(answer, Reply) or ErrorCode(answer.code) is ErrorCode.BAD_BODY
    alice.hears_nothing()


def test_a_list_of_everything_is_answered_in_frames_that_fit(stage: Stage) -> None:
    """What does not fit is left for the next request."""
    alice = stage.client()
    names = sorted(f"{index:05}".ljust(255, "x") for index in range(6_000))
    alice.send(*[Open(1, name) for name in names])
    stage.idle()
    alice.came.clear()
    found: list[str] = []
    more = True
    while more:
        result = alice.result(List(alice.request(), after=found[-1] if found else None, limit=10_000))
        found += [row["channel"] for row in result["channels"]]
        more = result["more"]
    assert found == names


# --- DELETE -----------------------------------------------------------------------------------------------


def test_delete_ends_one_life(alice: RawClient, room: str, ten: int) -> None:
    epoch = alice.info(room)["epoch"]
    assert alice.result(Delete(90, room)) == {"epoch": epoch}
    alice.refused(Delete(91, room), ErrorCode.UNKNOWN_CHANNEL)
    alice.refused(alice.publishing(ten, "x"), ErrorCode.UNKNOWN_CHANNEL)
    opened = alice.open(room)
    assert opened.number != ten and opened.epoch != epoch and (opened.first, opened.last) == (1, 0)
    assert alice.publish(opened.number, "x") == (1, False)


def test_deleting_twice_at_once_succeeds_once(alice: RawClient, room: str, ten: int) -> None:
    alice.send(Delete(90, room), Delete(91, room), Open(92, room, create=False))
    assert isinstance(alice.answer_to(90), Reply)
    assert ErrorCode(alice.answer_to(91).code) is ErrorCode.UNKNOWN_CHANNEL
    assert ErrorCode(alice.answer_to(92).code) is ErrorCode.UNKNOWN_CHANNEL


# --- TRUNCATE ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "first"), [(0, 1), (1, 1), (4, 4), (10, 10), (11, 11)])
def test_truncate_forgets_what_lies_before(alice: RawClient, room: str, ten: int, before: int, first: int) -> None:
    assert alice.result(Truncate(90, room, before)) == {"first": first}
    info = alice.info(room)
    assert (info["first"], info["last"]) == (first, 10)
    assert alice.publish(ten, "x") == (11, False), "offsets go on"
    subscribed = alice.ask(Subscribe(91, ten, 1 << 20, start="earliest"))
    assert (subscribed.after, subscribed.first) == (first - 1, first)


def test_truncate_never_brings_back(alice: RawClient, room: str, ten: int) -> None:
    alice.result(Truncate(90, room, 8))
    assert alice.result(Truncate(91, room, 3)) == {"first": 8}


@pytest.mark.parametrize("before", [12, 2**64 - 1])
def test_truncate_cannot_forget_what_is_not_there(alice: RawClient, room: str, ten: int, before: int) -> None:
    assert alice.refused(Truncate(90, room, before), ErrorCode.OFFSET_AHEAD).detail == {"last": 10}


def test_what_was_published_before_it_in_the_same_write_is_truncated(alice: RawClient, room: str) -> None:
    number = alice.open(room).number
    publishing = alice.publishing(number, "x", "y")
    alice.send(publishing, Truncate(90, room, 3), Open(91, room))
    assert alice.answer_to(90) == Reply(90, {"first": 3})
    opened = alice.answer_to(91)
    assert isinstance(opened, Opened) and opened.last == 2


# --- CONFIGURE --------------------------------------------------------------------------------------------


def configured(client: RawClient, room: str, **retention: int | None) -> Any:
    return client.result(Configure(client.request(), room, retention))["retention"]


def test_configure_sets_what_it_names_and_says_what_is_in_force(alice: RawClient, room: str, ten: int) -> None:
    assert configured(alice, room) == RULE.as_dict()
    assert configured(alice, room, age_ms=5_000_000) == RULE.as_dict() | {"age_ms": 5_000_000}
    assert configured(alice, room, records=50) == RULE.as_dict() | {"age_ms": 5_000_000, "records": 50}
    assert configured(alice, room, records=0) == RULE.as_dict() | {"age_ms": 5_000_000, "records": 0}, "0 is no bound"
    assert configured(alice, room, records=None, age_ms=None) == RULE.as_dict(), "nil is the broker's rule again"
    assert alice.info(room)["retention"] == RULE.as_dict()


def test_a_count_acts_at_once(alice: RawClient, room: str, ten: int) -> None:
    configured(alice, room, records=3)
    assert alice.info(room)["first"] == 8


@pytest.mark.parametrize("retention", [{"colour": 1}, {"records": 5, "Records": 6}])
def test_keys_that_mean_nothing_are_refused(
    alice: RawClient, room: str, ten: int, retention: dict[str, int | None]
) -> None:
    alice.refused(Configure(90, room, retention), ErrorCode.BAD_BODY)
    assert alice.info(room)["retention"] == RULE.as_dict()
