"""PROTOCOL.md 6.13 as clients see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from outlast_broker.claim import KEPT_MS
from outlast_broker.claiming import CLAIM_ROW, LIST_ROWS_MAX, RESULT_ROW, TTL_MS_MIN
from outlast_broker.connection import PAGES_ASKED_MAX
from outlast_broker.engine import ROWS_WAITING_MAX
from outlast_broker.log import Log
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.frames import Abandon, Claim, Claims, Delete, Error, Extend, Reply, Settle
from outlast_protocol.limits import CLAIM_MS_MAX, CLAIM_RESULT_BYTES_MAX, CLAIMS_MAX

from tests.broker.stage import Actor, Stage, Time

Staged = Callable[..., Stage]
KEY = "charge:42"
TTL_MS = 30_000


class Agent:
    """A client that has opened the room; its verbs are the requests."""

    def __init__(self, stage: Stage, client_id: str = "alice") -> None:
        self.actor: Actor = stage.client(client_id)
        self.number = self.actor.open("room").number

    def asking(self, key: str = KEY, ttl_ms: int = TTL_MS, nonce: int = 0) -> Claim:
        return Claim(self.actor.request(), self.number, key, ttl_ms, nonce)

    def claim(self, key: str = KEY, ttl_ms: int = TTL_MS, nonce: int = 0) -> dict[str, Any]:
        return self.actor.result(self.asking(key, ttl_ms, nonce))

    def token(self, key: str = KEY, **asked: int) -> int:
        answer = self.claim(key, **asked)
        assert answer["status"] == "granted", answer
        token: int = answer["token"]
        return token

    def settling(self, token: int, data: bytes = b"paid", encoding: int = 1, key: str = KEY) -> Settle:
        return Settle(self.actor.request(), self.number, key, token, encoding, data)

    def settle(self, token: int, data: bytes = b"paid", encoding: int = 1, key: str = KEY) -> None:
        assert self.actor.result(self.settling(token, data, encoding, key)) == {}

    def extend(self, token: int, key: str = KEY) -> dict[str, Any]:
        return self.actor.result(Extend(self.actor.request(), self.number, key, token))

    def abandon(self, token: int, key: str = KEY) -> None:
        assert self.actor.result(Abandon(self.actor.request(), self.number, key, token)) == {}

    def rows(self, **asked: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.actor.result(Claims(self.actor.request(), "room", **asked))["claims"]
        return rows

    def fenced(self, token: int, key: str = KEY) -> int:
        """What it is fenced with, whichever verb."""
        number, told = self.number, set()
        for frame in (Settle(90, number, key, token), Extend(91, number, key, token), Abandon(92, number, key, token)):
            told.add(self.actor.refused(frame, ErrorCode.FENCED).detail["token"])
        [in_force] = told
        assert isinstance(in_force, int)
        return in_force


@pytest.fixture
def alice(time: Time, stage: Stage) -> Agent:
    return Agent(stage)


@pytest.fixture
def bob(alice: Agent, stage: Stage) -> Agent:
    return Agent(stage, "bob")


# --- CLAIM ------------------------------------------------------------------------------------------------


def test_one_is_granted_and_the_others_are_told_by_whom(alice: Agent, bob: Agent, time: Time) -> None:
    assert alice.claim() == {"status": "granted", "token": 1, "attempt": 1, "ttl_ms": TTL_MS}
    time.advance(10_000)
    held = {"status": "in_progress", "holder": "alice", "attempt": 1, "retry_after_ms": 20_000}
    assert bob.claim() == alice.claim() == held
    assert bob.claim("charge:43")["token"] == 2


def test_what_is_done_is_told_to_everybody(alice: Agent, bob: Agent, time: Time) -> None:
    token = alice.token()
    alice.settle(token, b'{"id":7}', 2)
    done = {"status": "done", "attempt": 1, "encoding": 2, "data": b'{"id":7}', "time_ms": time.ms}
    time.advance(10 * TTL_MS)
    assert bob.claim() == alice.claim() == done


def test_what_lapsed_is_granted_anew_and_counted(alice: Agent, bob: Agent, time: Time) -> None:
    late = alice.token()
    time.advance(TTL_MS)
    assert bob.claim() == {"status": "granted", "token": late + 1, "attempt": 2, "ttl_ms": TTL_MS}
    assert alice.fenced(late) == late + 1


def test_extended_it_lasts(alice: Agent, bob: Agent, time: Time) -> None:
    token = alice.token()
    time.advance(TTL_MS - 1)
    assert alice.extend(token) == {"ttl_ms": TTL_MS}
    time.advance(TTL_MS - 1)
    assert bob.claim()["retry_after_ms"] == 1
    time.advance(1)
    assert bob.claim()["attempt"] == 2


def test_a_late_result_is_taken_if_nobody_was_granted_it_meanwhile(alice: Agent, bob: Agent, time: Time) -> None:
    token = alice.token()
    time.advance(5 * TTL_MS)
    alice.settle(token)
    assert bob.claim()["data"] == b"paid"


def test_what_is_abandoned_is_free_at_once(alice: Agent, bob: Agent) -> None:
    token = alice.token()
    alice.abandon(token)
    assert alice.fenced(token) == 0
    assert bob.claim() == {"status": "granted", "token": token + 1, "attempt": 2, "ttl_ms": TTL_MS}


def test_sent_again_under_its_nonce_it_is_answered_alike(alice: Agent, bob: Agent, stage: Stage, time: Time) -> None:
    granted = alice.claim(nonce=77)
    time.advance(TTL_MS - 1)
    alice.actor.leave()
    back = Agent(stage)
    assert back.claim(nonce=77) == granted
    time.advance(TTL_MS - 1)
    assert bob.claim(nonce=78)["status"] == "in_progress"
    assert back.claim()["status"] == "in_progress"
    time.advance(1)
    assert bob.claim(nonce=78)["attempt"] == 2
    assert back.claim(nonce=77)["holder"] == "bob"


def test_settle_sent_again_is_answered_alike_and_changes_nothing(alice: Agent, bob: Agent, time: Time) -> None:
    token = alice.token()
    alice.settle(token, b"first")
    settled_ms = time.ms
    time.advance(5)
    alice.settle(token, b"second")
    assert (bob.claim()["data"], bob.claim()["time_ms"]) == (b"first", settled_ms)
    fenced = Settle(90, bob.number, KEY, token + 1)
    assert bob.actor.refused(fenced, ErrorCode.FENCED).detail == {"token": 0}


def test_a_key_that_nobody_claimed_is_fenced_with_0(alice: Agent) -> None:
    assert alice.fenced(1) == 0
    assert alice.fenced(0) == 0


# --- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "x" * 256, "ä" * 128, "a\nb", "\x00"])
def test_keys_have_1_to_255_bytes_and_no_control_characters(alice: Agent, key: str) -> None:
    number = alice.number
    for frame in (Claim(50, number, key, TTL_MS), Settle(51, number, key, 1), Extend(52, number, key, 1)):
        assert "claim's key" in alice.actor.refused(frame, ErrorCode.BAD_BODY).message
    assert alice.actor.refused(Abandon(53, number, key, 1), ErrorCode.BAD_BODY)
    assert alice.token("ä" * 127 + "x") == 1


@pytest.mark.parametrize("ttl_ms", [0, TTL_MS_MIN - 1, CLAIM_MS_MAX + 1])
def test_a_ttl_is_a_second_to_an_hour(alice: Agent, ttl_ms: int) -> None:
    assert str(ttl_ms) in alice.actor.refused(alice.asking(ttl_ms=ttl_ms), ErrorCode.BAD_BODY).message
    assert alice.claim(ttl_ms=TTL_MS_MIN)["status"] == alice.claim("b", CLAIM_MS_MAX)["status"] == "granted"


def test_a_result_has_a_known_encoding_and_so_many_bytes(alice: Agent) -> None:
    token = alice.token()
    assert alice.actor.refused(alice.settling(token, encoding=3), ErrorCode.BAD_BODY)
    error = alice.actor.refused(alice.settling(token, bytes(CLAIM_RESULT_BYTES_MAX + 1)), ErrorCode.LIMIT_EXCEEDED)
    assert error.detail == {"limit": "claim_result_bytes", "value": CLAIM_RESULT_BYTES_MAX}
    alice.settle(token, bytes(CLAIM_RESULT_BYTES_MAX), 0)
    assert alice.claim()["data"] == bytes(CLAIM_RESULT_BYTES_MAX)


def test_an_unopened_number_is_unknown(stage: Stage) -> None:
    actor = stage.client()
    for frame in (Claim(1, 99, KEY, TTL_MS), Settle(2, 99, KEY, 1), Extend(3, 99, KEY, 1), Abandon(4, 99, KEY, 1)):
        assert actor.refused(frame, ErrorCode.UNKNOWN_CHANNEL)
    assert actor.refused(Claims(5, "room"), ErrorCode.UNKNOWN_CHANNEL)


# --- CLAIMS -----------------------------------------------------------------------------------------------


def test_a_list_says_how_each_stands(alice: Agent, bob: Agent, time: Time) -> None:
    start_ms = time.ms
    alice.settle(alice.token("a"), key="a")
    bob.abandon(bob.token("b"), "b")
    alice.token("c", ttl_ms=TTL_MS_MIN)
    time.advance(2 * TTL_MS_MIN)
    bob.token("d")
    assert [tuple(row.values()) for row in alice.rows()] == [
        ("a", "done", "alice", 1, start_ms),
        ("b", "free", "bob", 1, start_ms),
        ("c", "free", "alice", 1, start_ms + TTL_MS_MIN),
        ("d", "in_progress", "bob", 1, time.ms),
    ]


def test_a_list_comes_in_pages(alice: Agent) -> None:
    for key in ("c", "a", "b"):
        alice.token(key)
    page = alice.actor.result(Claims(50, "room", limit=2))
    assert [row["key"] for row in page["claims"]] == ["a", "b"] and page["more"]
    page = alice.actor.result(Claims(51, "room", "b", 2))
    assert [row["key"] for row in page["claims"]] == ["c"] and not page["more"]
    for limit in (0, LIST_ROWS_MAX + 1):
        assert alice.actor.refused(Claims(52, "room", limit=limit), ErrorCode.BAD_BODY)


def test_the_fullest_list_fits_a_reply(stage: Stage) -> None:
    agent = Agent(stage, "x" * 128)
    agent.actor.send(*[agent.asking(f"{index:0255}") for index in range(LIST_ROWS_MAX + 1)])
    stage.idle()
    agent.actor.came.clear()
    assert len(agent.rows(limit=LIST_ROWS_MAX)) == LIST_ROWS_MAX


def test_so_many_lists_are_made_at_a_time(alice: Agent, stage: Stage) -> None:
    alice.token()
    stage.log.hold()
    alice.actor.send(alice.asking("b"), *[Claims(60 + index, "room") for index in range(2 * PAGES_ASKED_MAX)])
    stage.hold_in_commit()
    assert alice.actor.connection.pages_asked == PAGES_ASKED_MAX
    stage.log.go_on()
    stage.idle()
    assert len(alice.actor.came) == 2 * PAGES_ASKED_MAX + 1


# --- on disk first ----------------------------------------------------------------------------------------


def test_nobody_is_told_of_a_grant_before_it_is_on_disk(alice: Agent, bob: Agent, stage: Stage) -> None:
    stage.log.hold()
    alice.actor.send(alice.asking(nonce=7))
    stage.hold_in_commit()
    bob.actor.send(bob.asking(), Extend(91, bob.number, KEY, 9), Claims(92, "room"))
    alice.actor.send(alice.asking(nonce=7))
    stage.turn()
    assert alice.actor.silent and bob.actor.silent
    stage.log.go_on()
    assert [alice.actor.expect(Reply).result["token"] for _ in range(2)] == [1, 1]
    assert bob.actor.expect(Reply).result["status"] == "in_progress"
    assert bob.actor.expect(Error).detail == {"token": 1}
    assert len(bob.actor.expect(Reply).result["claims"]) == 1


def test_nobody_is_told_of_a_result_before_it_is_on_disk(alice: Agent, bob: Agent, stage: Stage) -> None:
    token = alice.token()
    stage.log.hold()
    alice.actor.send(alice.settling(token), alice.settling(token))
    stage.hold_in_commit()
    bob.actor.send(bob.asking())
    stage.turn()
    assert alice.actor.silent and bob.actor.silent
    stage.log.go_on()
    assert [alice.actor.expect(Reply).result for _ in range(2)] == [{}, {}]
    assert bob.actor.expect(Reply).result["data"] == b"paid"
    assert bob.claim()["data"] == b"paid"


def test_an_abandoned_claim_is_granted_with_the_commit_that_frees_it(alice: Agent, bob: Agent, stage: Stage) -> None:
    token = alice.token()
    stage.log.hold()
    alice.actor.send(Abandon(50, alice.number, KEY, token), Extend(51, alice.number, KEY, token))
    bob.actor.send(bob.asking())
    stage.hold_in_commit()
    assert alice.actor.silent and bob.actor.silent
    stage.log.go_on()
    assert alice.actor.expect(Reply).request == 50
    assert alice.actor.expect(Error).detail == {"token": 0}
    assert bob.actor.expect(Reply).result["attempt"] == 2


def test_of_many_that_race_in_one_commit_one_is_granted(stage: Stage) -> None:
    agents = [Agent(stage, f"{index}") for index in range(20)]
    stage.log.hold()
    for agent in agents:
        agent.actor.send(agent.asking())
    stage.hold_in_commit()
    stage.log.go_on()
    answers = [agent.actor.expect(Reply).result for agent in agents]
    assert [answer["status"] for answer in answers] == ["granted"] + ["in_progress"] * 19
    assert {answer["holder"] for answer in answers[1:]} == {"0"}


def test_a_crash_takes_back_what_nobody_was_told(staged: Staged, time: Time) -> None:
    first = staged()
    alice = Agent(first)
    settled, granted = alice.token("settled"), alice.token("granted", nonce=7)
    alice.settle(settled, key="settled")
    first.log.hold()
    alice.actor.send(alice.settling(granted, key="granted"), alice.asking("unheard"))
    first.hold_in_commit()
    left: Log = first.crash()
    time.advance(TTL_MS + 5)
    bob = Agent(staged(left), "bob")
    assert bob.claim("settled")["data"] == b"paid"
    assert bob.claim("granted")["retry_after_ms"] == TTL_MS
    assert bob.claim("unheard") == {"status": "granted", "token": granted + 1, "attempt": 1, "ttl_ms": TTL_MS}
    assert bob.claim("granted", nonce=7)["token"] == granted


# --- room -------------------------------------------------------------------------------------------------


def fill(agent: Agent, stage: Stage) -> None:
    """As many claims as there may be, settled in the order of their keys."""
    for start in range(0, CLAIMS_MAX, 1_000):
        keys = [f"{index:05}" for index in range(start, start + 1_000)]
        agent.actor.send(*[agent.asking(key) for key in keys])
        stage.idle()
        tokens = [frame.result["token"] for frame in agent.actor.came if isinstance(frame, Reply)]
        agent.actor.came.clear()
        agent.actor.send(*[agent.settling(token, key=key) for key, token in zip(keys, tokens, strict=True)])
        stage.idle()
        agent.actor.came.clear()


def test_those_done_longest_ago_make_room(alice: Agent, stage: Stage, staged: Staged, time: Time) -> None:
    fill(alice, stage)
    error = alice.actor.refused(alice.asking("new"), ErrorCode.LIMIT_EXCEEDED)
    assert error.detail == {"limit": "claims", "value": CLAIMS_MAX}
    time.advance(KEPT_MS)
    assert alice.token("new") == CLAIMS_MAX + 1
    rows = stage.log.rows(alice.number, CLAIM_ROW)
    assert len(rows) == len(stage.log.rows(alice.number, RESULT_ROW)) + 2
    assert CLAIM_ROW + b"00000" not in rows and CLAIM_ROW + b"09999" in rows
    assert alice.claim("00000")["attempt"] == 1
    later = Agent(staged(stage.crash()))
    assert later.token("newer") == CLAIMS_MAX + 3


def test_the_highest_token_survives_those_that_had_it(staged: Staged, time: Time) -> None:
    first = staged()
    alice = Agent(first)
    alice.abandon(alice.token())
    channel = first.channel("room")
    first.call(lambda: first.engine.put_row(channel, CLAIM_ROW + KEY.encode(), None))
    first.idle()
    assert Agent(staged(first.crash())).claim()["token"] == 2


def test_who_claims_faster_than_the_disk_is_not_read_from(alice: Agent, stage: Stage) -> None:
    stage.log.hold()
    alice.actor.send(alice.asking())
    stage.hold_in_commit()
    alice.actor.send(*[alice.asking(f"{index}") for index in range(ROWS_WAITING_MAX - 1)])
    assert not alice.actor.wire.paused
    alice.actor.send(alice.asking("one more"))
    assert alice.actor.wire.paused
    stage.log.go_on()
    stage.idle()
    assert not alice.actor.wire.paused
    assert len(alice.actor.came) == ROWS_WAITING_MAX + 1


def test_large_results_are_bounded_as_batches_are(staged: Staged) -> None:
    stage = staged(commit_backlog_bytes=100_000)
    alice = Agent(stage)
    tokens = {key: alice.token(key) for key in "abcde"}
    stage.log.hold()
    alice.actor.send(alice.asking("f"))
    stage.hold_in_commit()
    results = [alice.settling(token, bytes(CLAIM_RESULT_BYTES_MAX), 0, key) for key, token in tokens.items()]
    alice.actor.send(*results[:3])
    assert not alice.actor.wire.paused
    alice.actor.send(*results[3:])
    assert alice.actor.wire.paused
    stage.log.go_on()
    stage.idle()
    assert not alice.actor.wire.paused


# --- the broker's own state -------------------------------------------------------------------------------


def test_a_broker_that_takes_no_changes_grants_nothing_and_settles(alice: Agent, bob: Agent, stage: Stage) -> None:
    token, other = alice.token(nonce=7), alice.token("other")
    stage.engine.refusal = ProtocolError(ErrorCode.READ_ONLY, "the disk is full", retry_after_ms=1)
    assert bob.actor.refused(bob.asking("new"), ErrorCode.READ_ONLY)
    assert bob.claim()["status"] == "in_progress"
    assert alice.claim(nonce=7)["token"] == token
    assert alice.extend(token)
    alice.settle(token)
    alice.abandon(other, "other")
    assert bob.claim()["status"] == "done"
    assert bob.actor.refused(bob.asking("other"), ErrorCode.READ_ONLY)
    assert [row["key"] for row in alice.rows()] == [KEY, "other"]


def test_they_end_with_the_life_of_their_channel(alice: Agent, stage: Stage) -> None:
    token = alice.token()
    stage.log.hold()
    alice.actor.send(alice.settling(token), alice.asking("b"), Delete(52, "room"))
    stage.hold_in_commit()
    stage.log.go_on()
    stage.idle()
    assert len([frame for frame in alice.actor.came if isinstance(frame, Reply)]) == 3
    assert stage.log.rows(alice.number, CLAIM_ROW) == stage.log.rows(alice.number, RESULT_ROW) == {}
    alice.actor.came.clear()
    alice.number = alice.actor.open("room").number
    assert alice.rows() == []
    assert alice.claim()["attempt"] == 1


def test_a_channel_that_leaves_the_memory_comes_back_with_its_claims(staged: Staged, time: Time) -> None:
    stage = staged(journal_age_ms=0)
    alice = Agent(stage)
    alice.token()
    alice.settle(alice.token("done"), key="done")
    alice.actor.leave()
    time.advance(1_000)
    stage.tick()
    assert len(stage.engine.hub) == 0
    bob = Agent(stage, "bob")
    assert bob.claim()["retry_after_ms"] == TTL_MS - 1_000
    assert bob.claim("done")["data"] == b"paid"


def test_a_claim_whose_result_is_missing_is_damaged(alice: Agent, stage: Stage) -> None:
    alice.settle(alice.token())
    channel = stage.channel("room")
    stage.call(lambda: stage.engine.put_row(channel, RESULT_ROW + KEY.encode(), None))
    stage.idle()
    assert alice.actor.refused(alice.asking(), ErrorCode.DAMAGED)
