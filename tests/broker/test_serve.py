"""Real processes: how they end, and what they say."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from outlast_broker.lmdb_file import FORMAT
from outlast_protocol.frames import Configure, Error, GoAway

from tests.broker.patience import within
from tests.broker.store import flipped, put, raw, values
from tests.support.broker import PATIENCE_S, BrokerProcess, RawClient, broker_process, socket_path
from tests.support.home import home


@pytest.fixture
def path() -> Iterator[str]:
    with socket_path() as path:
        yield path


def filled(data: Path, path: str) -> None:
    """A store in which a broker has left a few records."""
    with broker_process(data, path) as broker:
        alice = broker.client()
        publish(alice, 5)
        alice.close()
        broker.terminate()
        assert broker.exit_code() == os.EX_OK


def publish(client: RawClient, count: int) -> int:
    """The last offset of so many acknowledged publishes."""
    number = client.open("room").number
    return [client.publish(number, f"{at}" * 100)[0] for at in range(count)][-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_is_enough_for_a_graceful_end(tmp_path: Path, path: str, number: signal.Signals) -> None:
    with broker_process(tmp_path, path) as broker:
        alice = broker.client()
        publish(alice, 3)
        broker.process.send_signal(number)
        alice.expect(GoAway)
        alice.sees_close()
        alice.close()
        assert broker.exit_code() == os.EX_OK
        assert broker.complaint() == ""
        assert not os.path.exists(path)


def test_a_killed_broker_loses_nothing_that_it_acknowledged(tmp_path: Path, path: str) -> None:
    last = 0
    for _ in range(2):
        with broker_process(tmp_path, path) as broker:
            alice = broker.client()
            assert alice.open("room").last == last
            last = publish(alice, 50)
            broker.kill()
    with broker_process(tmp_path, path) as broker:
        alice = broker.client()
        number = alice.open("room").number
        alice.subscribe(number)
        assert [record.offset for record in alice.records(last)] == list(range(1, 101))


def ended(broker: BrokerProcess) -> tuple[int, str]:
    code = broker.exit_code()
    return code, broker.complaint()


def test_an_address_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with broker_process(tmp_path, address, wait=False) as broker:
            code, complaint = ended(broker)
    assert code == os.EX_UNAVAILABLE
    assert complaint.startswith("outlast: cannot listen") and "give another --listen" in complaint


def test_a_folder_in_use(tmp_path: Path, path: str) -> None:
    with broker_process(tmp_path, path) as first:
        with broker_process(tmp_path, path, wait=False) as second:
            code, complaint = ended(second)
        assert code == os.EX_CANTCREAT
        assert f"process {first.pid}" in complaint and "--data" in complaint
        assert publish(first.client(), 1) == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    with broker_process(tmp_path / "file" / "data", path, wait=False) as broker:
        code, complaint = ended(broker)
    assert code == os.EX_UNAVAILABLE and "outlast: cannot" in complaint


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    with home(tmp_path) as place:
        place.knob("read_only", "")
        assert place.start(wait=False).process.wait(PATIENCE_S) == os.EX_UNAVAILABLE
        assert "broker.lock" in place.complaints() and "mount it for writing" in place.complaints()


def test_too_few_descriptors_are_said_at_the_start(tmp_path: Path, path: str) -> None:
    """The soft limit is raised to the hard one first, which a process cannot raise."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with broker_process(tmp_path, path) as broker:
            assert resource.prlimit(broker.pid, resource.RLIMIT_NOFILE)[0] == limits[1]
            broker.terminate()
            broker.exit_code()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    command = f"ulimit -n 256; exec {sys.executable} -m outlast_cli serve --memory --listen unix:{path}"
    with subprocess.Popen(["sh", "-c", command], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(2)]
        process.terminate()
    [line] = [json.loads(line) for line in said if line.startswith("{")]
    assert line["event"] == "descriptors_few" and line["limit"] == 256 and line["connections"] < 256


def test_a_clock_that_jumps_forgets_nothing(tmp_path: Path) -> None:
    """Ten years forward, with records that are to be kept for a minute; and back."""
    with home(tmp_path, journal_bytes=1, journal_age_ms=1) as place:
        place.knob("clock_shift_ms", 0)
        place.knob("tick_ms", 10)
        alice = place.start().client()
        number = alice.open("room").number
        alice.result(Configure(alice.request(), "room", {"age_ms": 60_000}))
        for at in range(20):
            alice.publish(number, f"{at}" * 1_000)
        for jumps, shift_ms in enumerate((315_360_000_000, 0), 1):
            place.knob("clock_shift_ms", shift_ms)
            with within(PATIENCE_S):
                while place.complaints().count("clock_jumped") < jumps:
                    alice.publish(number, "meanwhile")
        assert alice.info("room")["first"] == 1
        said = [json.loads(line) for line in place.complaints().splitlines() if "clock_jumped" in line]
    assert [round(jump["by_ms"], -4) for jump in said] == [315_360_000_000, -315_360_000_000]


def test_a_damaged_store(tmp_path: Path, path: str) -> None:
    filled(tmp_path, path)
    key, value = values(tmp_path, "journal")[0]
    put(tmp_path, "journal", key, flipped(value, len(value) - 1))
    with broker_process(tmp_path, path, wait=False) as broker:
        code, complaint = ended(broker)
    assert code == os.EX_DATAERR
    assert "journal value" in complaint and "backup" in complaint


def test_a_store_of_another_format(tmp_path: Path, path: str) -> None:
    filled(tmp_path, path)
    with raw(tmp_path, "store") as txn:
        txn.put(b"format", (FORMAT + 1).to_bytes(8, "big"))
    with broker_process(tmp_path, path, wait=False) as broker:
        code, complaint = ended(broker)
    assert code == os.EX_DATAERR
    assert f"format {FORMAT + 1}" in complaint


def test_a_store_that_fails_ends_the_process_and_loses_nothing_acknowledged(tmp_path: Path, path: str) -> None:
    acknowledged = 0
    with broker_process(tmp_path, path) as broker:
        alice = broker.client()
        number = alice.open("room").number
        acknowledged = publish(alice, 3)
        size = (tmp_path / "data.mdb").stat().st_size
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (size, size))
        with pytest.raises((EOFError, OSError)):
            for _ in range(100):
                answer = alice.ask(alice.publishing(number, b"x" * 100_000))
                assert not isinstance(answer, Error), answer
                acknowledged = answer[1]
        code, complaint = ended(broker)
    assert code == os.EX_IOERR
    assert "the store failed" in complaint and "Traceback" not in complaint
    with broker_process(tmp_path, path) as broker:
        assert broker.client().open("room").last >= acknowledged


def test_a_broker_that_starts_says_where_it_listens(tmp_path: Path) -> None:
    with broker_process(tmp_path, "127.0.0.1:0") as broker:
        assert broker.process.poll() is None
        broker.terminate()
        assert broker.process.wait(PATIENCE_S) == os.EX_OK
