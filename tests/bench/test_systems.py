"""Every adapter has the shape that scenarios rely on, and the ones that are here move every message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import machine
from bench.__main__ import run_one, unfit
from bench.link import LoadFailed
from bench.plan import Plan
from bench.scenarios import SCENARIOS
from bench.server import Server
from bench.systems import peers
from bench.systems.redis import command
from bench.systems.registry import SYSTEMS
from bench.websocket import BINARY, Frames, Head, frame, upgrade


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_says_what_its_ack_means_and_what_it_cannot(system: object) -> None:
    assert system.ack_means
    assert set(system.unfit) <= set(SCENARIOS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_missing_peer_says_how_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(peers.VARIABLE, str(tmp_path))
    monkeypatch.setattr(peers, "DAEMONS", str(tmp_path))
    missing = SYSTEMS[name].missing()
    assert (missing is None) if name.startswith("outlast") else (missing is not None and "install" in missing.lower())


def test_a_scenario_of_one_system_says_so() -> None:
    assert unfit(SCENARIOS["storm"], "storm", SYSTEMS["outlast"]) is None
    assert unfit(SCENARIOS["storm"], "storm", SYSTEMS["mosquitto"]) == "the scenario is made for outlast, outlast-ws"
    assert unfit(SCENARIOS["replay"], "replay", SYSTEMS["redis-pubsub"]) == "it keeps no log"


def test_a_failed_start_is_a_result(tmp_path: Path) -> None:
    class Broken(type(SYSTEMS["outlast"])):  # type: ignore[misc]
        def start(self, plan: Plan, folder: Path, port: int = 0, options: object = ()) -> Server:
            raise OSError("no such program")

    result = run_one(Plan(tmp_path), tmp_path / "data", Broken(), SCENARIOS["sessions"], "batched")
    assert result["failed"] == "OSError: no such program"


def test_a_server_leaves_its_parents_cores(tmp_path: Path) -> None:
    """A child inherits the cores of a pinned parent, and would share them with the load."""
    cores = os.sched_getaffinity(0)
    plan = Plan(tmp_path, server_cores=frozenset({min(cores)}), load_cores=frozenset({max(cores)}))
    machine.pin(plan.load_cores)
    try:
        server = SYSTEMS["outlast"].start(plan, tmp_path / "data")
        try:
            assert os.sched_getaffinity(server.pid) == {min(cores)}
        finally:
            server.stop()
    finally:
        os.sched_setaffinity(0, cores)


def test_redis_requests_are_arrays_of_bulk_strings() -> None:
    assert command(b"GET", b"key") == b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"


def test_frames_of_clients_are_masked() -> None:
    assert frame(b"40") == b"\x81\x82\0\0\0\x0040"
    assert frame(b"x" * 300) == b"\x81\xfe\x01\x2c\0\0\0\0" + b"x" * 300
    assert frame(b"40", BINARY) == b"\x82\x82\0\0\0\x0040"


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 131, 1_000_000])
def test_frames_of_servers_are_cut_wherever_the_stream_breaks(piece_bytes: int) -> None:
    texts = [b"2", b"", b"y" * 125, b"z" * 126, b"w" * 70_000]
    heads = [b"\x81\x01", b"\x81\0", b"\x81\x7d", b"\x81\x7e\0\x7e", b"\x81\x7f" + (70_000).to_bytes(8, "big")]
    stream = b"".join(head + text for head, text in zip(heads, texts, strict=True))
    frames = Frames()
    pieces = [stream[start : start + piece_bytes] for start in range(0, len(stream), piece_bytes)]
    assert [text for piece in pieces for text in frames.feed(piece)] == texts


def test_a_close_is_taken_for_a_failure() -> None:
    with pytest.raises(LoadFailed):
        list(Frames().feed(b"\x88\x02\x03\xe8"))


@pytest.mark.parametrize("piece_bytes", [1, 7, 1_000])
def test_what_follows_an_upgrade_is_the_stream(piece_bytes: int) -> None:
    assert upgrade("/v1/ws").startswith(b"GET /v1/ws HTTP/1.1\r\n")
    said = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nstream"
    head = Head()
    pieces = [said[start : start + piece_bytes] for start in range(0, len(said), piece_bytes)]
    assert b"".join(map(head.after, pieces)) == b"stream" and head.is_read


def test_an_upgrade_that_is_refused_fails() -> None:
    with pytest.raises(LoadFailed, match="403"):
        Head().after(b"HTTP/1.1 403 Forbidden\r\n\r\n")


@pytest.mark.parametrize("name", ["outlast-ws", "outlast-sse"])
def test_the_doors_for_browsers_move_every_message(name: str, tmp_path: Path) -> None:
    plan = Plan(tmp_path, seconds=0.2, warmup_s=0.1, scale=0.02)
    result = run_one(plan, tmp_path / "data", SYSTEMS[name], SCENARIOS["events"], "20 streams")
    assert result.get("failed") is None and result["complete"], result
    assert result["sent"] == result["acked"] == result["delivered"] > 0
