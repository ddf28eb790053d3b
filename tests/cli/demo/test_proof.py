from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
from outlast_cli.demo.proof import Promise, holds, proof_table, prove, verdict
from outlast_cli.demo.tally import Account, Tally

Seen = Iterable[tuple[int, bytes]]
LOG = [(offset, f"token {offset} ".encode()) for offset in range(1, 101)]


def account(seen: Seen) -> Account:
    tally = Tally()
    for offset, data in seen:
        tally.add(offset, data)
    return tally.account()


def lose_one(log: Seen) -> Iterator[tuple[int, bytes]]:
    return ((offset, data) for offset, data in log if offset != 50)


def lose_the_last(log: Seen) -> Iterator[tuple[int, bytes]]:
    return ((offset, data) for offset, data in log if offset != 100)


def repeat_one(log: Seen) -> Iterator[tuple[int, bytes]]:
    for offset, data in log:
        yield from [(offset, data)] * (2 if offset == 50 else 1)


def change_one(log: Seen) -> Iterator[tuple[int, bytes]]:
    return ((offset, data.upper() if offset == 50 else data) for offset, data in log)


def swap_two(log: Seen) -> Iterator[tuple[int, bytes]]:
    rows = list(log)
    rows[49], rows[50] = (rows[49][0], rows[50][1]), (rows[50][0], rows[49][1])
    return iter(rows)


def lose_one_and_repeat_one(log: Seen) -> Iterator[tuple[int, bytes]]:
    """As many records as there should be."""
    for offset, data in log:
        yield (offset - 1 if offset == 50 else offset), data


BROKEN = [lose_one, lose_the_last, repeat_one, change_one, swap_two, lose_one_and_repeat_one]


def test_who_saw_everything_proves_it() -> None:
    whole = account(LOG)
    checks = prove(whole, {"viewer A": whole, "viewer B": whole, "history": whole})
    assert holds(checks)


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("who", ["viewer A", "viewer B", "history"])
def test_a_broken_viewer_fails_the_proof(broken: Callable[[Seen], Seen], who: str) -> None:
    whole = account(LOG)
    readers = {"viewer A": whole, "viewer B": whole, "history": whole, who: account(broken(LOG))}
    assert not holds(prove(whole, readers))


def test_a_broker_that_acknowledged_more_than_it_kept_fails_the_proof() -> None:
    kept = account(LOG[:90])
    assert not holds(prove(account(LOG), {"viewer A": kept, "viewer B": kept, "history": kept}))


def test_who_never_finished_fails_the_proof() -> None:
    whole = account(LOG)
    for agent, viewer in ((None, whole), (whole, None), (None, None)):
        checks = prove(agent, {"viewer A": viewer})
        assert not holds(checks)
        assert "never finished" in "".join(proof_table(agent, {"viewer A": viewer}))


def test_nothing_proves_nothing() -> None:
    empty = Tally().account()
    assert not holds(prove(empty, {"viewer A": empty}))


def test_the_table_has_a_line_for_each() -> None:
    whole = account(LOG)
    head, agent, viewer = proof_table(whole, {"viewer A": whole})
    assert "records" in head and "sha256" in head
    assert agent.split()[:5] == ["agent,", "acknowledged", "100", "0", "0"]
    assert viewer.endswith(f"{whole.sha256[:16]}...")


def kept(promise: Promise, seen: Seen) -> bool:
    tally = Tally()
    for offset, data in seen:
        tally.add(offset, data)
        promise.see(tally)
    return promise.is_kept


def test_what_was_promised_is_how_the_channel_begins() -> None:
    some = account(LOG[:60])
    assert kept(Promise(some.records, some.sha256), LOG)
    assert kept(Promise(0, ""), [])
    for change in (change_one, lose_one, swap_two):
        assert not kept(Promise(some.records, some.sha256), change(LOG))
    assert not kept(Promise(some.records, some.sha256), LOG[:59])


def test_a_broken_promise_fails_the_proof() -> None:
    promise = Promise(1, "")
    checks = prove(account(LOG), {"reader": account(LOG)}, [promise])
    assert not holds(checks) and "promised" in checks[-1].claim
    promise.is_kept = True
    assert holds(prove(account(LOG), {"reader": account(LOG)}, [promise]))


def test_the_verdict_is_the_tables() -> None:
    readers = {"reader": account(LOG), "lost": None}
    told = verdict(account(LOG), readers, prove(account(LOG), readers))
    assert told["holds"] is False
    assert [row["name"] for row in told["rows"]] == ["agent, acknowledged", "reader"]
    assert told["rows"][0]["sha256"] == account(LOG).sha256
    assert {"claim": "no gaps", "holds": True} in told["checks"]
