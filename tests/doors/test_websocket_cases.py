"""The case files of the Autobahn test suite: what every implementation of RFC 6455 is measured by.

Left out: 12 and 13, which are about compression.
"""

from __future__ import annotations

import asyncio
from typing import Any

import kosoku
import uvloop

from tests.doors.echo import Echo

CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
CASES_MIN = 301


async def run_cases() -> list[Any]:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await kosoku.run_fuzzingclient(f"ws://127.0.0.1:{port}", CASES, concurrency=8)


def test_every_case_passes() -> None:
    results = uvloop.run(run_cases())
    assert [result.case_id for result in results if not result.passed] == []
    assert len(results) >= CASES_MIN, "so many there are"
