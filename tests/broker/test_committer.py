from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from outlast_broker.committer import Committer
from outlast_broker.log import Outcome, Work
from outlast_broker.memory_log import MemoryLog

PATIENCE_S = 5.0


class Slow(MemoryLog):
    """A log whose commits wait for `go`, and that remembers which thread made them."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Semaphore(0)
        self.committed: list[Work] = []
        self.threads: set[str] = set()

    def commit(self, work: Work) -> Outcome:
        assert self.go.acquire(timeout=PATIENCE_S)
        self.committed.append(work)
        self.threads.add(threading.current_thread().name)
        return super().commit(work)


class Desk:
    """A committer, and what it said on the loop."""

    def __init__(self) -> None:
        self.log = Slow()
        self.outcomes: list[Outcome] = []
        self.failures: list[Exception] = []
        self.said = asyncio.Event()
        self.committer = Committer(self.log, asyncio.get_running_loop(), self._done, self._failed)

    def _done(self, outcome: Outcome, commit_us: int, ended_us: int) -> None:
        asyncio.get_running_loop()  # raises anywhere but on the loop
        assert 0 <= commit_us <= ended_us
        self.outcomes.append(outcome)
        self.said.set()

    def _failed(self, error: Exception) -> None:
        asyncio.get_running_loop()
        self.failures.append(error)
        self.said.set()

    async def heard(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.outcomes) + len(self.failures) < count:
                self.said.clear()
                await self.said.wait()


def on_a_loop(test: Callable[[Desk], Awaitable[None]]) -> Callable[[], None]:
    async def run() -> None:
        await test(Desk())

    def wrapper() -> None:
        asyncio.run(run())

    wrapper.__name__ = test.__name__
    return wrapper


@on_a_loop
async def test_works_are_committed_in_order_by_one_thread(desk: Desk) -> None:
    works = [Work() for _ in range(20)]
    for work in works:
        work.journal = [b"x"]
        desk.committer.submit(work)
        desk.log.go.release()
    await desk.heard(20)
    assert desk.log.committed == works
    assert [outcome.journal_newest for outcome in desk.outcomes] == list(range(1, 21))
    assert desk.log.threads == {"committer"}
    desk.committer.stop()


@on_a_loop
async def test_the_loop_goes_on_while_a_commit_is_under_way(desk: Desk) -> None:
    desk.committer.submit(Work())
    await asyncio.sleep(0)
    assert desk.outcomes == []
    desk.log.go.release()
    await desk.heard(1)
    desk.committer.stop()


@on_a_loop
async def test_stopping_waits_for_what_was_submitted(desk: Desk) -> None:
    for _ in range(3):
        desk.committer.submit(Work())
        desk.log.go.release()
    desk.committer.stop()
    assert len(desk.log.committed) == 3
    await desk.heard(3)


@on_a_loop
async def test_nothing_is_committed_after_a_failure(desk: Desk) -> None:
    desk.log.failure = OSError("the disk is gone")
    for _ in range(3):
        desk.committer.submit(Work())
        desk.log.go.release()
    await desk.heard(1)
    desk.log.failure = None
    desk.committer.stop()
    await asyncio.sleep(0)
    assert [str(error) for error in desk.failures] == ["the disk is gone"]
    assert desk.outcomes == [] and len(desk.log.committed) == 1


@pytest.mark.parametrize("error", [OSError("disk"), ValueError("a bug"), MemoryError()])
def test_whatever_fails_is_said(error: Exception) -> None:
    async def run() -> None:
        desk = Desk()
        desk.log.failure = error
        desk.committer.submit(Work())
        desk.log.go.release()
        await desk.heard(1)
        assert desk.failures == [error]
        desk.committer.stop()

    asyncio.run(run())
