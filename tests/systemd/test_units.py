"""The units in systemd/: right, tight, and in line with the broker."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
from outlast_broker.configuration.options import BY_NAME
from outlast_broker.configuration.template import template
from outlast_broker.supervisor import TLS_NAME
from outlast_cli.exits import Exit
from outlast_cli.root import root

from tests.support.tree import ROOT

UNITS = ROOT / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
INSTALLED = "/opt/outlast/bin/outlast"
# In tenths: systemd 252 gives 1.2 to a daemon that listens and keeps data, and has everything else taken from it.
EXPOSURE_MAX = 12


@pytest.fixture(scope="module", autouse=True)
def systemd() -> None:
    done = subprocess.run(["sh", str(ROOT / "scripts" / "setup_systemd.sh")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def unit(name: str) -> configparser.ConfigParser:
    """What is said twice has its last value here."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(UNITS / name)
    return parser


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


def test_systemd_understands_them(tmp_path: Path) -> None:
    ours = Path(sys.executable).with_name("outlast")
    for path in UNITS.glob("outlast*.*"):
        (tmp_path / path.name).write_text(path.read_text().replace(INSTALLED, str(ours)))
    done = analyze("verify", "--man=no", *(str(path) for path in tmp_path.iterdir() if path.suffix != ".toml"))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_little_is_exposed(service: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(service))
    assert done.returncode == 0, done.stdout


def test_the_configuration_is_the_default_one() -> None:
    assert (UNITS / "outlast.toml").read_text() == template(), "outlast config default > systemd/outlast.toml"


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_what_is_started_is_a_command_line_of_ours(service: Path) -> None:
    command = unit(service.name)["Service"]["ExecStart"].replace("${STATE_DIRECTORY}", "/var/lib/outlast").split()
    assert command[0] == INSTALLED
    context = root.make_context("outlast", command[1:], resilient_parsing=False)
    verb = root.get_command(context, command[1])
    assert verb is not None
    verb.make_context(command[1], command[2:])


def test_what_needs_a_person_is_not_started_again() -> None:
    codes = {int(code) for code in unit("outlast.service")["Service"]["RestartPreventExitStatus"].split()}
    assert codes == {Exit.DAMAGED, Exit.IN_USE, Exit.CONFIG}


def test_the_socket_is_one_that_the_broker_takes_for_plain() -> None:
    assert unit("outlast.socket")["Socket"]["FileDescriptorName"] not in ("", TLS_NAME)


def test_the_backup_reads_the_brokers_store_as_the_broker() -> None:
    broker, backup = unit("outlast.service")["Service"], unit("outlast-backup.service")["Service"]
    for name in ("DynamicUser", "User", "StateDirectory", "UMask"):
        assert broker[name] == backup[name]


def test_credentials_have_names_of_options() -> None:
    named = re.findall(r"LoadCredential=(\w+):", (UNITS / "outlast.service").read_text())
    assert named and set(named) <= set(BY_NAME)
