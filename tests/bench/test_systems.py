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
from bench.systems.socketio import Frames, frame


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
    assert (missing is None) if name == "outlast" else (missing is not None and "install" in missing.lower())


def test_a_scenario_of_one_system_says_so() -> None:
    assert unfit(SCENARIOS["storm"], "storm", SYSTEMS["outlast"]) is None
    assert unfit(SCENARIOS["storm"], "storm", SYSTEMS["mosquitto"]) == "the scenario is made for outlast"
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


def test_socketio_requests_are_masked_text_frames() -> None:
    assert frame(b"40") == b"\x81\x82\0\0\0\x0040"
    assert frame(b"x" * 300) == b"\x81\xfe\x01\x2c\0\0\0\0" + b"x" * 300


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 131, 1_000_000])
def test_socketio_frames_are_cut_wherever_the_stream_breaks(piece_bytes: int) -> None:
    texts = [b"2", b"", b"y" * 125, b"z" * 126, b"w" * 70_000]
    heads = [b"\x81\x01", b"\x81\0", b"\x81\x7d", b"\x81\x7e\0\x7e", b"\x81\x7f" + (70_000).to_bytes(8, "big")]
    stream = b"".join(head + text for head, text in zip(heads, texts, strict=True))
    frames = Frames()
    pieces = [stream[start : start + piece_bytes] for start in range(0, len(stream), piece_bytes)]
    assert [text for piece in pieces for text in frames.feed(piece)] == texts


def test_socketio_takes_a_close_for_a_failure() -> None:
    with pytest.raises(LoadFailed):
        list(Frames().feed(b"\x88\x02\x03\xe8"))
