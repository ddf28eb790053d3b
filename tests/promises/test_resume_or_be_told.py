"""Promise 4: a reader that resumes after N gets N + 1 next, or is told why not and from where it goes on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import outlast
import pytest
from outlast_protocol import ErrorCode, Position
from outlast_protocol.batch import read_records
from outlast_protocol.frames import (
    Configure,
    Credit,
    Delete,
    Deliver,
    Error,
    Info,
    Ping,
    Pong,
    Resync,
    Subscribe,
    Subscribed,
    Truncate,
)

from tests.support.broker import Broker, RawClient, running_broker, socket_path
from tests.support.chance import FACTOR, branch, chance
from tests.support.proxy import CALM, Faults, Proxy

TIMEOUT_S = 60
BATCHES, RECORDS_PER_BATCH = 16, 3
SCHEDULES = 25 * FACTOR
STEPS = 60
# Where a record lies: moved into a chunk with the next commit, after some kB, or hardly ever.
IN_CHUNKS: dict[str, Any] = {"journal_bytes": 1, "journal_age_ms": 1}
IN_BOTH: dict[str, Any] = {"journal_bytes": 10_000}
IN_JOURNAL: dict[str, Any] = {}


# --- cut at every byte ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_a_connection_cut_at_any_byte_is_resumed_exactly(reset: bool, tmp_path: Path) -> None:
    """WELCOME, OPENED, SUBSCRIBED and all DELIVER frames are cut behind each of their bytes."""
    with running_broker(tmp_path, **IN_BOTH) as broker, socket_path() as path:
        author = broker.client("author")
        number = author.open("room").number
        for index in range(BATCHES):
            author.publish(number, *[f"{index}.{place}" for place in range(RECORDS_PER_BATCH)])
        # Without the debugging loop, which would take most of the time.
        cuts = asyncio.run(cut_everywhere(path, broker, reset), debug=False)
        assert cuts > 1_500, "the stream is too short to prove anything"


async def cut_everywhere(path: str, broker: Broker, reset: bool) -> int:
    expected = [f"{index}.{place}" for index in range(BATCHES) for place in range(RECORDS_PER_BATCH)]
    async with asyncio.timeout(TIMEOUT_S), Proxy(path, broker.path) as proxy:
        assert await read_all(proxy) == expected
        total = proxy.down_bytes
        # A reset takes what has arrived with it, so every fifth position says as much.
        for cut in range(0, total + 1, 5 if reset else 1):
            first = proxy.connections
            proxy.plan = lambda index: Faults(down_bytes=cut, reset=reset) if index == first else CALM  # noqa: B023
            assert await read_all(proxy) == expected, f"cut after byte {cut} of {total}"
            assert proxy.connections == first + 1 + (cut < total) or reset
    return total


async def read_all(proxy: Proxy) -> list[Any]:
    """The channel as one subscription hands it over, which may not raise Resync."""
    came: list[Any] = []
    async with outlast.connect(proxy.url, backoff_base_ms=1, backoff_cap_ms=1) as client:
        async for record in client.channel("room").subscribe(start="earliest"):
            came.append(record.data)
            assert record.offset == len(came)
            if record.offset == BATCHES * RECORDS_PER_BATCH:
                break
    return came


def test_a_cut_behind_any_record_is_resumed_exactly(tmp_path: Path) -> None:
    """Also in the middle of a batch, which comes again as a whole."""
    with running_broker(tmp_path, **IN_BOTH) as broker, socket_path() as path:
        author = broker.client("author")
        number = author.open("room").number
        for index in range(BATCHES):
            author.publish(number, *[f"{index}.{place}" for place in range(RECORDS_PER_BATCH)])
        asyncio.run(cut_behind_every_record(path, broker))


async def cut_behind_every_record(path: str, broker: Broker) -> None:
    lost = asyncio.Event()
    async with (
        asyncio.timeout(TIMEOUT_S),
        Proxy(path, broker.path) as proxy,
        outlast.connect(
            proxy.url,
            backoff_base_ms=1,
            backoff_cap_ms=1,
            on_state=lambda state, reason: lost.set() if state == "waiting" else None,
        ) as client,
    ):
        subscription = client.channel("room").subscribe(start="earliest")
        for offset in range(1, BATCHES * RECORDS_PER_BATCH + 1):
            record = await anext(subscription)
            assert record.offset == offset
            assert record.data == f"{(offset - 1) // RECORDS_PER_BATCH}.{(offset - 1) % RECORDS_PER_BATCH}"
            lost.clear()
            proxy.cut_all()
            await lost.wait()


# --- resuming by hand -----------------------------------------------------------------------------------------


@pytest.fixture(params=[IN_CHUNKS, IN_JOURNAL], ids=["chunks", "journal"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Both places where a reader that resumes may find its records."""
    with running_broker(tmp_path, **request.param) as broker:
        yield broker


def fill(broker: Broker, channel: str = "room", batches: int = 8) -> tuple[RawClient, int]:
    """Batches of two records: offsets 1 and 2, 3 and 4, ..."""
    author = broker.client("author")
    number = author.open(channel).number
    for index in range(batches):
        author.publish(number, b"%d" % (2 * index + 1), b"%d" % (2 * index + 2))
    return author, number


def test_resuming_after_n_gives_n_plus_1(broker: Broker) -> None:
    fill(broker)
    for after in range(17):
        reader = broker.client("reader")
        opened = reader.open("room")
        answer = reader.subscribe(opened.number, after=after, epoch=opened.epoch)
        assert (answer.after, answer.resync) == (after, None)
        if after < 16:
            came = [record.offset for record in reader.records(16) if record.offset > after]
            assert came == list(range(after + 1, 17))
        reader.close()


def test_what_was_trimmed_is_said(broker: Broker) -> None:
    author, _ = fill(broker)
    assert author.result(Truncate(author.request(), "room", 7))["first"] == 7
    for after in range(17):
        reader = broker.client("reader")
        opened = reader.open("room")
        answer = reader.subscribe(opened.number, after=after, epoch=opened.epoch)
        expected = (6, "trimmed") if after < 6 else (after, None)
        assert (answer.after, answer.resync, answer.first) == (*expected, 7)
        if after < 16:
            came = [record.offset for record in reader.records(16) if record.offset > answer.after]
            assert came == list(range(answer.after + 1, 17))
        reader.close()


def test_a_reader_that_is_overtaken_is_told_where_it_goes_on(broker: Broker) -> None:
    author, _ = fill(broker)
    reader = broker.client("reader")
    number = reader.open("room").number
    reader.subscribe(number, credit=1)
    got = read_records(reader.expect(Deliver).batches)[-1].offset
    author.result(Truncate(author.request(), "room", 15))
    reader.send(Credit(number, 1 << 20))
    if got < 14:
        resync = reader.expect(Resync)
        assert (resync.reason, resync.after) == ("trimmed", 14)
        assert [record.offset for record in reader.records(16)] == [15, 16]
    assert author.publish(author.open("room").number, b"17") == (17, False)
    assert [record.offset for record in reader.records(17)] == [17]


def test_a_reader_of_an_earlier_life_is_told(broker: Broker) -> None:
    author, _ = fill(broker)
    old = author.open("room").epoch
    author.result(Delete(author.request(), "room"))
    fill(broker, batches=2)
    reader = broker.client("reader")
    opened = reader.open("room")
    assert opened.epoch != old
    for after in (0, 3, 4, 9):
        answer = reader.subscribe(opened.number, after=after, epoch=old)
        assert (answer.resync, answer.after, answer.epoch) == ("recreated", 0, opened.epoch)
        assert [record.offset for record in reader.records(4)] == [1, 2, 3, 4]
        reader.close()
        reader = broker.client("reader")
        opened = reader.open("room")


def test_a_reader_of_a_deleted_channel_is_told(broker: Broker) -> None:
    author, _ = fill(broker, batches=1)
    reader = broker.client("reader")
    opened = reader.open("room")
    reader.subscribe(opened.number)
    assert len(reader.records(2)) == 2
    author.result(Delete(author.request(), "room"))
    resync = reader.expect(Resync)
    assert (resync.number, resync.reason, resync.epoch) == (opened.number, "deleted", opened.epoch)
    reader.refused(Subscribe(reader.request(), opened.number, 1, start="earliest"), ErrorCode.UNKNOWN_CHANNEL)


def test_a_position_that_was_never_given_is_refused(broker: Broker) -> None:
    fill(broker, batches=1)
    reader = broker.client("reader")
    opened = reader.open("room")
    ahead = Subscribe(reader.request(), opened.number, 1, after=3, epoch=opened.epoch)
    assert reader.refused(ahead, ErrorCode.OFFSET_AHEAD).detail == {"last": 2}


def test_the_client_tells_its_user(broker: Broker) -> None:
    asyncio.run(hear_of_everything(f"outlast+unix://{broker.path}"))


async def hear_of_everything(url: str) -> None:
    async with asyncio.timeout(TIMEOUT_S), outlast.connect(url) as client:
        channel = client.channel("room")
        for number in range(1, 11):
            ack = await channel.publish(number)
        await channel.truncate(before=6)
        subscription = channel.subscribe(after=Position(ack.epoch, 2))
        with pytest.raises(outlast.Resync) as trimmed:
            await anext(subscription)
        assert (trimmed.value.reason, trimmed.value.position) == ("trimmed", Position(ack.epoch, 5))
        assert [(await anext(subscription)).data for _ in range(5)] == [6, 7, 8, 9, 10]
        await channel.delete()
        with pytest.raises(outlast.Resync) as deleted:
            await anext(subscription)
        assert (deleted.value.reason, deleted.value.position) == ("deleted", None)
        reborn = await channel.publish("reborn")
        assert (await anext(subscription)).position == Position(reborn.epoch, 1)
        late = channel.subscribe(after=Position(ack.epoch, 9))
        with pytest.raises(outlast.Resync) as recreated:
            await anext(late)
        assert (recreated.value.reason, recreated.value.position) == ("recreated", Position(reborn.epoch, 0))
        assert (await anext(late)).data == "reborn"


# --- any interleaving -----------------------------------------------------------------------------------------


class Model:
    """What the channel has been: the records of each life, and from where on the present one keeps them."""

    def __init__(self) -> None:
        self.lives: dict[int, list[bytes]] = {}
        self.epoch = 0
        self.first = 1
        self.records_max = 0
        self._allowed = 1

    @property
    def last(self) -> int:
        return len(self.lives[self.epoch])

    def begin(self, epoch: int) -> None:
        assert epoch not in self.lives, "two lives have one epoch"
        self.epoch, self.first, self.records_max, self._allowed = epoch, 1, 0, 1
        self.lives[epoch] = []

    def configure(self, records_max: int) -> None:
        """What the old rule allowed may have been done, and be noticed only under the new one."""
        self._allowed = self.first_most
        self.records_max = records_max

    @property
    def first_most(self) -> int:
        """Retention acts when it likes, but never on more than it may."""
        return max(self.first, self._allowed, self.last - self.records_max + 1 if self.records_max else 1)

    def may_begin_at(self, first: int) -> bool:
        return self.first <= first <= self.first_most


class Reader:
    """Reads one frame at a time and holds each against what it was promised. Leaves and comes back as it is told."""

    def __init__(self, broker: Broker, model: Model, rng: random.Random) -> None:
        self._broker = broker
        self._model = model
        self._rng = rng
        self._client: RawClient | None = None
        self._number = 0
        self._ended = True
        self.position: tuple[int, int] | None = None

    def come(self) -> None:
        """Where it left, in the life it left, if it was here before."""
        self._client = self._broker.client("reader")
        opened = self._client.open("room")
        start: dict[str, Any] = {"start": "earliest"}
        if self.position is not None:
            start = {"epoch": self.position[0], "after": self.position[1]}
        answer = self._client.subscribe(opened.number, self._rng.choice((0, 1, 300, 1 << 20)), **start)
        self._number, self._ended = opened.number, False
        self._started(answer)

    def _started(self, answer: Subscribed) -> None:
        model, asked = self._model, self.position
        assert (answer.epoch, answer.last) == (model.epoch, model.last)
        assert model.may_begin_at(answer.first)
        if asked is None:
            assert answer.resync is None and answer.after == answer.first - 1
        elif asked[0] != model.epoch:
            assert answer.resync == "recreated" and answer.after == answer.first - 1
        elif asked[1] + 1 < answer.first:
            assert answer.resync == "trimmed" and answer.after == answer.first - 1
        else:
            assert answer.resync is None and answer.after == asked[1]
        self.position = (answer.epoch, answer.after)

    def leave(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._ended = None, True

    def take(self) -> None:
        """What has been said so far."""
        if self._client is None:
            return
        self._client.send(Credit(self._number, self._rng.choice((1, 200, 5_000))), Ping(1))
        while not isinstance(frame := self._client.receive(), Pong):
            self._took(frame)

    def catch_up(self) -> None:
        """Until it has everything. A life that ended says so before that."""
        granted = False
        while self.position != (self._model.epoch, self._model.last):
            if self._client is None or self._ended:
                self.leave()
                self.come()
                granted = False
            elif not granted:
                self._client.send(Credit(self._number, 1 << 24))
                granted = True
            else:
                self._took(self._client.receive())

    def _took(self, frame: object) -> None:
        assert self.position is not None and not isinstance(frame, Error), frame
        epoch, offset = self.position
        if isinstance(frame, Resync):
            self._told(frame, epoch, offset)
            return
        assert isinstance(frame, Deliver) and not self._ended, frame
        for record in read_records(frame.batches):
            if record.offset > offset:
                assert record.offset == offset + 1, f"{record.offset} came after {offset}"
                assert record.data == self._model.lives[epoch][offset], f"another record at {record.offset}"
                offset += 1
        self.position = (epoch, offset)

    def _told(self, resync: Resync, epoch: int, offset: int) -> None:
        assert resync.epoch == epoch
        if resync.reason == "deleted":
            assert epoch != self._model.epoch and not self._ended
            self._ended = True
            return
        assert resync.reason == "trimmed" and resync.after > offset, resync
        assert epoch != self._model.epoch or resync.after < self._model.first_most, resync
        self.position = (epoch, resync.after)


class Owner:
    """Changes the channel, one acknowledged step after another, and the model with it."""

    def __init__(self, broker: Broker, model: Model, rng: random.Random) -> None:
        self._client = broker.client("owner")
        self._model = model
        self._rng = rng
        self._count = 0
        self._number = 0
        self._open()

    def _open(self) -> None:
        opened = self._client.open("room")
        self._number = opened.number
        self._model.begin(opened.epoch)

    def publish(self) -> None:
        size = self._rng.choice((1, 50, 3_000))
        self._count += 1
        datas = [b"%d/%d" % (self._count, index) + bytes(size) for index in range(self._rng.randint(1, 4))]
        assert self._client.publish(self._number, *datas) == (self._model.last + 1, False)
        self._model.lives[self._model.epoch] += datas
        self._look()

    def truncate(self) -> None:
        before = self._rng.randint(1, self._model.last + 1)
        first = self._client.result(Truncate(self._client.request(), "room", before))["first"]
        self._model.first = max(before, self._model.first)
        assert first == self._model.first or self._model.may_begin_at(first)
        self._model.first = first

    def configure(self) -> None:
        self._model.configure(self._rng.choice((0, 1, 5, 20)))
        self._client.result(Configure(self._client.request(), "room", {"records": self._model.records_max}))
        self._look()

    def delete(self) -> None:
        epoch = self._client.result(Delete(self._client.request(), "room"))["epoch"]
        assert epoch == self._model.epoch
        self._open()

    def _look(self) -> None:
        info = self._client.result(Info(self._client.request(), "room"))
        assert info["last"] == self._model.last and self._model.may_begin_at(info["first"])
        self._model.first = info["first"]


@pytest.mark.parametrize("settings", [IN_CHUNKS, IN_BOTH, IN_JOURNAL], ids=["chunks", "both", "journal"])
def test_every_reader_has_all_or_was_told(settings: dict[str, Any], tmp_path: Path) -> None:
    for index in range(SCHEDULES):
        with chance(f"readers/{index}") as rng, running_broker(tmp_path / str(index), **settings) as broker:
            interleave(broker, rng)


def interleave(broker: Broker, rng: random.Random) -> None:
    model = Model()
    owner = Owner(broker, model, branch(rng))
    readers = [Reader(broker, model, branch(rng)) for _ in range(3)]
    deeds = [owner.publish] * 12 + [owner.truncate] * 2 + [owner.configure, owner.delete]
    for _ in range(STEPS):
        rng.choice(deeds)()
        reader = rng.choice(readers)
        rng.choice((reader.take, reader.take, reader.take, reader.leave, reader.catch_up))()
    for reader in readers:
        reader.catch_up()
