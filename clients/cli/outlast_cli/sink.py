"""Standard output for what may come without end: in large writes, without holding up the loop."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from .background import in_background
from .exits import Exit

FLUSH_BYTES = 65_536


class Sink:
    """Collects lines; `flush` hands them on. A reader that is slow makes only the caller wait.

    Raises BrokenPipeError when the reader has left.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self._mode = os.fstat(self._descriptor).st_mode
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self.reader_is_gone = False

    def add(self, line: bytes) -> None:
        self._parts.append(line)
        self._held_bytes += len(line)

    @property
    def is_full(self) -> bool:
        return self._held_bytes >= FLUSH_BYTES

    async def flush(self) -> None:
        if not self._parts:
            return
        data = b"".join(self._parts)
        self._parts.clear()
        self._held_bytes = 0
        if stat.S_ISREG(self._mode):
            self._write(data)
        else:
            await in_background(lambda: self._write(data))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    @contextmanager
    def watched(self, when_gone: Callable[[], object]) -> Iterator[None]:
        """Inside, `when_gone` is called once nobody can read any more; known of pipes only."""
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(self._descriptor)
            self.reader_is_gone = True
            when_gone()

        # A pipe's writing end is never readable: the loop reports it only when its other end is closed.
        if stat.S_ISFIFO(self._mode):
            loop.add_reader(self._descriptor, gone)
        try:
            yield
        finally:
            loop.remove_reader(self._descriptor)


async def while_read(sink: Sink, job: Coroutine[Any, Any, int]) -> int:
    """Runs `job` and returns what it returns, or PIPE_CLOSED as soon as the sink's reader has left."""
    task = asyncio.get_running_loop().create_task(job)
    with sink.watched(task.cancel):
        try:
            return await task
        except asyncio.CancelledError:
            if sink.reader_is_gone:
                return Exit.PIPE_CLOSED
            raise
