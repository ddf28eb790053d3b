"""The command line as a shell runs it: real processes, real pipes."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from typing import IO, NamedTuple

import outlast
from click.testing import CliRunner
from outlast_cli.root import root

COMMAND = (sys.executable, "-W", "error", "-m", "outlast_cli")
TIMEOUT_S = 60


class Finished(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def environment(url: str = "", **more: str) -> dict[str, str]:
    """Nothing of the caller's that could change what is tested."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAST_")}
    return kept | ({"OUTLAST_URL": url} if url else {}) | {"TZ": "UTC"} | more


def start(*arguments: str, url: str = "", **more: str) -> subprocess.Popen[bytes]:
    """A process with pipes at all ends; the caller ends it."""
    pipe = subprocess.PIPE
    env = environment(url, **more)
    return subprocess.Popen([*COMMAND, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, env=env)


def run(*arguments: str, url: str = "", stdin: bytes = b"", **more: str) -> Finished:
    with start(*arguments, url=url, **more) as process:
        try:
            out, err = process.communicate(stdin, TIMEOUT_S)
        finally:
            process.kill()
    return Finished(process.returncode, out.decode(), err.decode())


def call(*arguments: str, url: str) -> Finished:
    """As `run`, in this process: for verbs that need neither signals nor pipes."""
    result = CliRunner().invoke(root, arguments, env={"OUTLAST_URL": url})
    return Finished(result.exit_code, result.stdout, result.stderr)


def fill(url: str, channel: str, count: int) -> str:
    """Publishes the numbers from 1 on; returns the position of the last."""

    async def publish() -> str:
        async with outlast.connect(url) as client:
            ack = await client.channel(channel).publish_many(map(str, range(1, count + 1)))
            return str(ack.position)

    return asyncio.run(publish())


def waits(pipe: IO[bytes], timeout_s: float) -> bool:
    """Whether something can be read, after `timeout_s` at the latest."""
    return bool(select.select([pipe], [], [], timeout_s)[0])
