"""What a channel's state is (PROTOCOL.md 4.6), said in as few words as possible: a dict of versions and values."""

from __future__ import annotations

from collections.abc import Sequence

from outlast_protocol import ErrorCode
from outlast_protocol.operations import WHOLE_MAX, Op, Operation


class StateModel:
    """`held` has (version, value) of each key. Values are what JSON can say."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, object]] = {}

    def version(self, key: str) -> int:
        return self.held[key][0] if key in self.held else 0

    def do(self, operation: Operation, value: object, offset: int) -> ErrorCode | None:
        """Does it, or says why not."""
        key = operation.key
        if operation.version not in (None, self.version(key)):
            return ErrorCode.VERSION_MISMATCH
        if operation.op is Op.UNSET:
            self.held.pop(key, None)
            return None
        if operation.op is Op.INCREMENT:
            old = self.held.get(key, (0, 0))[1]
            if type(old) is not int or max(abs(old), abs(old + operation.by)) > WHOLE_MAX:
                return ErrorCode.NOT_A_NUMBER
            value = old + operation.by
        self.held[key] = offset, value
        return None

    def do_all(self, operations: Sequence[tuple[Operation, object]], first: int) -> ErrorCode | None:
        """All, or none."""
        before = dict(self.held)
        for offset, (operation, value) in enumerate(operations, first):
            if refused := self.do(operation, value, offset):
                self.held = before
                return refused
        return None
