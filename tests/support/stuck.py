"""A broker whose loop hangs: from a line on standard input, when it says so, until the next one."""

from __future__ import annotations

import asyncio
import os
import sys

from outlast_broker.config import Config
from outlast_broker.doors.address import Address
from outlast_broker.serve import serve


def watch(addresses: list[Address]) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), hang)


def hang() -> None:
    os.set_blocking(sys.stdin.fileno(), True)  # the loop would not have it so
    sys.stdin.readline()
    print("stuck", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    sys.exit(serve(Config(data=None, listen=("127.0.0.1:0",)), watch))
