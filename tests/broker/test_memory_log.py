from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest
from outlast_broker.log import Log
from outlast_broker.memory_log import MemoryLog

from tests.broker.log_contract import LogContract, Steps, any_history, check_history
from tests.broker.logs import commit, create, entry
from tests.support.bounds import bounded


class TestMemoryLog(LogContract):
    def opened(self) -> AbstractContextManager[Log]:
        return nullcontext(MemoryLog())


@bounded(60)
@any_history
def test_any_history_reads_like_a_list(steps: Steps) -> None:
    check_history(MemoryLog(), steps)


def test_a_commit_can_be_made_to_fail() -> None:
    log = MemoryLog()
    number = create(log, "a")
    log.failure = OSError("the disk is gone")
    with pytest.raises(OSError, match="the disk is gone"):
        commit(log, entry(number, 1, "x"))
    assert list(log.recover()) == []
