"""What the environment says under our name, and whom it is for. Pure.

A misspelt variable that is passed over is a broker that runs otherwise than it was meant to. But an environment is
shared: with clients, with the tests of a checkout, and with what puts the addresses of services into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .options import OPTIONS, RULES, VARIABLES

OF_COMMANDS = {"CONFIG", "URL", "CONNECT_TIMEOUT", "TOKEN", "TOKEN_FILE", "CA_FILE", "CERTIFICATE_FILE"}
OF_TESTS = {
    "SEED", "FACTOR", "FUZZ_SEED", "FUZZ_FACTOR", "PYTHON", "BROWSER", "CHROMIUM", "BENCH_PEERS",
}  # fmt: skip
# What may follow OUTLAST_.
KNOWN = sorted({option.name.upper() for option in OPTIONS} | {RULES.upper()} | OF_COMMANDS | OF_TESTS)
# Kubernetes and Docker tell every container of a service `outlast`, or `outlast-web`, so; nobody else can prevent it.
_OF_A_SERVICE = re.compile(
    r"([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_PORT_OF_A_SERVICE = re.compile(r"(tcp|udp|sctp)://")


def strangers(environment: Mapping[str, str]) -> Iterator[str]:
    """The variables that begin with our name and are for nothing. Capitals do not matter, as they do not to options."""
    for name, value in environment.items():
        said = name.upper()
        if said.startswith(VARIABLES) and not _is_known(said.removeprefix(VARIABLES), value):
            yield name


def _is_known(said: str, value: str) -> bool:
    of_a_port = said.split("_")[-1] == "PORT" and _PORT_OF_A_SERVICE.match(value)
    return said in KNOWN or bool(of_a_port or _OF_A_SERVICE.fullmatch(said))
