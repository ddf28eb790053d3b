from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Callable, Iterator
from time import perf_counter
from types import SimpleNamespace
from typing import Any, cast

import outlast
import pytest
from outlast import Ack, BufferFull, Client, ConnectionLost, ReadOnly, Subscription, UnknownChannel
from outlast_cli.bench import scenarios
from outlast_cli.bench.figures import Found, Row, Spread, fields, head, line, notes, percentile, spread
from outlast_cli.bench.lane import Lane, drained, workers
from outlast_cli.bench.metronome import Tempo, keep, tempo
from outlast_cli.bench.plan import SCENARIO_BYTES_MAX, Plan
from outlast_cli.bench.scenarios import SCENARIOS
from outlast_cli.bench.site import Site, clear
from outlast_cli.bench.stream import Run
from outlast_cli.exits import Exit

from . import shell

SPREAD = Spread(2_000, 1.234, 5.0, 9.9)
WHOLE = Row("stream", 3_000, 3_000, 3_000, Found(3.0, 0.3, SPREAD, SPREAD))

# --- figures ------------------------------------------------------------------------------------------------


def test_percentiles_are_samples() -> None:
    thousand = list(range(1, 1001))
    assert [percentile(thousand, permille) for permille in (500, 990, 999)] == [500, 990, 999]
    assert percentile([7, 9], 500) == 7


def test_too_few_samples_have_no_high_percentile() -> None:
    assert percentile(range(999), 999) is None
    assert percentile(range(99), 990) is None
    assert percentile(range(100), 990) == 98
    assert percentile([], 500) is None


def test_a_spread_is_in_ms() -> None:
    assert spread([0.004, 0.001, 0.002]) == Spread(3, 2.0, None, None)
    assert spread([]) == Spread(0, None, None, None)


def test_a_whole_row() -> None:
    assert WHOLE.is_complete and not WHOLE.is_client_bound
    assert notes(WHOLE) == []
    assert line(WHOLE).split() == ["stream", "1,000", "1.23", "5.00", "9.90", "1.23", "5.00", "10%"]
    assert len(head()) == len(line(WHOLE))


@pytest.mark.parametrize(
    ("change", "complete"),
    [
        ({"acked": 2_999}, False),
        ({"delivered": 2_999}, False),
        ({"delivered": 3_001}, False),
        ({"sent": 0, "acked": 0, "delivered": 0}, False),
        ({"found": None}, False),
        ({"sent": 5, "acked": 5, "delivered": 5}, True),
    ],
)
def test_what_is_complete(change: dict[str, Any], complete: bool) -> None:
    row = WHOLE._replace(**change)
    assert row.is_complete is complete
    assert ("NOT COMPLETE" in line(row)) is not complete


def test_a_row_that_was_given_up_has_counts_only() -> None:
    row = Row("flood", 20, 10, 5, None, "gave up after 25 s")
    assert line(row).split()[:8] == ["flood", *"-------"]
    assert line(row).endswith("NOT COMPLETE: sent 20, acked 10, delivered 5; gave up after 25 s")
    assert fields(row)["messages_per_s"] is fields(row)["delivery_ms"] is fields(row)["own_cpu_cores"] is None


@pytest.mark.parametrize(("cpu_s", "bound"), [(2.7, False), (2.71, True)])
def test_client_bound_is_above_90_percent(cpu_s: float, bound: bool) -> None:
    row = WHOLE._replace(found=Found(3.0, cpu_s))
    assert fields(row)["client_bound"] is bound
    assert line(row).endswith("client-bound") is bound


def test_json_has_what_the_table_has() -> None:
    told = json.loads(json.dumps(fields(WHOLE)))
    assert (told["scenario"], told["complete"], told["messages_per_s"]) == ("stream", True, 1000)
    assert told["delivery_ms"] == {"samples": 2_000, "p50": 1.234, "p99": 5.0, "p99_9": 9.9}


# --- plan and tempo -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("message_bytes", [1, 64, 2_000, 65_536])
def test_a_plan_is_bounded(message_bytes: int) -> None:
    plan = Plan(message_bytes=message_bytes)
    assert plan.messages_max * message_bytes <= SCENARIO_BYTES_MAX
    assert 1 <= plan.batch_records <= 500
    assert plan.batch_records * message_bytes <= 1_000_000


def test_a_tempo_has_at_most_1000_beats_a_second() -> None:
    assert tempo(10, 30) == Tempo(30, 0.1, 1)
    assert tempo(1_000, 3_000) == Tempo(3_000, 0.001, 1)
    assert tempo(1_500, 3_000) == Tempo(1_500, 2 / 1_500, 2)
    assert tempo(100_000, 10_000) == Tempo(100, 0.001, 100)
    assert tempo(1, 0).beats == 1


def test_a_late_beat_keeps_the_moment_when_it_was_due() -> None:
    due_s: list[float] = []

    def beat(moment_s: float) -> None:
        due_s.append(moment_s)
        if len(due_s) == 1:
            while perf_counter() < moment_s + 0.02:
                pass

    started_s = perf_counter()
    asyncio.run(keep(Tempo(20, 0.001, 1), beat))
    assert len(due_s) == 20
    assert all(abs(after - before - 0.001) < 1e-9 for before, after in zip(due_s, due_s[1:], strict=False))
    assert due_s[0] > started_s


def test_a_metronome_that_is_stopped_beats_no_more() -> None:
    beats: list[float] = []

    async def scene() -> None:
        first = asyncio.Event()

        def beat(due_s: float) -> None:
            beats.append(due_s)
            first.set()

        task = asyncio.get_running_loop().create_task(keep(Tempo(1_000_000, 0.01, 1), beat))
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        beats.clear()
        await keep(Tempo(5, 0.01, 1), lambda _: None)  # time enough for as many beats of the stopped one

    asyncio.run(scene())
    assert len(beats) <= 1  # one may have been on its way


# --- lanes --------------------------------------------------------------------------------------------------


class Records:
    """A subscription that gives these offsets, then ends."""

    def __init__(self, *offsets: int) -> None:
        self._offsets: Iterator[int] = iter(offsets)

    def __aiter__(self) -> Records:
        return self

    async def __anext__(self) -> SimpleNamespace:
        for offset in self._offsets:
            return SimpleNamespace(offset=offset)
        raise StopAsyncIteration


def lane_after(*offsets: int, base: int = 1, seen: Callable[[Lane], object] | None = None) -> Lane:
    lane = Lane(cast(outlast.Channel, None), cast(outlast.Channel, None), base)
    asyncio.run(lane.follow(cast(Subscription, Records(*offsets)), seen))
    return lane


@pytest.mark.parametrize(
    ("offsets", "delivered"), [((2, 3, 4), 3), ((2, 4, 5), 1), ((2, 2, 3), 2), ((3, 4), 0), ((), 0)]
)
def test_only_dense_offsets_count(offsets: tuple[int, ...], delivered: int) -> None:
    assert lane_after(*offsets).delivered == delivered


def test_each_record_is_seen() -> None:
    seen: list[int] = []
    lane_after(2, 3, seen=lambda lane: seen.append(lane.delivered))
    assert seen == [1, 2]


def test_drained_waits_for_the_last_that_was_sent() -> None:
    async def scene() -> None:
        lane = Lane(cast(outlast.Channel, None), cast(outlast.Channel, None), 0)
        lane.sent = 2
        waiting = asyncio.get_running_loop().create_task(drained([lane]))
        await lane.follow(cast(Subscription, Records(1)), None)
        assert not waiting.done()
        await lane.follow(cast(Subscription, Records(2)), None)
        await waiting
        await drained([lane])  # had it already

    asyncio.run(scene())


def test_the_first_error_of_workers_is_raised_as_itself() -> None:
    async def scene() -> None:
        async def fail() -> None:
            raise ReadOnly("no space")

        async with workers() as group, workers() as inner:
            group.create_task(asyncio.Event().wait())
            inner.create_task(fail())

    with pytest.raises(ReadOnly):
        asyncio.run(scene())


def test_messages_that_find_the_buffer_full_are_told() -> None:
    class Out:
        room = 2

        def publish_nowait(self, _: bytes) -> asyncio.Future[Ack]:
            if not self.room:
                raise BufferFull("full")
            self.room -= 1
            future = asyncio.get_running_loop().create_future()
            future.set_result(Ack(1, 1, 1, False))
            return future

    async def scene() -> None:
        lane = Lane(cast(outlast.Channel, Out()), cast(outlast.Channel, None), 0)
        run = Run([lane], b"x", 5)
        run.beat(perf_counter())
        await run.settled()
        assert (lane.sent, lane.acked, len(run.ack_s)) == (2, 2, 2)
        assert run.note == "behind: 3 messages found the client's buffer full"

    asyncio.run(scene())


# --- the site -----------------------------------------------------------------------------------------------


def test_a_site_grants_what_the_plan_allows() -> None:
    site = Site("x", Plan(message_bytes=65_536), cast(Client, None), cast(Client, None))
    most = site.plan.messages_max
    assert (site.grant(most - 1), site.note) == (most - 1, "")
    assert [site.grant(5), site.grant(5)] == [1, 0]
    assert site.note == f"stopped after {most:,} messages, the most that it writes"


def test_channels_that_could_not_be_deleted_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def channel(self, name: str) -> Broken:
            self.error = UnknownChannel(name) if name == "gone" else ConnectionLost(name)
            return self

        async def delete(self) -> None:
            raise self.error

    asyncio.run(clear(cast(Client, Broken()), ["gone"]))
    assert capsys.readouterr().err == ""
    asyncio.run(clear(cast(Client, Broken()), ["one"]))
    assert capsys.readouterr().err.startswith("outlast: could not delete one, 1 channel in all: ")


def channels(url: str) -> list[str]:
    return shell.call("channels", "ls", "bench:", url=url).lines


def test_all_scenarios_as_json(url: str) -> None:
    done = shell.run("bench", "--seconds", "0.3", "--json", url=url)
    assert (done.code, done.err) == (0, "")
    rows = {row["scenario"]: row for row in map(json.loads, done.lines)}
    assert list(rows) == list(SCENARIOS)
    for row in rows.values():
        assert row["complete"] and 0 < row["sent"] == row["acked"] == row["delivered"]
        assert row["messages_per_s"] > 0 and row["own_cpu_cores"] > 0
    assert rows["stream"]["sent"] == rows["stream"]["delivery_ms"]["samples"] == rows["stream"]["ack_ms"]["samples"]
    assert rows["stream"]["sent"] == 300
    assert rows["replay"]["sent"] == 100_000
    assert rows["batch"]["sent"] % 500 == 0
    assert rows["single"]["ack_ms"]["samples"] == rows["single"]["sent"]
    assert rows["flood"]["delivery_ms"] is None
    assert channels(url) == []


def test_a_table_with_a_row_for_each_name_once(url: str) -> None:
    options = ["--seconds", "0.1", "--channels", "3", "--rate", "50", "--message-bytes", "3000"]
    done = shell.call("bench", "single", "stream", "single", *options, url=url)
    assert (done.code, done.err) == (0, "")
    assert [text.split()[0] for text in done.lines] == ["scenario", "single", "stream"]
    assert channels(url) == []


def test_ctrl_c_leaves_no_channels(url: str) -> None:
    with shell.start("bench", "flood", "--seconds", "60", url=url) as process:
        while len(channels(url)) < 20:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(shell.TIMEOUT_S) == Exit.INTERRUPTED
        assert process.stderr is not None and process.stderr.read() == b""
    assert channels(url) == []


def test_what_does_not_end_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stuck(site: Site) -> Found:
        (lane,) = await site.open(1)
        await lane.publish(site.data)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setitem(scenarios.SCENARIOS, "single", stuck)
    monkeypatch.setattr(Plan, "patience_s", 0.3)
    done = shell.call("bench", "single", url=url)
    assert done.code == Exit.REFUSED
    assert done.lines[1].endswith("NOT COMPLETE: sent 1, acked 1, delivered 0; gave up after 0.3 s")
    assert channels(url) == []


def test_what_is_lost_is_told_and_the_rest_is_measured(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lossy(site: Site) -> Found:
        (lane,) = await site.open(1)
        lane.sent = 1
        return Found(1.0, 0.1)

    monkeypatch.setitem(scenarios.SCENARIOS, "stream", lossy)
    done = shell.call("bench", "stream", "single", "--seconds", "0.1", url=url)
    assert done.code == Exit.REFUSED
    assert re.search(r"NOT COMPLETE: sent 1, acked 0, delivered 0$", done.lines[1])
    assert "NOT COMPLETE" not in done.lines[2]


def test_a_refusal_is_one_line_and_leaves_no_channels(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(site: Site) -> Found:
        lanes = await site.open(2)
        async with workers() as group:
            for lane in lanes:
                group.create_task(lane.back.truncate(before=10_000))
        return Found(1.0, 0.1)

    monkeypatch.setitem(scenarios.SCENARIOS, "single", refused)
    done = shell.call("bench", "single", url=url)
    assert (done.code, done.err.count("\n")) == (Exit.REFUSED, 1)
    assert done.err.startswith("outlast: offset_ahead: ")
    assert channels(url) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["fanout"], "is not one of 'stream', 'flood', 'batch', 'replay', 'single'"),
        (["--seconds", "0"], "0.1<=x<=60"),
        (["--rate", "1e9"], "--rate"),
        (["--message-bytes", "65537"], "--message-bytes"),
        (["--url", "http://x"], "no address of a broker"),
    ],
)
def test_mistakes(url: str, arguments: list[str], text: str) -> None:
    done = shell.call("bench", *arguments, url=url)
    assert (done.code, done.out) == (Exit.USAGE, "")
    assert text in " ".join(done.err.split())


def test_no_broker() -> None:
    done = shell.call("bench", "--connect-timeout", "200ms", url="outlast+unix:///nowhere/socket")
    assert (done.code, done.out) == (Exit.UNREACHABLE, "")
    assert "start one with `outlast serve`" in done.err
