from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outlast_broker import clock
from outlast_broker.lmdb_log import LmdbLog

from tests.broker.stage import Stage, Time
from tests.support.broker import Broker, RawClient, running_broker


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clock stands still for the whole test; `advance` moves it."""
    still = Time()
    monkeypatch.setattr(clock, "now_ms", still.now_ms)
    monkeypatch.setattr(clock, "steady_ms", still.now_ms)
    monkeypatch.setattr(clock, "steady_us", lambda: 1_000 * still.now_ms())
    return still


@pytest.fixture
def staged() -> Iterator[Callable[..., Stage]]:
    """Makes stages, and closes them after the test."""
    made: list[Stage] = []

    def make(*args: object, **settings: object) -> Stage:
        made.append(Stage(*args, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(staged: Callable[..., Stage]) -> Stage:
    return staged()


@pytest.fixture(params=["memory", "lmdb"])
def restarting(
    request: pytest.FixtureRequest, staged: Callable[..., Stage], tmp_path: Path
) -> Callable[[Stage | None], Stage]:
    """Starts a stage, or crashes one and starts another on what it left."""

    def start(before: Stage | None) -> Stage:
        left = before.crash() if before else None
        if request.param == "memory":
            return staged(left, journal_age_ms=0)
        if left is not None:
            left.close()
        return staged(LmdbLog(tmp_path, 1 << 26), journal_age_ms=0)

    return start


# --- over a real socket -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One broker for all tests of a module; each has a channel of its own name."""
    with running_broker(channels_per_connection=3) as broker:
        yield broker


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def alice(broker: Broker) -> Iterator[RawClient]:
    alice = broker.client("alice", producer=(7, 2))
    yield alice
    alice.close()


@pytest.fixture
def number(alice: RawClient, room: str) -> int:
    return alice.open(room).number


@pytest.fixture
def ten(alice: RawClient, number: int) -> int:
    """The channel with records 1 to 10, in batches of two."""
    alice.send(*[alice.publishing(number, f"{2 * at + 1}", f"{2 * at + 2}") for at in range(5)])
    for request in range(alice.request() - 5, alice.request() - 1):
        alice.answer_to(request)
    return number
