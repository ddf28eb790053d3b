"""protocol/CONVENTIONS.md: what is a request, what is an answer, and which answer counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from outlast import Ack, Message, Outcome, Record
from outlast.requests import (
    Asked,
    Ledger,
    Settled,
    make_acceptance,
    make_refusal,
    make_request,
    number_of,
    read_answer,
    read_request,
)
from outlast_protocol.operations import read_operation

EPOCH = 7


def record(offset: int, message: Message, client_id: str = "person", **changes: Any) -> Record:
    """As it comes back from the log."""
    made = Record(offset, message.data, message.name, message.headers or {}, client_id, 1_000 * offset, EPOCH)
    return made._replace(**changes)


def prompt(offset: int, client_id: str = "person") -> Record:
    return record(offset, make_request("prompt", "Go", None, None), client_id)


def approval(offset: int, client_id: str = "agent") -> Record:
    return record(offset, make_request("approval", "May I?", None, None), client_id)


class Grown(NamedTuple):
    id: int
    offset: int


# --- numbers ----------------------------------------------------------------------------------------------


def test_what_bears_a_number() -> None:
    outcome = Outcome(True, "", None, "agent", 4)
    for value in (4, Grown(4, 9), prompt(4), Ack(4, 1, EPOCH, False), outcome):
        assert number_of("the message", value) == 4


@pytest.mark.parametrize(("value", "kind"), [(0, ValueError), (-1, ValueError), ("4", TypeError), (True, TypeError)])
def test_what_is_no_number(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="the message is"):
        number_of("the message", value)


# --- requests ---------------------------------------------------------------------------------------------


def test_what_is_written_is_read() -> None:
    made = make_request("steer", "Shorter", 3, {"words": 100})
    assert made == Message({"words": 100, "text": "Shorter"}, "outlast.steer", {"re": "3"})
    asked = read_request(record(5, made))
    assert asked == Asked(5, "steer", 3, {"words": 100, "text": "Shorter"}, "person", 5_000, EPOCH)
    assert asked.text == "Shorter"


def test_a_cancel_needs_no_text() -> None:
    asked = read_request(record(5, make_request("cancel", None, 3, None)))
    assert asked is not None and (asked.kind, asked.message, asked.text, asked.data) == ("cancel", 3, "", {})
    odd = read_request(record(5, Message({"text": 1}, "outlast.cancel", {"re": "3"})))
    assert odd is not None and odd.text == ""


def test_keys_and_headers_that_nobody_knows_are_let_through() -> None:
    asked = read_request(record(5, Message({"text": "a", "new": 1}, "outlast.prompt", {"trace": "x"})))
    assert asked is not None and asked.data["new"] == 1 and asked.message is None


NO_REQUESTS = {
    "another name": Message({"text": "a"}, "prompt"),
    "a kind of later times": Message({"text": "a"}, "outlast.dream"),
    "an answer": make_acceptance(3),
    "no name": Message({"text": "a"}),
    "data that is text": Message("a", "outlast.prompt"),
    "data that is bytes": Message(b"{}", "outlast.prompt"),
    "data that is a list": Message(["a"], "outlast.prompt"),
    "no text": Message({}, "outlast.prompt"),
    "text that is none": Message({"text": 1}, "outlast.approval"),
    "a cancel of nothing": Message({}, "outlast.cancel"),
    "a steer of nothing": Message({"text": "a"}, "outlast.steer"),
    "a reference that is no number": Message({"text": "a"}, "outlast.prompt", {"re": "x"}),
    "a reference with a zero in front": Message({}, "outlast.cancel", {"re": "03"}),
    "a reference in other digits": Message({}, "outlast.cancel", {"re": "\u0663"}),
    "a reference to itself": Message({}, "outlast.cancel", {"re": "5"}),
    "a reference to what is to come": Message({}, "outlast.cancel", {"re": "6"}),
    "a reference without end": Message({}, "outlast.cancel", {"re": "1" * 5_000}),
}


@pytest.mark.parametrize("message", NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_what_nobody_could_answer_is_no_request(message: Message) -> None:
    assert read_request(record(5, message)) is None


def test_an_operation_is_no_request() -> None:
    opening = read_operation([1])
    assert read_request(prompt(5)._replace(operation=opening)) is None
    assert read_answer(record(5, make_acceptance(3), operation=opening)) is None


def test_what_cannot_be_asked() -> None:
    with pytest.raises(TypeError, match="text is dict"):
        make_request("prompt", {"text": "a"}, None, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another name"):
        make_request("prompt", "a", None, {"text": "b"})
    with pytest.raises(TypeError, match="reason is NoneType"):
        make_refusal(1, None)  # type: ignore[arg-type]


# --- answers ----------------------------------------------------------------------------------------------


def test_answers_are_read() -> None:
    yes = record(5, make_acceptance(3, {"message": 9}), "agent")
    assert read_answer(yes) == Outcome(True, "", {"message": 9}, "agent", 3)
    assert read_answer(record(5, make_acceptance(3))) == Outcome(True, "", None, "person", 3)
    assert read_answer(record(5, make_refusal(3, "busy"), "agent")) == Outcome(False, "busy", None, "agent", 3)
    assert read_answer(record(5, Message({"reason": 1}, "outlast.refused", {"re": "3"}))) == Outcome(
        False, "", None, "person", 3
    )


@pytest.mark.parametrize(
    "message", [Message({}, "outlast.accepted"), Message("yes", "outlast.accepted", {"re": "3"}), prompt(3)]
)
def test_what_is_no_answer(message: Any) -> None:
    assert read_answer(record(5, message)) is None


# --- the ledger -------------------------------------------------------------------------------------------


def test_the_first_answer_counts() -> None:
    ledger = Ledger()
    asked = ledger.read(prompt(1))
    assert isinstance(asked, Asked) and ledger.open == {1: asked}
    settled = ledger.read(record(2, make_refusal(1, "busy"), "agent"))
    assert settled == Settled(asked, Outcome(False, "busy", None, "agent", 1), 2)
    assert ledger.read(record(3, make_acceptance(1), "other")) is None
    assert not ledger.open


def test_an_answer_to_nothing_is_none() -> None:
    ledger = Ledger()
    ledger.read(record(1, Message("token", "token")))
    assert ledger.read(record(2, make_acceptance(1))) is None


def test_nobody_approves_their_own_question() -> None:
    ledger = Ledger()
    ledger.read(approval(1))
    assert ledger.read(record(2, make_acceptance(1), "agent")) is None and 1 in ledger.open
    settled = ledger.read(record(3, make_acceptance(1), "person"))
    assert isinstance(settled, Settled) and settled.offset == 3


def test_one_withdraws_ones_own_question_by_refusing_it() -> None:
    ledger = Ledger()
    ledger.read(approval(1))
    assert isinstance(ledger.read(record(2, make_refusal(1, "too late"), "agent")), Settled)


def test_other_requests_may_be_answered_by_whoever_made_them() -> None:
    ledger = Ledger()
    ledger.read(prompt(1, "agent"))
    assert isinstance(ledger.read(record(2, make_acceptance(1), "agent")), Settled)


def test_how_far_nothing_is_open() -> None:
    ledger = Ledger(lambda asked: asked.kind == "prompt")
    assert ledger.done(0) == 0
    ledger.read(approval(1))
    assert ledger.done(1) == 1
    for offset in (2, 3, 4):
        ledger.read(prompt(offset))
    assert ledger.done(4) == 1
    ledger.read(record(5, make_acceptance(3)))
    assert ledger.done(5) == 1
    ledger.read(record(6, make_acceptance(2)))
    assert ledger.done(6) == 3
    ledger.read(record(7, make_acceptance(4)))
    assert ledger.done(7) == 7


def test_what_retention_took_is_not_open() -> None:
    ledger = Ledger()
    for offset in (1, 2, 3):
        ledger.read(prompt(offset))
    assert [asked.id for asked in ledger.forget(3)] == [1, 2]
    assert list(ledger.open) == [3]
