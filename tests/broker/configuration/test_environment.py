"""Which variables are ours, which are others', and which are for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from outlast_broker.configuration.environment import KNOWN, strangers
from outlast_broker.configuration.options import OPTIONS
from outlast_cli.root import VERBS, root

from tests.support.tree import ROOT

# Programs of this checkout that read variables; what stands there otherwise is an example of what is wrong.
READERS = (
    "clients/python",
    "clients/cli",
    "clients/js/src",
    "clients/js/test",
    "bench",
    "tests/support",
    "tests/browser",
)


def test_what_is_for_something() -> None:
    environment = {option.variable: "x" for option in OPTIONS} | {"OUTLAST_RULES": "x", "OUTLAST_TOKEN": "x"}
    environment |= {name.lower(): value for name, value in environment.items()}
    assert list(strangers(environment | {"PATH": "/", "OUTLASTED": "x", "_OUTLAST_COMPLETE": "bash"})) == []


def test_what_is_for_nothing() -> None:
    environment = {"OUTLAST_DRAIN_TIM": "1s", "outlast_x": "", "OUTLAST_": "", "OUTLAST_MEMORY": "1"}
    assert list(strangers(environment)) == ["OUTLAST_DRAIN_TIM", "outlast_x", "OUTLAST_"]


@pytest.mark.parametrize(
    ("name", "value", "strange"),
    [
        ("OUTLAST_SERVICE_HOST", "10.0.0.1", False),
        ("OUTLAST_SERVICE_PORT", "6180", False),
        ("OUTLAST_SERVICE_PORT_HTTP", "6180", False),
        ("OUTLAST_WEB_SERVICE_HOST", "10.0.0.1", False),
        ("OUTLAST_PORT", "tcp://10.0.0.1:6180", False),
        ("OUTLAST_WEB_PORT", "udp://10.0.0.1:6180", False),
        ("OUTLAST_PORT_6180_TCP", "tcp://10.0.0.1:6180", False),
        ("OUTLAST_PORT_6180_TCP_ADDR", "10.0.0.1", False),
        ("OUTLAST_PORT", "6180", True),
        ("OUTLAST_SERVICE", "x", True),
    ],
)
def test_what_is_told_of_a_service_of_our_name(name: str, value: str, strange: bool) -> None:
    assert list(strangers({name: value})) == [name] * strange


def options_of(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        yield from options_of(each)


def test_every_variable_of_the_command_line_is_known() -> None:
    context = click.Context(root)
    commands = [command for verb in VERBS if (command := root.get_command(context, verb)) is not None]
    named = {str(option.envvar) for command in commands for option in options_of(command) if option.envvar}
    assert {"OUTLAST_URL", "OUTLAST_CONFIG"} <= named
    assert list(strangers(dict.fromkeys(named, "x"))) == []


def test_every_variable_that_is_read_somewhere_is_known() -> None:
    files = [
        file for folder in READERS for file in (ROOT / folder).rglob("*.[pjt]*") if "node_modules" not in file.parts
    ]
    texts = [file.read_text(encoding="utf-8") for file in files if file.suffix in (".py", ".js", ".ts")]
    said = {name for text in texts for name in re.findall(r"\bOUTLAST_([A-Z][A-Z_]*[A-Z])\b", text)}
    assert {"TOKEN", "SEED", "CHROMIUM", "BENCH_PEERS", "CA_FILE"} <= said
    assert said <= set(KNOWN)
