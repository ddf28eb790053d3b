from __future__ import annotations

import re
from pathlib import Path

from outlast_broker.config import Config
from outlast_broker.configuration.options import OPTIONS
from outlast_broker.configuration.settings import load
from outlast_broker.configuration.template import WIDTH, template
from outlast_broker.rules import Rule


def test_it_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(template())
    assert load(tmp_path / "file").config == Config()


def test_every_option_is_in_it_at_its_default(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(re.sub(r"^#(?=\w|\[)", "", template(), flags=re.MULTILINE))
    settings = load(tmp_path / "file")
    assert settings.config.rules == (Rule("session:*", age_ms=7 * 86_400_000),)
    assert settings.origins.keys() == {option.name for option in OPTIONS} | {"rules"}
    assert [option.name for option in OPTIONS if option.path and option.of(settings.config) != option.default] == []


def test_its_lines_fit_a_terminal() -> None:
    assert max(map(len, template().splitlines())) <= WIDTH
