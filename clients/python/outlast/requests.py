"""Requests and their answers as records of a log (protocol/CONVENTIONS.md), without any I/O.

A request's number is its offset. The first answer that names it counts: all who read the log see the same one first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol, TypeAlias

from outlast_protocol import Data
from outlast_protocol.position import OFFSET_MAX

from .options import check_whole
from .records import Message, Record

Kind: TypeAlias = Literal["prompt", "cancel", "steer", "approval"]
Fields: TypeAlias = Mapping[str, Data]

KINDS: tuple[Kind, ...] = ("prompt", "cancel", "steer", "approval")
ACCEPTED = "outlast.accepted"
REFUSED = "outlast.refused"
REFERENCE = "re"
_KIND_OF: dict[str, Kind] = {f"outlast.{kind}": kind for kind in KINDS}
_NAMES_A_MESSAGE = ("cancel", "steer")
_NUMBER = re.compile("[1-9][0-9]{0,19}", re.ASCII)


class Numbered(Protocol):
    """A growing message, a request or an Outcome: whatever is named by an offset."""

    @property
    def id(self) -> int: ...


class Placed(Protocol):
    """A Record or an Ack."""

    @property
    def offset(self) -> int: ...


Reference: TypeAlias = int | Numbered | Placed


def number_of(what: str, value: Reference) -> int:
    """The offset that `value` is or bears. Raises TypeError or ValueError."""
    number = value if isinstance(value, int) else getattr(value, "id", getattr(value, "offset", value))
    return check_whole(what, number, 1, OFFSET_MAX)


class Asked(NamedTuple):
    """A request as it lies in the log. `message` is what it refers to, None: nothing."""

    id: int
    kind: Kind
    message: int | None
    data: dict[str, Data]
    client_id: str
    time_ms: int
    epoch: int

    @property
    def text(self) -> str:
        """What it says to people; empty when a cancel gives no reason."""
        text = self.data.get("text", "")
        return text if isinstance(text, str) else ""


class Outcome(NamedTuple):
    """How a request was answered, and by whom: `data` is what came with an acceptance, `reason` with a refusal.

    `id` is the number of the request, so an Outcome can be given where a message or a request is asked for.
    """

    accepted: bool
    reason: str
    data: Data
    client_id: str
    id: int


class Settled(NamedTuple):
    """A request and the answer that counts; `offset` is where that lies."""

    asked: Asked
    outcome: Outcome
    offset: int


# --- writing ------------------------------------------------------------------------------------------------


def make_request(kind: Kind, text: str | None, message: int | None, fields: Fields | None) -> Message:
    """Raises TypeError or ValueError for what is no request."""
    if not isinstance(text, str | None):
        raise TypeError(f"text is {type(text).__name__}, expected text: put other data into `fields`")
    data: dict[str, Data] = dict(fields or {})
    if "text" in data:
        raise ValueError("fields has a key `text`, which is the text's own: give it another name")
    if text is not None:
        data["text"] = text
    return Message(data, f"outlast.{kind}", None if message is None else {REFERENCE: str(message)})


def make_acceptance(request: int, data: Data = None) -> Message:
    return Message({} if data is None else {"data": data}, ACCEPTED, {REFERENCE: str(request)})


def make_refusal(request: int, reason: str) -> Message:
    if not isinstance(reason, str):
        raise TypeError(f"reason is {type(reason).__name__}, expected text for the one who asked")
    return Message({"reason": reason}, REFUSED, {REFERENCE: str(request)})


# --- reading ------------------------------------------------------------------------------------------------


def read_request(record: Record) -> Asked | None:
    """None for a record that is no request, or not one that anybody could answer."""
    kind = _KIND_OF.get(record.name or "")
    if kind is None or record.operation is not None or not isinstance(record.data, dict):
        return None
    message = _reference(record)
    if message is None and (REFERENCE in record.headers or kind in _NAMES_A_MESSAGE):
        return None
    if kind != "cancel" and not isinstance(record.data.get("text"), str):
        return None
    return Asked(record.offset, kind, message, record.data, record.client_id, record.time_ms, record.epoch)


def read_answer(record: Record) -> Outcome | None:
    """None for a record that is no answer."""
    if record.name not in (ACCEPTED, REFUSED) or record.operation is not None or not isinstance(record.data, dict):
        return None
    request = _reference(record)
    if request is None:
        return None
    if record.name == ACCEPTED:
        return Outcome(True, "", record.data.get("data"), record.client_id, request)
    reason = record.data.get("reason", "")
    return Outcome(False, reason if isinstance(reason, str) else "", None, record.client_id, request)


def _reference(record: Record) -> int | None:
    """The earlier record that this one names."""
    text = record.headers.get(REFERENCE, "")
    number = int(text) if _NUMBER.fullmatch(text) else 0
    return number if 0 < number < record.offset else None


def counts(asked: Asked, outcome: Outcome) -> bool:
    """Nobody approves what they have asked for themselves; refusing it is how they withdraw it."""
    return not (asked.kind == "approval" and outcome.accepted and outcome.client_id == asked.client_id)


class Ledger:
    """Feed it records in order: it knows which requests are open. Only those that are `wanted` are kept."""

    def __init__(self, wanted: Callable[[Asked], bool] = lambda asked: True) -> None:
        self._wanted = wanted
        self.open: dict[int, Asked] = {}

    def read(self, record: Record) -> Asked | Settled | None:
        """A request that is open now, or one that this record settles."""
        asked = read_request(record)
        if asked is not None and self._wanted(asked):
            self.open[asked.id] = asked
            return asked
        outcome = read_answer(record)
        asked = self.open.get(outcome.id) if outcome is not None else None
        if outcome is None or asked is None or not counts(asked, outcome):
            return None
        del self.open[asked.id]
        return Settled(asked, outcome, record.offset)

    def forget(self, before: int) -> list[Asked]:
        """Drops what retention has taken, the requests below `before`, and returns them."""
        gone = [asked for asked in self.open.values() if asked.id < before]
        for asked in gone:
            del self.open[asked.id]
        return gone

    def done(self, last: int) -> int:
        """Up to which offset nothing is open, when everything up to `last` was read."""
        return next(iter(self.open), last + 1) - 1
