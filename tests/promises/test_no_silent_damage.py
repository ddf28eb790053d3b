"""Promise 7: stored bytes that are not what was written are never served, and a failing disk ends the broker."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import outlast
import pytest
from outlast_broker.serve import EXIT_DAMAGED, EXIT_STORE_FAILED
from outlast_protocol import ErrorCode
from outlast_protocol.batch import read_records
from outlast_protocol.frames import Deliver, Error, History, Page
from outlast_protocol.limits import CREDIT_BYTES_MAX

from tests.support.broker import Broker, RawClient, running_broker
from tests.support.chance import FACTOR, chance
from tests.support.home import Home, home
from tests.support.ledger import check_writers, read_channel
from tests.support.load import GONE, Acks, Role, Writer, working

TIMEOUT_S = 30
RECORDS = 40
BLOCKED_BYTES = 1 << 60


# --- bytes that changed on the disk ---------------------------------------------------------------------------


def record(index: int) -> bytes:
    return b"record %03d/" % index + random.Random(index).randbytes(400)


def fill(client: RawClient) -> None:
    """In one write, so that most of it lies in one chunk."""
    number = client.open("room").number
    frames = [client.publishing(number, record(index)) for index in range(1, RECORDS + 1)]
    client.send(*frames)
    client.answer_to(frames[-1].request)


def values(folder: Path, name: str) -> list[bytes]:
    """What lies in the store's chunks or journal. Not for a store that this process has open."""
    with lmdb.open(str(folder), max_dbs=8, readonly=True) as env:
        database = env.open_db(name.encode(), create=False)
        with env.begin(db=database) as txn:
            return [bytes(value) for _, value in txn.cursor()]


def settled(folder: Path) -> Path:
    """A store in which everything lies in chunks and the journal is empty; returns its folder."""
    with home(folder, journal_bytes=1, journal_age_ms=1) as place:
        client = place.start().client("author")
        client.publish(client.open("other").number, b"another channel")
        fill(client)
        deadline_s = time.monotonic() + TIMEOUT_S
        while values(place.data, "journal"):
            assert time.monotonic() < deadline_s, "the journal does not settle"
            time.sleep(0.005)
        return place.data


@contextmanager
def flipped(file: Path, value: bytes, at: int, mask: int) -> Iterator[None]:
    """One byte of a stored value is another one for a while; whoever has mapped the file sees it at once."""
    with file.open("r+b", buffering=0) as handle:
        starts = [match.start() for match in re.finditer(re.escape(value), file.read_bytes())]
        assert starts, "the file does not hold this value in one piece"
        for start in starts:
            os.pwrite(handle.fileno(), bytes([value[at] ^ mask]), start + at)
        try:
            yield
        finally:
            for start in starts:
                os.pwrite(handle.fileno(), value[at : at + 1], start + at)


def test_no_flipped_byte_of_a_chunk_is_ever_served(tmp_path: Path) -> None:
    """Each byte in turn, in a head or in the middle of data: the reader gets right records, then `damaged`."""
    folder = settled(tmp_path)
    chunk = max(values(folder, "chunks"), key=len)
    assert chunk.count(b"record ") > 10
    with chance("damage/chunks") as rng, running_broker(folder) as broker:
        places = [*range(120), len(chunk) - 1, *rng.sample(range(120, len(chunk) - 1), 150 * FACTOR)]
        for at in places:
            with flipped(folder / "data.mdb", chunk, at, 1 << rng.randrange(8)):
                assert damage_is_said(broker), f"byte {at} of the chunk was changed and nobody said so"
        assert not damage_is_said(broker), "the store is whole again"
        assert len(read_channel(broker.client(), "room").records) == RECORDS


def damage_is_said(broker: Broker) -> bool:
    """Reads everything, by subscription and by pages both ways; whether all of them ended with `damaged`."""
    client = broker.client("reader")
    number = client.open("room").number
    outcomes = [
        subscription_is_damaged(client, number),
        page_is_damaged(client, History(client.request(), number, limit=RECORDS, start="earliest")),
        page_is_damaged(client, History(client.request(), number, limit=RECORDS, backwards=True)),
    ]
    client.close()
    assert len(set(outcomes)) == 1, f"some ways to read say damaged, some do not: {outcomes}"
    return outcomes[0]


def subscription_is_damaged(client: RawClient, number: int) -> bool:
    answer = client.subscribe(number, CREDIT_BYTES_MAX)
    reached = 0
    while reached < answer.last:
        frame: Any = client.receive()
        if isinstance(frame, Error):
            assert frame.code == ErrorCode.DAMAGED, frame
            return True
        assert isinstance(frame, Deliver), frame
        reached = check_records(frame.batches, reached + 1)
    return False


def page_is_damaged(client: RawClient, request: History) -> bool:
    answer = client.ask(request)
    if isinstance(answer, Error):
        assert answer.code == ErrorCode.DAMAGED, answer
        return True
    assert isinstance(answer, Page), answer
    check_records(answer.batches, answer.low)
    return False


def check_records(batches: bytes, first: int) -> int:
    """The records are the right ones, from `first` on; returns the last."""
    for offset, each in enumerate(read_records(batches), start=first):
        assert (each.offset, each.data) == (offset, record(offset)), f"a changed record was served at {offset}"
        first = offset
    return first


def test_a_reader_of_other_channels_does_not_notice(tmp_path: Path) -> None:
    folder = settled(tmp_path)
    chunk = max(values(folder, "chunks"), key=len)
    with running_broker(folder) as broker, flipped(folder / "data.mdb", chunk, 300, 1):
        assert damage_is_said(broker)
        assert read_channel(broker.client(), "other").records
        author = broker.client("author")
        assert author.publish(author.open("other").number, b"goes on")


def test_the_client_raises_damaged(tmp_path: Path) -> None:
    folder = settled(tmp_path)
    chunk = max(values(folder, "chunks"), key=len)

    async def read(url: str) -> None:
        async with asyncio.timeout(TIMEOUT_S), outlast.connect(url) as client:
            with pytest.raises(outlast.Damaged):
                async for _ in client.channel("room").history():
                    pass
            subscription = client.channel("room").subscribe(start="earliest")
            with pytest.raises(outlast.Damaged):
                for _ in range(RECORDS):
                    await anext(subscription)

    with running_broker(folder) as broker, flipped(folder / "data.mdb", chunk, 300, 1):
        asyncio.run(read(f"outlast+unix://{broker.path}"))


def test_a_damaged_journal_stops_the_start(tmp_path: Path) -> None:
    """Every byte of a journal value counts; the broker says which one, serves nobody and exits with 65."""
    with home(tmp_path) as place, chance("damage/journal") as rng:
        broker = place.start()
        client = broker.client("author")
        number = client.open("room").number
        for index in range(1, 4):
            client.publish(number, record(index))
        broker.kill()
        value = rng.choice(values(place.data, "journal"))
        for at in [0, 3, 4, 36, *rng.sample(range(4, len(value)), 6 * FACTOR)]:
            with flipped(place.data / "data.mdb", value, at, 1 << rng.randrange(8)):
                assert place.start(wait=False).exit_code() == EXIT_DAMAGED == 65
        assert "fails its checksum" in place.complaints()
        stored = read_channel(place.start().client(), "room")
        assert [each.data for each in stored.records.values()] == [record(index) for index in (1, 2, 3)]


# --- a disk that fails ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "disk",
    [
        "/dev/full pages",
        "/dev/full meta",
        "/dev/null pages",
        "/dev/full pages heals",
        "/dev/null pages heals",
    ],
)
def test_after_the_first_failure_nothing_is_acknowledged(disk: str, tmp_path: Path) -> None:
    """/dev/full refuses to write, /dev/null to sync. A disk that heals would let the next commit pass."""
    with home(tmp_path, journal_bytes=20_000) as place, chance(f"disk/{disk}") as rng:
        place.knob("disk", disk)
        broker = place.start()
        acks = Acks()
        writers = [Writer(f"w{index}", ["one", "two"], rng, acks) for index in range(2)]
        roles: list[Role] = list(writers)
        with working(broker, roles):
            acks.await_more(30)
            broker.process.send_signal(signal.SIGUSR1)
            assert broker.exit_code() == EXIT_STORE_FAILED == 74
        assert "the store failed" in place.complaints()
        place.knob("disk", None)
        auditor = place.start().client("auditor")
        for channel in ("one", "two"):
            check_writers(read_channel(auditor, channel), channel, writers)


def test_a_publish_that_met_the_failure_is_never_acknowledged(tmp_path: Path) -> None:
    """One publish, one failing sync: the connection ends without an answer, and no reader has seen the record."""
    with home(tmp_path) as place:
        place.knob("disk", "/dev/null pages heals")
        broker = place.start()
        author, reader = broker.client("author"), broker.client("reader")
        number = author.open("room").number
        reader.subscribe(reader.open("room").number)
        author.publish(number, b"kept")
        assert [each.data for each in reader.records(1)] == [b"kept"]
        broker.process.send_signal(signal.SIGUSR1)
        said = publish_until_the_end(author, number)
        assert broker.exit_code() == EXIT_STORE_FAILED
        seen = delivered_until_the_end(reader)
        place.knob("disk", None)
        stored = read_channel(place.start().client("auditor"), "room")
        kept = {offset: each.data for offset, each in stored.records.items()}
        assert said.items() <= kept.items(), "an acknowledged record is gone"
        assert seen.items() <= kept.items(), "a reader saw a record that is gone"


def publish_until_the_end(author: RawClient, number: int) -> dict[int, bytes]:
    """What was acknowledged, by offset; the signal takes its time to arrive."""
    acknowledged: dict[int, bytes] = {}
    try:
        for index in range(100_000):
            data = b"%d" % index
            acknowledged[author.publish(number, data)[0]] = data
    except GONE:
        return acknowledged
    raise AssertionError("the broker goes on on a disk that does not sync")


def delivered_until_the_end(reader: RawClient) -> dict[int, bytes]:
    seen: dict[int, bytes] = {}
    try:
        while True:
            seen |= {each.offset: each.data for each in read_records(reader.expect(Deliver).batches)}
    except GONE:
        return seen


# --- a disk that is full --------------------------------------------------------------------------------------


def test_below_the_reserve_the_broker_is_read_only(tmp_path: Path) -> None:
    """Reading, truncating and deleting go on; publishing waits, and goes on by itself when there is room again."""
    with home(tmp_path, disk_reserve_bytes=1_000) as place:
        place.knob("free_bytes", 1_000)
        broker = place.start()
        client = broker.client("author")
        number = client.open("room").number
        for index in range(1, 11):
            client.publish(number, record(index))
        client.open("doomed")
        place.knob("free_bytes", 999)
        await_refusal(client, number)
        asyncio.run(live_read_only(place))


def await_refusal(client: RawClient, number: int) -> None:
    """The broker looks at its disk once a second."""
    for _ in range(100_000):
        answer = client.ask(client.publishing(number, b"", if_offset=BLOCKED_BYTES))
        assert isinstance(answer, Error)
        if answer.code == ErrorCode.READ_ONLY:
            assert int(answer.detail["retry_after_ms"]) > 0
            return
        assert answer.code == ErrorCode.OFFSET_MISMATCH
    raise AssertionError("the broker does not become read-only")


async def live_read_only(place: Home) -> None:
    async with asyncio.timeout(TIMEOUT_S), outlast.connect(place.url, backoff_base_ms=1) as client:
        room = client.channel("room")
        assert [each.offset async for each in room.history()] == list(range(1, 11))
        assert await room.truncate(before=6) == 6
        await client.channel("doomed").delete()
        waiting = room.publish_nowait("waited")
        async with room.subscribe(start="earliest") as subscription:
            assert [(await anext(subscription)).offset for _ in range(5)] == [6, 7, 8, 9, 10]
            assert not waiting.done()
            place.knob("free_bytes", 1_000)
            assert (await waiting).offset == 11
            assert (await anext(subscription)).data == "waited"
