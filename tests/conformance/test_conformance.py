"""Both clients pass the same cases by every door that they know. Without Node this fails, and says what to install."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.broker import socket_path
from tests.support.certificates import Authority
from tests.support.node import CLIENT, build_client

from . import runner
from .runner import TCP, UNIX, WEBSOCKET, Door

HERE = Path(__file__).parent
PYTHON = (sys.executable, "-X", "dev", "-W", "error", str(HERE / "adapter_python.py"))
NODE = ("node", "--experimental-websocket", "--no-warnings", str(HERE / "adapter.js"))
MODULES = (*NODE, str(CLIENT / "dist" / "index.js"))
BUNDLE = (*NODE, str(CLIENT / "dist" / "browser.js"))


async def wrongs(command: Sequence[str], env: Mapping[str, str], folder: Path, path: str, door: Door) -> list[str]:
    async with runner.adapter(*command, env=env) as client:
        return await runner.run_all(runner.load(), client, folder, path, door)


def check(command: Sequence[str], door: Door, folder: Path, env: Mapping[str, str] = os.environ) -> None:
    if command is not PYTHON:
        build_client()
    with socket_path() as path:
        wrong = asyncio.run(wrongs(command, env, folder, path, door))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("command", "door"),
    [(PYTHON, TCP), (PYTHON, UNIX), (MODULES, TCP), (MODULES, UNIX), (BUNDLE, WEBSOCKET)],
    ids=["python-tcp", "python-unix", "javascript-tcp", "javascript-unix", "javascript-websocket"],
)
def test_conformance(command: Sequence[str], door: Door, tmp_path: Path) -> None:
    check(command, door, tmp_path)


@pytest.mark.parametrize("command", [PYTHON, MODULES], ids=["python", "javascript"])
def test_conformance_by_tls(command: Sequence[str], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trust = {"OUTLAST_CA_FILE": str(authority.file), "NODE_EXTRA_CA_CERTS": str(authority.file)}
    check(command, runner.tls(authority.server()), tmp_path, {**os.environ, **trust})
