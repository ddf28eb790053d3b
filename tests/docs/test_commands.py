"""Every `outlast ...` that a page tells its reader to write is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from outlast_cli.root import root

from tests.support.tree import ROOT, files

# Indented or behind a prompt, perhaps as root; a comment may follow.
COMMAND = re.compile(r"^(?:    +|\s*\$ )(?:sudo )?outlast ([a-z].*)$", re.MULTILINE)
# What the shell takes for itself, up to the end of the line.
OF_THE_SHELL = re.compile(r"\s(?:[<>|]|\\$|#).*")


def commands() -> Iterator[tuple[str, str]]:
    for path in sorted(files(ROOT, ".md")):
        for line in COMMAND.findall(path.read_text(encoding="utf-8")):
            yield str(path.relative_to(ROOT)), OF_THE_SHELL.sub("", line)


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_a_command_on_a_page_is_one(page: str, line: str) -> None:
    command, context, rest = found(root, click.Context(root), shlex.split(re.sub(r"\[[^]]*\]|\.\.\.", "", line)))
    if not isinstance(command, click.Group):
        _, left, _ = command.make_parser(context).parse_args(rest)
        assert not left, f"{page}: nothing takes {left} in: outlast {line}"
    else:
        assert "--help" in rest, f"{page}: there is no command: outlast {line}"


def found(
    command: click.Command, context: click.Context, words: list[str]
) -> tuple[click.Command, click.Context, list[str]]:
    """The command that the words name, and those that are left for it. A group may have arguments of its own."""
    before = sum(isinstance(parameter, click.Argument) for parameter in command.params)
    if isinstance(command, click.Group) and len(words) > before:
        inner = command.get_command(context, words[before])
        if inner is not None:
            return found(inner, click.Context(inner, parent=context), words[before + 1 :])
    return command, context, words
