"""What a viewer keeps on its own disk: the text that it rebuilt, and the position that belongs to it.

The text is written first and the position after it, in one rename. A viewer that dies in between finds
more text than its position answers for, and cuts it off.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from outlast import Record

from .tally import Tally, data_bytes


class Notebook:
    """`position` is the text form to go on after, None for an empty notebook."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._state = folder / "position.json"
        self._text = (folder / "report.txt").open("ab+")
        self.position: str | None = None
        self.tally = Tally()
        if self._state.exists():
            self._resume(json.loads(self._state.read_bytes()))
        else:
            self._text.truncate(0)

    def _resume(self, state: dict[str, int | str]) -> None:
        self.position = str(state["position"])
        counts = (int(state[key]) for key in ("records", "gaps", "repeats", "last"))
        self.tally = Tally(*counts)
        self._text.truncate(int(state["bytes"]))
        self._text.seek(0)
        self.tally.add_stored(self._text.read())

    def add(self, record: Record) -> None:
        data = data_bytes(record.data)
        self._text.write(data)
        self.tally.add(record.offset, data)
        self.position = str(record.position)

    def save(self) -> None:
        """What was added so far survives the viewer."""
        self._text.flush()
        tally = self.tally
        state = {
            "position": self.position,
            "bytes": self._text.tell(),
            "records": tally.records,
            "gaps": tally.gaps,
            "repeats": tally.repeats,
            "last": tally.last,
        }
        draft = self._state.with_suffix(".new")
        draft.write_text(json.dumps(state))
        os.replace(draft, self._state)

    def close(self) -> None:
        self.save()
        self._text.close()
