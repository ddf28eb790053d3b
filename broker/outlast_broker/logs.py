"""Log lines: an event's name and what it is about, one line each; in JSON, or in columns for a terminal.

    logger = logs.logger("outlast.engine")
    logger.error("damaged", channel=channel.name, error=str(damage))

They go through the standard library's logging, so that a program that has a broker in it decides what becomes of them,
and so that what asyncio and aiohttp have to say comes out in the same form. No token gets past here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

Event = MutableMapping[str, Any]

REDACTED = "(redacted)"
# A JSON Web Token; what an Authorization header or a query brings; a static key, but for its name.
_SECRETS = (
    (re.compile(r"\bey[\w-]{6,}\.[\w-]{6,}\.[\w-]*"), REDACTED),
    (re.compile(r"(?i)\b(bearer[\s.]+)[^\s\"',]+"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)((?:access_token|token|secret|password)=)[^&\s\"']+"), rf"\1{REDACTED}"),
    (re.compile(r"(outlast_[a-z0-9-]+_)[\w-]{20,}"), rf"\1{REDACTED}"),
)
# Under these names text is a secret whatever it looks like. A lease's token is a number, and none.
_NAMES = re.compile(r"(?i)(^|_)(token|secret|password|authorization|credentials?)$")


def redact(_: Any, __: str, event: Event) -> Event:
    """Leaves nothing in an event that could let somebody in."""
    return {key: REDACTED if _NAMES.search(key) and _is_text(value) else clean(value) for key, value in event.items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes)


def clean(value: Any) -> Any:
    if isinstance(value, str):
        for pattern, instead in _SECRETS:
            value = pattern.sub(instead, value)
        return value
    if isinstance(value, dict):
        return redact(None, "", value)
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    return value if value is None or isinstance(value, int | float) else clean(str(value))


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """What is below the level costs a look and no more."""
    bound: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return bound


def configure(level: str, stream: TextIO) -> None:
    """What a broker's own process does with log lines: writes them to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(is_terminal=stream.isatty()))
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    logging.getLogger().setLevel(level.upper())


def _formatter(is_terminal: bool) -> logging.Formatter:
    shown: Any = (
        structlog.dev.ConsoleRenderer(timestamp_key="time", exception_formatter=structlog.dev.plain_traceback)
        if is_terminal
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            shown,
        ]
    )
