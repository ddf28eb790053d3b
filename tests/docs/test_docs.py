"""What the pages say, compared with what the code does."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
import re
from dataclasses import fields
from pathlib import Path
from types import CodeType
from typing import Any

import outlast
import pytest
from outlast_broker.config import Config
from outlast_broker.configuration.options import OF_A_RULE, OPTIONS, Option
from outlast_broker.configuration.settings import load
from outlast_broker.lmdb_file import FORMAT
from outlast_broker.metering.counters import Counters
from outlast_broker.web.idempotency import KEYS_MAX
from outlast_broker.web.problem import STATUS
from outlast_broker.web.reading import RECORDS_MAX
from outlast_broker.web.routes import ROUTES
from outlast_broker.web.site import HEADERS_MAX, LINE_BYTES_MAX
from outlast_broker.web.visit import BODY_BYTES_MAX
from outlast_cli.exits import MEANINGS
from outlast_cli.serve import serve
from outlast_protocol import limits

from tests.cli import shell
from tests.support.broker import PATIENCE_S, running_broker
from tests.support.tree import ROOT, files, links, syntax, table

README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIENTS = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
LIMITS = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
OPERATING = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
HTTP = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def blocks(markdown: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)


def plain(cell: str) -> str:
    return cell.replace("`", "")


# --- README.md --------------------------------------------------------------------------------------------


def test_the_quickstart_on_the_first_page_is_the_example() -> None:
    assert blocks(README, "python") == [(ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")]


def test_the_command_lines_on_the_first_page_work() -> None:
    [block] = blocks(README, "console")
    commands = [line.removeprefix("$ ").split("  #")[0].split() for line in block.splitlines()]
    assert {command[0] for command in commands} == {"outlast"}
    assert commands[0][1] == "serve"
    serve.make_context("serve", commands[0][2:])
    with running_broker() as broker:
        for command in commands[1:]:
            done = shell.run(*command[1:], url=f"outlast+unix://{broker.path}")
            assert done.code == 0, f"{command}: {done.err}"


def test_each_promise_names_the_tests_that_show_it() -> None:
    rows = table(README, "promise", "shown by")
    assert [row[0].partition(".")[0] for row in rows] == ["1", "2", "3", "4", "5", "6", "7"]
    for promise, shown_by in rows:
        assert shown_by == "not yet" or links(shown_by), promise


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_what_a_page_names_is_in_the_source(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = {span.split("/")[-1] for span in re.findall(r"`([\w./]+)`", text)} - WORDS
    there = names_in_the_source()
    wrong = sorted(name for name in named if not set(name.removesuffix(".py").removesuffix(".ts").split(".")) <= there)
    assert not wrong, f"{page} names {wrong}: correct the page, or add a word to WORDS"


def test_the_tour_names_files_where_they_are() -> None:
    tour = README.partition("\n## A tour of the source\n")[2].partition("\n## ")[0]
    folder, wrong = ROOT, []
    for part in re.split(r"\n\n|\n(?=\* )", tour):
        folder = next((ROOT / name for name in re.findall(r"^\*\*.*?\(`([\w/]+)`", part)), folder)
        spans = re.findall(r"`([\w./-]+)`", part)
        folders = [folder, ROOT, *(start / span for span in spans for start in (folder, ROOT))]
        files_named = [span for span in spans if span.endswith((".py", ".ts", "/"))]
        wrong += [name for name in files_named if not any((start / name).exists() for start in folders)]
    assert not wrong, f"the tour looks for {wrong} in the wrong folder"


# What pages set in this type that is no name of the source.
WORDS = {".venv", "python3", "IDMP"}


def names_in_the_source() -> set[str]:
    found = {path.stem if path.suffix else path.name for path in files(ROOT)}
    found |= {folder.name for path in files(ROOT) for folder in path.parents}
    for folder in ("protocol", "broker", "clients"):
        for path in files(ROOT / folder, ".py"):
            for node in ast.walk(syntax(path)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    found.add(node.name)
                elif isinstance(node, ast.arg):
                    found.add(node.arg)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.add(node.id)
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    found.add(node.attr)
    return found


# --- docs/clients.md --------------------------------------------------------------------------------------

SNIPPETS = blocks(CLIENTS, "python")


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[snippet.split("\n", 1)[0] for snippet in SNIPPETS])
def test_a_snippet_prints_what_it_says(snippet: str) -> None:
    printed = io.StringIO()
    with running_broker() as broker, contextlib.redirect_stdout(printed):
        asyncio.run(asyncio.wait_for(run(snippet, f"outlast+unix://{broker.path}"), PATIENCE_S))
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", snippet, re.MULTILINE)
    said = printed.getvalue().splitlines()
    assert snippet.count("print(") == len(expected), "say behind each print what it prints"
    assert [line for line in said if line in expected] == expected, f"it printed {said}"


async def run(snippet: str, url: str) -> None:
    code: CodeType = compile(snippet, "docs/clients.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with outlast.connect(url, client_id="agent") as client:
        channel = client.channel("session:42")
        await channel.publish_many(["one", "two", "three"])
        names = {"asyncio": asyncio, "outlast": outlast, "client": client, "channel": channel, "url": url}
        coroutine: Any = eval(code, names)
        if coroutine is not None:
            await coroutine


def test_the_table_of_errors_is_the_clients() -> None:
    kinds = [value for value in map(vars(outlast).get, outlast.__all__) if isinstance(value, type)]
    errors = [kind for kind in kinds if issubclass(kind, outlast.OutlastError)]
    said = {True: "yes", False: "no"}
    coded = {
        (kind.__name__, kind.code, said[kind.retryable])
        for kind in errors
        if kind not in (outlast.OutlastError, outlast.Refused)
    }
    rows = table(CLIENTS, "error", "code", "retryable", "what to do")
    assert {(plain(row[0]), row[1], row[2]) for row in rows} == coded


# --- docs/configuration.md --------------------------------------------------------------------------------


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def test_the_table_of_options_is_the_brokers() -> None:
    columns = ["option", "variable", "in the file", "default", "live", "what it does"]
    coded = [
        [*map(code, (option.flag, option.variable, option.in_file, option.shown(option.default))), live(option)]
        + [option.details.text]
        for option in OPTIONS
    ]
    lines = [f"| {' | '.join(row)} |" for row in coded]
    assert table(CONFIGURATION, *columns) == coded, "\n".join(["this is the table:", *lines])


def live(option: Option) -> str:
    return "yes" if option.details.live else ""


def test_the_files_on_the_page_are_right(tmp_path: Path) -> None:
    for block in blocks(CONFIGURATION, "toml"):
        (tmp_path / "file").write_text(block)
        assert load(tmp_path / "file").origins


def test_a_rule_may_say_what_the_page_says() -> None:
    [sentence] = re.findall(r"A rule may say (.*?)\.", CONFIGURATION)
    assert re.findall(r"`(\w+)`", sentence) == [option.key for option in OF_A_RULE]


LOGGED = re.compile(r"\blog(?:ger)?\.(debug|info|warning|error|critical|exception)\(\s*\"(\w+)\"")


def test_the_table_of_log_lines_is_the_brokers() -> None:
    texts = [path.read_text(encoding="utf-8") for path in files(ROOT / "broker" / "outlast_broker", ".py")]
    logged = {(name, level.replace("exception", "error")) for text in texts for level, name in LOGGED.findall(text)}
    rows = table(CONFIGURATION, "event", "level", "when")
    assert {(name, row[1]) for row in rows for name in re.findall(r"`(\w+)`", row[0])} == logged


# --- docs/operating.md ------------------------------------------------------------------------------------


def test_the_table_of_exit_codes_is_the_commands() -> None:
    rows = table(OPERATING, "code", "meaning", "what to do")
    assert [row[:2] for row in rows] == [[str(int(code)), meaning] for code, meaning in MEANINGS.items()]


def test_the_limits_that_people_meet_are_the_protocols() -> None:
    rows = dict(table(LIMITS, "what", "limit"))
    numbers = [int(number.replace(",", "")) for cell in rows.values() for number in re.findall(r"\d[\d,]*\d", cell)]
    assert numbers == [
        limits.BATCH_BYTES_MAX,
        limits.BATCH_RECORDS_MAX,
        limits.BATCH_LABELS_MAX,
        limits.CHANNEL_NAME_BYTES_MAX,
        limits.CLIENT_ID_BYTES_MAX,
        limits.RECORD_NAME_BYTES_MAX,
        limits.RECORD_HEADERS_MAX,
        limits.PUBLISHES_REMEMBERED,
        limits.PRODUCERS_REMEMBERED,
        limits.CLAIMS_MAX,
        limits.CLAIM_KEY_BYTES_MAX,
        limits.CLAIM_RESULT_BYTES_MAX,
        limits.MEMBERS_MAX,
        limits.MEMBER_DATA_BYTES_MAX,
        BODY_BYTES_MAX,
        RECORDS_MAX,
        LINE_BYTES_MAX,
        HEADERS_MAX,
        KEYS_MAX,
    ]


def test_how_many_may_come_is_what_the_options_say() -> None:
    rows = {
        plain(row[0]): row[1].replace(",", "") for row in table(LIMITS, "option", "default", "counts", "one more gets")
    }
    known = {option.in_file: option.shown(option.default) for option in OPTIONS}
    assert rows == {name: known[name] for name in rows}


def test_every_limit_is_on_the_page() -> None:
    missing = [option.key for option in OPTIONS if option.table == "limits" and option.key not in LIMITS]
    assert not missing


def test_how_long_something_may_take_is_what_the_options_say() -> None:
    known = {option.in_file: option.shown(option.default) for option in OPTIONS}
    for name, value in re.findall(r"\| `(\w+_timeout)`, (\d\w*)", LIMITS):
        assert known[name] == value


def test_what_is_counted_is_counted() -> None:
    assert {plain(row[0]) for row in table(LIMITS, "counter", "counts")} <= set(Counters.__slots__)


def test_the_store_format_is_the_codes() -> None:
    assert f"store format {FORMAT}**" in OPERATING


# --- docs/architecture.md ---------------------------------------------------------------------------------


def test_every_bound_that_can_be_set_is_in_the_architecture() -> None:
    bounds = {field.name for field in fields(Config) if field.name.endswith(("_bytes", "_per_connection"))}
    assert bounds <= set(re.findall(r"`(\w+)`", ARCHITECTURE))


# --- docs/http.md -----------------------------------------------------------------------------------------


def test_the_table_of_paths_is_the_brokers() -> None:
    rows = table(HTTP, "method", "path", "parameters in the query")
    coded = [[route.method, route.path, ", ".join(route.queries)] for route in ROUTES]
    assert [[plain(cell) for cell in row] for row in rows] == coded


def test_the_table_of_statuses_is_the_brokers() -> None:
    stated = {code: int(status) for status, codes in table(HTTP, "status", "codes") for code in codes.split(", ")}
    assert stated == {code.name.lower(): status for code, status in STATUS.items()}


def test_what_is_shown_in_json_is_json() -> None:
    assert [json.loads(block) for block in blocks(HTTP, "json")]
