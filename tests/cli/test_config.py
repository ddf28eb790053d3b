from __future__ import annotations

from pathlib import Path

import pytest
from outlast_broker.configuration.template import template
from outlast_broker.rules import Rule
from outlast_cli.config import show_rule
from outlast_cli.exits import Exit

from . import shell


def test_the_default_is_the_template_and_right(tmp_path: Path) -> None:
    printed = shell.call("config", "default", url="")
    assert printed.out == template()
    (tmp_path / "file").write_text(printed.out)
    checked = shell.call("config", "check", "--config", str(tmp_path / "file"), url="")
    assert (checked.code, checked.out) == (Exit.OK, "the configuration is right\n")


def test_what_is_wrong_is_said_and_nothing_started(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('drain_tim = "1s"')
    for verb in (("config", "check"), ("config", "show"), ("serve", "--memory")):
        done = shell.call(*verb, "--config", str(tmp_path / "file"), url="")
        assert done.code == Exit.CONFIG
        assert "did you mean 'drain_time'?" in done.err


def test_a_variable_for_nothing_is_said_too() -> None:
    for verb in (("config", "check"), ("config", "show"), ("serve", "--memory")):
        done = shell.run(*verb, url="", OUTLAST_RETAIN_AGES="1d")
        assert done.code == Exit.CONFIG
        assert "'OUTLAST_RETAIN_AGES': did you mean 'OUTLAST_RETAIN_AGE'?" in done.err
    assert shell.run("config", "check", url="", OUTLAST_URL="outlast://h", OUTLAST_SEED="7").code == Exit.OK


def test_show_says_where_each_value_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text('drain_time = "1m"\n[[rules]]\nchannels = "a:*"\nretain_age = "7d"\n')
    monkeypatch.setenv("OUTLAST_MAP_SIZE", "1GiB")
    monkeypatch.setenv("OUTLAST_CONFIG", str(file))
    rows = [line.split() for line in shell.call("config", "show", "--come-back", "1s", url="").out.splitlines()]
    assert rows[0] == ["option", "value", "from"]
    assert ["drain_time", "1m", str(file)] in rows
    assert ["map_size", "1GiB", "environment"] in rows
    assert ["come_back", "1s", "command", "line"] in rows
    assert ["fold_after", "1m", "default"] in rows
    assert rows[-1][0] == "[[rules]]" and rows[-1][-1] == str(file)


def test_a_rule_says_what_it_bounds_and_no_more() -> None:
    assert show_rule(Rule("a:*", age_ms=60_000, records=0)) == "channels = a:*  retain_age = 1m  retain_records = 0"
