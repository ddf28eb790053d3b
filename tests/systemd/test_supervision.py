"""The broker under the notify protocol and under socket activation, as systemd speaks them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outlast_cli.exits import Exit

from tests.support.broker import PATIENCE_S, RawClient
from tests.support.certificates import Authority
from tests.support.supervised import STUCK, Listener, started

LISTEN = ("--listen", "127.0.0.1:0", "--memory")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with Listener(tmp_path / "notify") as listener:
        yield listener


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "outlast.toml"
    file.write_text("memory = true\n")
    return file


def event(process: subprocess.Popen[str], name: str) -> dict[str, Any]:
    """The next log line of this name."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("{") and (said := json.loads(line))["event"] == name:
            found: dict[str, Any] = said
            return found
    raise AssertionError(f"it ended without {name}")


def test_it_says_when_it_is_ready_and_when_it_stops(listener: Listener) -> None:
    with started(listener, *LISTEN) as process:
        assert listener.until("READY") == {"READY": "1", "STATUS": "0 connections, 0 channels, 0 subscriptions"}
        process.terminate()
        listener.until("STOPPING", "1")
        assert process.wait(PATIENCE_S) == Exit.OK


def test_the_status_says_what_matters(listener: Listener, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with started(listener, "--memory", "--listen", f"unix:{path}") as _:
        listener.until("READY")
        with socket.socket(socket.AF_UNIX) as own:
            own.connect(path)
            alice = RawClient(own, "alice")
            alice.hello()
            alice.open("room")
            assert listener.until("STATUS", "1 connection, 1 channel,")


def test_a_disk_that_is_nearly_full_is_the_first_word(listener: Listener, tmp_path: Path) -> None:
    with started(listener, "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", "--disk-reserve", "1000TiB"):
        assert "read_only: " in listener.until("READY")["STATUS"]


def test_the_watchdog_is_fed_twice_in_its_time(listener: Listener) -> None:
    with started(listener, *LISTEN, WATCHDOG_USEC="200000"):
        listener.until("READY")
        for _ in range(3):
            listener.until("WATCHDOG", "1")


def test_a_loop_that_is_stuck_does_not_feed_it(listener: Listener) -> None:
    """Then systemd, which has heard nothing within the time, kills it; one that turns again feeds again."""
    with started(listener, program=STUCK, WATCHDOG_USEC="100000") as process:
        assert process.stdin is not None and process.stdout is not None
        listener.until("WATCHDOG", "1")
        print("hang", file=process.stdin, flush=True)
        assert process.stdout.readline() == "stuck\n"
        assert listener.falls_silent(100)
        print("go on", file=process.stdin, flush=True)
        listener.until("WATCHDOG", "1")
        process.terminate()
        assert process.wait(PATIENCE_S) == Exit.OK


def test_a_reload_says_what_changed_and_what_did_not(listener: Listener, file: Path) -> None:
    with started(listener, "--config", str(file), "--listen", "127.0.0.1:0") as process:
        listener.until("READY")
        file.write_text('memory = true\ndrain_time = "1s"\nmap_size = "1GiB"\nlog_level = "info"\n')
        process.send_signal(signal.SIGHUP)
        assert int(listener.until("RELOADING", "1")["MONOTONIC_USEC"]) > 0
        listener.until("READY", "1")
        said = event(process, "reloaded")
        assert said["changed"] == ["drain_time: 5s -> 1s", "log_level: warning -> info"]
        assert said["restart"] == ["map_size: 16GiB -> 1GiB"]
        process.terminate()
        event(process, "stopping")


def test_a_reload_of_what_is_wrong_changes_nothing_and_says_so(listener: Listener, file: Path) -> None:
    with started(listener, "--config", str(file), "--listen", "127.0.0.1:0") as process:
        listener.until("READY")
        file.write_text('drain_tim = "1s"\n')
        process.send_signal(signal.SIGHUP)
        listener.until("RELOADING", "1")
        assert "did you mean 'drain_time'?" in listener.until("READY", "1")["STATUS"]
        assert "did you mean 'drain_time'?" in event(process, "reload_refused")["error"]
        file.write_text('drain_time = "1s"\n')
        process.send_signal(signal.SIGHUP)
        listener.until("RELOADING", "1")
        assert "refused" not in listener.until("READY", "1")["STATUS"]


def test_a_broken_certificate_keeps_the_old_one_and_everything_else(
    listener: Listener, file: Path, tmp_path: Path
) -> None:
    files = Authority(tmp_path).server()
    assert files.certificate is not None and files.key is not None
    tls = ("--listen", "tls:127.0.0.1:0", "--tls-certificate", str(files.certificate), "--tls-key", str(files.key))
    with started(listener, "--config", str(file), *tls) as process:
        listener.until("READY")
        file.write_text('memory = true\ndrain_time = "1s"\n')
        whole = files.certificate.read_bytes()
        files.certificate.write_bytes(whole[:100])
        process.send_signal(signal.SIGHUP)
        listener.until("RELOADING")
        assert "server.pem" in listener.until("READY", "1")["STATUS"]
        assert "server.pem" in event(process, "reload_refused")["error"]
        files.certificate.write_bytes(whole)
        process.send_signal(signal.SIGHUP)
        said = event(process, "reloaded")
        assert said["changed"] == ["drain_time: 5s -> 1s", f"certificate {files.certificate}"], "and not before"


def test_rules_reach_channels_that_nobody_uses(listener: Listener, tmp_path: Path) -> None:
    file, path = tmp_path / "rules.toml", tmp_path / "s"
    file.write_text("")
    places = ("--data", str(tmp_path / "data"), "--listen", f"unix:{path}")
    with started(listener, "--config", str(file), *places) as process:
        listener.until("READY")
        with socket.socket(socket.AF_UNIX) as own:
            own.connect(str(path))
            alice = hello(own)
            for name in ("session:1", "audit:1"):
                alice.publish(alice.open(name).number, "here")
        file.write_text('[[rules]]\nchannels = "session:*"\nidle_ttl = "1ms"\n')
        process.send_signal(signal.SIGHUP)
        assert event(process, "reloaded")["changed"] == ["rules: 0 -> 1"]
        assert listener.until("STATUS", "0 connections, 1 channel,"), "the other one stays"


def test_the_end_of_the_terminal_is_the_end(listener: Listener) -> None:
    """Where it was started in one. Without a terminal SIGHUP is a reload."""
    ours, its = os.openpty()
    with started(listener, *LISTEN, stderr=its) as process:
        os.close(its)
        listener.until("READY")
        process.send_signal(signal.SIGHUP)
        listener.until("RELOADING")
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE_S) == Exit.OK


# --- sockets that outlive the broker ----------------------------------------------------------------------


def hello(client: socket.socket) -> RawClient:
    alice = RawClient(client, "alice")
    alice.hello()
    return alice


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield door


def test_a_restart_refuses_nobody(listener: Listener, door: socket.socket, tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    address = door.getsockname()
    with started(listener, *data, sockets=(door,), names="outlast") as process:
        listener.until("READY")
        with socket.create_connection(address) as before:
            hello(before).open("room")
        process.terminate()
        assert process.wait(PATIENCE_S) == Exit.OK
    with (
        socket.create_connection(address, PATIENCE_S) as during,
        started(listener, *data, sockets=(door,), names="outlast"),
    ):
        hello(during).open("room", create=False)


def test_a_socket_stands_in_the_place_of_listen(listener: Listener, door: socket.socket) -> None:
    """Whatever the configuration says, and whatever has that address."""
    taken = f"127.0.0.1:{door.getsockname()[1]}"
    with started(listener, "--memory", "--listen", taken, sockets=(door,), names="outlast") as process:
        listener.until("READY")
        process.send_signal(signal.SIGHUP)
        listener.until("RELOADING")
        assert event(process, "reloaded")["restart"] == []


def test_a_unix_socket_is_left_where_it_is(listener: Listener, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(str(path))
        local.listen()
        with started(listener, "--memory", sockets=(local,), names="local") as process:
            listener.until("READY")
            with socket.socket(socket.AF_UNIX) as own:
                own.connect(str(path))
                hello(own)
            process.terminate()
            assert process.wait(PATIENCE_S) == Exit.OK
    assert path.exists()


def test_a_socket_for_strangers_needs_a_word_too(listener: Listener) -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as wide,
        started(listener, "--memory", sockets=(wide,), names="outlast") as process,
    ):
        assert process.wait(PATIENCE_S) == Exit.CONFIG
        assert process.stderr is not None and "can be reached from other machines" in process.stderr.read()


def test_a_tls_socket_needs_a_certificate(listener: Listener, door: socket.socket) -> None:
    with started(listener, "--memory", sockets=(door,), names="tls") as process:
        assert process.wait(PATIENCE_S) == Exit.CONFIG
        assert process.stderr is not None and "--tls-certificate" in process.stderr.read()
