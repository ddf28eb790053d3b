"""A broker's life: starting, listening, running out of disk, leaving."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time as wall
from collections.abc import Iterator
from pathlib import Path

import pytest
from outlast_broker import server
from outlast_broker.doors.address import TcpAddress, UnixAddress
from outlast_broker.folder import DataFolder, FolderInUse
from outlast_broker.memory_log import MemoryLog
from outlast_broker.server import StoreFailed
from outlast_protocol import ErrorCode
from outlast_protocol.batch import read_records
from outlast_protocol.frames import (
    Configure,
    Delete,
    Deliver,
    Error,
    GoAway,
    History,
    Info,
    List,
    Open,
    Page,
    Ping,
    Pong,
    Published,
    Subscribe,
    Truncate,
)

from tests.broker.stage import HeldLog
from tests.support.broker import PATIENCE_S, RawClient, running_broker, socket_path


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> HeldLog:
    """What the brokers of this test that have no folder write to."""
    log = HeldLog(MemoryLog())
    monkeypatch.setattr(server, "MemoryLog", lambda: log)
    return log


@pytest.fixture
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TICK_S", 0.01)


@pytest.fixture
def path() -> Iterator[str]:
    with socket_path() as path:
        yield path


# --- listening --------------------------------------------------------------------------------------------


def test_all_addresses_lead_to_the_same_broker(path: str) -> None:
    with running_broker(listen=("127.0.0.1:0", f"unix:{path}")) as broker:
        [own, tcp, other] = broker.addresses
        assert own == UnixAddress(broker.path) and other == UnixAddress(path)
        assert isinstance(tcp, TcpAddress) and tcp.port > 0
        broker.client("alice").open("room")
        with socket.create_connection((tcp.host, tcp.port), PATIENCE_S) as sock:
            over_tcp = RawClient(sock, "bob")
            over_tcp.hello()
            assert over_tcp.open("room", create=False).last == 0


def test_a_taken_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError) as caught:
        port = taken.getsockname()[1]
        with running_broker(listen=(f"127.0.0.1:{port}",)):
            pass
    assert caught.value.errno == errno.EADDRINUSE


def test_the_socket_of_a_killed_broker_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(path)
    with running_broker(path=path) as broker:
        broker.client()
    assert not os.path.exists(path), "and goes with its broker"


def test_a_socket_that_somebody_listens_on_is_left_alone(path: str) -> None:
    with running_broker(path=path) as first:
        with pytest.raises(OSError) as caught, running_broker(path=path):
            pass
        assert caught.value.errno == errno.EADDRINUSE
        first.client()


def test_a_file_that_is_no_socket_is_left_alone(path: str) -> None:
    Path(path).write_text("precious")
    with pytest.raises(OSError), running_broker(path=path):
        pass
    assert Path(path).read_text() == "precious"


def test_a_second_broker_on_a_folder_is_refused_and_harms_nobody(tmp_path: Path, path: str) -> None:
    with running_broker(tmp_path, path) as first:
        with pytest.raises(FolderInUse, match=str(os.getpid())), running_broker(tmp_path, path):
            pass
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        first.client().open("room")


def test_one_who_never_says_hello_is_sent_away(quick_ticks: None) -> None:
    with running_broker(hello_timeout_ms=30) as broker:
        stranger = broker.stranger()
        assert ErrorCode(stranger.expect(Error).code) is ErrorCode.HELLO_TIMEOUT
        stranger.sees_close()


# --- leaving ----------------------------------------------------------------------------------------------


def test_clients_are_told_when_to_come_back() -> None:
    with running_broker(come_back_ms=1_234) as broker:
        alice, bob = broker.client("alice"), broker.client("bob")
        broker.begin_stop()
        for client in (alice, bob):
            assert client.expect(GoAway).retry_after_ms == 1_234
            client.sees_close()
            client.close()
        broker.wait()
        assert broker.error is None


def test_what_was_accepted_is_acknowledged_before_the_end(log: HeldLog) -> None:
    with running_broker() as broker:
        alice, bob = broker.client("alice"), broker.client("bob")
        number = alice.open("room").number
        bob.open("room")
        bob.subscribe(number)
        log.hold()
        first, second = alice.publishing(number, "one"), alice.publishing(number, "two")
        alice.send(first)
        assert log.committing.wait(PATIENCE_S)
        alice.send(second, Ping(1))
        alice.expect(Pong)
        broker.begin_stop()
        alice.expect(GoAway)
        bob.expect(GoAway)
        log.go_on()
        assert [alice.answer_to(each.request)[1] for each in (first, second)] == [1, 2]
        assert len(bob.records(2)) == 2
        alice.sees_close()


def test_new_requests_are_refused_while_leaving(log: HeldLog) -> None:
    with running_broker(come_back_ms=700) as broker:
        alice = broker.client()
        number = alice.open("room").number
        log.hold()
        publishing = alice.publishing(number, "x")
        alice.send(publishing)
        assert log.committing.wait(PATIENCE_S)
        broker.begin_stop()
        alice.expect(GoAway)
        for frame in (
            alice.publishing(number, "y"), Open(51, "other"), Open(52, "room"), Info(53, "room"), List(54),
            Subscribe(55, number, 1, after=0), History(56, number, after=0), Delete(57, "room"),
            Truncate(58, "room", 1), Configure(59, "room", {}),
        ):  # fmt: skip
            assert alice.refused(frame, ErrorCode.GOING_AWAY).detail == {"retry_after_ms": 700}
        alice.hears_nothing()
        log.go_on()
        assert alice.answer_to(publishing.request)[1:] == (1, False)
        alice.sees_close()


def test_nobody_new_is_let_in_while_leaving(log: HeldLog) -> None:
    with running_broker() as broker:
        alice = broker.client()
        number = alice.open("room").number
        log.hold()
        alice.send(alice.publishing(number, "x"))
        assert log.committing.wait(PATIENCE_S)
        broker.begin_stop()
        alice.expect(GoAway)
        with pytest.raises((OSError, EOFError)):
            broker.client("late")
        log.go_on()


def test_every_publish_of_a_busy_client_is_acknowledged_or_refused(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        alice = broker.client()
        number = alice.open("room").number
        requests = []
        for at in range(300):
            frame = alice.publishing(number, f"{at}")
            requests.append(frame.request)
            alice.send(frame)
            if at == 150:
                broker.begin_stop()
        acknowledged = []
        for request in requests:
            try:
                answer = alice.answer_to(request)
            except (EOFError, ConnectionResetError):
                break
            if not isinstance(answer, Error):
                acknowledged.append(answer[1])
        alice.close()
        broker.wait()
        assert broker.error is None
    with running_broker(tmp_path) as again:
        last = again.client().open("room").last
    assert acknowledged == list(range(1, last + 1)), "what is stored is what was acknowledged"


def test_a_reader_that_does_not_read_delays_the_end_no_longer_than_the_drain_time() -> None:
    with running_broker(drain_ms=200) as broker:
        alice, stalled = broker.client("alice"), broker.client("stalled")
        number = alice.open("room").number
        stalled.open("room")
        stalled.subscribe(number, 1 << 30)
        for _ in range(20):
            alice.publish(number, b"x" * 500_000)
        alice.close()
        begun = wall.monotonic()
        broker.begin_stop()
        broker.wait()
        assert 0.2 <= wall.monotonic() - begun < 3 and broker.error is None


def test_stopping_twice_is_stopping_once(log: HeldLog) -> None:
    with running_broker() as broker:
        alice = broker.client()
        number = alice.open("room").number
        log.hold()
        publishing = alice.publishing(number, "x")
        alice.send(publishing)
        assert log.committing.wait(PATIENCE_S)
        broker.begin_stop()
        alice.expect(GoAway)
        for _ in range(3):
            broker.begin_stop()
            alice.hears_nothing()
        log.go_on()
        assert alice.answer_to(publishing.request)[1] == 1
        alice.sees_close()


# --- the store fails --------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaving", [True, False])
def test_a_failed_commit_ends_the_broker_and_acknowledges_nothing(log: HeldLog, leaving: bool) -> None:
    with running_broker() as broker:
        alice = broker.client()
        number = alice.open("room").number
        alice.subscribe(number)
        log.hold()
        log.failure = OSError("the disk is gone")
        alice.send(alice.publishing(number, "x"))
        assert log.committing.wait(PATIENCE_S)
        if leaving:
            broker.begin_stop()
            alice.expect(GoAway)
        log.go_on()
        broker.wait()
        assert isinstance(broker.error, StoreFailed) and "the disk is gone" in str(broker.error)
        alice.sees_close()


# --- the disk fills ---------------------------------------------------------------------------------------


class Disk:
    """How much of the disk is free, as the broker is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free_bytes = 1 << 40
        monkeypatch.setattr(DataFolder, "free_bytes", lambda folder: self.free_bytes)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, quick_ticks: None) -> Disk:
    return Disk(monkeypatch)


def publish_until(client: RawClient, number: int, stored: bool) -> Error | None:
    """Publishes until it is stored, or until it is refused; returns the refusal."""
    deadline = wall.monotonic() + PATIENCE_S
    while wall.monotonic() < deadline:
        answer = client.ask(client.publishing(number, "x"))
        if isinstance(answer, Error) != stored:
            return answer if isinstance(answer, Error) else None
    raise AssertionError("the broker does not notice its disk")


def test_below_the_reserve_only_what_frees_space_goes_on(tmp_path: Path, disk: Disk) -> None:
    with running_broker(tmp_path, disk_reserve_bytes=1 << 20) as broker:
        alice = broker.client()
        number = alice.open("room").number
        alice.open("other")
        alice.publish(number, "a", "b", "c")
        disk.free_bytes = (1 << 20) - 1
        error = publish_until(alice, number, stored=False)
        assert error is not None and ErrorCode(error.code) is ErrorCode.READ_ONLY
        assert int(error.detail["retry_after_ms"]) > 0
        alice.refused(Open(90, "new"), ErrorCode.READ_ONLY)
        last = alice.open("room").last
        alice.subscribe(number)
        assert len(alice.records(last)) == last
        assert alice.ask(History(91, number, after=0))[1:3] == (1, last)
        assert alice.result(Truncate(92, "room", 3)) == {"first": 3}
        assert alice.result(Configure(93, "room", {"records": 50}))["retention"]["records"] == 50
        assert alice.result(Delete(94, "other"))["epoch"]
        assert [row["channel"] for row in alice.result(List(95))["channels"]] == ["room"]
        disk.free_bytes = 1 << 20
        assert publish_until(alice, number, stored=True) is None, "and recovers by itself"
        alice.open("new")


def test_a_disk_that_is_full_at_the_start_is_noticed_before_the_first_publish(tmp_path: Path, disk: Disk) -> None:
    with running_broker(tmp_path) as broker:
        number = broker.client().open("room").number
    disk.free_bytes = 0
    with running_broker(tmp_path) as broker:
        alice = broker.client()
        alice.open("room")
        alice.refused(alice.publishing(number, "x"), ErrorCode.READ_ONLY)


def test_a_broker_in_memory_watches_no_disk(disk: Disk) -> None:
    disk.free_bytes = 0
    with running_broker() as broker:
        alice = broker.client()
        assert alice.publish(alice.open("room").number, "x") == (1, False)


# --- starting again ---------------------------------------------------------------------------------------


def test_a_broker_goes_on_where_the_one_before_it_stopped(tmp_path: Path, quick_ticks: None) -> None:
    for round_ in range(3):
        with running_broker(tmp_path, journal_age_ms=0) as broker:
            alice = broker.client("alice", producer=(7, 0))
            opened = alice.open("room")
            assert opened.last == 10 * round_
            first = 5 * round_ + 1
            for sequence in range(first, first + 5):
                assert alice.publish(opened.number, "x", "y", sequence=sequence) == (2 * sequence - 1, False)
            if round_:
                assert alice.publish(opened.number, "x", "y", sequence=first - 1) == (2 * first - 3, True)
            alice.subscribe(opened.number)
            assert len(alice.records(10 * round_ + 10)) == 10 * round_ + 10


def test_everything_a_broker_is_given_is_read_the_same_by_all(tmp_path: Path, quick_ticks: None) -> None:
    """Live, from the journal, from chunks, by page: the same bytes."""
    with running_broker(tmp_path, journal_age_ms=100) as broker:
        alice, bob = broker.client("alice"), broker.client("bob")
        number = alice.open("room").number
        bob.open("room")
        alice.subscribe(number)
        for at in range(50):
            alice.publish(number, f"{at}" * 500)
        live = alice.records(50)
        bob.subscribe(number)
        assert bob.records(50) == live
        page = bob.ask(History(90, number, after=0))
        assert isinstance(page, Page) and page.high > 0
        assert read_records(page.batches)[: page.high] == live[: page.high]
    with running_broker(tmp_path) as again:
        carol = again.client("carol")
        carol.open("room")
        carol.subscribe(number)
        assert carol.records(50) == live


def test_frames_of_one_commit_come_in_one_piece_per_connection(log: HeldLog) -> None:
    """Deliveries before acknowledgements, and none of them twice."""
    with running_broker() as broker:
        alice = broker.client()
        number = alice.open("room").number
        alice.subscribe(number)
        log.hold()
        alice.send(alice.publishing(number, "x"))
        assert log.committing.wait(PATIENCE_S)
        alice.send(*[alice.publishing(number, "y") for _ in range(10)])
        log.go_on()
        kinds = [type(alice.receive()) for _ in range(4)]
        assert kinds == [Deliver, Published, Deliver, Published]
        alice.hears_nothing()
