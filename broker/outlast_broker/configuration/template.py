"""The configuration file with every option in it, each at its default and commented out. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from .options import OF_A_RULE, OPTIONS, RULES, Option

WIDTH = 100
HEAD = """\
The configuration of Outlast: `outlast serve --config FILE`. Every option is here with its default, commented out.

A flag or a variable of the same name counts before what is written here. Sizes are written "64MiB" or "10GB", durations
"500ms", "10s", "7d" or "1h30m". `outlast config check --config FILE` says what is wrong; `outlast config show` what
holds, and where it came from. After `kill -HUP`, or `systemctl reload outlast`, what is marked (live) holds at once;
the rest takes a restart.
"""
ABOUT_RULES = """\
Bounds for some channels, by pattern: a name, or one whose last segment is *. Of the rules that a channel falls under
the first counts; what it leaves out is as for all channels. What `outlast channels configure` gave a channel counts
before. (live)
"""


def template() -> str:
    tables: dict[str, list[Option]] = {}
    for option in OPTIONS:
        tables.setdefault(option.table, []).append(option)
    parts = [_comment(HEAD), *(part for table, options in tables.items() for part in _table(table, options)), _rules()]
    return "\n\n".join(parts) + "\n"


def _table(table: str, options: list[Option]) -> Iterator[str]:
    if table:
        yield f"[{table}]"
    for option in options:
        live = " (live)" if option.details.live else ""
        empty = "" if option.default is not None else " There is none by default."
        yield f"{_comment(option.details.text + empty + live)}\n#{_line(option)}"


def _line(option: Option) -> str:
    return f"{option.key} = {option.kind.in_file(option.default)}"


def _rules() -> str:
    examples = {"channels": "session:*", "retain_age": "7d"}
    lines = [f'#{option.key} = "{examples[option.key]}"' for option in OF_A_RULE if option.key in examples]
    others = ", ".join(option.key for option in OF_A_RULE if option.key not in examples)
    return "\n".join([_comment(f"{ABOUT_RULES}A rule may also say {others}."), f"#[[{RULES}]]", *lines])


def _comment(text: str) -> str:
    paragraphs = text.strip().split("\n\n")
    return "\n#\n".join(textwrap.fill(each, WIDTH, initial_indent="# ", subsequent_indent="# ") for each in paragraphs)
