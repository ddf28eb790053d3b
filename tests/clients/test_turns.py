"""Callers who wait for the same thing: all go on, or all fail, but for those who gave up."""

from __future__ import annotations

import asyncio

import pytest
from outlast.errors import Closed, OutlastError
from outlast.turns import settle


def settled(error: OutlastError | None) -> list[object]:
    """What two who wait are told, and one between them who gave up."""

    async def run() -> list[object]:
        turns = [asyncio.get_running_loop().create_future() for _ in range(3)]
        turns[1].cancel()
        settle(turns, error)
        return await asyncio.gather(*turns, return_exceptions=True)

    first, gone, last = asyncio.run(run())
    assert isinstance(gone, asyncio.CancelledError)
    return [first, last]


@pytest.mark.parametrize("error", [None, Closed("over")])
def test_all_who_still_wait_are_told_the_same(error: OutlastError | None) -> None:
    assert settled(error) == [error, error]
