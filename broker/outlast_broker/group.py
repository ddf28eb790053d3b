"""What one commit will make durable, and what it will release: gathered while the one before is on its way to disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .channel import Channel
from .log import Work

if TYPE_CHECKING:
    from .connection import ClientConnection


class Group:
    """`fresh` is what the commit publishes, by channel: first offsets, and stamped batches."""

    __slots__ = ("acks", "answers", "bytes", "cursors", "fresh", "heads", "moving", "rows", "trims", "work")

    def __init__(self) -> None:
        self.work = Work()
        self.bytes = 0
        self.fresh: dict[Channel, tuple[list[int], list[bytes]]] = {}
        self.acks: dict[ClientConnection, list[int]] = {}
        self.answers: list[Callable[[], None]] = []
        self.heads: set[Channel] = set()
        self.cursors: set[Channel] = set()
        self.rows: set[Channel] = set()
        self.trims: set[Channel] = set()
        self.moving: list[Channel] = []

    def names(self, channel: Channel) -> bool:
        """Whether something of this channel waits here that the log does not know yet."""
        return any(channel in channels for channels in self._named)

    @property
    def _named(self) -> tuple[set[Channel], ...]:
        return self.heads, self.trims, self.cursors, self.rows

    def moves_chunks(self, channel: Channel) -> bool:
        """Whether chunks of this channel will not be what they are now."""
        work = self.work
        numbers = {each.number for each in work.rewrites} | {each.number for each in work.cuts}
        return channel in self.moving or channel.number in numbers

    def drop(self, channel: Channel) -> None:
        """What was to be written of a channel that is deleted now."""
        self.fresh.pop(channel, None)
        for channels in self._named:
            channels.discard(channel)
        cursors = self.work.cursors
        self.work.cursors = {key: cursors[key] for key in cursors if key[0] != channel.number}
        self.work.rewrites = [each for each in self.work.rewrites if each.number != channel.number]
        rows = self.work.rows
        self.work.rows = {key: rows[key] for key in rows if key[0] != channel.number}

    def __bool__(self) -> bool:
        return bool(self.work or self.acks or self.answers or self.heads or self.trims)
