"""An inbox, against a real broker: nothing is lost, nothing is answered twice, and a cancel stops the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import outlast
import pytest
from outlast import Outcome
from outlast.inbox import ACK_EVERY, kinds_of
from outlast.requests import make_request

from tests.support.broker import running_broker
from tests.support.proxy import Faults, Proxy

from .test_against_broker import connect, tell
from .test_answers import NAME, arrived, asking, between


async def put(
    channel: outlast.Channel, kind: Any = "prompt", text: str | None = "Go", message: int | None = None
) -> int:
    """A request that nobody waits for; returns its number."""
    request = make_request(kind, text, message, None)
    ack = await channel.publish(request.data, name=request.name, headers=request.headers)
    return ack.offset


async def standing(channel: outlast.Channel, cursor: str = "agent") -> int:
    """Where the inbox's cursor is."""
    return sum([each.offset async for each in channel.cursors() if each.name == cursor])


def prompts(channel: outlast.Channel, count: int) -> Awaitable[list[Outcome]]:
    """So many at once, with the texts 0, 1, 2 ..."""
    return asyncio.gather(*[channel.prompt(f"{index}") for index in range(count)])


async def answers(channel: outlast.Channel) -> list[tuple[str, str]]:
    """(name, number) of all answers in the log."""
    names = ("outlast.accepted", "outlast.refused")
    return [(str(r.name)[8:], r.headers["re"]) async for r in channel.history() if r.name in names]


@asynccontextmanager
async def working(url: str, **options: Any) -> AsyncIterator[tuple[outlast.Channel, outlast.Inbox]]:
    """An agent of its own with its inbox."""
    async with (
        connect(url, client_id="agent") as client,
        client.channel(NAME).inbox(**({"cursor": "agent"} | options)) as inbox,
    ):
        yield client.channel(NAME), inbox


def at_a_broker(story: Callable[[str], Any]) -> None:
    with running_broker() as broker:
        tell(story, f"outlast+unix://{broker.path}")


# --- requests and answers ---------------------------------------------------------------------------------


def test_requests_come_and_their_answers_go_back() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with agent.inbox(cursor="agent") as inbox:
            async with asking(person.prompt("Hello", fields={"n": 1})) as outcome:
                request = await anext(inbox)
                assert (request.kind, request.text, request.client_id, request.message) == (
                    "prompt", "Hello", "person", None,
                )  # fmt: skip
                assert (request.id, request.data, request.outcome) == (1, {"n": 1, "text": "Hello"}, None)
                assert request.time == (await anext(agent.history())).time
                assert await request.accept({"message": 2})
                assert request.outcome == await outcome == Outcome(True, "", {"message": 2}, "agent", 1)
            async with asking(person.steer(1, "Shorter")) as outcome:
                request = await anext(inbox)
                assert (request.kind, request.message) == ("steer", 1)
                assert await request.refuse("it has ended")
                assert (await outcome).reason == "it has ended"

    between(story)


def test_a_person_has_an_inbox_of_approvals() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with (
            person.inbox(cursor="person", kinds=("approval",)) as inbox,
            agent.inbox(cursor="own", kinds=("approval",)) as own,
            asking(agent.ask_approval("Pay 5?", message=None, timeout=None)) as outcome,
        ):
            await put(person)
            request = await anext(inbox)
            assert (request.kind, request.text, request.client_id) == ("approval", "Pay 5?", "agent")
            assert await request.accept()
            assert (await outcome).accepted
            await own.close()
            assert [each async for each in own] == []

    between(story)


def test_answering_again_changes_nothing() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        number = await put(person)
        async with agent.inbox(cursor="agent") as inbox:
            request = await anext(inbox)
            assert await request.accept()
            assert not await request.refuse("no")
            assert request.outcome is not None and request.outcome.accepted
        assert await answers(agent) == [("accepted", str(number))]

    between(story)


def test_what_was_answered_before_it_is_taken_is_not_given() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with agent.inbox(cursor="agent") as inbox:
            withdrawn, kept = await put(person), await put(person)
            await person.reject(withdrawn, "never mind")
            await put(person, "cancel", None, kept)
            assert (await anext(inbox)).id == kept

    between(story)


def test_more_than_it_takes_are_refused() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with agent.inbox(cursor="agent", waiting_max=2) as inbox, asking(prompts(person, 3)) as outcomes:
            await arrived(agent, 3)
            refused = await person.outcome(3)
            assert (refused.accepted, refused.reason) == (False, "2 requests wait here already")
            for _ in range(2):
                assert await (await anext(inbox)).accept()
            assert [outcome.accepted for outcome in await outcomes] == [True, True, False]

    between(story)


# --- restarts ---------------------------------------------------------------------------------------------


def test_what_is_not_answered_comes_again_and_nothing_else() -> None:
    async def story(url: str) -> None:
        async with connect(url, client_id="person") as client:
            person = client.channel(NAME)
            numbers = [await put(person, text=f"{index}") for index in range(5)]
            async with working(url) as (channel, inbox):
                requests = [await anext(inbox) for _ in numbers]
                assert await requests[0].accept() and await requests[3].refuse("no")
            assert await standing(person) == numbers[0]
            async with working(url) as (channel, inbox):
                requests = [await anext(inbox) for _ in range(3)]
                assert [request.id for request in requests] == [numbers[1], numbers[2], numbers[4]]
                for request in requests:
                    assert await request.accept()
            last = (await person.info()).last
            assert await standing(person) == last
            async with working(url) as (channel, inbox):
                number = await put(person)
                assert (await anext(inbox)).id == number

    at_a_broker(story)


def test_an_answer_whose_author_died_before_it_was_acknowledged_counts() -> None:
    async def story(url: str) -> None:
        async with connect(url, client_id="person") as client:
            person = client.channel(NAME)
            await put(person)
            # The agent ended after its answer was stored, and before its cursor moved.
            await person.publish({}, name="outlast.accepted", headers={"re": "1"})
            number = await put(person)
            async with working(url) as (_, inbox):
                assert (await anext(inbox)).id == number

    at_a_broker(story)


def test_an_agent_that_dies_in_the_middle_gets_it_again() -> None:
    async def story(url: str) -> None:
        async with (
            connect(url, client_id="person") as client,
            asking(client.channel(NAME).prompt("Hello", timeout=None)) as outcome,
        ):
            with pytest.raises(RuntimeError, match="died"):
                async with working(url) as (_, inbox):
                    await anext(inbox)
                    raise RuntimeError("the agent died")
            async with working(url) as (_, inbox):
                assert await (await anext(inbox)).accept("second life")
            assert (await outcome).data == "second life"

    at_a_broker(story)


def test_records_that_are_no_requests_move_the_cursor_now_and_then() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with agent.inbox(cursor="agent") as inbox:
            await asyncio.gather(*[person.publish_nowait("token") for _ in range(ACK_EVERY + 10)])
            await put(person)
            request = await anext(inbox)
            assert ACK_EVERY <= await standing(person) < request.id

    between(story)


# --- two agents -------------------------------------------------------------------------------------------


def test_of_two_agents_one_gets_the_work() -> None:
    async def story(url: str) -> None:
        async with connect(url, client_id="person") as client, working(url) as (_, one), working(url) as (_, two):
            person = client.channel(NAME)
            for _ in range(10):
                await put(person)
                requests = [await anext(inbox) for inbox in (one, two)]
                assert len({request.id for request in requests}) == 1
                won = await asyncio.gather(*[request.accept(index) for index, request in enumerate(requests)])
                assert sorted(won) == [False, True]
                outcome = await person.outcome(requests[0].id)
                assert outcome.data == won.index(True)
                assert [request.outcome for request in requests] == [outcome, outcome]
            await one.close()
            await two.close()
            assert await standing(person) == (await person.info()).last

    at_a_broker(story)


def test_a_request_that_one_agent_leaves_to_the_other_does_not_hold_it_up() -> None:
    async def story(url: str) -> None:
        async with connect(url, client_id="person") as client, working(url) as (_, one), working(url) as (_, two):
            person = client.channel(NAME)
            number = await put(person)
            left, taken = await anext(one), await anext(two)
            assert await taken.accept()
            assert not await left.accept()
            await one.close()
            assert await standing(person) > number

    at_a_broker(story)


# --- cancel -----------------------------------------------------------------------------------------------


def test_a_cancel_stops_the_work_and_its_sender_sees_that() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with agent.inbox(cursor="agent") as inbox, asking(person.prompt("Count")) as prompted:
            request = await anext(inbox)
            assert await request.accept()
            with inbox.cancelled(request) as cancelled:
                assert not cancelled.is_set() and cancelled.client_id is None
                async with asking(person.cancel(await prompted, "enough")) as outcome:
                    await cancelled.wait()
                    assert (cancelled.is_set(), cancelled.text, cancelled.client_id) == (True, "enough", "person")
                    assert (await outcome).accepted
            async with asking(person.cancel(request.id)) as outcome:
                late = await anext(inbox)
                assert (late.kind, late.message) == ("cancel", request.id)
                assert await late.refuse("it has ended")
                assert (await outcome).reason == "it has ended"

    between(story)


def test_a_cancel_that_came_before_anybody_watched_is_accepted_then() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        first, other = await put(person), await put(person)
        async with agent.inbox(cursor="agent") as inbox:
            async with asking(person.cancel(first)) as outcome:
                await arrived(agent, 3)
                cancelled = inbox.cancelled(first, 2**40)
                await cancelled.wait()
                assert (await outcome).accepted
            assert [(await anext(inbox)).id for _ in range(2)] == [first, other]

    between(story)


def test_a_cancel_from_before_a_restart_is_known_after_it() -> None:
    async def story(url: str) -> None:
        async with connect(url, client_id="person") as client:
            person = client.channel(NAME)
            number = await put(person)
            await put(person, "cancel", None, number)
            async with working(url) as (_, inbox):
                with inbox.cancelled(number) as cancelled:
                    await cancelled.wait()
            assert await answers(person) == [("accepted", "2")]

    at_a_broker(story)


def test_a_cancel_that_the_user_accepts_is_heard_by_those_who_watch() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        number = await put(person)
        async with agent.inbox(cursor="agent") as inbox, agent.inbox(cursor="other") as other:
            with other.cancelled(number) as watching:
                await watching_and_answering(inbox, person, number)
                await watching.wait()

    async def watching_and_answering(inbox: outlast.Inbox, person: outlast.Channel, number: int) -> None:
        await put(person, "cancel", None, number)
        outcome = await person.outcome(number + 1)
        assert outcome.accepted and outcome.client_id == "agent"
        assert (await anext(inbox)).id == number

    between(story)


def test_what_cannot_be_watched() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with agent.inbox(cursor="agent") as inbox:
            with pytest.raises(ValueError, match="say which message"):
                inbox.cancelled()
            with pytest.raises(TypeError, match="the message is str"):
                inbox.cancelled("1")  # type: ignore[arg-type]
        async with agent.inbox(cursor="prompts", kinds=("prompt",)) as inbox:
            with pytest.raises(ValueError, match="reads no cancels"):
                inbox.cancelled(1)

    between(story)


# --- connections and endings ------------------------------------------------------------------------------


def test_cut_connections_lose_and_repeat_nothing() -> None:
    async def story(url: str) -> None:
        path = url.removeprefix("outlast+unix://")
        async with Proxy(f"{path}-proxy", path) as proxy, connect(url, client_id="person") as client:
            proxy.plan = lambda index: Faults(down_bytes=1_200 + 100 * index)
            person = client.channel(NAME)
            handled = []
            async with working(proxy.url) as (_, inbox), asking(prompts(person, 20)) as outcomes:
                for _ in range(20):
                    request = await anext(inbox)
                    handled.append(request.text)
                    assert await request.accept(request.text)
                said = [outcome.data for outcome in await outcomes]
            assert sorted(handled, key=int) == said == [f"{index}" for index in range(20)]
            assert proxy.connections > 3
            assert len(await answers(person)) == 20

    at_a_broker(story)


def test_requests_that_retention_took_are_gone_and_that_is_said() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        for _ in range(3):
            await put(person)
        async with agent.inbox(cursor="agent") as inbox:
            assert await (await anext(inbox)).accept()
        await put(person)
        last = await put(person)
        await person.truncate(before=last)
        async with agent.inbox(cursor="agent") as inbox:
            with pytest.raises(outlast.Resync, match="trimmed"):
                await anext(inbox)
            request = await anext(inbox)
            assert request.id == last and await request.accept()

    between(story)


def test_the_end_of_a_channel_is_said_and_its_next_life_read() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with agent.inbox(cursor="agent") as inbox:
            await put(person)
            request = await anext(inbox)
            await person.delete()
            with pytest.raises(outlast.Resync, match="deleted"):
                await anext(inbox)
            assert not await request.accept()
            await put(person, text="next life")
            again = await anext(inbox)
            assert (again.id, again.text) == (1, "next life") and await again.accept()

    between(story)


def test_what_ends_the_subscription_ends_the_inbox() -> None:
    async def story(url: str) -> None:
        async with connect(url) as client:
            inbox = client.channel(NAME).inbox(cursor="agent")
            with pytest.raises(RuntimeError, match="enter the inbox first"):
                await anext(inbox)
            await inbox.close()
            await inbox.__aenter__()
            with pytest.raises(RuntimeError, match="entered once"):
                await inbox.__aenter__()
            number = await put(client.channel(NAME))
            request = await anext(inbox)
        with pytest.raises(outlast.Closed):
            await anext(inbox)
        with pytest.raises(outlast.Closed):
            await request.accept()
        await inbox.close()
        assert number == request.id

    at_a_broker(story)


def test_several_tasks_may_take_from_one_inbox() -> None:
    async def story(agent: outlast.Channel, person: outlast.Channel) -> None:
        async with agent.inbox(cursor="agent") as inbox:
            takers = [asyncio.ensure_future(anext(inbox)) for _ in range(2)]
            await asyncio.sleep(0)
            numbers = {await put(person), await put(person)}
            assert {request.id for request in await asyncio.gather(*takers)} == numbers

    between(story)


@pytest.mark.parametrize("kinds", ["prompt", (), ("prompt", "dream")])
def test_kinds_that_there_are_not(kinds: Any) -> None:
    with pytest.raises(ValueError, match="expected some of prompt, cancel"):
        kinds_of(kinds)
