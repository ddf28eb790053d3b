"""The one thread that writes: takes a Work, makes it durable, says so on the loop. Decides nothing."""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from queue import SimpleQueue

from . import clock
from .log import Log, Outcome, Work


class Committer:
    """One commit at a time. After a failure it commits nothing any more: LMDB would let the next one pass.

    `done` hears what came of a commit, how many microseconds it took, and when by the steady clock it ended.
    """

    def __init__(
        self,
        log: Log,
        loop: AbstractEventLoop,
        done: Callable[[Outcome, int, int], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._log = log
        self._loop = loop
        self._done = done
        self._failed = failed
        self._works: SimpleQueue[Work | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        self._works.put(work)

    def stop(self) -> None:
        """Returns when what was submitted is done."""
        self._works.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._works.get()) is not None:
            began_us = clock.steady_us()
            try:
                outcome = self._log.commit(work)
            except Exception as error:  # whatever it is, nothing may be acknowledged after it
                self._loop.call_soon_threadsafe(self._failed, error)
                return
            ended_us = clock.steady_us()
            self._loop.call_soon_threadsafe(self._done, outcome, ended_us - began_us, ended_us)
