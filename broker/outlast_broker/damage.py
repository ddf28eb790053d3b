"""Stored bytes that are not what was written: said at once, never served, never guessed around."""

from __future__ import annotations


class Damaged(Exception):
    """The message names what fails its checksum."""
