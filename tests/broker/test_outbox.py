from __future__ import annotations

from outlast_broker.outbox import Outbox
from outlast_protocol.frames import Ping, Pong

from tests.broker.stage import Stage


def test_what_is_queued_for_a_connection_goes_out_in_one_write(stage: Stage) -> None:
    alice = stage.client()
    alice.send(Ping(1), Ping(2), Ping(3))
    assert len(alice.wire.written) == 1
    assert alice.came == [Pong(1), Pong(2), Pong(3)]


def test_flushing_writes_each_waiting_connection_once(stage: Stage) -> None:
    alice, bob, carol = (stage.client(name) for name in ("alice", "bob", "carol"))
    for connection in (alice.connection, bob.connection, alice.connection):
        stage.call(lambda connection=connection: connection.send(b""))  # type: ignore[misc]
    assert [len(each.wire.written) for each in (alice, bob, carol)] == [0, 0, 0]
    stage.call(stage.engine.outbox.flush)
    assert [len(each.wire.written) for each in (alice, bob, carol)] == [1, 1, 0]


def test_flushing_again_writes_nothing(stage: Stage) -> None:
    alice = stage.client()
    stage.call(lambda: alice.connection.send(b""))
    stage.call(stage.engine.outbox.flush)
    stage.call(stage.engine.outbox.flush)
    assert len(alice.wire.written) == 1


def test_an_empty_outbox_is_flushed_without_harm() -> None:
    Outbox().flush()
