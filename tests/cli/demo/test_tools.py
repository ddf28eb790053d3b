from __future__ import annotations

from outlast_cli.demo.agent import sentences
from outlast_cli.demo.tools import TOOLS, docstring_coverage, longest_function, outline, use

SOURCE = '''"""A module."""

class Thing:
    def short(self): pass

    async def long(self):
        """Says so."""
        return (
            1
        )
'''


def test_facts() -> None:
    assert outline(SOURCE) == {"lines": 10, "functions": 2, "classes": 1}
    assert longest_function(SOURCE) == {"name": "long", "lines": 5}
    assert docstring_coverage(SOURCE) == {"definitions": 4, "percent": 50}
    assert longest_function("") == {"name": "", "lines": 0}


def test_what_cannot_be_parsed_is_a_result() -> None:
    for tool in TOOLS:
        assert str(use(tool, "def")["error"]).startswith("SyntaxError")
        assert "error" in use(tool, "x = '\0'")


def test_findings_in_words() -> None:
    text = "".join(sentences({tool: use(tool, SOURCE) for tool in TOOLS}))
    assert "10 lines, 2 functions and 1 class." in text and "longest function is long with 5 lines" in text
    assert "longest" not in "".join(sentences({tool: use(tool, "") for tool in TOOLS}))
    assert "cannot be parsed" in "".join(sentences({tool: use(tool, "def") for tool in TOOLS}))
