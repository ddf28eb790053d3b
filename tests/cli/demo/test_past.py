from __future__ import annotations

from outlast import Data, Record
from outlast_cli.demo.past import Left, Past
from outlast_protocol.operations import MessageState, Op, Operation

FACTS = {"outline": {"lines": 9}, "longest_function": {"name": "walk", "lines": 4}, "docstring_coverage": {}}


class Log:
    """A channel's records, as an agent finds them."""

    def __init__(self) -> None:
        self.past = Past()
        self._last = 0

    def say(self, data: Data = "", name: str | None = None, operation: Operation | None = None, file: str = "") -> int:
        self._last += 1
        self.past.see(Record(self._last, data, name, {"file": file}, "agent", 0, 1, operation))
        return self._last

    def section(self, file: str, state: MessageState | None) -> int:
        """A message with all that its tools found out; closed, if a state is given."""
        message = self.say(name="section", operation=Operation(Op.OPEN), file=file)
        for tool, facts in FACTS.items():
            self.say({"tool": tool, "file": file}, "tool_call")
            self.say({"tool": tool, **facts}, "tool_result")
        self.say(f"## {file}", operation=Operation(Op.APPEND, message))
        if state is not None:
            self.say(operation=Operation(Op.CLOSE, message, state))
        return message


def test_the_first_agent_finds_nothing() -> None:
    past = Past()
    assert (past.left, past.notes.files, past.tally.records, past.is_written, past.is_ended) == (
        None,
        0,
        0,
        False,
        False,
    )


def test_what_was_left_half_said_is_gone_on_with() -> None:
    log = Log()
    log.section("ast.py", MessageState.COMPLETE)
    message = log.section("re.py", None)
    assert log.past.left == Left(message, "section", "re.py", FACTS)
    assert log.past.notes.files == 1
    assert log.past.notes.summary() == "# In short\n\n1 files, 9 lines, longest walk in ast.py."
    assert log.past.tally.records == 9 + 8


def test_an_interrupted_message_is_left_too() -> None:
    log = Log()
    message = log.section("ast.py", MessageState.INTERRUPTED)
    assert log.past.left is not None and log.past.left.id == message
    log.say(operation=Operation(Op.REOPEN, message))
    log.say(operation=Operation(Op.CLOSE, message, MessageState.COMPLETE))
    assert log.past.left is None and log.past.notes.files == 1


def test_after_the_summary_or_a_cancel_nothing_is_to_be_written() -> None:
    summed_up, cancelled = Log(), Log()
    message = summed_up.say(name="summary", operation=Operation(Op.OPEN))
    assert not summed_up.past.is_written
    summed_up.say(operation=Operation(Op.CLOSE, message, MessageState.COMPLETE))
    cancelled.section("ast.py", MessageState.CANCELLED)
    for log in (summed_up, cancelled):
        assert log.past.is_written and not log.past.is_ended
        log.say(name="end")
        assert log.past.is_ended
    assert cancelled.past.notes.files == 0
