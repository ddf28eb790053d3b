"""Promise 5: a slow reader harms nobody: memory for it is bounded, nothing is dropped, the others go on."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import outlast
import pytest
from outlast_protocol.batch import HEAD
from outlast_protocol.frames import Credit, Deliver, Ping, Pong
from outlast_protocol.limits import CREDIT_BYTES_MAX

from tests.support.broker import PATIENCE_S, BrokerProcess, RawClient
from tests.support.home import home, memory_bytes

MIB = 1 << 20
BLOCK_BYTES = 256 * 1024
BLOCKS = 264
# What the broker needs anyway: allocators settle, then the same load is measured without a stalled reader.
WARM_UP, BASELINE = 32, 64
LIVE_READERS = 20
# The publisher goes on when every live reader has this much and everything before it.
STRIDE = 4
GROWTH_BYTES_MAX = 4 * MIB
TIMEOUT_S = 60


def block(offset: int) -> bytes:
    return b"%08d" % offset + bytes(BLOCK_BYTES - 8)


class Live:
    """A reader on a thread that keeps up. It counts: every record once, in order, whole."""

    def __init__(self, client: RawClient, channel: str, after: int) -> None:
        self._client = client
        self._reached = after
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._number = client.open(channel).number
        client.subscribe(self._number, CREDIT_BYTES_MAX, after=after)

    def run_to(self, last: int) -> None:
        try:
            while self._reached < last:
                batches = self._client.expect(Deliver).batches
                self._move(check_blocks(batches, self._reached + 1))
        except BaseException as failure:
            self._failure = failure
            self._move(self._reached)

    def _move(self, reached: int) -> None:
        with self._changed:
            self._reached = reached
            self._changed.notify_all()

    def await_reached(self, offset: int) -> None:
        with self._changed:
            there = self._changed.wait_for(lambda: self._failure or self._reached >= offset, PATIENCE_S)
        if self._failure is not None:
            raise self._failure
        assert there, f"a live reader stays behind at {self._reached}"


def check_blocks(batches: bytes, first: int) -> int:
    """One record in each batch; returns the offset of the last. Looks at the beginnings, so that it is no load."""
    start = 0
    while start < len(batches):
        length, _, offset, _, _, client_length, _, count, labels_length = HEAD.unpack_from(batches, start)
        data = start + HEAD.size + client_length + labels_length + 4
        assert (offset, count) == (first, 1), f"offset {offset} came where {first} belongs"
        assert batches[data : data + 8] == b"%08d" % offset, "the data is another record's"
        start += length
        first += 1
    return first - 1


def publish_beyond(broker: BrokerProcess, channel: str, blocks: int) -> int:
    """Publishes in step with LIVE_READERS; returns the most memory that the broker had in between."""
    author = broker.client("author")
    opened = author.open(channel)
    first, last = opened.last + 1, opened.last + blocks
    readers = [Live(broker.client(f"live{index}"), channel, opened.last) for index in range(LIVE_READERS)]
    threads = [threading.Thread(target=reader.run_to, args=(last,)) for reader in readers]
    for thread in threads:
        thread.start()
    most = 0
    try:
        for offset in range(first, last + 1):
            assert author.publish(opened.number, block(offset)) == (offset, False)
            if offset % STRIDE == 0 or offset == last:
                for reader in readers:
                    reader.await_reached(offset)
                most = max(most, memory_bytes(broker))
    finally:
        for thread in threads:
            thread.join(2 * PATIENCE_S)
    return most


class Stalled:
    """Connected, subscribed and silent. `go_on` makes it read."""

    def __init__(self, broker: BrokerProcess, channel: str, credit: int) -> None:
        self._client = broker.client("stalled", heartbeat_ms=60_000)
        self._number = self._client.open(channel).number
        self._credit = credit
        self._answer = self._client.subscribe(self._number, credit, start="latest")

    def check_everything_comes(self, last: int) -> None:
        """In order, nothing dropped, nothing told: as if it had never stopped."""
        reached = self._answer.after
        if self._credit < CREDIT_BYTES_MAX:
            reached = self._check_credit_holds(reached)
            self._client.send(Credit(self._number, CREDIT_BYTES_MAX - self._credit))
        while reached < last:
            reached = check_blocks(self._client.expect(Deliver).batches, reached + 1)

    def _check_credit_holds(self, reached: int) -> int:
        """One frame may overdraw what was granted; without any credit nothing comes at all (PROTOCOL.md 6.6)."""
        self._client.send(Ping(1))
        came = 0
        while not isinstance(frame := self._client.receive(), Pong):
            assert isinstance(frame, Deliver), frame
            reached = check_blocks(frame.batches, reached + 1)
            came += 1
        assert came == min(self._credit, 1)
        return reached


@pytest.mark.parametrize(
    "credit", [CREDIT_BYTES_MAX, 1, 0], ids=["does-not-receive", "grants-little-credit", "grants-no-credit"]
)
def test_a_stalled_reader_costs_little_and_loses_nothing(credit: int, tmp_path: Path) -> None:
    """The same load twice on one broker, first without and then with a stalled reader on the channel."""
    with home(tmp_path, journal_bytes=MIB) as place:
        broker = place.start()
        publish_beyond(broker, "room", WARM_UP)
        without = publish_beyond(broker, "room", BASELINE)
        stalled = Stalled(broker, "room", credit)
        within = publish_beyond(broker, "room", BLOCKS)
        assert BLOCKS * BLOCK_BYTES >= 64 * MIB
        print(f"{(within - without) / MIB:.1f} MiB for one stalled reader")
        assert within - without < GROWTH_BYTES_MAX
        stalled.check_everything_comes(WARM_UP + BASELINE + BLOCKS)


def test_an_application_that_does_not_consume(tmp_path: Path) -> None:
    """The window bounds what lies in the client, and the broker keeps nothing more for it."""
    with home(tmp_path, journal_bytes=MIB) as place:
        broker = place.start()
        publish_beyond(broker, "room", WARM_UP)
        without = publish_beyond(broker, "room", BASELINE)
        asyncio.run(do_not_consume(place.url, broker, without))


async def do_not_consume(url: str, broker: BrokerProcess, without: int) -> None:
    async with asyncio.timeout(TIMEOUT_S), outlast.connect(url) as client:
        subscription = client.channel("room").subscribe(start="latest", window_bytes=MIB)
        async with subscription:
            after = subscription.position
            assert after is not None
            within = await asyncio.to_thread(publish_beyond, broker, "room", BLOCKS)
            assert within - without < GROWTH_BYTES_MAX
            # The last frame may overdraw the window, by less than itself (PROTOCOL.md 6.6).
            assert 1 <= subscription.buffered <= 2 * MIB // BLOCK_BYTES
            for offset in range(after.offset + 1, after.offset + BLOCKS + 1):
                record = await anext(subscription)
                assert record.offset == offset and record.data == block(offset)
