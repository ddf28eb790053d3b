"""docs/data.md: its commands are run, in their order, beside a broker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from outlast_cli.root import VERBS

from tests.cli import shell
from tests.support.broker import running_broker
from tests.support.home import home
from tests.support.tree import ROOT, table

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)


def run(line: str, folder: Path, url: str) -> str:
    script = f'outlast() {{ "{sys.executable}" -m outlast_cli "$@"; }}; {line}'
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=shell.environment(url), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout.strip()


def test_the_commands_on_the_page_work(tmp_path: Path) -> None:
    with home(tmp_path, disk_reserve_bytes=0) as place, running_broker() as other:
        place.data.symlink_to(tmp_path / "outlast-data")
        (tmp_path / "outlast-data").mkdir()
        place.start()
        for channel in ("session:1", "session:2", "session:42"):
            shell.fill(place.url, channel, 10)
        backup = ""
        for line in COMMANDS:
            line = re.sub(r"backups/outlast-\S+\.mdb", backup, line)
            said = run(line.replace("outlast://other:6180", f"outlast+unix://{other.path}"), tmp_path, place.url)
            backup = said if line.startswith("outlast backup ") else backup
        assert other.client().info("session:1")["last"] == 10
    assert (tmp_path / "restored" / "data.mdb").exists()


def test_every_verb_of_its_table_has_a_section_with_a_command() -> None:
    rows = table(PAGE, "command", "broker", "what it does")
    verbs = {verb for row in rows for verb in re.findall(r"`outlast (\w+)", row[0])}
    assert verbs <= set(VERBS)
    assert verbs == {command.split()[1] for command in COMMANDS}
