from __future__ import annotations

import asyncio
import json

import outlast
from outlast import ConnectionInfo
from outlast_cli.status import show_connections, show_status

from . import shell

SAID = {
    "server": "outlast/1.0", "started_ms": 1_769_860_800_000, "time_ms": 1_769_864_401_500, "leaving": False,
    "refusing": "", "channels": 12_000, "commit_p99_us": 4_210, "store_used_bytes": 3 << 20,
}  # fmt: skip
ROWS = [
    ConnectionInfo(1, "agent", "py/1", "tcp", "127.0.0.1:4", 1_769_860_800_000, 3, 2, 1, 2048),
    ConnectionInfo(9, "x\x1b[2J", "", "unix", "", 1_769_860_800_000, 0, 0, 0, 0),
]


def test_status_for_people_and_programs() -> None:
    lines = {line.split("  ", 1)[0].strip(): line.split("  ", 1)[1].strip() for line in show_status(SAID, False, True)}
    assert lines.pop("started").startswith("2026-01-31") and lines.pop("time")
    assert lines == {
        "uptime": "1h1s", "server": "outlast/1.0", "leaving": "no", "refusing": "-", "channels": "12,000",
        "commit_p99": "4.21 ms", "store_used": "3.0 MiB",
    }  # fmt: skip
    assert "channels\t12000" in show_status(SAID, False, False) and "leaving\tfalse" in show_status(SAID, False, False)
    assert json.loads(show_status(SAID, True, True)[0]) == SAID


def test_connections_for_people_and_programs() -> None:
    head, first, second = show_connections(ROWS, False, True)
    assert head.split()[:4] == ["id", "client", "software", "door"]
    assert first.split()[:5] == ["1", "agent", "py/1", "tcp", "127.0.0.1:4"] and first.endswith("2.0 KiB")
    assert second.split()[:5] == ["9", "x\\x1b[2J", "-", "unix", "-"], "what others call themselves steers no terminal"
    assert show_connections(ROWS, False, False)[0].split("\t")[6:] == ["3", "2", "1", "2048"]
    assert json.loads(show_connections(ROWS, True, True)[0])["waiting_bytes"] == 2048


def test_a_broker_and_who_is_connected_to_it(url: str) -> None:
    asyncio.run(connected(url))


async def connected(url: str) -> None:
    async with outlast.connect(url, client_id="someone-else") as client:
        await client.channel("status").publish("x")
        done = await asyncio.to_thread(shell.run, "status", "--json", url=url)
        said = json.loads(done.out)
        assert said["records_in"] >= 1 and said["connections_unix"] >= 2
        done = await asyncio.to_thread(shell.run, "connections", url=url)
        [row] = [line.split("\t") for line in done.lines if "someone-else" in line]
        assert row[3:5] == ["unix", "-"]
