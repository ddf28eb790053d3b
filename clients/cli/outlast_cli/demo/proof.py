"""Whether everybody saw the same, complete and once. Pure: accounts in, verdict out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .tally import Account, Tally

DIGEST_SHOWN = 16


class Check(NamedTuple):
    claim: str
    holds: bool


class Promise:
    """What the broker had acknowledged to an agent that was killed: is it still how the channel begins?"""

    def __init__(self, records: int, sha256: str) -> None:
        self._records = records
        self._sha256 = sha256
        self.is_kept = records == 0

    def see(self, tally: Tally) -> None:
        """With every record of the channel, in order."""
        if tally.records == self._records:
            self.is_kept = tally.account().sha256 == self._sha256


def prove(
    agent: Account | None, readers: Mapping[str, Account | None], promises: Sequence[Promise] = ()
) -> list[Check]:
    """`agent` counts what the broker acknowledged. None stands for a party that never finished."""
    parties = {"agent": agent, **readers}
    known = {name: account for name, account in parties.items() if account is not None}
    missing = [name for name in parties if name not in known]
    finished = f"everybody finished{': not ' + ', '.join(missing) if missing else ''}"
    acknowledged = agent.records if agent else 0
    checks = [
        Check(finished, not missing),
        Check("the broker acknowledged records", acknowledged > 0),
        Check(
            "each reader saw as many as were acknowledged", all(row.records == acknowledged for row in known.values())
        ),
        Check("no gaps", not any(row.gaps for row in known.values())),
        Check("no repeats", not any(row.repeats for row in known.values())),
        Check("all checksums are equal", len({row.sha256 for row in known.values()}) == 1),
    ]
    if promises:
        claim = "what agents that were killed had been promised is there, unchanged"
        checks.append(Check(claim, all(promise.is_kept for promise in promises)))
    return checks


def holds(checks: list[Check]) -> bool:
    return all(check.holds for check in checks)


def verdict(agent: Account | None, readers: Mapping[str, Account | None], checks: list[Check]) -> dict[str, Any]:
    """The same for the page."""
    parties = {"agent, acknowledged": agent, **readers}
    return {
        "holds": holds(checks),
        "checks": [check._asdict() for check in checks],
        "rows": [{"name": name, **row._asdict()} for name, row in parties.items() if row is not None],
    }


def proof_table(agent: Account | None, readers: Mapping[str, Account | None]) -> list[str]:
    """One line a party, beneath a head."""
    lines = [f"{'':<22}{'records':>10}{'gaps':>7}{'repeats':>9}   sha256 of all data in order"]
    for name, account in {"agent, acknowledged": agent, **readers}.items():
        if account is None:
            lines.append(f"{name:<22}{'never finished':>26}")
        else:
            figures = f"{account.records:>10,}{account.gaps:>7,}{account.repeats:>9,}"
            lines.append(f"{name:<22}{figures}   {account.sha256[:DIGEST_SHOWN]}...")
    return lines
