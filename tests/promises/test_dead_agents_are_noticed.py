"""Promise 6: when a writer's lease lapses, its half-written messages are closed and its late writes are refused."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from outlast_protocol import Record
from outlast_protocol.batch import encode_labelled, read_records
from outlast_protocol.frames import UNCONDITIONAL, Deliver, Leases, Publish
from outlast_protocol.operations import MessageState, Op, Operation

from tests.support.agent import LEASE, ROOM, TTL_S, agent, said, token_of
from tests.support.broker import BrokerProcess, RawClient
from tests.support.home import Home, home

# A lapse is acted upon at most a second late (PROTOCOL.md 6.12).
NOTICED_S = TTL_S + 1.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as place:
        yield place


class Reader:
    """A live subscription from the room's start, and all that it was given."""

    def __init__(self, broker: BrokerProcess) -> None:
        self.client: RawClient = broker.client("reader")
        self.number = self.client.open(ROOM).number
        self.client.subscribe(self.number)
        self.records: list[Record] = []

    def until_lapsed(self, token: int) -> None:
        lapsed = Operation(Op.LAPSED, lease=LEASE, token=token)
        while not self.records or self.records[-1].operation != lapsed:
            self.records += read_records(self.client.expect(Deliver).batches)

    def until_written_by(self, client_id: str) -> None:
        while not any(record.client_id == client_id for record in self.records):
            self.records += read_records(self.client.expect(Deliver).batches)

    def open_message(self, token: int) -> int:
        """A message of the agent's, which it will not live to close."""
        opener = encode_labelled(self.client.id, [((1, "answer", (), Operation(Op.OPEN), 0), b"half an ans")])
        answer = self.client.ask(Publish(self.client.request(), self.number, 0, UNCONDITIONAL, token, opener))
        assert isinstance(answer, tuple), answer
        offset: int = answer[1]
        return offset

    @property
    def writers(self) -> list[str]:
        """Who wrote, in order; the broker has no name."""
        return [record.client_id for record in self.records if record.client_id != self.client.id]

    def check_closed(self, message: int) -> None:
        *_, close, lapse = self.records
        assert close.operation == Operation(Op.CLOSE, message, MessageState.INTERRUPTED)
        assert (close.client_id, lapse.client_id) == ("", "")
        assert [record.offset for record in self.records] == list(range(1, len(self.records) + 1))


def test_readers_see_that_an_agent_was_killed(place: Home) -> None:
    reader = Reader(place.start())
    with agent(place.url, "a") as process:
        token = token_of(process)
        reader.until_written_by("a")
        message = reader.open_message(token)
        process.kill()
        killed_s = time.monotonic()
        reader.until_lapsed(token)
    assert time.monotonic() - killed_s < NOTICED_S
    reader.check_closed(message)
    assert reader.client.result(Leases(99, ROOM)) == {"leases": []}


def test_an_agent_that_lives_keeps_its_lease(place: Home) -> None:
    reader = Reader(place.start())
    with agent(place.url, "a") as process:
        token = token_of(process)
        started_s = time.monotonic()
        while time.monotonic() - started_s < 3 * TTL_S:
            reader.records += read_records(reader.client.expect(Deliver).batches)
        [row] = reader.client.result(Leases(99, ROOM))["leases"]
    assert (row["holder"], row["token"]) == ("a", token)
    assert set(reader.writers) == {"a"}


def test_who_was_stopped_for_too_long_cannot_write_when_it_wakes_up(place: Home) -> None:
    reader = Reader(place.start())
    with agent(place.url, "a") as process:
        token = token_of(process)
        reader.until_written_by("a")
        message = reader.open_message(token)
        process.send_signal(signal.SIGSTOP)
        reader.until_lapsed(token)
        process.send_signal(signal.SIGCONT)
        assert said(process) == "fenced"
        reader.check_closed(message)
        with agent(place.url, "b") as successor:
            assert token_of(successor) > token
            reader.until_written_by("b")
    lapse = reader.writers.index("")
    assert set(reader.writers[:lapse]) == {"a"} and "a" not in reader.writers[lapse:]


def test_an_agent_keeps_its_lease_over_a_restart_of_the_broker(place: Home) -> None:
    broker = place.start()
    with agent(place.url, "a") as process:
        token = token_of(process)
        for _ in range(2):
            broker.kill()
            broker = place.start()
            reader = Reader(broker)
            last = reader.client.info(ROOM)["last"]
            while len(reader.records) <= last + 5:
                reader.records += read_records(reader.client.expect(Deliver).batches)
            [row] = reader.client.result(Leases(99, ROOM))["leases"]
            assert (row["holder"], row["token"]) == ("a", token)
        assert set(reader.writers) == {"a"}


@pytest.mark.parametrize("stop", [BrokerProcess.kill, BrokerProcess.terminate])
def test_an_agent_that_dies_while_the_broker_is_away_is_noticed(place: Home, stop: object) -> None:
    broker = place.start()
    reader = Reader(broker)
    with agent(place.url, "a") as process:
        token = token_of(process)
        message = reader.open_message(token)
        assert callable(stop)
        stop(broker)
        process.kill()
        broker.process.wait()
    broker = place.start()
    started_s = time.monotonic()
    reader = Reader(broker)
    reader.until_lapsed(token)
    assert time.monotonic() - started_s < NOTICED_S
    reader.check_closed(message)


def test_a_take_over_fences_the_old_holder(place: Home) -> None:
    reader = Reader(place.start())
    with agent(place.url, "a") as old:
        token = token_of(old)
        reader.until_written_by("a")
        message = reader.open_message(token)
        with agent(place.url, "b", "take-over") as new:
            taken = token_of(new)
            assert taken > token
            assert said(old) == "fenced"
            reader.until_written_by("b")
            first = reader.writers.index("b")
            new.kill()
            reader.until_lapsed(taken)
    assert set(reader.writers[:first]) == {"a"} and set(reader.writers[first:]) == {"b", ""}
    reader.check_closed(message)


def test_who_waits_is_next(place: Home) -> None:
    reader = Reader(place.start())
    with agent(place.url, "a") as first:
        token = token_of(first)
        with agent(place.url, "b", "wait") as second:
            reader.until_written_by("a")
            first.kill()
            reader.until_lapsed(token)
            assert token_of(second) > token
            reader.until_written_by("b")
    lapse = reader.writers.index("")
    assert set(reader.writers[:lapse]) == {"a"} and set(reader.writers[lapse + 1 :]) == {"b"}
