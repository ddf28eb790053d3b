"""Promise 1: when `publish` returns, the message is on disk; nobody sees one that a crash could still take back."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outlast_broker.lmdb_log import LmdbLog
from outlast_broker.log import Outcome, Work
from outlast_protocol.frames import (
    Configure,
    Delete,
    Deliver,
    Error,
    History,
    Info,
    List,
    Open,
    Opened,
    Ping,
    Pong,
    Published,
    Reply,
    Resync,
    Subscribe,
    Subscribed,
    Truncate,
)

from tests.support.broker import PATIENCE_S, BrokerProcess, RawClient, running_broker
from tests.support.chance import FACTOR, branch, chance
from tests.support.home import Home, home
from tests.support.ledger import check_keeper, check_watcher, check_writers, read_channel
from tests.support.load import GONE, Acks, Keeper, Role, Watcher, Writer, working

KILLS = 11 * FACTOR
CHANNELS = ["busy", "trimmed", "third", "kept-short"]
KEPT_RECORDS = 150
WIDE = [f"wide{index}" for index in range(420)]
# A journal of few bytes or few ms is always on its way into chunks; with the default nothing moves in a test.
SCHEDULES: dict[str, dict[str, int]] = {
    "default": {},
    "tiny-journal": {"journal_bytes": 1},
    "small-journal": {"journal_bytes": 20_000},
    "old-journal": {"journal_age_ms": 1},
    "small-backlog": {"journal_bytes": 100_000, "commit_backlog_bytes": 10_000},
}


class Crew:
    """Everybody who works with one data folder, over all its brokers."""

    def __init__(self, rng: random.Random) -> None:
        self.acks = Acks()
        self.writers = [Writer(f"w{index}", CHANNELS, branch(rng), self.acks) for index in range(3)]
        self.watchers = [Watcher(f"r-{channel}", channel) for channel in CHANNELS]
        self.keeper = Keeper("keeper", "trimmed", branch(rng))

    @property
    def roles(self) -> list[Role]:
        return [*self.writers, *self.watchers, self.keeper]

    def check(self, broker: BrokerProcess) -> None:
        client = broker.client("auditor")
        for channel in CHANNELS:
            stored = read_channel(client, channel)
            check_writers(stored, channel, self.writers)
            for watcher in self.watchers:
                if watcher.channel == channel:
                    check_watcher(stored, watcher)
            if channel == self.keeper.channel:
                check_keeper(stored, self.keeper)
            elif channel == "kept-short":
                assert stored.first <= max(1, stored.last - KEPT_RECORDS + 1), "retention took more than it may"
            else:
                assert stored.first == 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_was_acknowledged_survives_every_kill(schedule: str, tmp_path: Path) -> None:
    """One data folder over many crashes: recover, check everything, write on, crash again."""
    with chance(f"kills/{schedule}") as rng, home(tmp_path, **SCHEDULES[schedule]) as place:
        crew = Crew(rng)
        broker = place.start()
        prepare(broker)
        for _ in range(KILLS):
            with working(broker, crew.roles):
                crew.acks.await_more(rng.randint(1, 100))
                time.sleep(rng.uniform(0, 0.01))
            broker = restart(place, rng)
            crew.check(broker)


def prepare(broker: BrokerProcess) -> None:
    client = broker.client("owner")
    for channel in CHANNELS:
        client.open(channel)
    client.result(Configure(client.request(), "kept-short", {"records": KEPT_RECORDS}))


def restart(place: Home, rng: random.Random) -> BrokerProcess:
    """Sometimes the next broker dies, too, before or after it is ready, with nothing done."""
    while rng.random() < 0.2:
        dying = place.start(wait=False)
        time.sleep(rng.uniform(0, 0.25))
        dying.kill()
    return place.start()


@pytest.mark.parametrize("commits", range(2, 7))
def test_a_kill_between_the_slices_of_a_move(commits: int, tmp_path: Path) -> None:
    """So many channels that the journal moves into chunks over several commits: until the last it is needed."""
    with home(tmp_path, journal_bytes=1, journal_age_ms=1) as place:
        place.knob("die", f"after {commits}")
        client = place.start().client("author")
        numbers = {name: client.open(name).number for name in WIDE}
        burst = [client.publishing(number, name.encode()) for name, number in numbers.items()]
        client.send(*burst)
        with pytest.raises(GONE):
            for frame in burst:
                assert client.answer_to(frame.request)[1:] == (1, False)
            while True:
                client.publish(numbers[WIDE[0]], WIDE[0].encode())
        place.knob("die", None)
        auditor = place.start().client("auditor")
        for name in WIDE:
            stored = read_channel(auditor, name)
            assert {record.data for record in stored.records.values()} == {name.encode()}, f"{name} has lost its record"


class Gate:
    """Holds every commit before it touches the disk, from `close` to `open`. As a context it is open at the end."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._reached = threading.Event()
        self._commit = LmdbLog.commit

    def __enter__(self) -> None:
        self.open()

    def __exit__(self, *error: object) -> None:
        self.open()

    def close(self) -> None:
        self._reached.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def await_held(self) -> None:
        assert self._reached.wait(PATIENCE_S), "nothing is being committed"

    def commit(self, log: LmdbLog, work: Work) -> Outcome:
        if not self._open.is_set():
            self._reached.set()
            assert self._open.wait(PATIENCE_S)
        return self._commit(log, work)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(LmdbLog, "commit", lambda log, work: gate.commit(log, work))
    return gate


def test_nobody_learns_of_a_record_before_the_disk_has_it(gate: Gate, tmp_path: Path) -> None:
    """Whatever is asked while the commit is under way, by whomever: no answer knows of the new record."""
    with running_broker(tmp_path) as broker, gate:
        author, live, curious = (
            broker.client("author", (7, 0)),
            broker.client("live"),
            broker.client("curious"),
        )
        number = author.open("room").number
        live.subscribe(live.open("room").number)
        curious.open("room")
        gate.close()
        publishing = author.publishing(number, b"new", sequence=1)
        author.send(publishing)
        gate.await_held()
        resent = author.publishing(number, b"new", sequence=1)
        author.send(resent)
        curious.send(*questions(curious, number))
        for client in (author, live, curious):
            for frame in said_until_pong(client):
                assert not knows_of_a_record(frame), f"{client.id} learns too early: {frame}"
        gate.open()
        assert author.answer_to(publishing.request)[1:] == (1, False)
        assert author.answer_to(resent.request)[1:] == (1, True)
        assert [record.data for record in live.records(1)] == [b"new"]


def questions(client: RawClient, number: int) -> list[Any]:
    return [
        Open(client.request(), "room"),
        Info(client.request(), "room"),
        List(client.request()),
        History(client.request(), number, start="earliest"),
        History(client.request(), number, backwards=True),
        History(client.request(), number, after=1),
        History(client.request(), number, since_ms=1),
        client.publishing(number, b"conditional", if_offset=5),
        Truncate(client.request(), "room", 9),
        Subscribe(client.request(), number, 1 << 20, start="latest"),
    ]


def said_until_pong(client: RawClient) -> Iterator[Any]:
    client.send(Ping(1))
    while not isinstance(frame := client.receive(), Pong):
        yield frame


def knows_of_a_record(frame: Any) -> bool:
    match frame:
        case Published() | Deliver():
            return True
        case Opened() | Subscribed():
            return frame.last > 0
        case Error():
            return frame.detail.get("last", 0) != 0
        case Reply():
            rows = frame.result.get("channels", [frame.result])
            return any(row.get("last", 0) for row in rows)
    return bool(getattr(frame, "batches", b"") or getattr(frame, "last", 0))


def test_nobody_learns_of_a_deletion_before_the_disk_has_it(gate: Gate, tmp_path: Path) -> None:
    """A crash would bring the channel back; who was told that it is gone would read all of it again."""
    with running_broker(tmp_path) as broker, gate:
        owner, reader = broker.client("owner"), broker.client("reader")
        number = owner.open("room").number
        owner.publish(number, b"kept")
        reader.subscribe(reader.open("room").number)
        reader.records(1)
        gate.close()
        delete = Delete(owner.request(), "room")
        owner.send(delete)
        gate.await_held()
        assert [*said_until_pong(owner), *said_until_pong(reader)] == []
        gate.open()
        assert isinstance(owner.answer_to(delete.request), Reply)
        assert reader.expect(Resync).reason == "deleted"
