"""What follows from records, in order: how a reader rebuilds messages and state (PROTOCOL.md 4.5 to 4.8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from outlast_protocol import ErrorCode, Record
from outlast_protocol.batch import read_records, spans
from outlast_protocol.frames import Attach, Attached, Deliver, Error, Message, Page, Resync
from outlast_protocol.operations import MessageState, Op, Operation

JSON = 2


class Told(NamedTuple):
    """A message as somebody knows it, and through which offset."""

    content: bytes
    state: MessageState
    place: int


class Knowledge:
    """What follows from the records that somebody was given, in order."""

    def __init__(self) -> None:
        self.messages: dict[int, Told] = {}
        self.state: dict[str, tuple[int, int, bytes]] = {}
        self.plain: dict[int, bytes] = {}
        self.state_through = 0
        # Operations on messages whose beginning is not known: they count once it is.
        self.waiting: dict[int, list[Record]] = {}

    def hear(self, record: Record) -> None:
        operation = record.operation
        if operation is None:
            assert record.offset not in self.plain, "a record was given twice"
            self.plain[record.offset] = record.data
        elif operation.key:
            if record.offset > self.state_through:
                self._change(operation, record)
        elif operation.op is Op.FOLDED:
            self._take_folded(operation, record)
        else:
            self._grow(operation, record)

    def _change(self, operation: Operation, record: Record) -> None:
        if operation.op is Op.SET:
            self.state[operation.key] = (record.offset, record.encoding, record.data)
        elif operation.op is Op.UNSET:
            self.state.pop(operation.key, None)
        else:
            before = int(self.state[operation.key][2]) if operation.key in self.state else 0
            self.state[operation.key] = (record.offset, JSON, b"%d" % (before + operation.by))

    def _take_folded(self, operation: Operation, record: Record) -> None:
        known = self.messages.get(operation.message)
        if known is None or record.offset > known.place:
            self.messages[operation.message] = Told(record.data, operation.state, record.offset)
        for waiting in self.waiting.pop(operation.message, []):
            self.hear(waiting)

    def _grow(self, operation: Operation, record: Record) -> None:
        message = operation.message or record.offset
        if operation.op is Op.OPEN:
            self.messages.setdefault(message, Told(b"", MessageState.OPEN, 0))
        if message not in self.messages:
            self.waiting.setdefault(message, []).append(record)
            return
        known = self.messages[message]
        if record.offset > known.place:
            self.messages[message] = grown(known, operation, record)


def grown(known: Told, operation: Operation, record: Record) -> Told:
    """A message after one operation more."""
    known = known._replace(place=record.offset)
    match operation.op:
        case Op.OPEN | Op.REPLACE:
            return known._replace(content=record.data)
        case Op.APPEND:
            return known._replace(content=known.content + record.data)
        case Op.CLOSE:
            return known._replace(state=operation.state)
        case Op.REMOVE:
            return known._replace(content=b"", state=MessageState.REMOVED)
        case Op.REOPEN:
            return known._replace(state=MessageState.OPEN)
    raise AssertionError(f"{operation.op.name} grows no message")


class Reader:
    """Attaches, and hears what comes until it is asked what it knows. `client` is an Actor or a RawClient.

    What comes must be dense: a record where another is due fails the test.
    """

    def __init__(self, client: Any, number: int, raw: bool = False, **start: Any) -> None:
        self.client = client
        self.knowledge = Knowledge()
        self.raw = raw
        self.reached = 0
        # Retention has passed it: it was told, and has missed something.
        self.overtaken = False
        # Messages that were closed before its beginning: it hears of what is done to them, and not what they were.
        self.over: set[int] = set()
        frame = Attach(client.request(), number, 1 << 30, raw=raw, presence=False, **start)
        client.send(frame)
        attached = client.expect(Attached)
        self.after = self.reached = attached.after
        self.through = attached.through
        self.knowledge.state = {key: (version, encoding, data) for key, version, _, _, encoding, data in attached.state}
        self.knowledge.state_through = attached.through
        for message in attached.messages:
            self._fetch(number, message)

    def _fetch(self, number: int, message: int) -> None:
        """An open message that the history will not have."""
        request = self.client.request()
        self.client.send(Message(request, number, message))
        self._until(lambda frame: getattr(frame, "request", None) == request)

    def catch_up(self, last: int) -> None:
        while self.reached < last:
            self._until(lambda frame: isinstance(frame, Deliver | Resync))

    def _until(self, wanted: Callable[[Any], bool]) -> None:
        while True:
            frame: Any = self.client.expect(object)
            if isinstance(frame, Deliver):
                self._delivered(frame.batches)
            elif isinstance(frame, Resync):
                assert frame.reason == "trimmed" and frame.after > self.reached
                self.reached, self.overtaken = frame.after, True
            elif isinstance(frame, Page):
                for record in read_records(frame.batches):
                    self.knowledge.hear(record)
            else:
                assert isinstance(frame, Error) and frame.code == ErrorCode.UNKNOWN_MESSAGE, frame
            if wanted(frame):
                return

    def _delivered(self, batches: bytes) -> None:
        for span in spans(batches):
            assert span.offset <= self.reached + 1, f"{span.offset} came after {self.reached}"
            for record in read_records(batches[span.start : span.end]):
                if record.offset > self.reached:
                    self.knowledge.hear(record)
            self.reached = max(self.reached, span.last)
