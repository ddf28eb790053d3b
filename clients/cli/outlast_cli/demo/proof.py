"""Whether everybody saw the same, complete and once. Pure: accounts in, verdict out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .tally import Account

DIGEST_SHOWN = 16


class Check(NamedTuple):
    claim: str
    holds: bool


def prove(agent: Account | None, readers: Mapping[str, Account | None]) -> list[Check]:
    """`agent` counts what the broker acknowledged. None stands for a party that never finished."""
    parties = {"agent": agent, **readers}
    known = {name: account for name, account in parties.items() if account is not None}
    missing = [name for name in parties if name not in known]
    finished = f"everybody finished{': not ' + ', '.join(missing) if missing else ''}"
    acknowledged = agent.records if agent else 0
    return [
        Check(finished, not missing),
        Check("the broker acknowledged records", acknowledged > 0),
        Check(
            "each reader saw as many as were acknowledged", all(row.records == acknowledged for row in known.values())
        ),
        Check("no gaps", not any(row.gaps for row in known.values())),
        Check("no repeats", not any(row.repeats for row in known.values())),
        Check("all checksums are equal", len({row.sha256 for row in known.values()}) == 1),
    ]


def holds(checks: list[Check]) -> bool:
    return all(check.holds for check in checks)


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
