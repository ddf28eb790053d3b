"""PROTOCOL.md 6.14 as clients see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from outlast_broker.metering.counters import Counters
from outlast_protocol import Data, ErrorCode, ProtocolError, Record
from outlast_protocol.batch import KIND_SESSION, encode_batch, encode_labelled, read_records, spans
from outlast_protocol.frames import Credit, Deliver, Ephemeral, Published, Unsubscribe

from tests.broker.stage import Actor, Stage, Time

Staged = Callable[..., Stage]
KIB = 1_024


def saying(actor: Actor, number: int, *datas: Data) -> Ephemeral:
    return Ephemeral(actor.request(), number, encode_batch(actor.id, [(data, "typing", None) for data in datas]))


def heard(actor: Actor) -> list[Record]:
    """The records of the next frame, which must be EPHEMERAL."""
    frame = actor.expect(Ephemeral)
    assert frame.request == 0
    return read_records(frame.batch)


def room(stage: Stage, *names: str, credit: int = 1 << 20) -> tuple[int, list[Actor]]:
    """Its number, and clients that read it live."""
    actors = [stage.client(name) for name in names]
    for actor in actors:
        number = actor.open("room").number
        actor.subscribe(number, credit, start="latest")
    return number, actors


def counted(stage: Stage) -> tuple[int, int]:
    counters: Counters = stage.engine.counters
    return counters.ephemeral_sent, counters.ephemeral_dropped


# --- who gets it ------------------------------------------------------------------------------------------


def test_everybody_who_subscribes_gets_it_at_once_the_sender_too(time: Time, stage: Stage) -> None:
    number, [alice, bob] = room(stage, "alice", "bob")
    carol = stage.client("carol")
    carol.open("room")
    time.advance(7)
    alice.send(saying(alice, number, "a", "b"))
    for actor in (alice, bob):
        told = [(record.offset, record.time_ms, record.client_id, record.name, record.data) for record in heard(actor)]
        assert told == [(0, time.ms, "alice", "typing", b"a"), (1, time.ms, "alice", "typing", b"b")]
    assert carol.silent and alice.silent and bob.silent
    assert counted(stage) == (2, 0)


def test_it_is_the_same_bytes_for_all(stage: Stage) -> None:
    number, [alice, bob] = room(stage, "alice", "bob")
    alice.send(saying(alice, number, "a"))
    assert alice.wire.written == bob.wire.written


def test_it_is_not_stored(stage: Stage) -> None:
    number, [alice] = room(stage, "alice")
    before = len(stage.log.works)
    alice.send(saying(alice, number, "a"))
    heard(alice)
    stage.idle()
    assert len(stage.log.works) == before
    bob = stage.client("bob")
    bob.open("room")
    bob.subscribe(number, start="earliest")
    stage.turn()
    assert bob.silent and bob.info("room")["last"] == 0


def test_who_has_unsubscribed_gets_nothing(stage: Stage) -> None:
    number, [alice, bob] = room(stage, "alice", "bob")
    bob.result(Unsubscribe(bob.request(), number))
    alice.send(saying(alice, number, "a"))
    assert len(heard(alice)) == 1 and bob.silent


def test_times_do_not_run_backwards_when_the_clock_does(time: Time, stage: Stage) -> None:
    number, [alice] = room(stage, "alice")
    alice.publish(number, "record")
    alice.expect(Deliver)
    published_ms = time.ms
    time.advance(-1_000)
    alice.send(saying(alice, number, "a"))
    assert heard(alice)[0].time_ms == published_ms


# --- order ------------------------------------------------------------------------------------------------


def test_it_overtakes_records_that_are_not_on_disk_yet(stage: Stage) -> None:
    number, [alice] = room(stage, "alice")
    stage.log.hold()
    alice.send(alice.publishing(number, "record"), saying(alice, number, "a"))
    stage.hold_in_commit()
    heard(alice)
    assert alice.silent
    stage.log.go_on()
    alice.expect(Deliver)
    alice.expect(Published)


def test_those_of_one_sender_arrive_in_order_and_between_whole_frames(stage: Stage) -> None:
    number, [alice, bob] = room(stage, "alice", "bob")
    frames = []
    for index in range(50):
        frames += [saying(alice, number, index), alice.publishing(number, index)]
    alice.send(*frames)
    stage.idle()
    said = [read_records(frame.batch)[0].decoded() for frame in bob.came if isinstance(frame, Ephemeral)]
    delivered = b"".join(frame.batches for frame in bob.came if isinstance(frame, Deliver))
    assert said == list(range(50)) == [record.decoded() for record in read_records(delivered)]
    assert [span.offset for span in spans(delivered)] == list(range(1, 51))


# --- dropped first ----------------------------------------------------------------------------------------


def test_a_reader_without_credit_does_not_get_it_and_it_costs_none(stage: Stage) -> None:
    number, [alice, bob] = room(stage, "alice", "bob", credit=1)
    for _ in range(3):
        alice.send(saying(alice, number, "a"))
    assert [len(heard(bob)) for _ in range(3)] == [1, 1, 1]
    alice.publish(number, "record")
    bob.expect(Deliver)
    alice.send(saying(alice, number, "b"))
    assert bob.silent
    bob.send(Credit(number, KIB))
    stage.turn()
    alice.send(saying(alice, number, "c"))
    assert heard(bob)[0].data == b"c"
    assert counted(stage) == (7, 3)


def test_a_connection_that_does_not_drain_does_not_get_it(stage: Stage) -> None:
    number, [alice, bob] = room(stage, "alice", "bob")
    stage.call(bob.connection.clog)
    alice.send(saying(alice, number, "a"))
    assert len(heard(alice)) == 1 and bob.silent
    stage.call(bob.connection.unclog)
    alice.send(saying(alice, number, "b"))
    assert heard(bob)[0].data == b"b"
    assert counted(stage) == (3, 1)


def test_a_connection_that_is_held_back_does_not_get_it(stage: Stage) -> None:
    number, [alice, bob] = room(stage, "alice", "bob")
    stage.call(bob.connection.hold)
    alice.send(saying(alice, number, "a"))
    assert bob.silent
    stage.call(bob.connection.unhold)
    alice.send(saying(alice, number, "b"))
    assert heard(bob)[0].data == b"b"


def test_a_flood_in_one_turn_makes_nobody_fall_behind(staged: Staged) -> None:
    stage = staged(reader_buffer_bytes=64 * KIB)
    number, [alice, bob] = room(stage, "alice", "bob")
    alice.send(*[saying(alice, number, bytes(KIB)) for _ in range(100)])
    [reader] = [each for each in stage.channel("room").live if each.connection is bob.connection]
    assert reader.live and not bob.connection.clogged
    sent, dropped = counted(stage)
    assert sent + dropped == 200 and len(bob.came) * 2 == sent < 128
    alice.publish(number, "record")
    assert isinstance(bob.came[-1], Deliver)


# --- refused ----------------------------------------------------------------------------------------------


def test_a_channel_that_is_not_open_here_is_unknown(stage: Stage) -> None:
    number, _ = room(stage, "alice")
    bob = stage.client("bob")
    bob.refused(saying(bob, number, "a"), ErrorCode.UNKNOWN_CHANNEL)


def test_what_no_publish_would_be_allowed_is_refused(stage: Stage) -> None:
    number, [alice] = room(stage, "alice")
    good = encode_batch("alice", [("a", None, None)])
    operation = encode_labelled("alice", [((0, None, (), None, 5), b"a")])
    assert operation[24] == KIND_SESSION
    refused = {
        ErrorCode.BAD_BATCH: good[:-1],
        ErrorCode.BAD_CHECKSUM: good[:-1] + b"\xff",
        ErrorCode.CLIENT_MISMATCH: encode_batch("bob", [("a", None, None)]),
        ErrorCode.UNSUPPORTED_KIND: operation,
    }
    for code, batch in refused.items():
        alice.refused(Ephemeral(alice.request(), number, batch), code)
    assert alice.silent and counted(stage) == (0, 0)


def test_a_broker_that_is_read_only_takes_it(stage: Stage) -> None:
    number, [alice] = room(stage, "alice")
    stage.engine.refusal = ProtocolError(ErrorCode.READ_ONLY, "the disk is nearly full", retry_after_ms=1)
    alice.send(saying(alice, number, "a"))
    assert len(heard(alice)) == 1


@pytest.mark.parametrize("request_number", [0, 5])
def test_a_broker_that_leaves_refuses_it(stage: Stage, request_number: int) -> None:
    number, [alice] = room(stage, "alice")
    stage.engine.refusal = ProtocolError(ErrorCode.GOING_AWAY, "leaving", retry_after_ms=1)
    stage.engine.leaving = True
    alice.send(saying(alice, number, "a")._replace(request=request_number))
    assert alice.came and getattr(alice.came[0], "request", None) == request_number
