from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from click.testing import CliRunner
from outlast_cli.demo import verb
from outlast_cli.exits import Exit
from outlast_cli.root import root


@pytest.mark.parametrize("seconds", ["1", "1e9", "soon"])
def test_how_long_it_may_take(seconds: str) -> None:
    result = CliRunner().invoke(root, ["demo", "--seconds", seconds])
    assert result.exit_code == Exit.USAGE


def test_the_exit_code_is_the_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[float, int, int, bool]] = []

    async def run_demo(seconds: float, seed: int, page_port: int, stays: bool) -> int:
        given.append((seconds, seed, page_port, stays))
        return Exit.REFUSED

    monkeypatch.setattr(verb, "run_demo", run_demo)
    assert CliRunner().invoke(root, ["demo", "--seed", "7", "--stay"]).exit_code == Exit.REFUSED
    assert given == [(60, 7, 0, True)]


def test_a_broker_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_loop(main: Coroutine[Any, Any, int]) -> int:
        main.close()
        raise TimeoutError("the broker did not start: no space")

    monkeypatch.setattr(verb, "run_loop", run_loop)
    result = CliRunner().invoke(root, ["demo"])
    assert (result.exit_code, result.stderr) == (Exit.REFUSED, "outlast: the broker did not start: no space\n")
