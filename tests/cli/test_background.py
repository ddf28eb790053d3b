from __future__ import annotations

import asyncio
import os

import pytest
from outlast_cli.background import in_background


def fail() -> None:
    raise OSError("no")


def test_results_and_errors_come_back() -> None:
    async def main() -> None:
        assert await in_background(lambda: 42) == 42
        with pytest.raises(OSError, match="no"):
            await in_background(fail)

    asyncio.run(main())


def test_a_call_that_blocks_holds_up_nobody() -> None:
    ours, theirs = os.pipe()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_background(lambda: os.read(ours, 1)), 0.01)

    asyncio.run(main())
    # The loop is gone when the call ends at last: that must harm nobody either.
    os.close(theirs)
    os.close(ours)
