"""Connections with something to write. A turn of the loop gathers; `flush` writes each connection once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import ClientConnection


class Outbox:
    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[ClientConnection] = []

    def flush(self) -> None:
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for connection in waiting:
                connection.flush()
