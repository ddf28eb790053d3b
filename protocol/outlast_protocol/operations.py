"""What records do beyond being there: the operations that a label may carry (PROTOCOL.md 4.5, 4.6, 6.12).

On the wire an operation is a short array; here it is an `Operation`, with the fields that its code has.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from .errors import ErrorCode, ProtocolError
from .limits import LEASE_NAME_BYTES_MAX, STATE_KEY_BYTES_MAX
from .position import OFFSET_MAX

WHOLE_MAX = 2**53 - 1


class Op(IntEnum):
    """The first item of an operation."""

    OPEN = 1
    APPEND = 2
    CLOSE = 3
    REPLACE = 4
    REMOVE = 5
    REOPEN = 6
    FOLDED = 7
    SET = 16
    UNSET = 17
    INCREMENT = 18
    LAPSED = 32


class MessageState(IntEnum):
    """How a growing message stands; the lower-case name is what people read."""

    OPEN = 0
    COMPLETE = 1
    CANCELLED = 2
    ERROR = 3
    INTERRUPTED = 4
    REMOVED = 5


# What only the broker writes.
BROKERS_OWN = frozenset({Op.FOLDED, Op.LAPSED})
CLOSED_BY_CLIENTS = frozenset({MessageState.COMPLETE, MessageState.CANCELLED, MessageState.ERROR})
MESSAGE_OPS = frozenset({Op.OPEN, Op.APPEND, Op.CLOSE, Op.REPLACE, Op.REMOVE, Op.REOPEN, Op.FOLDED})
STATE_OPS = frozenset({Op.SET, Op.UNSET, Op.INCREMENT})
# Those of MESSAGE_OPS whose data is the message's content, and those that bear its name and headers.
CARRIES_CONTENT = frozenset({Op.OPEN, Op.APPEND, Op.REPLACE, Op.FOLDED})
NAMED_OPS = frozenset({Op.OPEN, Op.FOLDED})


class Operation(NamedTuple):
    """`message` is the offset that opened it. `version` None: whatever the key's version is."""

    op: Op
    message: int = 0
    state: MessageState = MessageState.OPEN
    reason: str = ""
    key: str = ""
    version: int | None = None
    by: int = 0
    lease: str = ""
    token: int = 0


def read_operation(row: object) -> Operation:
    """The operation that an array on the wire says. Raises `bad_batch`."""
    # A pattern takes true and 1.0 for 1: only whole numbers and text are compared with it.
    if isinstance(row, (list, tuple)) and all(type(item) in (int, str) for item in row):
        operation = _message_operation(row) or _state_operation(row) or _lapsed(row)
        if operation is not None:
            return operation
    raise ProtocolError(ErrorCode.BAD_BATCH, f"{_shown(row)} is no operation: sections 4.5, 4.6 and 6.12 list them")


def _message_operation(row: Sequence[object]) -> Operation | None:
    match row:
        case [1]:
            return Operation(Op.OPEN)
        case [2 | 4 | 5 | 6 as code, int(message)] if _is_offset(message):
            return Operation(Op(code), message)
        case [3, int(message), 1 | 2 | 3 | 4 as state] if _is_offset(message):
            return Operation(Op.CLOSE, message, MessageState(state))
        case [7, int(message), 0 | 1 | 2 | 3 | 4 | 5 as state, str(reason)] if _is_offset(message):
            return Operation(Op.FOLDED, message, MessageState(state), reason)
    return None


def _state_operation(row: Sequence[object]) -> Operation | None:
    match row:
        case [16 | 17 as code, str(key)] if _is_name(key, STATE_KEY_BYTES_MAX):
            return Operation(Op(code), key=key)
        case [16 | 17 as code, str(key), int(version)] if _is_name(key, STATE_KEY_BYTES_MAX):
            return Operation(Op(code), key=key, version=version) if version == 0 or _is_offset(version) else None
        case [18, str(key), int(by)] if _is_name(key, STATE_KEY_BYTES_MAX) and abs(by) <= WHOLE_MAX:
            return Operation(Op.INCREMENT, key=key, by=by)
    return None


def _lapsed(row: Sequence[object]) -> Operation | None:
    match row:
        case [32, str(lease), int(token)] if _is_name(lease, LEASE_NAME_BYTES_MAX) and _is_offset(token):
            return Operation(Op.LAPSED, lease=lease, token=token)
    return None


def _is_offset(value: int) -> bool:
    return 0 < value <= OFFSET_MAX


def _is_name(text: str, bytes_max: int) -> bool:
    size = len(text.encode()) if len(text) <= bytes_max else 0
    return 1 <= size <= bytes_max and not any(each < " " or each == "\x7f" for each in text)


def _shown(row: object) -> str:
    """What was sent instead, without walking into it: a peer chooses its size and depth."""
    if not isinstance(row, (list, tuple)):
        return f"a {type(row).__name__}"
    items = [item if type(item) is int else f"a {type(item).__name__}" for item in row[:4]]
    return f"[{', '.join(map(str, items))}]"


def is_for_clients(operation: Operation) -> bool:
    """Whether clients may publish it: the rest is what the broker alone says (PROTOCOL.md 4.5, 6.12)."""
    closed_by_broker = operation.op is Op.CLOSE and operation.state not in CLOSED_BY_CLIENTS
    return operation.op not in BROKERS_OWN and not closed_by_broker


def operation_row(operation: Operation) -> Sequence[int | str]:
    """The array that says `operation` on the wire."""
    match operation.op:
        case Op.OPEN:
            return (1,)
        case Op.CLOSE:
            return (3, operation.message, int(operation.state))
        case Op.FOLDED:
            return (7, operation.message, int(operation.state), operation.reason)
        case Op.SET | Op.UNSET:
            version = () if operation.version is None else (operation.version,)
            return (int(operation.op), operation.key, *version)
        case Op.INCREMENT:
            return (18, operation.key, operation.by)
        case Op.LAPSED:
            return (32, operation.lease, operation.token)
    return (int(operation.op), operation.message)
