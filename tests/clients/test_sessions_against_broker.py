"""Growing messages and attachments with the real broker: every verb once, and through cut connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import outlast
import pytest
from outlast.attachment import Event
from outlast_protocol.operations import Op

from tests.support.broker import running_broker

from .fake_broker import LOOPS
from .test_against_broker import CuttingProxy, connect, tell

TOKENS = [f"{n} " for n in range(300)]


class Screen:
    """Shows messages as a user of an attachment would: what it finds on entering, then deltas."""

    def __init__(self) -> None:
        self.shown: dict[int, outlast.Content] = {}
        self.states: dict[int, str] = {}
        self.keys: dict[str, list[outlast.Data]] = {}
        self.plain: list[outlast.Data] = []

    def enter(self, session: outlast.Attachment) -> None:
        self.shown |= {message: view.content for message, view in session.messages.items()}

    def show(self, event: Event) -> None:
        if isinstance(event, outlast.MessageChanged):
            self._show_message(event.message, event.delta)
        elif isinstance(event, outlast.StateChanged):
            self.keys.setdefault(event.key, []).append(event.value)
        elif isinstance(event, outlast.Record):
            self.plain.append(event.data)

    def _show_message(self, message: outlast.GrowingMessage, delta: outlast.Content | None) -> None:
        if delta is None:
            self.shown[message.id] = message.content
        elif isinstance(delta, str):
            self.shown[message.id] = str(self.shown.get(message.id, "")) + delta
        self.states[message.id] = message.state

    async def follow(self, session: outlast.Attachment, is_done: Callable[[], bool]) -> None:
        while not is_done():
            self.show(await anext(session))


@pytest.mark.parametrize("loop", LOOPS)
def test_every_verb(loop: str) -> None:
    with running_broker() as broker:
        tell(every_verb, f"outlast+unix://{broker.path}", loop)


async def every_verb(url: str) -> None:
    async with connect(url, client_id="agent") as agent, connect(url, client_id="viewer") as viewer:
        channel, seen = agent.channel("session:42"), viewer.channel("session:42")
        await channel.publish("question")
        async with channel.message(name="answer", headers={"k": "v"}) as message:
            for token in ("The ", "answer ", "is "):
                message.append_nowait(token)
            await message.flush()
            await attach_late(seen, message)
        await amend(channel, seen, message)
        await adopt(channel, agent)
        await refuse(channel, seen, message)


async def attach_late(seen: outlast.Channel, message: outlast.MessageWriter) -> None:
    screen = Screen()
    async with seen.attach(last=50) as session:
        assert (session.through, dict(session.messages), session.members) == (message.position, {}, [])
        await message.append("42.")
        await screen.follow(session, lambda: screen.shown.get(message.id) == "The answer is 42.")
        view = session.messages[message.id]
        assert (view.name, view.headers, view.client_id, view.state) == ("answer", {"k": "v"}, "agent", "open")
        assert screen.plain == ["question"]
    async with seen.attach() as session:
        assert session.messages[message.id].content == "The answer is 42."


async def amend(channel: outlast.Channel, seen: outlast.Channel, message: outlast.MessageWriter) -> None:
    view = await seen.get_message(message)
    assert (view.content, view.state, view.position) == ("The answer is 42.", "complete", message.position)
    [question, folded] = [record async for record in seen.history()]
    assert (question.data, folded.data, folded.name) == ("question", "The answer is 42.", "answer")
    raw = [record.operation.op for record in [r async for r in seen.history(raw=True)] if record.operation]
    assert raw == [Op.OPEN, Op.APPEND, Op.APPEND, Op.APPEND, Op.APPEND, Op.CLOSE]
    await channel.replace(message, "It is 42.")
    assert (await seen.get_message(str(view.position._replace(offset=view.id)))).content == "It is 42."
    await channel.remove(message.id)
    removed = await seen.get_message(message.id)
    assert (removed.content, removed.state) == ("", "removed")


async def adopt(channel: outlast.Channel, agent: outlast.Client) -> None:
    first = channel.message(data=b"\xff")
    await first.flush()
    second = await channel.adopt(first.id)
    assert second.content == b"\xff"
    await second.append(b"\x00")
    await second.cancel("enough")
    view = await channel.get_message(first.id)
    assert (view.content, view.state, view.reason) == (b"\xff\x00", "cancelled", "enough")
    with pytest.raises(outlast.MessageClosed):
        await first.append(b"late")


async def refuse(channel: outlast.Channel, seen: outlast.Channel, message: outlast.MessageWriter) -> None:
    with pytest.raises(outlast.UnknownMessage):
        await seen.get_message(1)
    async with channel.message() as other:
        await other.append("x")
        with pytest.raises(outlast.ForeignMessage) as foreign:
            await seen.replace(other, "not mine")
        assert foreign.value.client_id == "agent"
    with pytest.raises(outlast.LimitExceeded):
        async with channel.message(data="x" * 600_000) as large:
            large.append_nowait("y" * 600_000)
            large.append_nowait("z")
    view = await seen.get_message(large)
    assert (view.state, len(view.content)) == ("error", 600_000)


@pytest.mark.parametrize("loop", LOOPS)
def test_messages_under_a_lease_go_to_its_next_holder(loop: str) -> None:
    with running_broker() as broker:
        tell(hand_on, f"outlast+unix://{broker.path}", loop)


async def hand_on(url: str) -> None:
    async with connect(url, client_id="first") as first, connect(url, client_id="second") as second:
        channel, screen = second.channel("c"), Screen()
        async with channel.attach(start="earliest") as session:
            async with first.channel("c").lease("writer") as lease:
                message = lease.message(name="answer", data="To be")
                await message.flush()
            await screen.follow(session, lambda: screen.states.get(message.id) == "interrupted")
            async with channel.lease("writer") as lease:
                again = await channel.adopt(message.id, lease=lease)
                assert again.content == "To be"
                await again.append(" or not")
                async with first.channel("c").lease("writer", take_over=True) as newest:
                    with pytest.raises(outlast.Fenced):
                        await again.append(" a zombie")
                    with pytest.raises(outlast.Fenced):
                        await again.complete()
                    async with await first.channel("c").adopt(again, lease=newest) as last:
                        assert last.content == "To be or not"
                        await last.append(" to be")
            await screen.follow(session, lambda: screen.states.get(message.id) == "complete")
            assert screen.shown == {message.id: "To be or not to be"}


@pytest.mark.parametrize("seed", range(3))
def test_texts_have_no_hole_and_no_repeat_through_cut_connections(seed: int) -> None:
    with running_broker() as broker:

        async def story(path: str) -> None:
            async with CuttingProxy(path, Path(f"{path}-proxy"), seed).running() as proxy:
                await write_and_attach(proxy)

        tell(story, broker.path)


async def write_and_attach(proxy: CuttingProxy) -> None:
    async with connect(proxy.url) as agent, connect(proxy.url) as viewer:
        channel, screen = agent.channel("c"), Screen()

        async def write() -> list[int]:
            async with channel.message() as one, channel.message() as two:
                for n, token in enumerate(TOKENS):
                    one.append_nowait(token)
                    appending = two.append(token)
                    if n % 10 == 0:
                        await channel.state.increment("n")
                    await appending
                return [one.id, two.id]

        async with viewer.channel("c").attach(start="earliest", window_bytes=8_000, presence=False) as session:
            screen.enter(session)
            writing = asyncio.create_task(write())
            await screen.follow(session, lambda: list(screen.states.values()) == ["complete", "complete"])
            messages = await writing
            assert dict(session.state) == {"n": len(TOKENS) // 10}
        assert screen.shown == dict.fromkeys(messages, "".join(TOKENS))
        assert screen.keys == {"n": list(range(1, len(TOKENS) // 10 + 1))}
        assert [(await viewer.channel("c").get_message(message)).content for message in messages] == [
            "".join(TOKENS)
        ] * 2
    assert proxy.cuts > 5
