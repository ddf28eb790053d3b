from __future__ import annotations

from outlast_broker.doors.crowd import DOORS
from outlast_protocol.frames import Unsubscribe

from tests.broker.stage import Stage


def test_those_who_came_by_a_door_are_there_until_they_close(stage: Stage) -> None:
    crowd = stage.engine.crowd
    actors = [stage.client(f"c{index}") for index in range(4)]
    assert not list(crowd.page(0, 10)), "nobody has come by a door yet"
    for actor, door in zip(actors, ("tcp", "unix", "tcp", "http"), strict=True):
        actor.connection.came_by(door, "")
    assert crowd.by_door == dict.fromkeys(DOORS, 0) | {"tcp": 2, "unix": 1, "http": 1}
    stage.call(actors[0].connection.closed)
    assert crowd.by_door["tcp"] == 1
    present = [connection.client for connection in crowd.page(0, 10)]
    assert present == [b"c1", b"c2", b"c3"]
    assert [connection.client for connection in crowd.page(actors[1].connection.id, 1)] == [b"c2"]
    ids = [actor.connection.id for actor in actors]
    assert ids == sorted(set(ids))


def test_closing_twice_is_counted_once(stage: Stage) -> None:
    alice = stage.client("alice")
    alice.connection.came_by("tcp", "")
    stage.call(alice.connection.closed)
    stage.engine.crowd.leave(alice.connection.id, "tcp")
    assert stage.engine.crowd.by_door["tcp"] == 0


def test_subscriptions_are_counted_and_those_that_are_live(stage: Stage) -> None:
    crowd = stage.engine.crowd
    alice, bob = stage.client("alice"), stage.client("bob")
    number = alice.open("room").number
    bob.open("room")
    alice.subscribe(number)
    bob.subscribe(number, credit=0)
    stage.idle()
    assert (crowd.subscriptions, crowd.live, crowd.behind) == (2, 1, 1)
    alice.result(Unsubscribe(alice.request(), number))
    assert (crowd.subscriptions, crowd.behind) == (1, 1)
    alice.subscribe(number, credit=1)
    assert crowd.behind == 1
    alice.publish(number, "x")
    assert crowd.behind == 2 and stage.engine.counters.fallen_behind == 1, "it has no credit any more"
    for actor in (alice, bob):
        stage.call(actor.connection.closed)
    assert (crowd.subscriptions, crowd.live) == (0, 0)


def test_a_channel_that_is_deleted_takes_its_subscriptions_with_it(stage: Stage) -> None:
    alice = stage.client("alice")
    alice.subscribe(alice.open("room").number)
    channel = stage.engine.hub.by_name("room")
    assert channel is not None
    stage.call(lambda: stage.engine.delete(channel))
    assert (stage.engine.crowd.subscriptions, stage.engine.crowd.live) == (0, 0)
