"""The runner notices a client that is wrong: here are some, each with the case that must find it out."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import socket_path

from . import runner
from .adapter_python import VERBS
from .runner import UNIX, Adapter, Case, Unlike, match
from .test_conformance import HERE

Lie = Callable[[str, Any], Any]


class Liar:
    """Answers as `adapter` does, but for one lie."""

    def __init__(self, adapter: Adapter, lie: Lie) -> None:
        self._adapter = adapter
        self._lie = lie

    async def ask(self, verb: str, given: dict[str, Any]) -> Any:
        return self._lie(verb, await self._adapter.ask(verb, given))


def changed(wanted: str, change: Callable[[Any], Any]) -> Lie:
    """Lies about one verb, when it did not fail."""
    return lambda verb, gives: change(gives) if verb == wanted and "error" not in gives else gives


def silent(verb: str, gives: Any) -> Any:
    """Never says that anything failed."""
    return {} if "error" in gives else gives


LIES = {
    "off by one": ("a batch is stored whole", changed("publish_many", lambda ack: ack | {"last": ack["last"] + 1})),
    "never a duplicate": ("a publisher that comes back", changed("publish", lambda ack: ack | {"duplicate": False})),
    "text for bytes": (
        "in order, as it was given",
        changed("history", lambda rows: [*rows[:2], rows[2] | {"data": "x"}]),
    ),
    "one too few": ("in order, as it was given", changed("history", lambda rows: rows[:-1])),
    "not folded": ("a message grows", changed("history", lambda rows: [row | {"data": ""} for row in rows])),
    "a stale view": ("who attaches has all of it", changed("attach", lambda said: said | {"state": {}})),
    "always there": (
        "whose network goes is away",
        changed("members", lambda rows: [row | {"status": "present"} for row in rows]),
    ),
    "all is well": ("on a condition", silent),
    "nothing was lost": ("who was away while it was trimmed", silent),
    "two holders": ("a lease has one holder", silent),
}  # fmt: skip


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return runner.load()


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_out(lie: str, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PATIENCE_S", 1.0)
    name, said = LIES[lie]
    (case,) = [case for case in cases if name in case.name]

    async def run() -> list[str]:
        async with runner.adapter(sys.executable, str(HERE / "adapter_python.py"), env=os.environ) as client:
            with socket_path() as path:
                return await runner.run_all([case], Liar(client, said), tmp_path, path, UNIX)

    (wrong,) = asyncio.run(run())
    assert wrong.startswith(case.name)


def test_an_adapter_that_ends_is_a_failure(cases: list[Case], tmp_path: Path) -> None:
    async def run() -> list[str]:
        async with runner.adapter(sys.executable, "-c", "input()", env=os.environ) as client:
            with socket_path() as path:
                return await runner.run_all(cases[:2], client, tmp_path, path, UNIX)

    assert all("the adapter has ended" in wrong for wrong in asyncio.run(run()))


def test_every_verb_is_asked_and_known(cases: list[Case]) -> None:
    assert set(runner.verbs(cases)) == set(VERBS)


def test_what_is_no_case_is_refused(tmp_path: Path) -> None:
    for row in (["alice", "publish", {"data": 1}, {}, {}], ["alice", "publish", "data"]):
        (tmp_path / "wrong.json").write_text(json.dumps({"a case": [row]}), encoding="utf-8")
        with pytest.raises(ValueError, match="a step is"):
            runner.load(tmp_path)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({}, {"offset": 1}),
        ({"offset": 1}, {"offset": 1, "last": 1}),
        ([{"a": 1}, "*"], [{"a": 1, "b": 2}, None]),
        (["$x", "$x"], ["same", "same"]),
    ],
)
def test_what_is_alike(expected: Any, got: Any) -> None:
    match(expected, got, {})


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({"offset": 1}, {}),
        ({"offset": 1}, {"offset": 2}),
        ({"offset": 1}, {"offset": True}),
        ({"offset": 1}, {"offset": 1.0}),
        ({"value": None}, {"value": False}),
        ([], [1]),
        ([{"a": 1}], [{"b": 1}]),
        (["$x", "$x"], ["one", "other"]),
    ],
)
def test_what_is_not(expected: Any, got: Any) -> None:
    with pytest.raises(Unlike):
        match(expected, got, {})
