from __future__ import annotations

import msgpack
import pytest
from hypothesis import given, strategies as st
from outlast_broker.claim import FORGOTTEN_AT_ONCE, KEPT_MS, Asked, Claim, Claims, Status, decode, load
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import CLAIMS_MAX

from tests.support.bounds import bounded

TTL_MS = 1_000
ASKED = Asked("agent", TTL_MS, 7)


def granted(claims: Claims, key: str = "a", now_ms: int = 0, nonce: int = 7) -> Claim:
    return claims.grant(key, Asked("agent", TTL_MS, nonce), now_ms)


def status(claims: Claims, now_ms: int, key: str = "a") -> Status:
    claim = claims.get(key, now_ms)
    assert claim is not None
    return claim.status


def fenced(claims: Claims, key: str, token: int) -> int:
    """The token that all three verbs are fenced with."""
    told = set()
    for verb in (claims.settle, claims.extend, claims.abandon):
        with pytest.raises(ProtocolError) as raised:
            verb(key, token, 0)
        assert raised.value.code is ErrorCode.FENCED
        told.add(raised.value.detail["token"])
    [in_force] = told
    assert isinstance(in_force, int)
    return in_force


def test_a_grant_lasts_its_ttl_and_is_counted() -> None:
    claims = Claims({}, 4)
    assert claims.get("a", 0) is None
    assert granted(claims) == Claim(Status.IN_PROGRESS, 5, 1, "agent", 7, TTL_MS, 0, 0)
    assert status(claims, TTL_MS - 1) is Status.IN_PROGRESS
    lapsed = claims.get("a", TTL_MS + 500)
    assert lapsed is not None and (lapsed.status, lapsed.time_ms) == (Status.FREE, TTL_MS)
    again = granted(claims, now_ms=TTL_MS + 500)
    assert (again.token, again.attempt) == (6, 2)


def test_extending_counts_from_now() -> None:
    claims = Claims({}, 0)
    token = granted(claims).token
    claims.extend("a", token, 900)
    assert status(claims, 1_899) is Status.IN_PROGRESS and status(claims, 1_900) is Status.FREE


def test_who_is_late_and_was_not_overtaken_is_taken() -> None:
    for verb in ("settle", "extend", "abandon"):
        claims = Claims({}, 0)
        token = granted(claims).token
        assert status(claims, 5_000) is Status.FREE
        assert getattr(claims, verb)("a", token, 5_000).token == token
    claims = Claims({}, 0)
    late, newer = granted(claims).token, granted(claims, now_ms=TTL_MS).token
    assert fenced(claims, "a", late) == newer


def test_a_token_that_is_not_in_force_is_fenced() -> None:
    claims = Claims({}, 0)
    assert fenced(claims, "a", 0) == fenced(claims, "a", 1) == 0
    token = granted(claims).token
    assert fenced(claims, "a", 0) == fenced(claims, "a", token + 1) == token
    assert fenced(claims, "b", token) == 0
    claims.abandon("a", token, 5)
    assert fenced(claims, "a", token) == fenced(claims, "a", 0) == 0


def test_settled_once_and_alike_under_its_token_only() -> None:
    claims = Claims({}, 0)
    token = granted(claims).token
    done = claims.settle("a", token, 5)
    assert done is not None and (done.status, done.time_ms) == (Status.DONE, 5)
    assert claims.settle("a", token, 9) is None
    assert claims.get("a", 10 * TTL_MS) == done
    with pytest.raises(ProtocolError, match="in force"):
        claims.settle("a", token + 1, 9)
    with pytest.raises(ProtocolError, match="in force"):
        claims.abandon("a", token, 9)


def test_what_was_abandoned_stays_counted() -> None:
    claims = Claims({}, 0)
    abandoned = claims.abandon("a", granted(claims).token, 5)
    assert (abandoned.status, abandoned.time_ms, abandoned.attempt) == (Status.FREE, 5, 1)
    assert granted(claims, now_ms=6).attempt == 2


def test_a_nonce_finds_what_it_was_granted_until_somebody_else_is() -> None:
    claims = Claims({}, 0)
    mine = granted(claims, nonce=7)
    assert claims.asked_before("a", 7) == mine
    assert claims.asked_before("a", 8) is claims.asked_before("b", 7) is None
    granted(claims, nonce=8, now_ms=TTL_MS)
    assert claims.asked_before("a", 7) is None
    claims.settle("a", 2, TTL_MS)
    assert claims.asked_before("a", 8) is None


def test_no_nonce_finds_nothing() -> None:
    claims = Claims({}, 0)
    granted(claims, nonce=0)
    assert claims.asked_before("a", 0) is None


def full(now_ms: int) -> Claims:
    """Half of it is done, a quarter abandoned, a quarter granted, a millisecond after the other."""
    claims = Claims({}, 0)
    for index in range(CLAIMS_MAX):
        token = granted(claims, str(index), now_ms + index).token
        if index % 4 < 2:
            claims.settle(str(index), token, now_ms + index)
        elif index % 4 == 2:
            claims.abandon(str(index), token, now_ms + index)
    return claims


def test_a_full_channel_forgets_those_that_are_over_for_a_day() -> None:
    claims = full(0)
    with pytest.raises(ProtocolError) as raised:
        claims.make_room("new", KEPT_MS - 1)
    assert raised.value.code is ErrorCode.LIMIT_EXCEEDED
    assert raised.value.detail == {"limit": "claims", "value": CLAIMS_MAX}
    assert claims.make_room("7", KEPT_MS - 1) == []
    assert claims.make_room("new", KEPT_MS) == ["0"]
    assert claims.get("0", KEPT_MS) is None and len(claims) == CLAIMS_MAX - 1
    assert claims.make_room("new", KEPT_MS) == []
    granted(claims, "new", KEPT_MS)
    assert claims.make_room("newer", KEPT_MS + 2) == ["1", "2"]


def test_lapsed_ones_are_over_since_they_lapsed() -> None:
    claims = Claims({}, 0)
    for index in range(CLAIMS_MAX):
        granted(claims, str(index), index)
    with pytest.raises(ProtocolError):
        claims.make_room("new", KEPT_MS + TTL_MS - 1)
    assert claims.make_room("new", KEPT_MS + TTL_MS) == ["0"]
    assert len(claims.make_room("new", 2 * KEPT_MS)) == 0
    granted(claims, "new", 2 * KEPT_MS)
    assert claims.make_room("newer", 2 * KEPT_MS) == [str(index) for index in range(1, FORGOTTEN_AT_ONCE + 1)]


def test_those_at_work_are_never_forgotten() -> None:
    claims = Claims({}, 0)
    for index in range(CLAIMS_MAX):
        granted(claims, str(index), KEPT_MS)
    with pytest.raises(ProtocolError):
        claims.make_room("new", KEPT_MS + 1)


def test_rows_come_in_byte_order_behind_a_key() -> None:
    keys = ["b", "a", "ä", "🦊", "日本", "B"]
    claims = Claims({}, 0)
    for key in keys:
        granted(claims, key)
    ordered = sorted(keys, key=str.encode)
    assert [key for key, _ in claims.rows(None, 9, 0)] == ordered
    assert [key for key, _ in claims.rows(None, 2, 0)] == ordered[:2]
    assert [key for key, _ in claims.rows("b", 9, 0)] == ordered[ordered.index("b") + 1 :]
    assert [claim.status for _, claim in claims.rows("b", 1, TTL_MS)] == [Status.FREE]


def test_a_result_on_its_way_is_known_until_it_is_saved() -> None:
    claims = Claims({}, 0)
    claims.keep("a", b"paid")
    assert claims.unsaved("a") == b"paid" and claims.unsaved("b") is None
    claims.saved("a")
    assert claims.unsaved("a") is None


def test_the_start_of_the_broker_extends_what_was_granted() -> None:
    claims = Claims({}, 0)
    granted(claims, "granted", 100)
    claims.settle("done", granted(claims, "done", 100).token, 150)
    rows = {key: claim.encode() for key, claim in claims.rows(None, 9, 100)}
    loaded = load(rows, claims.token, started_ms=90_000, now_ms=90_500)
    assert status(loaded, 90_999, "granted") is Status.IN_PROGRESS
    assert status(loaded, 91_000, "granted") is Status.FREE
    assert loaded.get("done", 90_500) == claims.get("done", 100)
    assert granted(loaded, "new").token == 3


def test_loading_again_while_the_broker_runs_extends_nothing() -> None:
    claims = Claims({}, 0)
    granted(claims, "a", 100)
    rows = {key: claim.encode() for key, claim in claims.rows(None, 9, 100)}
    assert status(load(rows, 1, started_ms=50, now_ms=1_099), 1_099) is Status.IN_PROGRESS
    assert status(load(rows, 1, started_ms=50, now_ms=1_100), 1_100) is Status.FREE


def test_a_clock_that_was_ahead_holds_nobody_up() -> None:
    claims = Claims({}, 0)
    granted(claims, "a", 10**12)
    rows = {key: claim.encode() for key, claim in claims.rows(None, 9, 10**12)}
    assert status(load(rows, 1, started_ms=50, now_ms=100), 1_100) is Status.FREE


def test_a_row_may_grow_by_fields_of_known_meaning_only_behind() -> None:
    claim = granted(Claims({}, 0))
    assert msgpack.unpackb(claim.encode()) == [1, 1, 1, "agent", 7, TTL_MS, 0, 0]
    assert decode(claim.encode()) == claim


@bounded(200)
@given(st.lists(st.tuples(st.sampled_from(["claim", "settle", "extend", "abandon", "wait"]), st.integers(0, 4))))
def test_whatever_happens_one_at_a_time_is_at_work(story: list[tuple[str, int]]) -> None:
    """Five claimants, each with the last token it was granted, against a model of one slot."""
    claims, tokens, now_ms = Claims({}, 0), [0] * 5, 0
    holder: int | None = None
    done, highest = False, 0
    for verb, who in story:
        now_ms += 1_000 if verb == "wait" else 1
        if verb == "claim":
            seen = claims.get("a", now_ms)
            if seen is None or seen.status is Status.FREE:
                assert not done
                tokens[who] = claims.grant("a", ASKED, now_ms).token
                assert tokens[who] > highest
                highest, holder = tokens[who], who
        elif verb != "wait":
            try:
                getattr(claims, verb)("a", tokens[who], now_ms)
            except ProtocolError:
                assert holder != who or tokens[who] == 0
                continue
            assert holder == who or (done and verb == "settle" and tokens[who] == highest)
            done = done or verb == "settle"
            holder = holder if verb == "extend" else None
