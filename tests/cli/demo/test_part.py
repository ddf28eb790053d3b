from __future__ import annotations

import json
import subprocess
import sys

from .. import shell

PART = """
import asyncio
from outlast_cli.demo.part import play, tell
async def main():
    tell("hello", number=1)
    await asyncio.Event().wait()
play(main())
"""


def test_a_part_tells_news_and_ends_when_the_stage_is_gone() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-W", "error", "-c", PART], stdin=pipe, stdout=pipe, stderr=pipe) as part:
        assert part.stdin is not None and part.stdout is not None and part.stderr is not None
        assert json.loads(part.stdout.readline()) == {"kind": "hello", "number": 1}
        part.stdin.close()
        assert part.wait(shell.TIMEOUT_S) == 0
        assert part.stderr.read() == b""
