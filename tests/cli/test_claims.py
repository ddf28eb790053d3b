from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import outlast
from outlast import ClaimSummary
from outlast_cli.claims import show_claims
from outlast_cli.exits import Exit

from . import shell
from .shell import fill

ROWS = [
    ClaimSummary("charge:42", "done", "agent", 1, datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ClaimSummary("mail:7", "free", "other", 1200, datetime(2026, 2, 1, tzinfo=UTC)),
]


def test_lists() -> None:
    head, first, second = show_claims(ROWS, False, True)
    assert head.split() == ["claim", "status", "attempts", "holder", "since"]
    assert first.split()[:4] == ["charge:42", "done", "1", "agent"]
    assert second.split()[:4] == ["mail:7", "free", "1,200", "other"]
    assert show_claims(ROWS, False, False)[1].startswith("mail:7\tfree\t1200\tother\t2026-0")
    assert json.loads(show_claims(ROWS, True, True)[0]) == {
        "key": "charge:42",
        "status": "done",
        "attempt": 1,
        "holder": "agent",
        "time_ms": 1_769_860_800_000,
    }


def test_what_was_claimed_is_listed(url: str) -> None:
    asyncio.run(claim_two(url))
    lines = [line.split("\t")[:4] for line in shell.call("claims", "claims-ls", url=url).lines]
    assert lines == [["charge:42", "done", "1", "agent"], ["mail:7", "free", "1", "agent"]]
    found = [json.loads(line) for line in shell.call("claims", "claims-ls", "--json", url=url).lines]
    assert [(row["key"], row["status"], row["holder"]) for row in found] == [
        ("charge:42", "done", "agent"),
        ("mail:7", "free", "agent"),
    ]


async def claim_two(url: str) -> None:
    async with outlast.connect(url, client_id="agent") as client:
        channel = client.channel("claims-ls")
        await channel.once("charge:42", lambda: "paid")
        async with channel.claim("mail:7") as claim:
            assert claim.granted


def test_a_channel_without_claims_lists_nothing(url: str) -> None:
    fill(url, "claims-none", 1)
    done = shell.call("claims", "claims-none", url=url)
    assert (done.code, done.out) == (Exit.OK, "")


def test_what_does_not_exist_is_refused(url: str) -> None:
    done = shell.call("claims", "no such channel", url=url)
    assert done.code == Exit.REFUSED and "`outlast channels ls` shows those that exist" in done.err
    assert shell.call("claims", "", url=url).code == Exit.USAGE
