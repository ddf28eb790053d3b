from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from outlast_cli.exits import Exit
from outlast_cli.sink import FLUSH_BYTES, Sink, while_read


def test_nothing_is_written_before_it_is_flushed(tmp_path: Path) -> None:
    async def main() -> None:
        with (tmp_path / "out").open("wb") as out:
            sink = Sink(out.fileno())
            sink.add(b"one\n")
            sink.add(b"two\n")
            assert os.path.getsize(out.name) == 0
            await sink.flush()
            await sink.flush()
        assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"

    asyncio.run(main())


def test_is_full() -> None:
    sink = Sink(1)
    sink.add(b"x" * (FLUSH_BYTES - 1))
    assert not sink.is_full
    sink.add(b"x")
    assert sink.is_full


def test_a_slow_reader_makes_only_the_caller_wait() -> None:
    ours, theirs = os.pipe()
    data = bytes(range(256)) * 1024

    async def main() -> bytes:
        sink = Sink(theirs)
        sink.add(data)
        flushing = asyncio.get_running_loop().create_task(sink.flush())
        # The pipe holds less than that: it cannot be done before somebody reads.
        done, _ = await asyncio.wait({flushing}, timeout=0.01)
        assert not done
        got = b""
        while len(got) < len(data):
            got += os.read(ours, 65_536)
        await flushing
        return got

    assert asyncio.run(main()) == data
    os.close(ours)
    os.close(theirs)


def test_the_job_ends_when_the_reader_has_left() -> None:
    ours, theirs = os.pipe()

    async def wait_for_ever() -> int:
        os.close(ours)
        await asyncio.Event().wait()
        return Exit.OK

    async def main() -> int:
        return await while_read(Sink(theirs), wait_for_ever())

    assert asyncio.run(main()) == Exit.PIPE_CLOSED
    os.close(theirs)


def test_writing_to_nobody() -> None:
    ours, theirs = os.pipe()
    os.close(ours)

    async def main() -> None:
        sink = Sink(theirs)
        sink.add(b"x")
        with pytest.raises(BrokenPipeError):
            await sink.flush()

    asyncio.run(main())
    os.close(theirs)


def test_the_jobs_result_counts(tmp_path: Path) -> None:
    async def job() -> int:
        return Exit.RESYNC

    async def main(descriptor: int) -> int:
        return await while_read(Sink(descriptor), job())

    with (tmp_path / "out").open("wb") as out:
        assert asyncio.run(main(out.fileno())) == Exit.RESYNC
