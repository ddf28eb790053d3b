from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from outlast_cli.exits import Exit
from outlast_cli.root import VERBS, Root, root

from . import shell


def test_help_names_verbs_and_exit_codes() -> None:
    result = CliRunner().invoke(root, ["--help"])
    assert result.exit_code == 0
    for verb in VERBS:
        assert f"  {verb} " in result.stdout
    assert "  4  records were skipped, and --fail-on-resync was given" in result.stdout


# So much of a verb's help fits one line.
HELP_LETTERS = 70


def test_what_the_help_says_of_a_verb_is_what_that_says_of_itself() -> None:
    context = click.Context(root)
    for name, verb in VERBS.items():
        command = root.get_command(context, name)
        assert command is not None and command.get_short_help_str(HELP_LETTERS) == verb.help


def test_no_short_help_is_cut_off() -> None:
    assert [text for text in short_helps(root) if text.endswith("...")] == []


def short_helps(group: click.Group) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command.get_short_help_str(HELP_LETTERS)
        if isinstance(command, click.Group):
            yield from short_helps(command)


def test_the_help_loads_no_verb() -> None:
    code = (
        "import sys; from outlast_cli import main\ntry: main()\nfinally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, check=True, text=True)
    assert not {"asyncio", "outlast", "outlast_broker", "outlast_cli.serve"} & set(done.stderr.split())


def test_version() -> None:
    result = CliRunner().invoke(root, ["--version"])
    assert (result.exit_code, result.stdout.split()[0]) == (0, "outlast")


def test_no_such_verb() -> None:
    result = CliRunner().invoke(root, ["subscribe"])
    assert result.exit_code == Exit.USAGE
    assert "No such command 'subscribe'" in result.stderr


@pytest.mark.parametrize("verb", [name for name in VERBS if name != "channels"])
def test_every_verb_explains_itself(verb: str) -> None:
    result = CliRunner().invoke(root, [verb, "--help"])
    assert result.exit_code == 0
    assert f"Usage: root {verb}" in result.stdout or f"Usage: outlast {verb}" in result.stdout


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt(), Exit.INTERRUPTED), (click.Abort(), Exit.INTERRUPTED), (click.UsageError("x"), Exit.USAGE)],
)
def test_how_verbs_may_end(raised: BaseException, code: Exit) -> None:
    def verb() -> None:
        raise raised

    assert Root()._run(verb) == code


def test_a_verbs_own_code_counts() -> None:
    assert Root()._run(lambda: Exit.RESYNC) == 4
    assert Root()._run(lambda: None) == 0


def test_output_that_cannot_be_written_is_one_line(url: str) -> None:
    shell.fill(url, "root-full", 1)
    for arguments in (["history", "root-full"], ["channels", "ls", "root-full"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*shell.COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, env=shell.environment(url)
            )
        assert (done.returncode, done.stderr.count(b"\n")) == (Exit.REFUSED, 1)
        assert b"No space left on device" in done.stderr


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-"])
def test_closed_streams_harm_nothing(url: str, stream: str) -> None:
    """Without care, the connection's socket would take a closed stream's place."""
    channel = f"root-closed-{stream}"
    command = shlex.join([*shell.COMMAND, "pub", channel, "x"])
    done = subprocess.run(["sh", "-c", f"{command} {stream}"], env=shell.environment(url), timeout=shell.TIMEOUT_S)
    assert done.returncode == 0
    assert shell.run("history", channel, url=url).lines == ["x"]
