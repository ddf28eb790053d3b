"""`outlast doctor`: what is wrong, in words, and what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import click
import outlast
from outlast_broker import clock
from outlast_broker.care.examination import examine
from outlast_broker.care.finding import Finding, Level, error, note, ok, warning
from outlast_broker.config import Config
from outlast_broker.configuration.settings import BadSettings, load

from .care import progress, told_apart
from .configuring import CONFIG_VARIABLE
from .exits import Exit
from .failures import explain
from .options import broker_options, token_source
from .terminal import paint

CLOCKS_APART_MS = 5_000
_COLOURS = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.ERROR: "red"}


@click.command(short_help="Say what is wrong, why it matters, and what to do.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
              help="The data folder; without it, the one that the configuration names.")  # fmt: skip
@click.option("--config", "file", type=click.Path(path_type=Path), envvar=CONFIG_VARIABLE, show_envvar=True,
              help="The configuration file.")  # fmt: skip
@click.option("--verify", "whole", is_flag=True, help="Read every chunk of a large store, too.")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object for each finding.")
@broker_options
def doctor(
    data: Path | None, file: Path | None, whole: bool, wants_json: bool, url: str, connect_timeout_ms: int
) -> int:
    """Look at the configuration, the data folder, its store and disk, and the broker. Changes nothing.

    The exit code is 0 if there are no warnings, 1 if there are, and that of the worst error if there is one.
    """
    findings: list[Finding] = []
    for finding in _all(data, file, whole, url, connect_timeout_ms):
        findings.append(finding)
        click.echo(_as_json(finding) if wants_json else "\n".join(_as_text(finding)))
    return exit_code(findings)


def _all(data: Path | None, file: Path | None, whole: bool, url: str, timeout_ms: int) -> Iterator[Finding]:
    folder, reserve_bytes, found = _configured(file)
    yield found
    folder = data or folder
    if folder is None:
        yield note("data folder", "none: the configuration keeps everything in memory", "A restart forgets it all.",
                   "give --data a folder, if that is not meant")  # fmt: skip
    else:
        with told_apart(folder), progress("verifying") as told:
            yield from examine(folder, reserve_bytes, whole=whole, told=told)
    yield from asyncio.run(_gathered(url, timeout_ms))


def _configured(file: Path | None) -> tuple[Path | None, int, Finding]:
    try:
        config = load(file).config
        found = ok("configuration", f"{file} is right" if file is not None else "right, without a file")
    except BadSettings as bad:
        config = Config()
        found = error(
            "configuration", str(bad), "A broker does not start with it.", "outlast config check", Exit.CONFIG
        )
    return config.data, config.disk_reserve_bytes, found


# --- the broker -------------------------------------------------------------------------------------------


async def _gathered(url: str, timeout_ms: int) -> list[Finding]:
    return [finding async for finding in _broker(url, timeout_ms)]


async def _broker(url: str, timeout_ms: int) -> AsyncIterator[Finding]:
    try:
        async with outlast.connect(url, timeout=max(timeout_ms, 1) / 1000, token=token_source()) as client:
            before_ms = clock.now_ms()
            try:
                status = await client.status()
            except outlast.Forbidden as refused:
                yield note("broker answers", f"at {url}, and tells this token no more", str(refused.message),
                           "a token with metrics on * is told how the broker is")  # fmt: skip
                return
            for finding in judge_status(url, dict(status), (before_ms + clock.now_ms()) // 2):
                yield finding
    except (outlast.ConnectFailed, outlast.ConnectionLost) as failure:
        yield warning("broker answers", f"none at {url}: {failure.message}", "Clients that use this address wait.",
                      "start one with `outlast serve`, or name another with --url or OUTLAST_URL")  # fmt: skip
    except outlast.OutlastError as failure:
        yield warning("broker answers", f"at {url}, and refuses: {explain(failure)}", "This token gets nobody in.",
                      "outlast token inspect; give another with --token-file")  # fmt: skip
    except ValueError as bad:
        yield error("broker answers", str(bad), "That is no address.", "give --url outlast://HOST:PORT", Exit.USAGE)


def judge_status(url: str, status: dict[str, Any], now_ms: int) -> Iterator[Finding]:
    """What a broker says of itself."""
    yield ok("broker answers", f"{status['server']} at {url}")
    if status["refusing"]:
        yield error("read-only", f"it takes no changes: {status['refusing']}", "Publishers wait.",
                    "free disk: it goes on by itself", Exit.STORE_FAILED)  # fmt: skip
    apart_ms = status["time_ms"] - now_ms
    if abs(apart_ms) > CLOCKS_APART_MS:
        yield warning("clock", f"the broker's is {apart_ms:+,} ms from this machine's",
                      "Records are stamped by the broker's, tokens expire by it.",
                      "set the clock that is wrong, by NTP")  # fmt: skip
    else:
        yield ok("clock", "the broker's is this machine's")
    if status["damaged"]:
        yield error("damage", f"{status['damaged']:,} reads met damage since its start",
                    "Those records are not served.", "outlast verify, on its data folder", Exit.DAMAGED)  # fmt: skip


# --- how it is told ---------------------------------------------------------------------------------------


def exit_code(findings: list[Finding]) -> int:
    worst = max(findings, key=lambda finding: finding.level, default=None)
    if worst is None or worst.level <= Level.NOTE:
        return Exit.OK
    return worst.code if worst.level is Level.ERROR else Exit.REFUSED


def _as_json(finding: Finding) -> str:
    fields = finding._asdict() | {"level": finding.level.name.lower()}
    del fields["code"]
    return json.dumps(fields, ensure_ascii=False)


def _as_text(finding: Finding) -> list[str]:
    name = paint(f"{finding.level.name.lower():<8}", _COLOURS[finding.level])
    lines = [f"{name} {finding.about}: {finding.what}"]
    if finding.why:
        lines.append(f"         {finding.why}")
    if finding.do:
        lines.append(f"         Do: {finding.do}")
    return lines
