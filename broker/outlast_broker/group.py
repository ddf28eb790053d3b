"""What one commit will make durable, and what it will release: gathered while the one before is on its way to disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .channel import Channel
from .log import Rewrite, Work

if TYPE_CHECKING:
    from .connection import ClientConnection


class Group:
    """`fresh` is what the commit publishes, by channel: first offsets, and stamped batches."""

    __slots__ = (
        "acks", "answers", "bytes", "cursors", "fresh", "heads", "heard_us", "moving", "records", "rewriting", "rows",
        "trims", "work",
    )  # fmt: skip

    def __init__(self) -> None:
        self.work = Work()
        self.bytes = 0
        self.fresh: dict[Channel, tuple[list[int], list[bytes]]] = {}
        self.records = 0
        self.acks: dict[ClientConnection, list[int]] = {}
        # When the first of its publishes was read, of each of these connections.
        self.heard_us: list[int] = []
        self.answers: list[Callable[[], None]] = []
        self.heads: set[Channel] = set()
        self.cursors: set[Channel] = set()
        self.rows: set[Channel] = set()
        self.trims: set[Channel] = set()
        self.moving: list[Channel] = []
        self.rewriting: set[Channel] = set()

    def names(self, channel: Channel) -> bool:
        """Whether something of this channel waits here that the log does not know yet."""
        return any(channel in channels for channels in self._named)

    @property
    def _named(self) -> tuple[set[Channel], ...]:
        return self.heads, self.trims, self.cursors, self.rows

    def rewrite(self, channel: Channel, rewrite: Rewrite) -> None:
        self.work.rewrites.append(rewrite)
        self.rewriting.add(channel)
        self.heads.add(channel)

    def moves_chunks(self, channel: Channel) -> bool:
        """Whether chunks of this channel will not be what they are now."""
        cut = any(each.number == channel.number for each in self.work.cuts)
        return cut or channel in self.rewriting or channel in self.moving

    def drop(self, channel: Channel) -> None:
        """What was to be written of a channel that is deleted now."""
        self.fresh.pop(channel, None)
        for channels in self._named:
            channels.discard(channel)
        cursors = self.work.cursors
        self.work.cursors = {key: cursors[key] for key in cursors if key[0] != channel.number}
        self.rewriting.discard(channel)
        self.work.rewrites = [each for each in self.work.rewrites if each.number != channel.number]
        rows = self.work.rows
        self.work.rows = {key: rows[key] for key in rows if key[0] != channel.number}

    def __bool__(self) -> bool:
        return bool(self.work or self.acks or self.answers or self.heads or self.trims)
