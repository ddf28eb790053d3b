"""An Outlast broker as a child process: `python -m bench.broker --data DIR`, and what --help says.

Prints the port it listens on, then serves until SIGTERM.
"""

from __future__ import annotations

import argparse
import cProfile
import sys
from pathlib import Path

from outlast_broker.config import Config
from outlast_broker.doors.address import Address, TcpAddress
from outlast_broker.doors.limits import Limits
from outlast_broker.retention import Retention
from outlast_broker.serve import serve

from . import machine


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--retention-bytes", type=int, default=0)
    parser.add_argument("--fold-after-ms", type=int, default=60_000)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    machine.raise_file_limit()
    config = Config(
        listen=(f"127.0.0.1:{options.port}",),
        data=options.data,
        retention=Retention(bytes=options.retention_bytes),
        journal_age_ms=min(Config().journal_age_ms, options.fold_after_ms),
        fold_after_ms=options.fold_after_ms,
        # All of the load is one client's, to the broker.
        limits=Limits(connections=0, connections_per_client=0, arrivals=0),
    )
    if options.profile is None:
        return serve(config, tell_port)
    profile = cProfile.Profile()
    try:
        return profile.runcall(serve, config, tell_port)
    finally:
        profile.dump_stats(options.profile)


def tell_port(addresses: list[Address]) -> None:
    for address in addresses:
        if isinstance(address, TcpAddress):
            print(address.port, flush=True)


if __name__ == "__main__":
    sys.exit(main())
