"""The house rules. Every message says what to do.

A rule is a function from a source tree to what is wrong in it; the last test shows each of them a tree that is wrong.
"""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Union

import pytest
from outlast_protocol import ERRORS, Role, limits
from outlast_protocol.frames import SPECS

from tests.support.tree import ROOT, anchors, files, functions, imports, links, syntax, table, text_of

FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 600
CODE = (".py", ".js", ".ts", ".sh")

# What each library may import of ours.
BELOW = {
    "protocol/outlast_protocol": set[str](),
    "broker/outlast_broker": {"outlast_protocol"},
    "clients/python/outlast": {"outlast_protocol"},
    "clients/cli/outlast_cli": {"outlast_protocol", "outlast_broker", "outlast"},
}
OURS = {Path(folder).name for folder in BELOW} | {"tests", "bench"}
TWINS = {
    "protocol/outlast_protocol": "tests/protocol",
    "broker/outlast_broker": "tests/broker",
    "clients/python/outlast": "tests/clients",
}
# Nothing that reaches outside, and nothing that gives another answer the next time.
IMPURE = {
    "asyncio", "datetime", "io", "lmdb", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
# Modules of the broker that alone may import something: LMDB is known by the file, and by the log that is in it.
ALONE = {"time": {"clock.py"}, "lmdb": {"lmdb_file.py", "lmdb_log.py"}}
BANNED = {
    r"/(home|Users)/\w+/|(?<![\w./])/root[/]": "a path of one machine",
    r"pypi\.org/simple|pythonhosted\.org|registry\.npmjs\.org|registry\.yarnpkg\.com|proxy\.golang\.org": "a registry",
    r"artifac[t]ory|--(extra-)?index-ur[l]|_authToke[n]": "a registry's settings",
}
OTHERS_NAMES = {"broker", "protocol"}

Rule = Callable[[Path], Iterator[str]]


def library(root: Path, folder: str) -> list[Path]:
    return list(files(root / folder, ".py")) if (root / folder).is_dir() else []


# --- layers -----------------------------------------------------------------------------------------------


def imports_point_down(root: Path) -> Iterator[str]:
    for folder, below in BELOW.items():
        for path in library(root, folder):
            for name in sorted(imports(path) & (OURS - below - {Path(folder).name})):
                allowed = ", ".join(sorted(below)) or "nobody of ours"
                yield f"{path}: imports {name}, but {Path(folder).name} may import {allowed}: move the code down"


def the_protocol_is_pure(root: Path) -> Iterator[str]:
    for path in library(root, "protocol/outlast_protocol"):
        for name in sorted(imports(path) & IMPURE):
            yield f"{path}: imports {name}: the protocol has no I/O, no clock and no chance; pass the value in"


def the_client_is_thin(root: Path) -> Iterator[str]:
    for path in library(root, "clients/python/outlast"):
        for name in sorted(imports(path) - OURS - sys.stdlib_module_names):
            yield f"{path}: imports {name}: the client has no dependency but outlast_protocol; do without"


def the_world_has_one_door_each(root: Path) -> Iterator[str]:
    for path in library(root, "broker/outlast_broker"):
        for name, owners in ALONE.items():
            if path.name not in owners and name in imports(path):
                yield f"{path}: imports {name}: only {', '.join(sorted(owners))} may; take what you need as an argument"


def nobody_imports_by_anothers_name(root: Path) -> Iterator[str]:
    for path in files(root, ".py"):
        for name in sorted(imports(path) & OTHERS_NAMES):
            yield f"{path}: imports {name}, which is another project's package: import outlast_{name}"


# --- size and company -------------------------------------------------------------------------------------


def modules_have_twins(root: Path) -> Iterator[str]:
    for folder, area in TWINS.items():
        tested = {path.name for path in library(root, area)}
        for path in library(root, folder):
            twin = f"test_{path.name}"
            if not path.stem.startswith("__") and twin not in tested:
                yield f"{path}: no test of its own: write {area}/{twin}"


def functions_are_short(root: Path) -> Iterator[str]:
    for path in files(root, ".py"):
        for name, lines in functions(path):
            if lines > FUNCTION_LINES_MAX:
                yield f"{path}: {name} has {lines} lines of {FUNCTION_LINES_MAX}: take a part out and name it"


def files_are_short(root: Path) -> Iterator[str]:
    for path in files(root, *CODE):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES_MAX:
            yield f"{path}: {lines} lines of {FILE_LINES_MAX}: split it along its nouns"


def folders_say_what_they_hold(root: Path) -> Iterator[str]:
    for folder in sorted(code_folders(root)):
        if not (folder / "README.md").is_file():
            yield f"{folder}: has code and no README.md: say what lives here, and who may import it"


def code_folders(root: Path) -> set[Path]:
    """Folders on the top level that hold code, and those that hold a library."""
    found = {root / path.relative_to(root).parts[0] for path in files(root, *CODE) if path.parent != root}
    homes = {(root / folder).parent for folder in BELOW if (root / folder).is_dir()}
    return {folder for folder in found | homes if not folder.name.startswith(".")}


# --- words ------------------------------------------------------------------------------------------------


def texts_belong_to_no_machine(root: Path) -> Iterator[str]:
    banned = {**BANNED, re.escape(f"{root}/"): "this checkout's own path"}
    for path in files(root):
        text = text_of(path) or ""
        for pattern, what in banned.items():
            if found := re.search(pattern, text):
                line = text.count("\n", 0, found.start()) + 1
                yield f"{path}:{line}: names {what} ({found[0]}): use a relative path, or what the user has configured"


def links_lead_somewhere(root: Path) -> Iterator[str]:
    for path in files(root, ".md"):
        for target in links(path.read_text(encoding="utf-8")):
            name, _, anchor = target.partition("#")
            there = path.parent / name if name else path
            if not there.exists():
                yield f"{path}: the link to {name} leads nowhere: correct it, or add the file"
            elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text(encoding="utf-8")):
                yield f"{path}: the link to {target} leads to no heading: correct it, or add the heading"


RULES: tuple[Rule, ...] = (
    imports_point_down,
    the_protocol_is_pure,
    the_client_is_thin,
    the_world_has_one_door_each,
    nobody_imports_by_anothers_name,
    modules_have_twins,
    functions_are_short,
    files_are_short,
    folders_say_what_they_hold,
    texts_belong_to_no_machine,
    links_lead_somewhere,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_house_rule(rule: Rule) -> None:
    wrong = [message.replace(f"{ROOT}/", "") for message in rule(ROOT)]
    assert not wrong, "\n".join(["", *wrong])


def test_the_tree_is_really_there() -> None:
    """Otherwise every rule would hold."""
    for folder in BELOW:
        assert library(ROOT, folder), f"{folder} has no modules: correct BELOW"
    assert syntax(ROOT / "tests" / "test_tidy.py").body


# --- PROTOCOL.md and the code say the same ----------------------------------------------------------------

SPECIFICATION = (ROOT / "protocol" / "PROTOCOL.md").read_text(encoding="utf-8")
FROM = {Role.CLIENT: "client", Role.BROKER: "broker", Role.CLIENT | Role.BROKER: "both"}
FIXED = {"HELLO", "PING", "PONG", "PUBLISH", "PUBLISHED", "CREDIT", "DELIVER", "EPHEMERAL", "PAGE"}
DIFFERS = "PROTOCOL.md is the source of truth: change the code, or both in one commit"


def test_the_frame_table_is_the_codes() -> None:
    stated = [
        [number, frame, sender, bytes_max]
        for number, frame, sender, _, bytes_max in table(SPECIFICATION, "type", "frame", "from", "body", "max")
    ]
    coded = [
        [f"0x{spec.number:02x}", spec.cls.__name__.upper(), FROM[spec.sender], str(spec.bytes_max)] for spec in SPECS
    ]
    assert stated == coded, DIFFERS


def test_the_frame_table_says_which_maps_follow_a_request() -> None:
    bodies = {row[1]: row[3] for row in table(SPECIFICATION, "type", "frame", "from", "body", "max")}
    for spec in SPECS:
        if (name := spec.cls.__name__.upper()) not in FIXED:
            assert bodies[name] == ("u32 request, map" if "request" in spec.cls._fields else "map"), DIFFERS


def test_the_key_table_is_the_codes() -> None:
    stated = {frame: keys for frame, keys in table(SPECIFICATION, "frame", "keys")}
    maps = [spec.cls for spec in SPECS if spec.cls.__name__.upper() not in FIXED - {"HELLO"}]
    assert stated == {cls.__name__.upper(): ", ".join(keys(cls)) for cls in maps}, DIFFERS


def keys(cls: type[Any]) -> Iterator[str]:
    """A frame's keys as section 5 writes them: `name type`, or `name? type = default`."""
    for name, hint in typing.get_type_hints(cls).items():
        if name == "request":
            continue
        if name not in cls._field_defaults:
            yield f"{name} {type_name(hint)}"
        else:
            default = cls._field_defaults[name]
            yield f"{name}? {type_name(hint, nil=False)}" + ("" if default is None else f" = {default_text(default)}")


def type_name(hint: Any, nil: bool = True) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(each) for each in arguments if nil or each is not type(None))
    if origin is list:
        return f"[{type_name(arguments[0])}]"
    if origin is dict:
        return f"{{{type_name(arguments[0])}: {type_name(arguments[1])}}}"
    return {int: "int", str: "text", bool: "bool", bytes: "bytes", type(None): "nil", Any: "any"}[hint]


def default_text(default: object) -> str:
    return {"True": "true", "False": "false", "''": '""', "b''": '""'}.get(repr(default), repr(default))


def test_the_error_table_is_the_codes() -> None:
    rows = table(SPECIFICATION, "code", "name", "retryable", "fatal", "detail")
    said = {True: "yes", False: "no"}
    coded = [[str(int(code)), code.name.lower(), said[row.retryable], said[row.fatal]] for code, row in ERRORS.items()]
    assert [row[:4] for row in rows] == coded, DIFFERS


def test_the_limits_table_is_the_codes() -> None:
    rows = table(SPECIFICATION, "name in WELCOME", "default", "bounds")
    stated = {name.upper(): int(default) for name, default, _ in rows}
    coded = {name.removesuffix("_MAX"): value for name, value in vars(limits).items() if name.isupper()}
    of_frames = {"CONTROL_FRAME_BYTES", "HELLO_BYTES"}
    assert stated == {name: value for name, value in coded.items() if name not in of_frames}, DIFFERS
    frames_bytes_max = {spec.bytes_max for spec in SPECS}
    assert {coded[name] for name in of_frames} < frames_bytes_max, "every limit is in a table of PROTOCOL.md"


# --- the rules themselves ---------------------------------------------------------------------------------

WRONG_TREES: list[tuple[Rule, dict[str, str], str]] = [
    (imports_point_down, {"protocol/outlast_protocol/a.py": "import outlast_broker.log"}, "nobody of ours"),
    (imports_point_down, {"broker/outlast_broker/a.py": "from outlast import connect"}, "imports outlast,"),
    (imports_point_down, {"clients/python/outlast/a.py": "def f():\n    import bench"}, "imports bench"),
    (imports_point_down, {"clients/cli/outlast_cli/a.py": "import tests"}, "imports tests"),
    (the_protocol_is_pure, {"protocol/outlast_protocol/a.py": "from time import time_ns"}, "imports time"),
    (the_protocol_is_pure, {"protocol/outlast_protocol/a.py": "import os.path"}, "imports os"),
    (the_client_is_thin, {"clients/python/outlast/a.py": "import uvloop"}, "imports uvloop"),
    (the_world_has_one_door_each, {"broker/outlast_broker/hub.py": "import time"}, "only clock.py"),
    (the_world_has_one_door_each, {"broker/outlast_broker/b/hub.py": "import lmdb"}, "only lmdb_file.py, lmdb_log.py"),
    (nobody_imports_by_anothers_name, {"bench/a.py": "from broker.log import Log"}, "import outlast_broker"),
    (modules_have_twins, {"broker/outlast_broker/b/hub.py": ""}, "write tests/broker/test_hub.py"),
    (modules_have_twins, {"protocol/outlast_protocol/a.py": "", "tests/clients/test_a.py": ""}, "tests/protocol/"),
    (functions_are_short, {"bench/a.py": "async def f():\n" + "    pass\n" * 50}, "f has 51 lines"),
    (files_are_short, {"clients/js/a.ts": "\n" * 601}, "601 lines"),
    (folders_say_what_they_hold, {"clients/python/outlast/a.py": "", "clients/README.md": ""}, "clients/python: has"),
    (folders_say_what_they_hold, {"scripts/a/b.sh": ""}, "scripts: has"),
    (texts_belong_to_no_machine, {"a.md": "x\nin /home" + "/me/outlast"}, "a.md:2"),
    (texts_belong_to_no_machine, {".ci/run": "pip install --index" + "-url x"}, "settings"),
    (texts_belong_to_no_machine, {"a.json": "https://registry.npmjs" + ".org/x"}, "a registry"),
    (links_lead_somewhere, {"docs/a.md": "[b](../b.md#c)"}, "../b.md leads nowhere"),
    (links_lead_somewhere, {"docs/a.md": "[b]\n\n[b]: b.md"}, "b.md leads nowhere"),
    (links_lead_somewhere, {"docs/a.md": "# `Some` thing\n[b](#some-thing)\n[c](a.md#else)"}, "a.md#else leads to no"),
]  # fmt: skip


def plant(root: Path, tree: dict[str, str]) -> None:
    for name, text in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("rule", "tree", "message"), WRONG_TREES)
def test_a_rule_notices_what_it_forbids(rule: Rule, tree: dict[str, str], message: str, tmp_path: Path) -> None:
    plant(tmp_path, tree)
    [wrong] = rule(tmp_path)
    assert message in wrong


def test_a_checkouts_own_path_is_noticed(tmp_path: Path) -> None:
    plant(tmp_path, {"a.md": f"see {tmp_path}/b"})
    [wrong] = texts_belong_to_no_machine(tmp_path)
    assert "own path" in wrong


def test_a_tidy_tree_breaks_no_rule(tmp_path: Path) -> None:
    tree = {
        "README.md": "[protocol](protocol/README.md#a) [site](https://example.org) `[x](y)`\n```\n[x](y)\n```\n",
        "protocol/README.md": "# A\n[up](../README.md)",
        "protocol/outlast_protocol/__init__.py": "from .a import b",
        "protocol/outlast_protocol/a.py": "import msgpack\n",
        "tests/README.md": "",
        "tests/protocol/test_a.py": "import time\nfrom outlast_protocol import a\n",
        ".venv/a.py": "import broker",
        "image.bin": "\0",
    }
    plant(tmp_path, tree)
    (tmp_path / "image.bin").write_bytes(b"\xff\xfe")
    assert [message for rule in RULES for message in rule(tmp_path)] == []
