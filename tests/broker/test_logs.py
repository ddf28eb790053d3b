from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from outlast_broker import logs

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0"
KEY = "outlast_ab12_s3cr3t-s3cr3t-s3cr3t"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a process that logs from `info` on has written; the tests' own way of logging is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    stream = io.StringIO()
    logs.configure("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_an_event_with_what_it_is_about(written: io.StringIO) -> None:
    logs.logger("outlast.x").bind(connection=7, client="alice").info("refused", code="bad_body")
    [line] = lines(written)
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "refused", "level": "info", "logger": "outlast.x", "connection": 7, "client": "alice",
        "code": "bad_body",
    }  # fmt: skip


def test_a_terminal_gets_columns() -> None:
    record = logging.LogRecord("outlast.x", logging.INFO, "", 0, {"event": "refused", "a": 1}, (), None)  # type: ignore[arg-type]
    text = logs._formatter(is_terminal=True).format(record)
    assert "refused" in text and not text.startswith("{")


def test_the_level_can_change(written: io.StringIO) -> None:
    logger = logs.logger("outlast.x")
    logger.debug("unseen")
    logs.set_level("debug")
    logger.debug("seen")
    logs.set_level("error")
    logger.warning("unseen")
    assert [line["event"] for line in lines(written)] == ["seen"]


def test_what_others_say_has_the_same_form(written: io.StringIO) -> None:
    logging.getLogger("asyncio").error("a %s of theirs", "word")
    [line] = lines(written)
    assert (line["event"], line["level"], line["logger"]) == ("a word of theirs", "error", "asyncio")


def test_an_exception_is_in_its_line(written: io.StringIO) -> None:
    try:
        raise RuntimeError(f"no place for {TOKEN}")
    except RuntimeError:
        logs.logger("outlast.x").exception("request_failed")
    [line] = lines(written)
    assert "RuntimeError: no place for (redacted)" in line["exception"]


SECRETS: list[dict[str, Any]] = [
    {"error": f"not {TOKEN}, really"},
    {"error": f"Authorization: Bearer {KEY[10:]}"},
    {"path": f"/v1/channels?access_token={TOKEN}&a=1"},
    {"token": KEY[10:]},
    {"auth_secret": KEY[10:]},
    {"error": f"key {KEY}"},
    {"headers": {"Authorization": KEY[10:]}},
    {"several": [f"a {TOKEN}", (TOKEN,)]},
    {"password": KEY.encode()},
    {"error": ValueError(TOKEN)},
]


@pytest.mark.parametrize("said", SECRETS, ids=str)
def test_no_secret_gets_past(written: io.StringIO, said: dict[str, Any]) -> None:
    logs.logger("outlast.x").info("refused", **said)
    text = written.getvalue()
    assert "(redacted)" in text
    for secret in (TOKEN, *TOKEN.split("."), KEY[13:]):
        assert secret not in text


@pytest.mark.parametrize("value", [5, None, True, "session:42", "example.internal.network", "outlast_broker.engine"])
def test_what_is_no_secret_stays(value: Any) -> None:
    assert logs.redact(None, "", {"lease_token": 5, "value": value}) == {"lease_token": 5, "value": value}
