from __future__ import annotations

import subprocess
import sys

import click
from outlast_broker.configuration.options import OPTIONS
from outlast_cli.configuring import given, settings_options


@click.command()
@settings_options
def verb(**flags: object) -> None:
    raise AssertionError(flags)


def test_every_option_has_its_flag_its_variable_and_its_default_in_the_help() -> None:
    text = " ".join(verb.get_help(click.Context(verb)).split()).replace("- ", "-")
    for option in OPTIONS:
        assert option.flag in text and option.variable in text
        assert "; default: " + option.shown(option.default) in text or option.kind.name == "flag" or not option.default


def test_what_was_not_given_is_left_to_others() -> None:
    context = verb.make_context("verb", ["--drain-time", "1s", "--memory"])
    assert given(context.params) == {"drain_time": "1s", "memory": True}


def test_the_help_loads_nothing_that_only_a_broker_needs() -> None:
    heavy = "{'pydantic', 'structlog', 'lmdb', 'aiohttp', 'uvloop'}"
    code = f"import sys; from outlast_cli import serve, config; print(*sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "\n"
