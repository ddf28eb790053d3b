"""With the limit of a process of its own: that of this one is not ours to change."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from outlast_broker.doors import descriptors

USED_UP = """
import os, resource
from outlast_broker.doors import descriptors
kept = []
resource.setrlimit(resource.RLIMIT_NOFILE, (32, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
assert descriptors.limit() == 32 and not descriptors.are_used_up()
try:
    while True:
        kept.append(os.dup(0))
except OSError:
    assert descriptors.are_used_up()
os.close(kept.pop())
assert not descriptors.are_used_up()
descriptors.raise_limit()
assert descriptors.limit() > 32
"""


def test_it_is_noticed_that_none_is_left() -> None:
    subprocess.run([sys.executable, "-c", USED_UP], check=True, timeout=60)


def test_the_limit_is_the_kernels() -> None:
    assert descriptors.limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_other_failures_are_not_taken_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.devnull", "/nowhere/null")
    with pytest.raises(FileNotFoundError):
        descriptors.are_used_up()
