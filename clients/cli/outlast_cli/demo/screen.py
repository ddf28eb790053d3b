"""Shows the demo: on a terminal a log with a live panel below it, elsewhere a plain log."""

from __future__ import annotations

import asyncio
import shutil
import sys
from typing import NamedTuple

import click

from ..terminal import is_terminal, paint
from .scene import Scene, panel, plain_line

FRAME_S = 0.1
PLAIN_EVERY_S = 5.0


class Said(NamedTuple):
    """A line of the log."""

    at_s: float
    text: str
    colour: str | None


class Screen:
    """`said` is the log so far."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._is_live = is_terminal()
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._panel_lines = 0
        self.said: list[Said] = []

    def start_clock(self) -> None:
        self._started_s = self._loop.time()

    @property
    def elapsed_s(self) -> float:
        return self._loop.time() - self._started_s

    def say(self, text: str, colour: str | None = None) -> None:
        """One line of the log, with the time."""
        self.said.append(Said(self.elapsed_s, text, colour))
        self._print_at(text, colour)

    def _print_at(self, text: str, colour: str | None = None) -> None:
        self.print(f"{paint(f'{self.elapsed_s:6.1f} s', dim=True)}  {paint(text, colour)}")

    def print(self, text: str = "") -> None:
        """A line above the panel."""
        self._erase()
        click.echo(text)

    def say_check(self, claim: str, holds: bool) -> None:
        self.print(f"  {paint('holds ' if holds else 'FAILS ', 'green' if holds else 'red', bold=True)} {claim}")

    async def run(self) -> None:
        """Keeps what is shown up to date, for ever."""
        while True:
            if self._is_live:
                self._erase()
                self._draw()
            else:
                self._print_at(plain_line(self._scene))
            await asyncio.sleep(FRAME_S if self._is_live else PLAIN_EVERY_S)

    def clear(self) -> None:
        """Takes the panel away; what was said stays."""
        self._erase()
        sys.stdout.flush()

    def _draw(self) -> None:
        lines = panel(self._scene, self.elapsed_s, shutil.get_terminal_size().columns)
        sys.stdout.write("".join(f"{paint(text, colour)}\n" for text, colour in lines))
        sys.stdout.flush()
        self._panel_lines = len(lines)

    def _erase(self) -> None:
        """Up to the panel's first line, and away with all below."""
        if self._panel_lines:
            sys.stdout.write(f"\x1b[{self._panel_lines}F\x1b[J")
            self._panel_lines = 0
