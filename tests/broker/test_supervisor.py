from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from outlast_broker.doors.address import TcpAddress
from outlast_broker.supervisor import Supervisor, inherited

from tests.support.supervised import CARRIER, Listener

PID = 77


def test_what_is_told_arrives_as_lines(tmp_path: Path) -> None:
    with Listener(tmp_path / "notify") as listener:
        supervisor = Supervisor({"NOTIFY_SOCKET": listener.path}, PID)
        supervisor.tell("READY=1", "STATUS=fine")
        assert listener.next() == {"READY": "1", "STATUS": "fine"}
        supervisor.close()


def test_an_abstract_socket() -> None:
    name = f"@outlast-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:])
        supervisor = Supervisor({"NOTIFY_SOCKET": name}, PID)
        supervisor.tell("READY=1")
        assert listening.recv(100) == b"READY=1"
        supervisor.close()


def test_nobody_listens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}):
        supervisor = Supervisor(environment, PID)
        supervisor.tell("READY=1")
        supervisor.close()


@pytest.mark.parametrize(
    ("environment", "ms"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "30000000"}, 30_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 30_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0),
    ],
)
def test_the_watchdog_is_of_this_process_or_of_another(environment: dict[str, str], ms: int) -> None:
    assert Supervisor(environment, PID).watchdog_ms == ms


def test_sockets_for_another_process_are_left_alone() -> None:
    assert inherited({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, PID) == []
    assert inherited({}, PID) == []


TAKING = """
import os
from outlast_broker.supervisor import inherited
for address, found in inherited(os.environ, os.getpid()):
    print(address, os.get_inheritable(found.fileno()))
"""


def taken(*sockets: socket.socket, names: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(CARRIER), ",".join(str(each.fileno()) for each in sockets), names]
    inherit = [each.fileno() for each in sockets]
    command += [sys.executable, "-c", TAKING]
    return subprocess.run(command, pass_fds=inherit, capture_output=True, text=True, timeout=60)


def test_sockets_are_found_with_their_addresses(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as secret:
        with socket.socket(socket.AF_UNIX) as local:
            local.bind(str(tmp_path / "s"))
            local.listen()
            done = taken(plain, secret, local, names="outlast:tls:local")
        at = TcpAddress("127.0.0.1", plain.getsockname()[1])
        at_secret = TcpAddress("127.0.0.1", secret.getsockname()[1], tls=True)
    assert done.stdout.splitlines() == [f"{at} False", f"{at_secret} False", f"unix:{tmp_path}/s False"]


def test_what_is_no_door_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        done = taken(datagrams, names="odd")
    assert done.returncode == 1 and "descriptor 3, odd, is no stream socket that listens" in done.stderr
