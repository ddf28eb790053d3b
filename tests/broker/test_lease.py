from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from outlast_broker.lease import TOKENS_PER_LIFE, Lease, Leases, lease_key, pack_token, read_lease, read_token
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import LEASES_MAX

from tests.support.bounds import bounded

NUMBER = 9
FIRST = NUMBER * TOKENS_PER_LIFE + 1
TTL_MS = 10_000


def wanted(name: str = "writer", holder: str = "agent", nonce: int = 0) -> Lease:
    return Lease(name, 0, holder, TTL_MS, nonce)


@pytest.fixture
def leases() -> Leases:
    return Leases(NUMBER, 0)


def refused(code: ErrorCode, call: object) -> ProtocolError:
    assert callable(call)
    with pytest.raises(ProtocolError) as raised:
        call()
    assert raised.value.code is code
    return raised.value


def test_a_grant(leases: Leases) -> None:
    granted = leases.acquire(wanted(), False, 1_000)
    assert granted == Lease("writer", FIRST, "agent", TTL_MS, 0, "", 11_000)
    assert leases.under(FIRST) == granted and leases.held() == [granted] and len(leases) == 1
    assert granted.left_ms(4_000) == 7_000 and granted.left_ms(20_000) == 0


def test_one_that_is_held_is_refused_with_its_holder(leases: Leases) -> None:
    leases.acquire(wanted(), False, 1_000)
    held = refused(ErrorCode.LEASE_HELD, lambda: leases.acquire(wanted(holder="other"), False, 3_000))
    assert held.detail == {"holder": "agent", "retry_after_ms": 8_000}
    assert leases.highest == FIRST


def test_a_take_over_kills_the_old_token(leases: Leases) -> None:
    leases.acquire(wanted(), False, 1_000)
    taken = leases.acquire(wanted(holder="other"), True, 3_000)
    assert (taken.token, taken.taken_from) == (FIRST + 1, "agent")
    assert refused(ErrorCode.FENCED, lambda: leases.under(FIRST)).detail == {"token": FIRST + 1}
    assert leases.held() == [taken]


def test_taking_over_what_is_free_is_a_grant(leases: Leases) -> None:
    assert leases.acquire(wanted(), True, 1_000).taken_from == ""


def test_tokens_lie_above_those_of_an_earlier_life() -> None:
    old, new = Leases(NUMBER, 0), Leases(NUMBER + 1, 0)
    tokens = [old.acquire(wanted(str(index)), False, 0).token for index in range(LEASES_MAX)]
    assert new.acquire(wanted(), False, 0).token > max(tokens)


def test_the_highest_token_outlives_the_lease() -> None:
    leases = Leases(NUMBER, FIRST + 41)
    assert refused(ErrorCode.FENCED, lambda: leases.under(FIRST)).detail == {"token": FIRST + 41}
    assert leases.acquire(wanted(), False, 0).token == FIRST + 42
    assert read_token(pack_token(leases.highest)) == FIRST + 42 and read_token(None) == 0


def test_without_a_grant_the_highest_token_is_0(leases: Leases) -> None:
    assert refused(ErrorCode.FENCED, lambda: leases.under(1)).detail == {"token": 0}
    assert refused(ErrorCode.FENCED, lambda: leases.renew(1, 0)).detail == {"token": 0}


def test_a_renewal_gives_the_whole_time_again(leases: Leases) -> None:
    token = leases.acquire(wanted(), False, 1_000).token
    assert leases.renew(token, 9_000).ends_ms == 19_000
    assert leases.due(18_999) == [] and leases.next_ms == 19_000


def test_time_alone_ends_nothing(leases: Leases) -> None:
    granted = leases.acquire(wanted(), False, 1_000)
    assert leases.due(11_000) == [granted]
    assert leases.under(granted.token) == granted
    leases.end(granted)
    assert refused(ErrorCode.FENCED, lambda: leases.under(granted.token)).detail == {"token": FIRST}
    assert (len(leases), leases.due(99_000), leases.next_ms) == (0, [], None)


def test_those_that_end_first_are_first(leases: Leases) -> None:
    ends = [leases.acquire(wanted(str(start)), False, start).ends_ms for start in (5, 3, 4)]
    assert leases.next_ms == min(ends)
    assert [each.ends_ms for each in leases.due(max(ends))] == sorted(ends)
    assert [each.name for each in leases.held()] == ["3", "4", "5"]


def test_asked_again_under_the_same_nonce(leases: Leases) -> None:
    leases.acquire(wanted(holder="before"), False, 0)
    granted = leases.acquire(wanted(nonce=7), True, 1_000)
    assert leases.again("writer", 7, 5_000) == granted._replace(ends_ms=15_000)
    assert leases.again("writer", 8, 5_000) is None and leases.again("other", 7, 5_000) is None
    leases.end(granted)
    assert leases.again("writer", 7, 5_000) is None


def test_without_a_nonce_nobody_asks_again(leases: Leases) -> None:
    leases.acquire(wanted(), False, 0)
    assert leases.again("writer", 0, 1) is None


def test_a_channel_has_so_many(leases: Leases) -> None:
    for index in range(LEASES_MAX):
        leases.acquire(wanted(f"{index}"), False, 0)
    error = refused(ErrorCode.LIMIT_EXCEEDED, lambda: leases.acquire(wanted("one more"), True, 0))
    assert error.detail == {"limit": "leases", "value": LEASES_MAX}
    leases.acquire(wanted("7"), True, 0)
    leases.end(leases.held()[0])
    leases.acquire(wanted("one more"), False, 0)


@bounded(100)
@given(
    st.integers(1, 2**40),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=32),
    st.builds(Lease, st.just(""), st.integers(1, 2**63), st.text(st.characters(codec="utf-8")), st.integers(1_000)
              .filter(lambda ttl_ms: ttl_ms < 2**40), st.integers(0, 2**64 - 1), st.text(st.characters(codec="utf-8"))),
)  # fmt: skip
def test_a_row_is_read_back(number: int, name: str, lease: Lease) -> None:
    lease = lease._replace(name=name, ends_ms=5)
    read = read_lease(lease_key(number, name), lease.pack(), 3_000)
    assert read == (number, lease._replace(ends_ms=3_000 + lease.ttl_ms))


@bounded(200)
@given(st.lists(st.tuples(st.sampled_from(["acquire", "take", "end", "renew"]), st.sampled_from("abc"))))
def test_tokens_only_grow_and_one_is_in_force_for_each_name(steps: list[tuple[str, str]]) -> None:
    leases = Leases(NUMBER, 0)
    given_tokens: list[int] = []
    in_force: dict[str, int] = {}
    for now_ms, (step, name) in enumerate(steps):
        if step in ("acquire", "take") and (step == "take" or name not in in_force):
            in_force[name] = leases.acquire(wanted(name), step == "take", now_ms).token
            given_tokens.append(in_force[name])
        elif step == "end" and name in in_force:
            leases.end(leases.under(in_force.pop(name)))
        elif step == "renew" and name in in_force:
            leases.renew(in_force[name], now_ms)
    assert given_tokens == sorted(set(given_tokens))
    assert {each.name: each.token for each in leases.held()} == in_force
    for token in set(given_tokens) - set(in_force.values()):
        assert refused(ErrorCode.FENCED, lambda token=token: leases.under(token))
