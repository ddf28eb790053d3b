"""PROTOCOL.md 6.7, over a real socket; what happens while the log is being read, on a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from outlast_broker import server
from outlast_broker.damage import Damaged
from outlast_broker.memory_log import MemoryLog
from outlast_protocol import ErrorCode
from outlast_protocol.batch import read_records
from outlast_protocol.frames import Error, History, Page, Published, Truncate

from tests.broker.growing import closed, grown, opened, page as folded_page, plain, say, say_each, until_folded
from tests.broker.logs import BIRTH_MS
from tests.broker.stage import Actor, Stage, Time
from tests.support.broker import Broker, RawClient, running_broker

Staged = Callable[..., Stage]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with running_broker() as broker:
        yield broker


@pytest.fixture
def alice(broker: Broker) -> Iterator[RawClient]:
    alice = broker.client("alice")
    yield alice
    alice.close()


@pytest.fixture
def ten(alice: RawClient, request: pytest.FixtureRequest) -> int:
    """A channel with records 1 to 10, in batches of two."""
    number = alice.open(str(request.node.name)).number
    for at in range(1, 11, 2):
        alice.publish(number, f"{at}", f"{at + 1}")
    return number


def page(client: Any, number: int, **asked: Any) -> Page:
    answer = client.ask(History(client.request(), number, **asked))
    assert isinstance(answer, Page), answer
    return answer


def held(answer: Page) -> list[int]:
    return [record.offset for record in read_records(answer.batches)]


@pytest.mark.parametrize(
    ("asked", "low", "high", "batches"),
    [
        ({"start": "earliest"}, 1, 10, range(1, 11)),
        ({"start": "earliest", "limit": 3}, 1, 3, range(1, 5)),
        ({"start": "latest"}, 11, 10, ()),
        ({"after": 0, "limit": 1}, 1, 1, range(1, 3)),
        ({"after": 3, "limit": 4}, 4, 7, range(3, 9)),
        ({"after": 9}, 10, 10, range(9, 11)),
        ({"after": 10}, 11, 10, ()),
        ({"last": 3}, 8, 10, range(7, 11)),
        ({"last": 5, "limit": 2}, 6, 7, range(5, 9)),
        ({"last": 99}, 1, 10, range(1, 11)),
        ({"since_ms": 0, "limit": 2}, 1, 2, range(1, 3)),
        ({"since_ms": 2**62}, 11, 10, ()),
        ({"backwards": True}, 1, 10, range(1, 11)),
        ({"backwards": True, "limit": 3}, 8, 10, range(7, 11)),
        ({"backwards": True, "limit": 3, "before": 8}, 5, 7, range(5, 9)),
        ({"backwards": True, "limit": 3, "before": 3}, 1, 2, range(1, 3)),
        ({"backwards": True, "before": 11, "limit": 1}, 10, 10, range(9, 11)),
        ({"backwards": True, "before": 1}, 1, 0, ()),
    ],
)
def test_what_a_page_holds(
    alice: RawClient, ten: int, asked: dict[str, Any], low: int, high: int, batches: range
) -> None:
    answer = page(alice, ten, **asked)
    assert (answer.low, answer.high, answer.first, answer.last) == (low, high, 1, 10)
    assert held(answer) == list(batches)


def test_before_the_first_record_there_is_nothing(alice: RawClient, ten: int) -> None:
    answer = page(alice, ten, backwards=True, before=0)
    assert answer.low > answer.high and answer.batches == b""


def test_an_empty_channel_has_an_empty_page(alice: RawClient) -> None:
    number = alice.open("empty").number
    for asked in ({"start": "earliest"}, {"backwards": True}, {"last": 5}, {"since_ms": 0}):
        answer = page(alice, number, **asked)
        assert answer.low == answer.high + 1 == 1 and answer.batches == b""


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"after": 1, "last": 1},
        {"start": "middle"},
        {"start": "latest", "epoch": 1},
        {"start": "earliest", "limit": 0},
        {"start": "earliest", "limit": 10_001},
        {"backwards": True, "limit": 0},
    ],
)
def test_requests_that_say_nothing_valid(alice: RawClient, ten: int, asked: dict[str, Any]) -> None:
    alice.refused(History(90, ten, **asked), ErrorCode.BAD_BODY)


def test_what_cannot_be_read_is_refused_with_the_way_on(alice: RawClient, ten: int) -> None:
    beyond: list[dict[str, Any]] = [{"after": 11}, {"backwards": True, "before": 12}]
    for asked in beyond:
        assert alice.refused(History(90, ten, **asked), ErrorCode.OFFSET_AHEAD).detail == {"last": 10}
    alice.refused(History(91, ten + 1_000, start="earliest"), ErrorCode.UNKNOWN_CHANNEL)


@pytest.mark.parametrize("asked", [{"after": 1}, {"backwards": True, "before": 5}, {"backwards": True}])
def test_another_life_is_refused_with_the_current_epoch(
    alice: RawClient, ten: int, asked: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    epoch = alice.info(str(request.node.name))["epoch"]
    assert alice.ask(History(90, ten, epoch=epoch, **asked)).last == 10
    error = alice.refused(History(91, ten, epoch=epoch ^ 1, **asked), ErrorCode.STALE_EPOCH)
    assert error.detail == {"epoch": f"{epoch:016x}"}


def test_what_is_trimmed_is_refused_with_what_is_left(
    alice: RawClient, ten: int, request: pytest.FixtureRequest
) -> None:
    alice.result(Truncate(90, str(request.node.name), 6))
    assert alice.refused(History(91, ten, after=4), ErrorCode.TRIMMED).detail == {"first": 6}
    assert page(alice, ten, after=5)[1:5] == (6, 10, 6, 10)
    assert page(alice, ten, start="earliest")[1:3] == page(alice, ten, backwards=True)[1:3] == (6, 10)
    assert page(alice, ten, since_ms=0)[1:3] == page(alice, ten, last=99)[1:3] == (6, 10)
    answer = page(alice, ten, backwards=True, before=6)
    assert answer.low > answer.high and answer.batches == b""


def test_paging_changes_nothing(alice: RawClient, ten: int) -> None:
    assert page(alice, ten, after=2)[1:] == page(alice, ten, after=2)[1:]


@pytest.mark.parametrize("backwards", [True, False])
@pytest.mark.parametrize("limit", [1, 7, 40, 10_000])
def test_pages_read_a_long_channel_from_chunks_and_tail(
    monkeypatch: pytest.MonkeyPatch, backwards: bool, limit: int
) -> None:
    """Some of it moves into chunks meanwhile, and pages are cut where their bytes end."""
    monkeypatch.setattr(server, "TICK_S", 0.01)
    with running_broker(journal_bytes=100_000) as broker:
        alice = broker.client("alice")
        number = alice.open("room").number
        for at in range(1, 61):
            alice.publish(number, str(at).ljust(20_000 if at % 20 else 700_000))
        expected = list(range(1, 61))
        assert read_all(alice, number, backwards, max(limit, 7)) == expected


def read_all(alice: RawClient, number: int, backwards: bool, limit: int) -> list[int]:
    found: list[int] = []
    after, before = 0, 61
    while after < 60 and before > 1:
        asked = {"backwards": True, "before": before} if backwards else {"after": after}
        answer = page(alice, number, limit=limit, **asked)
        records = [record for record in read_records(answer.batches) if answer.low <= record.offset <= answer.high]
        assert [int(record.data) for record in records] == list(range(answer.low, answer.high + 1))
        assert 0 < len(records) <= limit
        offsets = [record.offset for record in records]
        found = offsets + found if backwards else found + offsets
        after, before = answer.high if not backwards else 0, answer.low if backwards else 61
    return found


# --- while the log is being read --------------------------------------------------------------------------


def chunked(stage: Stage, count: int) -> tuple[Any, int]:
    """A client, and the number of a channel of such many records, each in a chunk of its own."""
    alice = stage.client()
    number = alice.open("room").number
    alice.send(*[alice.publishing(number, str(1 + at).ljust(40_000)) for at in range(count)])
    alice.expect(Published)
    stage.settle("room")
    return alice, number


@pytest.mark.parametrize(
    "asked", [{"after": 0}, {"start": "earliest"}, {"last": 99}, {"since_ms": 0}, {"backwards": True}, {"after": 2}]
)
@pytest.mark.parametrize("fold", [False, True])
def test_trimming_while_a_page_is_read_is_never_skipped_in_silence(
    staged: Staged, asked: dict[str, Any], fold: bool
) -> None:
    stage = staged(journal_age_ms=0)
    alice, number = chunked(stage, 10)
    operator = stage.client("operator")
    stage.log.hold_reads()
    alice.send(History(90, number, fold=fold, **asked))
    stage.turn()
    operator.result(Truncate(1, "room", 6))
    stage.log.go_on_reading()
    stage.until(lambda: not alice.silent, alice.wire.arrived)
    [answer] = alice.came
    if isinstance(answer, Error):
        assert ErrorCode(answer.code) is ErrorCode.TRIMMED and answer.detail == {"first": 6}
    else:
        assert isinstance(answer, Page)
        offsets = [each for each in held(answer) if answer.low <= each <= answer.high]
        assert offsets == list(range(answer.low, answer.high + 1)) and answer.high == 10


# --- folded -----------------------------------------------------------------------------------------------


def talk(stage: Stage, time: Time) -> tuple[Actor, int]:
    """Message 2, closed at 6, among plain records 1, 3, 5 and 7: a batch each, ten ms apart."""
    agent = stage.client("agent")
    number = agent.open("room").number
    for each in (plain("a"), opened("b"), plain("c"), grown(2, "d"), plain("e"), closed(2), plain("f")):
        say(agent, number, each)
        time.advance(10)
    return agent, number


@pytest.fixture(params=["tail", "chunks", "folded"])
def talking(request: pytest.FixtureRequest, staged: Staged, time: Time) -> tuple[Actor, int]:
    settings = {} if request.param == "tail" else {"journal_bytes": 1, "journal_age_ms": 0, "fold_after_ms": 1_000}
    stage = staged(**settings)
    agent, number = talk(stage, time)
    if request.param != "tail":
        stage.settle("room")
    if request.param == "folded":
        until_folded(stage, "room", time.advance)
    return agent, number


GIVEN = [1, 3, 5, 6, 7]


@pytest.mark.parametrize(
    ("asked", "low", "high", "given"),
    [
        ({"start": "earliest"}, 1, 7, GIVEN),
        ({"start": "earliest", "limit": 2}, 1, 3, [1, 3]),
        ({"start": "earliest", "limit": 4}, 1, 6, [1, 3, 5, 6]),
        ({"start": "latest"}, 8, 7, []),
        ({"after": 3, "limit": 2}, 4, 6, [5, 6]),
        ({"last": 2}, 6, 7, [6, 7]),
        ({"last": 3, "limit": 1}, 5, 5, [5]),
        ({"last": 99}, 1, 7, GIVEN),
        ({"since_ms": BIRTH_MS + 25}, 4, 7, [5, 6, 7]),
        ({"since_ms": BIRTH_MS + 40}, 5, 7, [5, 6, 7]),
        ({"since_ms": BIRTH_MS + 51}, 7, 7, [7]),
        ({"since_ms": BIRTH_MS + 61}, 8, 7, []),
        ({"backwards": True}, 1, 7, GIVEN),
        ({"backwards": True, "limit": 2}, 6, 7, [6, 7]),
        ({"backwards": True, "limit": 3}, 5, 7, [5, 6, 7]),
        ({"backwards": True, "limit": 2, "before": 6}, 3, 5, [3, 5]),
        ({"backwards": True, "before": 1}, 1, 0, []),
    ],
)
def test_what_a_folded_page_holds(
    talking: tuple[Actor, int], asked: dict[str, Any], low: int, high: int, given: list[int]
) -> None:
    """`limit` and `last` count what is given; the message is at its place."""
    agent, number = talking
    answer = folded_page(agent, number, fold=True, **asked)
    assert answer.high == high and held(answer) == given
    assert answer.low <= (given[0] if given else low) and (answer.low == low or given)
    data = {record.offset: record.data for record in read_records(answer.batches)}
    assert data.get(6, b"bd") == b"bd"


@pytest.mark.parametrize("since_ms", [0, 20, 25, 40, 51, 60, 61])
def test_a_time_is_found_in_what_was_folded(talking: tuple[Actor, int], since_ms: int) -> None:
    """Exactly the records whose time it is or later, of those that are left."""
    agent, number = talking
    there = read_records(folded_page(agent, number, start="earliest").batches)
    answer = folded_page(agent, number, since_ms=BIRTH_MS + since_ms)
    found = [offset for offset in held(answer) if offset >= answer.low]
    assert found == [record.offset for record in there if record.time_ms >= BIRTH_MS + since_ms]


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("backwards", [True, False])
def test_folded_pages_follow_each_other(talking: tuple[Actor, int], backwards: bool, limit: int) -> None:
    agent, number = talking
    found: list[int] = []
    after, before = 0, 8
    while after < 7 and before > 1:
        asked = {"backwards": True, "before": before} if backwards else {"after": after}
        answer = folded_page(agent, number, limit=limit, fold=True, **asked)
        found = held(answer) + found if backwards else found + held(answer)
        after, before = (0, answer.low) if backwards else (answer.high, 8)
    assert found == GIVEN


def test_a_small_page_is_not_a_large_answer(staged: Staged) -> None:
    stage = staged()
    agent = stage.client("agent")
    number = agent.open("room").number
    say_each(agent, number, opened("x"), *[plain("y" * 50_000)] * 20)
    for asked in ({"start": "earliest"}, {"backwards": True}):
        answer = folded_page(agent, number, limit=2, fold=True, **asked)
        assert len(held(answer)) == 2 and len(answer.batches) < 110_000


class Torn(MemoryLog):
    torn = False

    def read(self, number: int, offset: int, bytes_max: int) -> Any:
        self._check(number)
        return super().read(number, offset, bytes_max)

    def read_back(self, number: int, offset: int) -> Any:
        self._check(number)
        return super().read_back(number, offset)

    def find_time(self, number: int, time_ms: int) -> Any:
        self._check(number)
        return super().find_time(number, time_ms)

    def _check(self, number: int) -> None:
        if self.torn:
            raise Damaged(f"a chunk of channel number {number} fails its checksum")


@pytest.mark.parametrize("asked", [{"after": 0}, {"backwards": True}, {"since_ms": 0}])
def test_damage_is_said_to_the_one_who_asked(staged: Staged, asked: dict[str, Any]) -> None:
    log = Torn()
    stage = staged(log, journal_age_ms=0)
    alice, number = chunked(stage, 3)
    log.torn = True
    error = alice.refused(History(90, number, **asked), ErrorCode.DAMAGED)
    assert error.detail == {"number": number}
    assert alice.publish(number, "x") == (4, False), "writing goes on"


def test_a_page_for_one_who_is_gone_is_dropped(staged: Staged) -> None:
    stage = staged(journal_age_ms=0)
    alice, number = chunked(stage, 3)
    stage.log.hold_reads()
    alice.send(History(90, number, after=0))
    stage.turn()
    assert stage.log.reading.wait(5)
    alice.leave()
    stage.log.go_on_reading()
    stage.idle()
    assert alice.silent


def test_many_pages_asked_for_at_once_all_come_in_order(staged: Staged) -> None:
    stage = staged(journal_age_ms=0)
    alice, number = chunked(stage, 10)
    alice.send(*[History(100 + at, number, after=at % 10, limit=1) for at in range(40)])
    answers = [alice.expect(Page) for _ in range(40)]
    assert [(each.request, each.low) for each in answers] == [(100 + at, 1 + at % 10) for at in range(40)]
