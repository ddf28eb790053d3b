"""Asking and answering, against a real broker: outcomes that the one who asks sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import outlast
import pytest
from outlast import Outcome

from tests.support.broker import running_broker
from tests.support.proxy import Faults, Proxy

from .fake_broker import take
from .test_against_broker import connect, tell

T = TypeVar("T")
Story = Callable[[outlast.Channel, outlast.Channel], Awaitable[None]]
NAME = "room"


def between(story: Story) -> None:
    """A story of an agent's and a person's channel, at a broker of their own."""

    async def both(url: str) -> None:
        async with connect(url, client_id="agent") as agent, connect(url, client_id="person") as person:
            await story(agent.channel(NAME), person.channel(NAME))

    with running_broker() as broker:
        tell(both, f"outlast+unix://{broker.path}")


@asynccontextmanager
async def asking(request: Awaitable[T]) -> AsyncIterator[asyncio.Future[T]]:
    """A request under way."""
    task = asyncio.ensure_future(request)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def arrived(channel: outlast.Channel, count: int = 1) -> list[outlast.Record]:
    """The first requests of the channel, once they are there."""
    records = channel.subscribe(start="earliest")
    found: list[outlast.Record] = []
    while len(found) < count:
        [record] = await take(records, 1)
        if record.name in ("outlast.prompt", "outlast.approval", "outlast.cancel", "outlast.steer"):
            found.append(record)
    await records.close()
    return found


def test_an_acceptance_comes_back_with_its_data() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with asking(person.prompt("Hello", fields={"model": "x"})) as outcome:
            [record] = await arrived(agent)
            assert (record.data, record.client_id) == ({"model": "x", "text": "Hello"}, "person")
            counted = await agent.approve(record, {"message": 7})
            assert counted == await outcome == Outcome(True, "", {"message": 7}, "agent", record.offset)

    between(story)


def test_a_refusal_comes_back_with_its_reason() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        first = await agent.publish("token")
        for ask in (person.cancel(first, "enough"), person.steer(first, "Shorter")):
            async with asking(ask) as outcome:
                record = (await arrived(agent, 1 if ask.__name__ == "cancel" else 2))[-1]
                assert record.headers == {"re": "1"}
                await agent.reject(record.offset, "it has ended")
                assert (await outcome)[:4] == (False, "it has ended", None, "agent")

    between(story)


def test_one_message_refers_to_another_by_what_has_a_number() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with asking(person.prompt("Hello")) as outcome:
            await agent.approve((await arrived(agent))[0])
            prompted = await outcome
        async with asking(person.cancel(prompted)):
            [_, cancel] = await arrived(agent, 2)
            assert (cancel.headers, cancel.data) == ({"re": str(prompted.id)}, {})

    between(story)


def test_who_waits_shares_one_subscription() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        asks = [person.prompt(f"{index}") for index in range(10)]
        async with asking(asyncio.gather(*asks)) as outcomes:
            records = await arrived(agent, 10)
            assert (await agent.info()).subscribers <= 1
            for record in reversed(records):
                await agent.approve(record, record.data)
            said = [outcome.data["text"] for outcome in await outcomes]
            assert said == [f"{index}" for index in range(10)]
        while (await agent.info()).subscribers:
            pass

    between(story)


def test_the_first_of_two_answers_counts_for_both() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with asking(agent.ask_approval("Pay 5?", timeout=None)) as outcome:
            [question] = await arrived(person)
            first = await person.reject(question, "too much")
            second = await person.approve(question)
            assert first == second == await outcome == Outcome(False, "too much", None, "person", question.offset)

    between(story)


def test_one_cannot_approve_ones_own_question_and_may_withdraw_it() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with asking(agent.ask_approval("Pay 5?", timeout=None)) as outcome:
            [question] = await arrived(person)
            with pytest.raises(ValueError, match="somebody else"):
                await agent.approve(question)
            # As an agent that does not know the rule would do it.
            await agent.publish({}, name="outlast.accepted", headers={"re": str(question.offset)})
            await person.publish("token")
            assert not outcome.done()
            await agent.reject(question, "withdrawn")
            assert (await outcome).reason == "withdrawn"
            assert not (await person.approve(question)).accepted

    between(story)


def test_nobody_answers_in_time_and_then_somebody_does() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        with pytest.raises(outlast.NotAnswered) as unanswered:
            await person.prompt("Hello", timeout=0.05)
        assert unanswered.value.request == 1
        with pytest.raises(outlast.NotAnswered):
            await person.outcome(1, timeout=0.01)
        async with asking(person.outcome(1, timeout=None)) as outcome:
            await agent.approve(1)
            assert await outcome == await person.outcome(1) == Outcome(True, "", None, "agent", 1)

    between(story)


def test_without_a_connection_even_the_number_is_not_known() -> None:
    async def story(url: str) -> None:
        path = url.removeprefix("outlast+unix://")
        async with Proxy(f"{path}-proxy", path) as proxy, connect(proxy.url, close_timeout=0) as person:
            proxy.pause()
            with pytest.raises(outlast.NotAnswered, match="not acknowledged either") as unanswered:
                await person.channel(NAME).prompt("Hello", timeout=0.05)
            assert unanswered.value.request == 0

    with running_broker() as broker:
        tell(story, f"outlast+unix://{broker.path}")


def test_an_answer_survives_cut_connections() -> None:
    """Each new connection of the person ends after a few bytes more: some between request and acknowledgement."""

    async def story(url: str) -> None:
        path = url.removeprefix("outlast+unix://")
        async with (
            Proxy(f"{path}-proxy", path) as proxy,
            connect(url, client_id="agent") as agent,
            connect(proxy.url, client_id="person") as person,
        ):
            channel = agent.channel(NAME)
            proxy.plan = lambda index: Faults(down_bytes=900 + 40 * index)
            proxy.cut_all()
            async with asking(person.channel(NAME).prompt("Hello")) as outcome:
                [prompt] = await arrived(channel)
                for index in range(40):
                    await channel.publish(f"token {index}")
                await channel.approve(prompt, "done")
                assert (await outcome).data == "done"
            assert proxy.connections > 3
            assert len([r async for r in channel.history() if r.name == "outlast.prompt"]) == 1

    with running_broker() as broker:
        tell(story, f"outlast+unix://{broker.path}")


def test_an_answer_that_cannot_be_known_any_more_is_said() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with asking(person.prompt("Hello")) as outcome:
            await arrived(agent)
            while not (await agent.info()).subscribers:
                pass
            await agent.delete()
            with pytest.raises(outlast.Resync, match="deleted"):
                await outcome
        async with asking(person.prompt("Again")) as outcome:
            await agent.approve((await arrived(agent))[0])
            assert (await outcome).accepted

    between(story)


def test_what_is_no_request_cannot_be_answered() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        await agent.publish("token")
        for number in (1, agent.publish_nowait("more")):
            offset = number if isinstance(number, int) else (await number).offset
            for call in (agent.approve(offset), agent.reject(offset), agent.outcome(offset)):
                with pytest.raises(ValueError, match="no request"):
                    await call
        with pytest.raises(outlast.OffsetAhead):
            await agent.approve(9)
        with pytest.raises(TypeError, match="the request is str"):
            await agent.approve("1")  # type: ignore[arg-type]

    between(story)


def test_who_waits_when_the_client_closes_is_told() -> None:
    async def story(url: str) -> None:
        async with connect(url) as client:
            task = asyncio.ensure_future(client.channel(NAME).prompt("Hello", timeout=None))
            async with connect(url) as other:
                await arrived(other.channel(NAME))
                while not (await other.channel(NAME).info()).subscribers:
                    pass
        with pytest.raises(outlast.Closed):
            await task

    with running_broker() as broker:
        tell(story, f"outlast+unix://{broker.path}")


def test_giving_up_leaves_nothing_behind() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        tasks: list[Any] = [asyncio.ensure_future(person.prompt(f"{index}")) for index in range(3)]
        await arrived(agent, 3)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        while (await agent.info()).subscribers:
            pass

    between(story)
