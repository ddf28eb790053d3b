"""What an agent finds in its channel when it starts: what is done, and what the one before it left half-said.

Pure: records in, knowledge out. An agent that is the first finds nothing, and works no differently.
"""

from __future__ import annotations

from typing import NamedTuple

from outlast import Data, Record
from outlast_protocol.operations import MessageState, Op, Operation

from .part import END
from .tally import Tally, data_bytes
from .tools import Facts

SECTION = "section"
SUMMARY = "summary"
TOOL_RESULT = "tool_result"


class Notes:
    """What the summary says in the end."""

    def __init__(self) -> None:
        self.files = 0
        self._lines = 0
        self._longest: tuple[int, str] = (0, "nothing")

    def remember(self, title: str, facts: dict[str, Facts]) -> None:
        self.files += 1
        self._lines += int(facts["outline"].get("lines", 0))
        longest = facts["longest_function"]
        self._longest = max(self._longest, (int(longest.get("lines", 0)), f"{longest.get('name')} in {title}"))

    def summary(self) -> str:
        return f"# In short\n\n{self.files} files, {self._lines} lines, longest {self._longest[1]}."


class Left(NamedTuple):
    """A message that is not finished, with what was found out for it."""

    id: int
    name: str
    title: str
    facts: dict[str, Facts]


class Past:
    """`left` is to be gone on with; the rest is done.

    `is_written`: the last message is closed, as complete or cancelled. `is_ended`: so it says in the channel.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self.notes = Notes()
        self.left: Left | None = None
        self.is_written = False
        self.is_ended = False

    def see(self, record: Record) -> None:
        """Every record of the channel, in order."""
        self.tally.add(record.offset, data_bytes(record.data))
        if record.operation is not None:
            self._follow(record, record.operation)
        elif record.name == TOOL_RESULT and self.left is not None:
            tool, facts = _result(record.data)
            self.left.facts[tool] = facts
        self.is_ended = record.name == END

    def _follow(self, record: Record, operation: Operation) -> None:
        if operation.op is Op.OPEN:
            self.left = Left(record.offset, record.name or "", record.headers.get("file", ""), {})
        elif operation.op is Op.CLOSE and operation.state is not MessageState.INTERRUPTED and self.left is not None:
            if self.left.name == SECTION and operation.state is MessageState.COMPLETE:
                self.notes.remember(self.left.title, self.left.facts)
            else:
                self.is_written = True
            self.left = None


def _result(data: Data) -> tuple[str, Facts]:
    assert isinstance(data, dict)
    facts = {name: fact for name, fact in data.items() if isinstance(fact, int | str)}
    return str(facts.pop("tool")), facts
