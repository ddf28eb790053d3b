"""Messages that grow, put together from the records of their channel, without any I/O (PROTOCOL.md 4.5, 4.7).

`Assembly` is fed records in the order of their offsets and says how each message stands then.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from outlast_protocol import Headers, Position
from outlast_protocol.operations import MESSAGE_OPS, MessageState, Op, Operation

from .records import Record

Content: TypeAlias = str | bytes
# Of messages that are closed so many are remembered: they may be replaced, removed or opened again.
CLOSED_KEPT = 64
_NO_HEADERS: Headers = MappingProxyType({})


class GrowingMessage:
    """A growing message as of its operation at offset `place`. It does not change; what comes later is another one.

    `id` is the offset that opened it, `state` one of "open", "complete", "cancelled", "error", "interrupted" and
    "removed", `reason` what was said when it was closed. `time_ms` is that of its latest operation, in Unix time.
    `whole` is False when its beginning is not known: then name and headers are not either, and content is its end.
    """

    __slots__ = ("_content", "_count", "_parts", "client_id", "epoch", "headers", "id", "name", "place", "reason",
                 "state", "time_ms", "whole")  # fmt: skip

    def __init__(self, record: Record, message: int, content: Content, *, whole: bool) -> None:
        """As `record` makes it, of which nothing else is known."""
        self.id = message
        self.epoch = record.epoch
        self.name = record.name
        self.headers = record.headers
        self.client_id = record.client_id
        self.place = record.offset
        self.time_ms = record.time_ms
        self.state = "open"
        self.reason = ""
        self.whole = whole
        # Views share the list of pieces and differ in how many of them are theirs: a token costs no copy of the text.
        self._parts: list[Content] = [content]
        self._count = 1
        self._content: Content | None = content

    def __repr__(self) -> str:
        return f"<outlast.GrowingMessage {self.id} {self.name!r}, {self.state} at {self.place}>"

    @property
    def content(self) -> Content:
        """Text or bytes, as it was opened."""
        if self._content is None:
            parts = self._parts[: self._count]
            self._content = _joined(parts)
        return self._content

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    @property
    def position(self) -> Position:
        """Of its latest operation: what comes after it is not in here."""
        return Position(self.epoch, self.place)

    def _after(self, record: Record) -> GrowingMessage:
        """The same, as of another operation."""
        view = GrowingMessage.__new__(GrowingMessage)
        for slot in ("id", "epoch", "name", "headers", "client_id", "state", "reason", "whole"):
            setattr(view, slot, getattr(self, slot))
        view.place, view.time_ms = record.offset, record.time_ms
        view._parts, view._count, view._content = self._parts, self._count, self._content
        return view

    def _grown(self, record: Record, piece: Content) -> GrowingMessage:
        view = self._after(record)
        if self._content is not None or len(self._parts) != self._count:
            view._parts = [self.content]
        view._parts.append(piece)
        view._count = len(view._parts)
        view._content = None
        return view

    def _with(self, record: Record, content: Content) -> GrowingMessage:
        view = self._after(record)
        view._parts, view._count, view._content = [content], 1, content
        return view

    def _in_state(self, record: Record, state: MessageState, reason: str = "") -> GrowingMessage:
        view = self._after(record)
        view.state, view.reason = state.name.lower(), reason
        return view


class Change(NamedTuple):
    """What one record did to a message. `delta` goes at the end of what was there before; None: the content is new."""

    message: GrowingMessage
    delta: Content | None


class Assembly:
    """Feed it records in the order of their offsets. Those that are no operation on a message change nothing.

    A record of kind `folded` has its message whole and stands for every operation up to its offset; what is at or
    before the place of a message is known already.
    """

    def __init__(self) -> None:
        self._open: dict[int, GrowingMessage] = {}
        self._closed: dict[int, GrowingMessage] = {}

    @property
    def messages(self) -> Mapping[int, GrowingMessage]:
        """Those that are open, by their id."""
        return MappingProxyType(self._open)

    def find(self, message: int) -> GrowingMessage | None:
        """An open one, or one of those that were closed last."""
        return self._open.get(message) or self._closed.get(message)

    def lacks(self, record: Record) -> bool:
        """Whether what the record does can not be told, for the message's beginning is not known."""
        operation = record.operation
        if operation is None or operation.op not in MESSAGE_OPS or operation.op in (Op.OPEN, Op.FOLDED):
            return False
        known = self.find(operation.message)
        return known is None or not known.whole

    def feed(self, record: Record) -> Change | None:
        """What the record changes, if anything."""
        operation = record.operation
        if operation is None or operation.op not in MESSAGE_OPS:
            return None
        message = operation.message or record.offset
        known = self.find(message)
        if known is not None and (record.offset < known.place or (record.offset == known.place and known.whole)):
            return None
        change = _change(known, record, operation, message)
        self._keep(change.message)
        return change

    def put(self, message: GrowingMessage) -> Change:
        """Learns a whole message from elsewhere."""
        change = Change(message, _difference(self.find(message.id), message.content))
        self._keep(message)
        return change

    def clear(self) -> None:
        """Forgets everything: what was fed last does not join what comes."""
        self._open.clear()
        self._closed.clear()

    def _keep(self, message: GrowingMessage) -> None:
        self._closed.pop(message.id, None)
        if message.is_open:
            self._open[message.id] = message
            return
        self._open.pop(message.id, None)
        self._closed[message.id] = message
        if len(self._closed) > CLOSED_KEPT:
            del self._closed[next(iter(self._closed))]


def _change(known: GrowingMessage | None, record: Record, operation: Operation, message: int) -> Change:
    if operation.op is Op.OPEN:
        content = _content(record)
        return Change(GrowingMessage(record, message, content, whole=True), content)
    if operation.op is Op.FOLDED:
        return _folded(known, record, operation)
    before = known or GrowingMessage(record, message, _content(record)[:0], whole=False)
    if operation.op is Op.APPEND:
        piece = _like(before, _content(record))
        return Change(before._grown(record, piece), piece)
    nothing = before._parts[0][:0]
    if operation.op is Op.REPLACE:
        return Change(before._with(record, _like(before, _content(record))), None)
    if operation.op is Op.REMOVE:
        return Change(before._with(record, nothing)._in_state(record, MessageState.REMOVED), None)
    if operation.op is Op.CLOSE:
        return Change(before._in_state(record, operation.state, _text(_content(record))), nothing)
    return Change(before._in_state(record, MessageState.OPEN), nothing)


def _folded(known: GrowingMessage | None, record: Record, operation: Operation) -> Change:
    content = _content(record)
    view = GrowingMessage(record, operation.message, content, whole=True)
    view = view._in_state(record, operation.state, operation.reason)
    return Change(view, _difference(known, content))


def _difference(known: GrowingMessage | None, content: Content) -> Content | None:
    """What to add to what is known so that it is `content`, if that can be."""
    if known is None:
        return content
    before = known.content
    if not known.whole or not isinstance(content, type(before)) or not content.startswith(before):  # type: ignore[arg-type]
        return None
    return content[len(before) :]


def _content(record: Record) -> Content:
    """The broker lets nothing else into a message (PROTOCOL.md 4.5)."""
    return record.data if isinstance(record.data, str | bytes) else str(record.data)


def _like(before: GrowingMessage, piece: Content) -> Content:
    """As the message has it: a piece of another kind is turned into that."""
    if isinstance(before._parts[0], str):
        return _text(piece)
    return piece.encode() if isinstance(piece, str) else piece


def _text(content: Content) -> str:
    return content if isinstance(content, str) else content.decode("utf-8", "replace")


def _joined(parts: list[Content]) -> Content:
    if isinstance(parts[0], str):
        return "".join(part for part in parts if isinstance(part, str))
    return b"".join(part for part in parts if isinstance(part, bytes))
