from __future__ import annotations

import asyncio
import json

import outlast
from outlast import LeaseInfo
from outlast_cli.exits import Exit
from outlast_cli.leases import show_leases

from . import shell

ROWS = [LeaseInfo("editor", "ann", 9437185, 10_000, 6_500), LeaseInfo("writer", "agent", 9437186, 60_000, 59_000)]


def test_lists() -> None:
    head, first, _ = show_leases(ROWS, False, True)
    assert head.split() == ["lease", "holder", "token", "ttl", "left"]
    assert first.split() == ["editor", "ann", "9437185", "10s", "6s500ms"]
    assert show_leases(ROWS, False, False)[1] == "writer\tagent\t9437186\t60000\t59000"
    assert json.loads(show_leases(ROWS, True, True)[0]) == {
        "lease": "editor",
        "holder": "ann",
        "token": 9437185,
        "ttl_ms": 10_000,
        "left_ms": 6_500,
    }


def test_leases_and_who_publishes_beside_them(url: str) -> None:
    asyncio.run(held(url))


async def held(url: str) -> None:
    async with outlast.connect(url, client_id="agent") as client, client.channel("leases-ls").lease("writer") as lease:
        done = await asyncio.to_thread(shell.run, "leases", "leases-ls", url=url)
        [row] = [line.split("\t") for line in done.lines]
        assert row[:4] == ["writer", "agent", str(lease.token), "10000"] and 0 < int(row[4]) <= 10_000
        done = await asyncio.to_thread(shell.run, "leases", "leases-ls", "--json", url=url)
        assert json.loads(done.out)["lease"] == "writer"
        done = await asyncio.to_thread(shell.run, "pub", "leases-ls", "x", "--lease", "writer", url=url)
        assert done.code == Exit.REFUSED and "`outlast leases` shows who has it" in done.err
        assert (await client.channel("leases-ls").info()).last == 0


def test_publishing_under_a_lease(url: str) -> None:
    assert shell.run("pub", "leases-pub", "x", "--lease", "writer", "--lease-ttl", "1h", url=url).code == Exit.OK
    done = shell.run("pub", "leases-pub", "-", "--lease", "writer", "--lease-ttl", "1h", url=url, stdin=b"y\nz\n")
    assert (done.code, done.out) == (Exit.OK, "") and "published 2" in done.err
    assert shell.call("leases", "leases-pub", url=url).out == ""
    assert shell.run("history", "leases-pub", url=url).lines == ["x", "y", "z"]


def test_what_cannot_be_is_wrong_usage(url: str) -> None:
    assert shell.call("pub", "room", "x", "--lease", "x" * 129, url=url).code == Exit.USAGE
    assert shell.call("pub", "room", "x", "--lease", "writer", "--lease-ttl", "1ms", url=url).code == Exit.USAGE
    assert shell.call("leases", "no such channel", url=url).code == Exit.REFUSED
