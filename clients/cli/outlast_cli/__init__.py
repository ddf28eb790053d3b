"""The command line: `outlast`.

Reading order: root, exits, failures, session; then a verb each: serve, config, pub, sub, history, channels,
completion; then bench and demo.
"""

from __future__ import annotations

import sys

_THIN = "outlast needs the broker's packages: pip install 'outlast[broker]'"
# What `pip install outlast` alone does not bring.
_EXTRA = frozenset(
    {"click", "joserfc", "lmdb", "uvloop", "prometheus_client", "pydantic", "pydantic_settings", "structlog"}
)


def main() -> int:
    """The entry point. Returns the exit code, or exits with it."""
    try:
        from .root import root

        root.main(prog_name="outlast")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(_THIN, file=sys.stderr)
        return 1
    return 0
