"""Promise 2: offsets are 1, 2, 3, ... without holes; every reader sees the same records in the same order."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import outlast
from outlast_protocol.batch import read_records, spans
from outlast_protocol.frames import Credit, Deliver, Error, History, Page
from outlast_protocol.limits import CREDIT_BYTES_MAX

from tests.support.broker import PATIENCE_S, Broker, RawClient, running_broker
from tests.support.chance import FACTOR, branch, chance
from tests.support.home import home
from tests.support.ledger import read_channel

TIMEOUT_S = 30
PUBLISHERS, BATCHES = 12, 40
RACERS, WINS = 6, 25 * FACTOR
JUMPS_MS = (0, 5_000, -3_600_000, -10, 40, -86_400_000)


def together(*deeds: Callable[[], None]) -> None:
    """Each on a thread of its own; raises what went wrong with any of them."""
    failures: list[BaseException] = []

    def run(deed: Callable[[], None]) -> None:
        try:
            deed()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    for failure in failures:
        raise failure


# --- one order for all ----------------------------------------------------------------------------------------


class Publisher:
    """Sends batches in windows of some, by one connection; notes what offset each got."""

    def __init__(self, client: RawClient, rng: random.Random) -> None:
        self._client = client
        self._rng = rng
        self.offsets: list[int] = []
        self.sent: list[list[bytes]] = []

    def run(self) -> None:
        client = self._client
        number = client.open("room").number
        while len(self.sent) < BATCHES:
            fresh = [self._compose() for _ in range(self._rng.randint(1, 6))]
            frames = [client.publishing(number, *datas) for datas in fresh]
            client.send(*frames)
            self.offsets += [client.answer_to(frame.request)[1] for frame in frames]

    def _compose(self) -> list[bytes]:
        self.sent.append(
            [
                b"%s/%d/%d" % (self._client.id.encode(), len(self.sent), index)
                for index in range(self._rng.randint(1, 4))
            ]
        )
        return self.sent[-1]


class Listener:
    """Keeps every delivered batch as the bytes that came."""

    def __init__(self, client: RawClient, credit: int) -> None:
        self._client = client
        self._number = client.open("room").number
        self._client.subscribe(self._number, credit)
        self._credit = credit
        self.batches: list[bytes] = []

    def run_to(self, last: int) -> None:
        reached = 0
        while reached < last:
            run = self._client.expect(Deliver).batches
            for span in spans(run):
                self.batches.append(run[span.start : span.end])
                reached = span.last
            if self._credit < CREDIT_BYTES_MAX:
                self._client.send(Credit(self._number, 16 + len(run)))


def test_everybody_sees_the_same_records_in_one_order(tmp_path: Path) -> None:
    with chance("order/all") as rng, running_broker(tmp_path, journal_bytes=10_000) as broker:
        listeners = [Listener(broker.client(f"live{index}"), CREDIT_BYTES_MAX) for index in range(3)]
        listeners.append(Listener(broker.client("meagre"), 100))
        publishers = [Publisher(broker.client(f"p{index}"), branch(rng)) for index in range(PUBLISHERS)]
        together(*[publisher.run for publisher in publishers])
        stored = read_channel(broker.client("auditor"), "room")
        together(*[partial(listener.run_to, stored.last) for listener in listeners])
        check_offsets(publishers, stored.last)
        for publisher in publishers:
            for offset, datas in zip(publisher.offsets, publisher.sent, strict=True):
                assert [stored.records[offset + index].data for index in range(len(datas))] == datas
        check_bytes(broker, listeners)


def check_offsets(publishers: list[Publisher], last: int) -> None:
    """Dense over all publishers, rising for each."""
    given: list[int] = []
    for publisher in publishers:
        assert publisher.offsets == sorted(publisher.offsets), "a publisher's batches are not in the order sent"
        for offset, datas in zip(publisher.offsets, publisher.sent, strict=True):
            given += range(offset, offset + len(datas))
    assert sorted(given) == list(range(1, last + 1))


def check_bytes(broker: Broker, listeners: list[Listener]) -> None:
    """The same bytes for all who listened, live or not, and for all who come later (PROTOCOL.md 2.4)."""
    late = Listener(broker.client("late"), CREDIT_BYTES_MAX)
    late.run_to(sum(len(read_records(batch)) for batch in listeners[0].batches))
    for listener in [*listeners, late]:
        assert b"".join(listener.batches) == b"".join(listeners[0].batches)
    client = broker.client("historian")
    number = client.open("room").number
    paged, after = b"", 0
    while after < read_records(late.batches[-1])[-1].offset:
        page = client.ask(History(client.request(), number, limit=100, after=after))
        assert isinstance(page, Page) and page.low == after + 1
        paged += b"".join(page.batches[span.start : span.end] for span in spans(page.batches) if span.offset > after)
        after = max(page.high, *[span.last for span in spans(page.batches)])
    assert paged == b"".join(late.batches)


# --- conditions -----------------------------------------------------------------------------------------------


class Racer:
    """Publishes on condition that nobody else has: (what it believed, what it was told) for every attempt."""

    def __init__(self, client: RawClient, done: threading.Event) -> None:
        self._client = client
        self._done = done
        self.wins: list[int] = []
        self.losses: list[tuple[int, int, int]] = []

    def run(self) -> None:
        client = self._client
        opened = client.open("room")
        believed = opened.last
        known = believed
        while not self._done.is_set():
            answer = client.ask(client.publishing(opened.number, client.id.encode(), if_offset=believed))
            if isinstance(answer, Error):
                self.losses.append((known, believed, int(answer.detail["last"])))
                believed = known = max(known, int(answer.detail["last"]))
                continue
            assert answer[1:] == (believed + 1, False), "a condition held and the record went elsewhere"
            self.wins.append(answer[1])
            believed = known = answer[1]
            if len(self.wins) >= WINS:
                self._done.set()


def test_a_condition_holds_for_exactly_one_of_those_who_race(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        done = threading.Event()
        racers = [Racer(broker.client(f"racer{index}"), done) for index in range(RACERS)]
        together(*[racer.run for racer in racers])
        won = sorted(offset for racer in racers for offset in racer.wins)
        assert won == list(range(1, len(won) + 1)), "two racers won one offset, or nobody did"
        stored = read_channel(broker.client("auditor"), "room")
        assert stored.last == len(won)
        for racer in racers:
            assert racer.losses, "nobody raced"
            assert all(stored.records[offset].client_id.startswith("racer") for offset in racer.wins)
            for known, believed, last in racer.losses:
                assert known <= last <= len(won) and last != believed, "refused for no reason, or by the past"


def test_a_condition_is_judged_against_what_is_on_its_way(tmp_path: Path) -> None:
    """Ten conditional publishes in one write, all believing the same: one is stored."""
    with running_broker(tmp_path) as broker:
        client = broker.client()
        number = client.open("room").number
        frames = [client.publishing(number, b"%d" % index, if_offset=0) for index in range(10)]
        client.send(*frames)
        answers = [client.answer_to(frame.request) for frame in frames]
        assert answers[0] == (frames[0].request, 1, False)
        assert all(isinstance(answer, Error) and answer.detail == {"last": 1} for answer in answers[1:])
        assert read_channel(client, "room").last == 1


def test_clients_that_race_agree_on_one_winner(tmp_path: Path) -> None:
    async def race(url: str) -> None:
        async with asyncio.timeout(TIMEOUT_S), outlast.connect(url) as one, outlast.connect(url) as other:
            channels = [one.channel("room"), other.channel("room")]
            for last in range(20):
                outcomes = await asyncio.gather(
                    *[channel.publish(last, if_offset=last) for channel in channels], return_exceptions=True
                )
                won = [outcome for outcome in outcomes if isinstance(outcome, outlast.Ack)]
                lost = [outcome for outcome in outcomes if isinstance(outcome, outlast.OffsetMismatch)]
                assert [ack.offset for ack in won] == [last + 1]
                assert [mismatch.last for mismatch in lost] == [last + 1]

    with running_broker(tmp_path) as broker:
        asyncio.run(race(f"outlast+unix://{broker.path}"))


# --- times ----------------------------------------------------------------------------------------------------


def test_times_never_run_backwards(tmp_path: Path) -> None:
    """The clock jumps about, also while the broker is down."""
    with home(tmp_path, journal_bytes=1, journal_age_ms=1) as place:
        for jumps_ms in (JUMPS_MS, JUMPS_MS[::-1]):
            place.knob("clock_shift_ms", jumps_ms[0])
            client = place.start().client()
            number = client.open("room").number
            for jump_ms in jumps_ms:
                place.knob("clock_shift_ms", jump_ms)
                for _ in range(5):
                    client.publish(number, b"tick")
        times = [record.time_ms for record in read_channel(place.start().client(), "room").records.values()]
        assert len(times) == 2 * len(JUMPS_MS) * 5
        assert times == sorted(times)
        assert times[0] < times[-1], "the clock stands still"
