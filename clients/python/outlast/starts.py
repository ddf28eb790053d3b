"""Where reading starts: the arguments of `subscribe` and `history` made into one value (PROTOCOL.md 6.5)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from outlast_protocol import Position
from outlast_protocol.position import EPOCH_MAX, OFFSET_MAX

from .options import check_whole

Where: TypeAlias = int | str | Position
Edge: TypeAlias = Literal["earliest", "latest"]
_ONE = "give one of after, start, last and since"


class Start(NamedTuple):
    """At most one of `after` (perhaps with `epoch`), `start`, `last` and `since_ms` is set."""

    after: int | None = None
    epoch: int | None = None
    start: str | None = None
    last: int | None = None
    since_ms: int | None = None


EARLIEST = Start(start="earliest")


def behind(position: Position) -> Start:
    """The start of a reader that has everything up to `position`."""
    return Start(after=position.offset, epoch=position.epoch)


def choose(
    after: Where | None, start: Edge | None, last: int | None, since: datetime | int | None, default: Edge
) -> Start:
    """Raises ValueError or TypeError when the arguments do not say one thing."""
    given = [name for name, value in (("after", after), ("start", start), ("last", last), ("since", since))
             if value is not None]  # fmt: skip
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} were given together: {_ONE}")
    if after is not None:
        offset, epoch = read_where("after", after)
        return Start(after=offset, epoch=epoch)
    if last is not None:
        return Start(last=check_whole("last", last, 0, OFFSET_MAX))
    if since is not None:
        return Start(since_ms=_since_ms(since))
    if start is not None and start not in ("earliest", "latest"):
        raise ValueError(f'start is {start!r}, expected "earliest" or "latest"; {_ONE}')
    return Start(start=start or default)


def read_where(what: str, value: Where) -> tuple[int, int | None]:
    """(offset, epoch): an offset, a Position or its text, where only an offset leaves the epoch open."""
    if isinstance(value, str):
        value = Position.parse(value)
    if isinstance(value, Position):
        check_whole(f"the epoch of {what}", value.epoch, 0, EPOCH_MAX)
        return check_whole(f"the offset of {what}", value.offset, 0, OFFSET_MAX), value.epoch
    if not isinstance(value, int):
        kind = type(value).__name__
        raise TypeError(f'{what} is {kind}, expected an offset, a Position or its text "EPOCH:OFFSET"')
    return check_whole(what, value, 0, OFFSET_MAX), None


def _since_ms(since: datetime | int) -> int:
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ValueError("since is a datetime without a time zone: use datetime.now(UTC) and the like")
        return max(int(since.timestamp() * 1000), 0)
    return check_whole("since, as Unix time in ms,", since, 0, OFFSET_MAX)
