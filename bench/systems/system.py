"""The shape of an adapter: how to start a system in its best honest configuration and how to load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ..lane import Lane
from ..link import Load, Reader, Writer
from ..plan import Plan
from ..server import Server


class System(Protocol):
    """`ack_means` says where a message is when the publisher is told that it was accepted.

    `unfit`: scenarios that make no sense for it, and why.
    """

    name: str
    ack_means: str
    unfit: Mapping[str, str]

    def missing(self) -> str | None:
        """How to install what this machine lacks; None when all is there."""

    def start(self, plan: Plan, folder: Path, port: int = 0, options: Sequence[str] = ()) -> Server:
        """A server that answers. Raises ServerFailed."""

    def writer(self, load: Load, lanes: Sequence[Lane]) -> Writer: ...

    def reader(self, load: Load, lanes: Sequence[Lane], start: str | int) -> Reader: ...
