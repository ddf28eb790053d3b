from __future__ import annotations

import click
from outlast_broker import serve
from outlast_cli import exits
from outlast_cli.exits import MEANINGS, Exit, Failure

from tests.support.tree import ROOT


def test_every_code_is_explained() -> None:
    assert set(MEANINGS) == set(Exit)
    table = exits.exit_table()
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    for code, meaning in MEANINGS.items():
        assert f"{code:>3}  {meaning}" in table
        assert f"| {code} | {meaning} |" in page


def test_the_brokers_codes_are_the_same() -> None:
    brokers = (serve.EXIT_DAMAGED, serve.EXIT_UNAVAILABLE, serve.EXIT_IN_USE, serve.EXIT_STORE_FAILED)
    assert brokers == (Exit.DAMAGED, Exit.UNAVAILABLE, Exit.IN_USE, Exit.STORE_FAILED)
    assert serve.EXIT_CONFIG == Exit.CONFIG


def test_a_failure_is_one_line() -> None:
    failure = Failure("too bad", Exit.UNREACHABLE)
    assert isinstance(failure, click.ClickException)
    assert (failure.message, failure.code) == ("too bad", 3)
