"""PROTOCOL.md 6.12 as clients see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from outlast_broker.lease import LEASE_ROW, TOKENS_PER_LIFE
from outlast_broker.retention import Retention
from outlast_protocol import ErrorCode, ProtocolError, Record
from outlast_protocol.batch import encode_labelled
from outlast_protocol.frames import (
    UNCONDITIONAL,
    Delete,
    Deliver,
    Error,
    Lease,
    Leases,
    Publish,
    Published,
    Release,
    Renew,
    Reply,
)
from outlast_protocol.limits import LEASE_MS_MAX, LEASES_MAX
from outlast_protocol.operations import MessageState, Op, Operation

from tests.broker.stage import Actor, Stage, Time

Restarting = Callable[[Stage | None], Stage]
TTL_MS = 1_000


def opened(stage: Stage, client_id: str = "agent", **how: Any) -> tuple[Actor, int]:
    actor = stage.client(client_id, **how)
    return actor, actor.open("room").number


def asking(actor: Actor, number: int, name: str = "writer", **what: Any) -> Lease:
    return Lease(actor.request(), number, name, what.pop("ttl_ms", TTL_MS), **what)


def granted(actor: Actor, number: int, name: str = "writer", **what: Any) -> int:
    token: int = actor.result(asking(actor, number, name, **what))["token"]
    return token


def publishing(actor: Actor, number: int, token: int, *datas: str, sequence: int = 0) -> Publish:
    return actor.publishing(number, *(datas or ("x",)), sequence=sequence)._replace(fence=token)


def publish(actor: Actor, number: int, token: int, *datas: str) -> None:
    actor.send(publishing(actor, number, token, *datas))
    actor.expect(Published)


def operate(actor: Actor, number: int, token: int, *operations: Operation) -> int:
    """The first offset of a batch of operations."""
    rows = [((0, None, (), each, 0), b"") for each in operations]
    actor.send(Publish(actor.request(), number, 0, UNCONDITIONAL, token, encode_labelled(actor.id, rows)))
    [(_, offset, _)] = actor.expect(Published).acks
    return offset


def leases(actor: Actor) -> dict[str, dict[str, Any]]:
    return {row.pop("lease"): row for row in actor.result(Leases(actor.request(), "room"))["leases"]}


def ring(stage: Stage, time: Time, ms: int = TTL_MS) -> None:
    """So much later, and the channel's timer rings."""
    time.advance(ms)
    channel = stage.channel("room")
    stage.call(lambda: stage.engine.leasing.ring(channel))
    stage.idle()


def until_last(stage: Stage, last: int) -> None:
    channel = stage.channel("room")
    stage.until(lambda: channel.last == last)


def listed(stage: Stage) -> int:
    return len(stage.log.rows(0, LEASE_ROW))


def log_of(stage: Stage) -> list[Record]:
    """All records of the room."""
    reader, number = opened(stage, "reader")
    last = reader.info("room")["last"]
    reader.subscribe(number)
    return reader.records(last) if last else []


# --- LEASE ------------------------------------------------------------------------------------------------


def test_a_grant_is_answered_when_it_is_on_disk(stage: Stage) -> None:
    alice, number = opened(stage)
    stage.log.hold()
    alice.send(asking(alice, number))
    stage.hold_in_commit()
    assert alice.silent and not listed(stage)
    stage.log.go_on()
    token = number * TOKENS_PER_LIFE + 1
    assert alice.expect(Reply).result == {"token": token, "ttl_ms": TTL_MS, "holder": ""}
    assert listed(stage) == 1


def test_one_that_is_held_is_refused(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    granted(alice, number)
    bob, _ = opened(stage, "bob")
    time.advance(300)
    refused = bob.refused(asking(bob, number), ErrorCode.LEASE_HELD)
    assert refused.detail == {"holder": "agent", "retry_after_ms": 700}
    assert granted(bob, number, "another")


def test_refusals_wait_for_what_they_reveal(stage: Stage) -> None:
    alice, number = opened(stage)
    old = granted(alice, number)
    bob, _ = opened(stage, "bob")
    stage.log.hold()
    bob.send(asking(bob, number, take_over=True))
    stage.hold_in_commit()
    alice.send(asking(alice, number), Renew(50, number, old), Release(51, number, old), Leases(52, "room"))
    alice.send(publishing(alice, number, old))
    stage.turn()
    assert alice.silent
    stage.log.go_on()
    new = bob.expect(Reply).result
    assert new == {"token": old + 1, "ttl_ms": TTL_MS, "holder": "agent"}
    codes = [ErrorCode(alice.expect(Error).code) for _ in range(3)]
    assert codes == [ErrorCode.LEASE_HELD, ErrorCode.FENCED, ErrorCode.FENCED]
    assert alice.expect(Reply).result["leases"][0]["token"] == old + 1
    assert ErrorCode(alice.expect(Error).code) is ErrorCode.FENCED


def test_asked_again_under_its_nonce_it_is_the_same(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    granted(alice, number)
    bob, _ = opened(stage, "bob")
    first = bob.result(asking(bob, number, take_over=True, nonce=7))
    written = len(stage.log.works)
    time.advance(900)
    assert bob.result(asking(bob, number, take_over=True, nonce=7)) == first
    assert first["holder"] == "agent" and len(stage.log.works) == written
    assert leases(bob)["writer"]["left_ms"] == TTL_MS
    assert alice.refused(asking(alice, number, nonce=8), ErrorCode.LEASE_HELD)


@pytest.mark.parametrize("name", ["", "x" * 129, "ä" * 65, "a\nb", "\x7f"])
def test_names_have_1_to_128_bytes_and_no_control_characters(stage: Stage, name: str) -> None:
    alice, number = opened(stage)
    assert alice.refused(asking(alice, number, name), ErrorCode.BAD_BODY)
    assert granted(alice, number, "ä" * 64)


@pytest.mark.parametrize("ttl_ms", [0, 999, LEASE_MS_MAX + 1])
def test_a_lease_lasts_a_second_to_an_hour(stage: Stage, ttl_ms: int) -> None:
    alice, number = opened(stage)
    assert alice.refused(asking(alice, number, ttl_ms=ttl_ms), ErrorCode.BAD_BODY)
    assert granted(alice, number, ttl_ms=LEASE_MS_MAX)


def test_a_channel_has_64(stage: Stage) -> None:
    alice, number = opened(stage)
    for index in range(LEASES_MAX):
        granted(alice, number, f"{index}")
    refused = alice.refused(asking(alice, number, "one more"), ErrorCode.LIMIT_EXCEEDED)
    assert refused.detail == {"limit": "leases", "value": LEASES_MAX}


def test_leases_are_listed_by_name(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    tokens = {name: granted(alice, number, name, ttl_ms=ttl_ms) for name, ttl_ms in (("b", 5_000), ("a", TTL_MS))}
    time.advance(400)
    rows = leases(alice)
    assert list(rows) == ["a", "b"]
    assert rows["a"] == {"holder": "agent", "token": tokens["a"], "ttl_ms": TTL_MS, "left_ms": 600}
    assert rows["b"] == {"holder": "agent", "token": tokens["b"], "ttl_ms": 5_000, "left_ms": 4_600}
    assert alice.refused(Leases(50, "nowhere"), ErrorCode.UNKNOWN_CHANNEL)


def test_a_number_that_is_not_open_has_no_leases(stage: Stage) -> None:
    alice = stage.client("agent")
    for frame in (Lease(50, 9, "writer", TTL_MS), Renew(51, 9, 1), Release(52, 9, 1)):
        assert alice.refused(frame, ErrorCode.UNKNOWN_CHANNEL)


# --- the fence --------------------------------------------------------------------------------------------


def test_a_publish_under_the_token_in_force_is_stored(stage: Stage) -> None:
    alice, number = opened(stage)
    publish(alice, number, granted(alice, number), "a", "b")
    alice.publish(number, "without a lease")
    assert [record.decoded() for record in log_of(stage)] == ["a", "b", "without a lease"]


def test_who_is_taken_over_is_fenced(stage: Stage) -> None:
    alice, number = opened(stage)
    bob, _ = opened(stage, "bob")
    old = granted(alice, number)
    publish(alice, number, old, "hers")
    new = granted(bob, number, take_over=True)
    assert alice.refused(publishing(alice, number, old, "late"), ErrorCode.FENCED).detail == {"token": new}
    publish(bob, number, new, "his")
    assert [record.decoded() for record in log_of(stage)] == ["hers", "his"]


def test_it_falls_in_the_order_in_which_things_are_accepted(stage: Stage) -> None:
    """All in one commit: what came before the take-over is stored, what came after it is not."""
    alice, number = opened(stage)
    bob, _ = opened(stage, "bob")
    old = granted(alice, number)
    alice.send(publishing(alice, number, old, "in time"))
    bob.send(asking(bob, number, take_over=True))
    alice.send(publishing(alice, number, old, "late"))
    stage.idle()
    assert [type(frame) for frame in alice.came] == [Published, Error]
    assert [record.decoded() for record in log_of(stage)] == ["in time"]


def test_tokens_are_not_guessed(stage: Stage) -> None:
    alice, number = opened(stage)
    for token in (1, 2**63):
        assert alice.refused(publishing(alice, number, token), ErrorCode.FENCED).detail == {"token": 0}
    token = granted(alice, number)
    assert alice.refused(publishing(alice, number, token + 1), ErrorCode.FENCED).detail == {"token": token}


def test_a_token_is_of_one_channel(stage: Stage) -> None:
    alice, number = opened(stage)
    token = granted(alice, number)
    assert alice.refused(publishing(alice, alice.open("other").number, token), ErrorCode.FENCED).detail == {"token": 0}


def test_a_duplicate_is_one_whatever_has_become_of_its_token(stage: Stage) -> None:
    alice, number = opened(stage, producer=(7, 0))
    token = granted(alice, number)
    sent = publishing(alice, number, token, "a", sequence=1)
    alice.send(sent)
    assert alice.expect(Published).acks == [(sent.request, 1, False)]
    alice.result(Release(alice.request(), number, token))
    alice.send(sent)
    assert alice.expect(Published).acks == [(sent.request, 1, True)]
    assert alice.refused(publishing(alice, number, token, "b", sequence=2), ErrorCode.FENCED)
    assert alice.publish(number, "c", sequence=2) == (2, False)


def test_the_fence_comes_before_the_condition(stage: Stage) -> None:
    alice, number = opened(stage)
    conditional = alice.publishing(number, "x", if_offset=9)._replace(fence=5)
    assert alice.refused(conditional, ErrorCode.FENCED)
    stored = publishing(alice, number, granted(alice, number))._replace(if_offset=9)
    assert alice.refused(stored, ErrorCode.OFFSET_MISMATCH).detail == {"last": 0}


# --- renewing, releasing, lapsing -------------------------------------------------------------------------


def test_who_renews_keeps_it(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    token = granted(alice, number)
    for _ in range(5):
        ring(stage, time, 700)
        assert alice.result(Renew(alice.request(), number, token)) == {"ttl_ms": TTL_MS}
    publish(alice, number, token)
    assert len(log_of(stage)) == 1


def test_a_lapse_is_said_in_the_channel(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    bob, _ = opened(stage, "bob")
    bob.subscribe(number)
    token = granted(alice, number)
    ring(stage, time, TTL_MS - 1)
    assert bob.silent
    ring(stage, time, 1)
    [record] = bob.records(1)
    assert record.operation == Operation(Op.LAPSED, lease="writer", token=token)
    assert (record.client_id, record.data, record.name) == ("", b"", None)
    assert leases(alice) == {} and listed(stage) == 0
    for frame in (Renew(50, number, token), Release(51, number, token), publishing(alice, number, token)):
        assert alice.refused(frame, ErrorCode.FENCED).detail == {"token": token}


def test_it_lapses_by_itself(stage: Stage) -> None:
    """By the real clock, with nobody there."""
    alice, number = opened(stage)
    token = granted(alice, number)
    channel = stage.channel("room")
    alice.leave()
    stage.until(lambda: channel.last == 1)
    [record] = log_of(stage)
    assert record.operation == Operation(Op.LAPSED, lease="writer", token=token)


def test_nobody_hears_of_a_lapse_that_is_not_on_disk(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    granted(alice, number)
    bob, _ = opened(stage, "bob")
    bob.subscribe(number)
    stage.log.hold()
    time.advance(TTL_MS)
    channel = stage.channel("room")
    stage.call(lambda: stage.engine.leasing.ring(channel))
    stage.hold_in_commit()
    bob.send(asking(bob, number))
    assert bob.silent and listed(stage) == 1
    stage.log.go_on()
    assert isinstance(bob.expect(Deliver), Deliver)
    assert bob.expect(Reply).result["holder"] == ""


def test_the_messages_of_a_dead_agent_are_closed(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    token = granted(alice, number)
    first = operate(alice, number, token, Operation(Op.OPEN), Operation(Op.OPEN))
    done = operate(alice, number, token, Operation(Op.OPEN))
    operate(alice, number, token, Operation(Op.CLOSE, done, MessageState.COMPLETE))
    own = operate(alice, number, 0, Operation(Op.OPEN))
    ring(stage, time)
    *_, one, other, lapse = log_of(stage)
    closed = [Operation(Op.CLOSE, message, MessageState.INTERRUPTED) for message in (first, first + 1)]
    assert [one.operation, other.operation] == closed
    assert (one.client_id, one.decoded()) == ("", "the lease lapsed")
    assert lapse.operation == Operation(Op.LAPSED, lease="writer", token=token)
    session = stage.engine.session(stage.channel("room"))
    assert [session.find(each, 1).state for each in (first, done, own)] == [  # type: ignore[union-attr]
        MessageState.INTERRUPTED, MessageState.COMPLETE, MessageState.OPEN,
    ]  # fmt: skip


def test_a_release_closes_and_says_no_more(stage: Stage) -> None:
    alice, number = opened(stage)
    token = granted(alice, number)
    message = operate(alice, number, token, Operation(Op.OPEN))
    assert alice.result(Release(alice.request(), number, token)) == {}
    [_, close] = log_of(stage)
    assert close.operation == Operation(Op.CLOSE, message, MessageState.INTERRUPTED)
    assert (close.client_id, close.decoded()) == ("", "the lease was released")
    again = granted(alice, number)
    assert again == token + 1
    alice.result(Release(alice.request(), number, again))
    assert (listed(stage), alice.info("room")["last"]) == (0, 2)
    assert alice.refused(publishing(alice, number, token), ErrorCode.FENCED).detail == {"token": again}


def test_what_a_lease_opened_belongs_to_who_takes_it_over(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    bob, _ = opened(stage, "bob")
    message = operate(alice, number, granted(alice, number), Operation(Op.OPEN))
    new = granted(bob, number, take_over=True)
    assert operate(bob, number, new, Operation(Op.APPEND, message)) == 2
    ring(stage, time)
    assert [record.operation for record in log_of(stage)][2:] == [
        Operation(Op.CLOSE, message, MessageState.INTERRUPTED),
        Operation(Op.LAPSED, lease="writer", token=new),
    ]


def test_until_the_lapse_is_in_the_log_the_lease_is_held(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    token = granted(alice, number)
    bob, _ = opened(stage, "bob")
    time.advance(TTL_MS)
    held = bob.refused(asking(bob, number), ErrorCode.LEASE_HELD)
    assert held.detail == {"holder": "agent", "retry_after_ms": 0}
    publish(alice, number, token, "in time")
    ring(stage, time, 0)
    assert bob.result(asking(bob, number))["holder"] == ""
    assert [record.operation is not None for record in log_of(stage)] == [False, True]


def test_after_a_pause_of_the_broker_renewals_are_read_first(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    tokens = [granted(alice, number, name) for name in ("alive", "dead")]
    due_ms = time.ms + TTL_MS
    channel = stage.channel("room")
    time.advance(5_000)
    stage.call(lambda: stage.engine.leasing.ring(channel, due_ms))
    assert list(leases(alice)) == ["alive", "dead"]
    assert alice.result(Renew(alice.request(), number, tokens[0])) == {"ttl_ms": TTL_MS}
    until_last(stage, 1)
    assert list(leases(alice)) == ["alive"]


def test_two_leases_lapse_each_in_its_time(stage: Stage, time: Time) -> None:
    alice, number = opened(stage)
    granted(alice, number, "short")
    granted(alice, number, "long", ttl_ms=3_000)
    ring(stage, time)
    assert list(leases(alice)) == ["long"]
    ring(stage, time, 2_000)
    assert [record.operation.lease for record in log_of(stage) if record.operation] == ["short", "long"]


@pytest.mark.parametrize("code", [ErrorCode.READ_ONLY, ErrorCode.GOING_AWAY])
def test_while_nothing_is_taken_nothing_lapses(stage: Stage, time: Time, code: ErrorCode) -> None:
    alice, number = opened(stage)
    token = granted(alice, number)
    bob, _ = opened(stage, "bob")
    stage.engine.refusal = ProtocolError(code, "the test says so", retry_after_ms=1)
    ring(stage, time)
    for frame in (asking(bob, number, take_over=True), Release(50, number, token), publishing(alice, number, token)):
        actor = bob if isinstance(frame, Lease) else alice
        assert actor.refused(frame, code)
    assert alice.result(Renew(51, number, token)) == {"ttl_ms": TTL_MS}
    time.advance(TTL_MS)
    assert alice.info("room")["last"] == 0
    stage.engine.refusal = None
    # Its own timer tries again.
    until_last(stage, 1)


# --- restarts, deletions, memory --------------------------------------------------------------------------


def test_a_restart_counts_as_a_renewal(restarting: Restarting, time: Time) -> None:
    stage = restarting(None)
    alice, number = opened(stage)
    token = granted(alice, number)
    granted(alice, number, "released")
    alice.result(Release(alice.request(), number, token + 1))
    time.advance(900)
    stage = restarting(stage)
    ring(stage, time, 900)
    alice, _ = opened(stage)
    rows = leases(alice)
    assert rows == {"writer": {"holder": "agent", "token": token, "ttl_ms": TTL_MS, "left_ms": 100}}
    assert alice.result(Renew(alice.request(), number, token)) == {"ttl_ms": TTL_MS}
    publish(alice, number, token)
    assert granted(alice, number, take_over=True) == token + 2


def test_after_a_restart_it_lapses_though_nobody_opens_the_channel(restarting: Restarting, time: Time) -> None:
    stage = restarting(None)
    alice, number = opened(stage)
    token = granted(alice, number)
    message = operate(alice, number, token, Operation(Op.OPEN))
    for _ in range(2):
        stage = restarting(stage)
    time.advance(TTL_MS)
    until_last(stage, 3)
    assert [record.operation for record in log_of(stage)][1:] == [
        Operation(Op.CLOSE, message, MessageState.INTERRUPTED),
        Operation(Op.LAPSED, lease="writer", token=token),
    ]
    stage = restarting(stage)
    alice, _ = opened(stage)
    assert leases(alice) == {}
    assert granted(alice, number) == token + 1


def test_a_message_belongs_to_its_lease_after_a_restart(restarting: Restarting) -> None:
    stage = restarting(None)
    alice, number = opened(stage)
    token = granted(alice, number)
    message = operate(alice, number, token, Operation(Op.OPEN))
    stage = restarting(stage)
    bob, _ = opened(stage, "bob")
    foreign = encode_labelled("bob", [((0, None, (), Operation(Op.APPEND, message), 0), b"")])
    refused = bob.refused(Publish(50, number, 0, UNCONDITIONAL, 0, foreign), ErrorCode.FOREIGN_MESSAGE)
    assert refused.detail == {"message": message, "lease": "writer"}
    new = granted(bob, number, take_over=True)
    assert operate(bob, number, new, Operation(Op.APPEND, message)) == 2


def test_a_deletion_takes_the_leases_along(restarting: Restarting, time: Time) -> None:
    stage = restarting(None)
    alice, number = opened(stage)
    token = granted(alice, number)
    granted(alice, alice.open("other").number)
    alice.result(Delete(alice.request(), "room"))
    assert listed(stage) == 1
    next_number = alice.open("room").number
    for frame in (Renew(50, next_number, token), publishing(alice, next_number, token)):
        assert alice.refused(frame, ErrorCode.FENCED).detail == {"token": 0}
    assert granted(alice, next_number) > token
    assert alice.refused(publishing(alice, next_number, token), ErrorCode.FENCED)
    stage = restarting(stage)
    assert listed(stage) == 2
    time.advance(TTL_MS)
    until_last(stage, 1)


def test_a_grant_and_a_deletion_of_one_commit_leave_nothing(stage: Stage) -> None:
    alice, number = opened(stage)
    stage.log.hold()
    alice.send(asking(alice, number, "on its way"))
    stage.hold_in_commit()
    alice.send(asking(alice, number, "gathering"), Delete(50, "room"))
    stage.log.go_on()
    stage.idle()
    assert listed(stage) == 0


def test_a_channel_with_a_lease_stays_in_memory(stage: Stage, time: Time) -> None:
    alice, number = opened(stage, producer=(7, 0))
    token = granted(alice, number)
    alice.leave()
    stage.tick()
    assert len(stage.engine.hub) == 1
    ring(stage, time)
    time.advance(stage.engine.config.journal_age_ms)
    for _ in range(5):
        stage.tick()
    assert len(stage.engine.hub) == 0
    bob, _ = opened(stage, "bob")
    assert bob.refused(publishing(bob, number, token), ErrorCode.FENCED).detail == {"token": token}


def test_a_channel_with_a_lease_is_not_idle(staged: Callable[..., Stage], time: Time) -> None:
    stage = staged(retention=Retention(idle_ttl_ms=5_000))
    alice, number = opened(stage)
    granted(alice, number, ttl_ms=20_000)
    alice.leave()
    for _ in range(4):
        time.advance(4_900)
        stage.tick()
        assert stage.log.find("room") == number
    ring(stage, time, 400)
    time.advance(4_000)
    stage.tick()
    assert listed(stage) == 0 and stage.log.find("room") == number
    time.advance(2_000)
    stage.tick()
    assert stage.log.find("room") is None
