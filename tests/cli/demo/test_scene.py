from __future__ import annotations

import pytest
from outlast_cli.demo.scene import Scene, ViewerView, panel, plain_line


def scene() -> Scene:
    made = Scene(60, viewers={"viewer A": ViewerView("live", 1200), "viewer B": ViewerView("stopped", 1000, 1, 2)})
    made.agent.written, made.agent.acknowledged, made.agent.file = 1300, 1234, "ast.py"
    made.viewers["viewer A"].tail = "some\nwords \x1b[2J"
    return made


def test_panel() -> None:
    lines = [text for text, _ in panel(scene(), 30, 100)]
    assert lines[0] == "[############............]  30 of 60 s"
    assert "1,234 on disk    66 waiting   ast.py" in lines[2]
    assert "1,200 seen       34 behind    0 gaps, 0 repeats" in lines[3]
    assert "1,000 seen      234 behind    1 gaps, 2 repeats" in lines[4]
    assert lines[5].endswith("some words \\x1b[2J")


@pytest.mark.parametrize("width", [0, 1, 10, 40, 200])
def test_a_panel_never_wraps(width: int) -> None:
    made = scene()
    made.viewers["viewer A"].tail = "word " * 100
    assert all(len(text) < max(width, 1) for text, _ in panel(made, 99, width))


def test_plain_line() -> None:
    text = plain_line(scene())
    assert "agent wrote 1,300 (1,234 on disk)" in text and "viewer B stopped at 1,000" in text
