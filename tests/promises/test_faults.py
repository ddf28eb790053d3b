"""A world that is short of something, or wrong: what the broker says of it, and that it goes on, or not at all.

Disks that are full, fail or lie are in test_no_silent_damage.py.
"""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

from outlast_protocol import ErrorCode
from outlast_protocol.frames import Lease

from tests.support.broker import PATIENCE_S
from tests.support.home import Home, home

DAY_MS = 86_400_000


def says(place: Home, event: str) -> int:
    """How often it was logged."""
    return place.complaints().count(f'"event": "{event}"')


def until_it_says(place: Home, event: str, times: int = 1) -> None:
    for _ in range(1_000_000):
        if says(place, event) >= times:
            return
    raise AssertionError(f"{event} was not said: {place.complaints()}")


def test_a_clock_that_jumps_changes_times_and_nothing_else(tmp_path: Path) -> None:
    with home(tmp_path) as place:
        place.knob("tick_ms", 10)
        place.knob("clock_shift_ms", 0)
        broker = place.start()
        writer = broker.client("writer")
        number = writer.open("room").number
        writer.result(Lease(90, number, "writer", 60_000))
        for at, shift_ms in enumerate((0, DAY_MS, -DAY_MS, 0)):
            place.knob("clock_shift_ms", shift_ms)
            if at:
                until_it_says(place, "clock_jumped", at)
            assert writer.publish(number, str(shift_ms)) == (at + 1, False)
        writer.subscribe(number)
        records = writer.records(4)
        times = [each.time_ms for each in records]
        assert times == sorted(times) and times[1] - times[0] > DAY_MS // 2, "never back, also when the clock is"
        other = broker.client("other")
        other.refused(Lease(91, other.open("room").number, "writer", 60_000), ErrorCode.LEASE_HELD)
        writer.hears_nothing()


def test_without_descriptors_nobody_new_is_let_in_and_those_who_are_there_go_on(tmp_path: Path) -> None:
    with home(tmp_path) as place:
        place.knob("tick_ms", 10)
        broker = place.start()
        inside = broker.client("inside")
        number = inside.open("room").number
        hard = resource.prlimit(place.pid, resource.RLIMIT_NOFILE)[1]
        taken = max(map(int, os.listdir(f"/proc/{place.pid}/fd"))) + 1
        resource.prlimit(place.pid, resource.RLIMIT_NOFILE, (taken, hard))
        until_it_says(place, "descriptors_used_up")
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as outside:
                outside.settimeout(PATIENCE_S)
                outside.connect(place.path)
                try:
                    assert outside.recv(1) == b"", "it is closed"
                except ConnectionResetError:
                    continue
        assert inside.publish(number, "still here")[0] == 1
        assert says(place, "descriptors_used_up") == 1, "once a minute is enough"
        resource.prlimit(place.pid, resource.RLIMIT_NOFILE, (hard, hard))
        broker.client("outside").open("room")


def test_a_disk_that_is_mounted_read_only_is_said_and_read(tmp_path: Path) -> None:
    with home(tmp_path) as place:
        place.knob("tick_ms", 10)
        place.knob("mounted_read_only", 0)
        broker = place.start()
        client = broker.client("author")
        number = client.open("room").number
        assert client.publish(number, "before")[0] == 1
        place.knob("mounted_read_only", 1)
        until_it_says(place, "read_only")
        refused = client.ask(client.publishing(number, "x"))
        assert "mounted read-only" in refused.message and refused.detail["retry_after_ms"] > 0
        client.subscribe(number)
        assert len(client.records(1)) == 1
        place.knob("mounted_read_only", 0)
        until_it_says(place, "writable")
        assert client.publish(number, "after")[0] == 2
