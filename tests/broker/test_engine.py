from __future__ import annotations

from outlast_protocol.frames import Published

from tests.broker.stage import Stage


def test_first(stage: Stage) -> None:
    alice = stage.client()
    number = alice.open("a").number
    stage.log.hold()
    alice.send(alice.publishing(number, "x"))
    stage.hold_in_commit()
    assert alice.silent
    stage.log.go_on()
    assert alice.expect(Published).acks[0][1] == 1


def test_idle_while_in_flight(stage: Stage) -> None:
    alice = stage.client()
    number = alice.open("a").number
    stage.log.hold()
    alice.send(alice.publishing(number, "x"))
    stage.hold_in_commit()
    done = []
    stage.call(lambda: stage.engine.when_idle(lambda: done.append(1)))
    stage.log.go_on()
    stage.until(lambda: bool(done))
