from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import outlast
import pytest
from outlast_cli.exits import Exit

from . import shell
from .shell import Finished, fill

Handle = Callable[[outlast.Request], Awaitable[bool]]


def answered(url: str, channel: str, handle: Handle, *arguments: str) -> Finished:
    """What a command says while somebody answers the request that it makes."""

    async def agent() -> Finished:
        async with outlast.connect(url, client_id="agent") as client:
            kinds = outlast.requests.KINDS
            async with client.channel(channel).inbox(cursor="agent", kinds=kinds) as inbox:
                command = asyncio.ensure_future(asyncio.to_thread(shell.run, *arguments, url=url))
                await handle(await anext(inbox))
                return await command

    return asyncio.run(agent())


def test_an_acceptance(url: str) -> None:
    async def handle(request: outlast.Request) -> bool:
        assert (request.kind, request.text) == ("prompt", "Hello")
        return await request.accept({"message": 9})

    done = answered(url, "ask-accepted", handle, "ask", "prompt", "ask-accepted", "Hello")
    assert (done.code, done.out) == (0, '{"message": 9}\n')
    assert done.err == "outlast: request 1 was accepted by agent\n"


def test_a_refusal(url: str) -> None:
    fill(url, "ask-refused", 3)

    async def handle(request: outlast.Request) -> bool:
        assert (request.kind, request.message, request.text) == ("cancel", 2, "enough")
        return await request.refuse("it has ended")

    done = answered(url, "ask-refused", handle, "ask", "cancel", "ask-refused", "2", "enough")
    assert (done.code, done.out) == (Exit.REFUSED, "")
    assert done.err == "outlast: request 4 was refused by agent: it has ended\n"


def test_as_json(url: str) -> None:
    fill(url, "ask-json", 1)

    async def handle(request: outlast.Request) -> bool:
        assert (request.kind, request.message) == ("steer", 1)
        return await request.accept()

    done = answered(url, "ask-json", handle, "ask", "steer", "ask-json", "1", "Shorter", "--json")
    said = {"request": 2, "accepted": True, "reason": "", "data": None, "client_id": "agent"}
    assert (done.code, json.loads(done.out)) == (0, said)


def test_nobody_answers_and_then_somebody_does(url: str) -> None:
    late = shell.call("ask", "approval", "ask-late", "Pay 5?", "--timeout", "50ms", url=url)
    assert late.code == Exit.REFUSED and "not_answered" in late.err and "outlast ask outcome" in late.err
    done = shell.call("answer", "ask-late", "1", "--refuse", "too much", "--json", url=url)
    assert (done.code, json.loads(done.out)["reason"]) == (Exit.REFUSED, "too much")
    again = shell.call("answer", "ask-late", "1", url=url)
    assert again.code == Exit.REFUSED and "too much" in again.err
    outcome = shell.call("ask", "outcome", "ask-late", "1", url=url)
    assert outcome.code == Exit.REFUSED and "was refused by" in outcome.err


@pytest.mark.parametrize("arguments", [["answer", "ask-wrong", "1"], ["ask", "outcome", "ask-wrong", "1"]])
def test_what_is_no_request(url: str, arguments: list[str]) -> None:
    fill(url, "ask-wrong", 1)
    done = shell.call(*arguments, url=url)
    assert done.code == Exit.USAGE and "no request" in done.err
