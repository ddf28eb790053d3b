"""The repository as text: its files, what they import, its Markdown tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NOT_OURS = {"node_modules", "build", "dist", "results", "outlast-data", "__pycache__"}
_HIDDEN_BUT_OURS = {".ci", ".gitignore", ".github"}


def files(root: Path, *suffixes: str) -> Iterator[Path]:
    """Every file that is ours, in order; of all kinds when no suffix is given."""
    for path in sorted(root.iterdir()):
        if path.name in _NOT_OURS or (path.name.startswith(".") and path.name not in _HIDDEN_BUT_OURS):
            continue
        if path.is_dir():
            if not (path / "pyvenv.cfg").exists() and not path.name.endswith(".egg-info"):
                yield from files(path, *suffixes)
        elif not suffixes or path.suffix in suffixes:
            yield path


def text_of(path: Path) -> str | None:
    """The text, or None for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> set[str]:
    """The top-level names of what a module imports from outside its own package."""
    names: set[str] = set()
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a module: its name and how many lines it has."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def table(markdown: str, *columns: str) -> list[list[str]]:
    """The rows of the one table with these columns."""
    head = f"| {' | '.join(columns)} |\n"
    assert markdown.count(head) == 1, f"PROTOCOL.md must have one table with the columns {columns}"
    lines = markdown.split(head)[1].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def links(markdown: str) -> list[str]:
    """The targets of links to local files and headings, with their anchors."""
    targets = re.findall(
        r"\]\(([^)\s]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)", prose(markdown, r"`[^`\n]*`"), flags=re.MULTILINE
    )
    found = [inline or reference for inline, reference in targets]
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(markdown: str) -> list[str]:
    """What GitHub calls the headings, so that links can lead to them."""
    headings = re.findall(r"^#+ (.*?)\s*$", prose(markdown, r"`"), flags=re.MULTILINE)
    texts = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts]


def prose(markdown: str, also: str) -> str:
    """`markdown` without its blocks of code, and without what matches `also`."""
    return re.sub(rf"^```.*?^```|{also}", "", markdown, flags=re.MULTILINE | re.DOTALL)
