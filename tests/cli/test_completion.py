from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from outlast_cli.root import root


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_prints_the_script(shell: str) -> None:
    result = CliRunner().invoke(root, ["completion", shell])
    assert result.exit_code == 0
    assert f"_OUTLAST_COMPLETE={shell}_complete" in result.stdout


def test_other_shells_are_refused() -> None:
    assert CliRunner().invoke(root, ["completion", "tcsh"]).exit_code == 2


def test_verbs_and_options_are_completed() -> None:
    complete = ShellComplete(root, {}, "outlast", "_OUTLAST_COMPLETE")
    assert {item.value for item in complete.get_completions([], "")} >= {"serve", "pub", "sub", "demo"}
    assert [item.value for item in complete.get_completions(["sub"], "--fail")] == ["--fail-on-resync"]
