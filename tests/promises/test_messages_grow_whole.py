"""A growing message is whole for whoever attaches, whenever that is and however often the broker is killed.

An agent appends under load; readers attach at random moments and rebuild what was written. Each of them must know of a
message what was acknowledged before it attached, or more of what the agent said since, and nothing else.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from outlast_protocol import ErrorCode, Record
from outlast_protocol.batch import LabelKey, encode_labelled, read_records
from outlast_protocol.frames import UNCONDITIONAL, Error, History, Message, Page, Publish, Unsubscribe
from outlast_protocol.operations import MessageState, Op, Operation

from tests.support.broker import RawClient
from tests.support.chance import FACTOR, branch, chance
from tests.support.home import home
from tests.support.knowledge import Knowledge, Reader
from tests.support.load import Acks, working

KILLS = 5 * FACTOR
ROOM = "room"
TEXT = 1
TICK_MS = 20
# Journal, chunks and folding are always on their way with the first, and now and then with the second.
SCHEDULES: dict[str, dict[str, int]] = {
    "always": {"journal_bytes": 1, "journal_age_ms": 1, "fold_after_ms": 1},
    "now-and-then": {"journal_bytes": 20_000, "journal_age_ms": 100, "fold_after_ms": 150},
    "from-the-log": {"journal_bytes": 1, "journal_age_ms": 1, "fold_after_ms": 50, "contents_bytes": 0},
}
Row = tuple[Operation, bytes]


class Version(NamedTuple):
    """What a message is after one operation."""

    content: bytes
    state: MessageState


class Story:
    """What the agent said of one message: after each operation, and how much of that was acknowledged."""

    def __init__(self, text: bytes) -> None:
        self.versions = [Version(text, MessageState.OPEN)]
        self.acked = 0

    @property
    def latest(self) -> Version:
        return self.versions[-1]

    def say(self, operation: Operation, data: bytes) -> None:
        content, state = self.latest
        if operation.op is Op.APPEND:
            self.versions.append(Version(content + data, state))
        elif operation.op is Op.CLOSE:
            self.versions.append(Version(content, operation.state))
        else:
            self.versions.append(Version(data, state))


class Agent:
    """Opens messages, appends a few tokens at a time, closes and sometimes edits them.

    What was not acknowledged is sent again under its sequence on the next connection.
    """

    def __init__(self, rng: random.Random, acks: Acks) -> None:
        self.name = "agent"
        self.producer = (rng.getrandbits(64), 0)
        self.stories: dict[int, Story] = {}
        self._rng = rng
        self._acks = acks
        self._tokens = 0
        self._sent: list[tuple[int, list[Row]]] = []
        self._sequence = 0

    def run(self, client: RawClient) -> None:
        number = client.open(ROOM).number
        while True:
            self._finish(client, number)
            if self._rng.random() < 0.15 or not self.stories:
                self._add([(Operation(Op.OPEN), self._token())])
                continue
            for _ in range(self._rng.choice((1, 2, 8))):
                self._grow()

    def _token(self) -> bytes:
        """Words are all different, so that one too many, or one too few, is seen."""
        self._tokens += 1
        return b"%d%s " % (self._tokens, b"." * self._rng.choice((0, 0, 0, 400)))

    def _add(self, rows: list[Row]) -> None:
        self._sequence += 1
        self._sent.append((self._sequence, rows))

    def _grow(self) -> None:
        message, story = self._rng.choice(list(self.stories.items())[-6:])
        if story.latest.state is MessageState.OPEN:
            rows = [(Operation(Op.APPEND, message), self._token()) for _ in range(self._rng.choice((1, 1, 1, 4)))]
            if self._rng.random() < 0.08:
                rows.append((Operation(Op.CLOSE, message, MessageState.COMPLETE), b""))
        elif self._rng.random() < 0.1:
            rows = [(Operation(Op.REPLACE, message), self._token())]
        else:
            return
        for operation, data in rows:
            story.say(operation, data)
        self._add(rows)

    def _finish(self, client: RawClient, number: int) -> None:
        """Sends all that waits in one write, and notes each acknowledgement by itself."""
        frames = [self._publish(client, number, sequence, rows) for sequence, rows in self._sent]
        client.send(*frames)
        for frame in frames:
            answer = client.answer_to(frame.request)
            if isinstance(answer, Error) and answer.code == ErrorCode.INTERNAL:
                raise EOFError("the broker says that its store has failed")
            assert isinstance(answer, tuple) and not isinstance(answer, Error), answer
            self._acknowledged(answer[1], self._sent.pop(0)[1])

    def _publish(self, client: RawClient, number: int, sequence: int, rows: list[Row]) -> Publish:
        labelled: list[tuple[LabelKey, bytes]] = [((TEXT, None, (), each, 0), data) for each, data in rows]
        batch = encode_labelled(self.name, labelled)
        return Publish(client.request(), number, sequence, UNCONDITIONAL, 0, batch)

    def _acknowledged(self, offset: int, rows: list[Row]) -> None:
        operation, data = rows[0]
        if operation.op is Op.OPEN:
            self.stories[offset] = Story(data)
        else:
            self.stories[operation.message].acked += len(rows)
        self._acks.add()

    # --- what is true -------------------------------------------------------------------------------------

    def acknowledged(self) -> dict[int, int]:
        """Of each message, how many operations after its opening are on disk for sure."""
        return {message: story.acked for message, story in list(self.stories.items())}

    def check(self, knowledge: Knowledge, before: dict[int, int], since: int) -> None:
        """`before`: what was acknowledged; of messages that were opened after offset `since` all must be known."""
        for message, told in knowledge.messages.items():
            if message in before:
                versions = self.stories[message].versions
                assert (told.content, told.state) in versions, f"message {message} was never like this: {told}"
                found = len(versions) - 1 - versions[::-1].index(Version(told.content, told.state))
                assert found >= before[message], f"message {message} has lost what was acknowledged"
        missing = [message for message in before if message > since and message not in knowledge.messages]
        assert not missing, f"messages {missing} are not there"


class Visitor:
    """Attaches somewhere, reads on for a while, leaves, and attaches again."""

    def __init__(self, name: str, agent: Agent, rng: random.Random) -> None:
        self.name = name
        self.visits = 0
        self._agent = agent
        self._rng = rng

    def run(self, client: RawClient) -> None:
        number = client.open(ROOM).number
        while True:
            before, last = self._agent.acknowledged(), client.open(ROOM).last
            starts: list[dict[str, Any]] = [{"start": "earliest"}, {"after": self._rng.randint(0, last)}]
            starts += [{"last": self._rng.randint(1, 30)}, {"start": "latest"}]
            reader = Reader(client, number, self._rng.random() < 0.3, **self._rng.choice(starts))
            reader.catch_up(reader.through)
            self._agent.check(reader.knowledge, before, reader.after)
            reader.catch_up(reader.through + self._rng.choice((0, 1, 30)))
            self._agent.check(reader.knowledge, before, reader.after)
            self._leave(client, number)
            self.visits += 1

    def _leave(self, client: RawClient, number: int) -> None:
        """What was on its way still comes."""
        request = client.request()
        client.send(Unsubscribe(request, number))
        while getattr(client.receive(), "request", None) != request:
            pass


def audit(client: RawClient, agent: Agent) -> None:
    """Everything, in every way there is to read it."""
    number, before = client.open(ROOM, create=False).number, agent.acknowledged()
    for raw in (False, True):
        reader = Reader(client, number, raw, start="earliest")
        reader.catch_up(reader.through)
        agent.check(reader.knowledge, before, 0)
        client.result(Unsubscribe(client.request(), number))
    paged = Knowledge()
    for record in pages(client, number):
        paged.hear(record)
    agent.check(paged, before, 0)
    for message in before:
        answer = client.ask(Message(client.request(), number, message))
        assert isinstance(answer, Page), answer
        alone = Knowledge()
        alone.hear(read_records(answer.batches)[0])
        agent.check(alone, {message: before[message]}, 0)


def pages(client: RawClient, number: int) -> Iterator[Record]:
    """The channel's history, folded, page by page."""
    low, last = 1, 1
    while low <= last:
        answer = client.ask(History(client.request(), number, 100, after=low - 1, fold=True))
        assert isinstance(answer, Page) and answer.low == low <= answer.high, answer
        yield from [each for each in read_records(answer.batches) if low <= each.offset <= answer.high]
        low, last = answer.high + 1, answer.last


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_messages_are_whole_over_every_kill(schedule: str, tmp_path: Path) -> None:
    with chance(f"grow/{schedule}") as rng, home(tmp_path, **SCHEDULES[schedule]) as place:
        place.knob("tick_ms", TICK_MS)
        acks = Acks()
        agent = Agent(branch(rng), acks)
        visitors = [Visitor(f"visitor{index}", agent, branch(rng)) for index in range(2)]
        for _ in range(KILLS):
            broker = place.start()
            if agent.stories:
                audit(broker.client("auditor"), agent)
            with working(broker, [agent, *visitors]):
                acks.await_more(rng.randint(50, 400))
                time.sleep(rng.uniform(0, 0.3))
        audit(place.start().client("auditor"), agent)
        assert all(visitor.visits for visitor in visitors) and len(agent.stories) > KILLS
        assert "Traceback" not in place.complaints() and "not_folded" not in place.complaints()
