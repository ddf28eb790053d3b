from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from outlast_broker.web.caller import Caller
from outlast_protocol import ErrorCode, ProtocolError, frames as f
from outlast_protocol.batch import encode_batch

from tests.broker.stage import Stage

F = TypeVar("F")


def run(stage: Stage, work: Callable[[], Awaitable[F]]) -> F:
    async def main() -> F:
        return await asyncio.wait_for(work(), 10)

    return stage.loop.run_until_complete(main())


def calling(stage: Stage, unasked: Callable[[Any], None] = lambda frame: None) -> Caller:
    return stage.call(lambda: Caller(stage.engine, "http", None, "127.0.0.1:1", unasked))


def publishing(caller: Caller, number: int) -> f.Publish:
    return f.Publish(caller.request(), number, 0, f.UNCONDITIONAL, 0, encode_batch("http", [("x", None, None)]))


def test_what_is_asked_is_answered(stage: Stage) -> None:
    caller = calling(stage)

    async def work() -> tuple[f.Opened, Any, dict[str, Any]]:
        opened = await caller.open("room", create=True)
        ack = await caller.begin(publishing(caller, opened.number))
        return opened, ack, await caller.result(f.Info(caller.request(), "room"))

    opened, ack, info = run(stage, work)
    assert opened.last == 0 and ack[1:] == (1, False) and info["last"] == 1
    assert caller.channel(opened.number) is stage.channel("room")


def test_a_refusal_is_raised(stage: Stage) -> None:
    caller = calling(stage)
    with pytest.raises(ProtocolError) as caught:
        run(stage, lambda: caller.open("nowhere", create=False))
    assert caught.value.code is ErrorCode.UNKNOWN_CHANNEL


def test_what_answers_nothing_is_given_to_the_one_who_listens(stage: Stage) -> None:
    heard: list[Any] = []
    caller = calling(stage, heard.append)
    assert [type(frame) for frame in heard] == [f.Welcome]

    async def work() -> None:
        opened = await caller.open("room", create=True)
        await caller.ask(f.Subscribe(caller.request(), opened.number, 1_000, start="latest"), f.Subscribed)
        await caller.begin(publishing(caller, opened.number))

    run(stage, work)
    assert [type(frame) for frame in heard[1:]] == [f.Deliver]


def test_nothing_is_acknowledged_before_the_disk_has_it(stage: Stage) -> None:
    caller = calling(stage)
    opened = run(stage, lambda: caller.open("room", create=True))
    stage.log.hold()
    ack = stage.call(lambda: caller.begin(publishing(caller, opened.number)))
    stage.hold_in_commit()
    assert not ack.done()
    stage.log.go_on()
    assert run(stage, lambda: ack)[1] == 1
    run(stage, caller.settled)


def test_one_who_leaves_is_missed_by_nobody(stage: Stage) -> None:
    caller = calling(stage)
    opened = run(stage, lambda: caller.open("room", create=True))
    stage.log.hold()
    ack = stage.call(lambda: caller.begin(publishing(caller, opened.number)))
    stage.call(caller.leave)
    stage.log.go_on()
    stage.idle()
    assert ack.done() and stage.channel("room").last == 1 and stage.channel("room").users == 0


def test_one_who_is_cut_off_is_told_why_then_and_later(stage: Stage) -> None:
    """A token may be revoked, or expire, while what came with it waits for the disk."""
    caller = calling(stage)
    opened = run(stage, lambda: caller.open("room", create=True))
    stage.log.hold()
    ack = stage.call(lambda: caller.begin(publishing(caller, opened.number)))
    stage.call(lambda: caller.connection.fail(ProtocolError(ErrorCode.UNAUTHORIZED, "no")))
    for ask in (lambda: ack, lambda: caller.open("other", create=True)):
        with pytest.raises(ProtocolError) as caught:
            run(stage, ask)
        assert caught.value.code is ErrorCode.UNAUTHORIZED
    stage.log.go_on()
    stage.idle()
    assert stage.channel("room").last == 1
