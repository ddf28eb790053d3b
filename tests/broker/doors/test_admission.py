from __future__ import annotations

import pytest
from outlast_broker.doors.admission import RETRY_MS, Admission, counted_as, request
from outlast_broker.doors.bucket import Rates
from outlast_broker.doors.limits import Limits
from outlast_broker.metering.counters import Counters
from outlast_protocol import ErrorCode, ProtocolError

HERE, THERE = "10.0.0.1", "10.0.0.2"


def refused(code: ErrorCode, admission: Admission, address: str = HERE, now_ms: int = 0) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        admission.enter(address, now_ms)
    assert caught.value.code is code
    return caught.value


def test_so_many_and_no_more_until_one_leaves() -> None:
    admission = Admission(Limits(connections=2), Counters())
    first, _ = admission.enter(HERE, 0), admission.enter("", 0)
    assert refused(ErrorCode.OVERLOADED, admission).detail == {"limit": "connections", "retry_after_ms": RETRY_MS}
    first.leave()
    admission.enter(HERE, 0)
    assert admission.connections == 2


def test_an_address_has_its_own_bound() -> None:
    admission = Admission(Limits(connections_per_address=1), Counters())
    first = admission.enter(HERE, 0)
    assert refused(ErrorCode.OVERLOADED, admission).detail["limit"] == "connections_per_address"
    admission.enter(THERE, 0)
    first.leave()
    admission.enter(HERE, 0)


def test_this_machine_is_not_counted() -> None:
    admission = Admission(Limits(connections_per_address=1, address_connects_per_s=1), Counters())
    assert [admission.enter("", 0).meters for _ in range(5)] == [()] * 5


def test_a_client_has_its_own_bound_wherever_it_is() -> None:
    admission = Admission(Limits(connections_per_client=1), Counters())
    first, second = admission.enter(HERE, 0), admission.enter(THERE, 0)
    admission.greet(first, b"alice", 0)
    with pytest.raises(ProtocolError) as caught:
        admission.greet(second, b"alice", 0)
    assert caught.value.detail["limit"] == "connections_per_client"
    second.leave()
    first.leave()
    admission.greet(admission.enter(THERE, 0), b"alice", 0)


def test_an_address_that_comes_too_often_is_told_when_to_come_back() -> None:
    admission = Admission(Limits(address_connects_per_s=2), Counters())
    for _ in range(2):
        admission.enter(HERE, 0).leave()
    admission.tick(0)
    error = refused(ErrorCode.RATE_LIMITED, admission)
    assert error.detail == {"limit": "address_connects_per_s", "retry_after_ms": 501}
    admission.enter(HERE, 1_100)


def test_rates_of_connection_address_and_client_hold_together() -> None:
    admission = Admission(Limits(connection_frames_per_s=1, address_frames_per_s=2, client_frames_per_s=3), Counters())
    first, second = admission.enter(HERE, 0), admission.enter(HERE, 0)
    for peer in (first, second):
        admission.greet(peer, b"alice", 0)
    assert len(first.meters) == 3 and first.meters[1:] == second.meters[1:] and first.meters[0] != second.meters[0]
    assert max(meter.take(Rates(1), 0) for meter in first.meters) == 0
    assert max(meter.take(Rates(1), 0) for meter in second.meters) == 0
    assert max(meter.take(Rates(1), 0) for meter in admission.enter(HERE, 0).meters) == 501, "the address owes"


def test_a_request_is_refused_while_its_client_owes_something() -> None:
    admission = Admission(Limits(client_publishes_per_s=1), Counters())
    for _ in range(2):
        admission.request(b"alice", Rates(1, 10, 1), 0)
    with pytest.raises(ProtocolError) as caught:
        admission.request(b"alice", Rates(1, 0, 0), 0)
    assert caught.value.code is ErrorCode.RATE_LIMITED and caught.value.detail["retry_after_ms"] == 1_001
    admission.request(b"bob", Rates(1, 10, 1), 0)
    admission.request(b"alice", Rates(1, 10, 1), 1_001)


def test_a_request_is_refused_while_its_address_owes_something() -> None:
    meters = Admission(Limits(address_frames_per_s=1), Counters()).enter(HERE, 0).meters
    for _ in range(2):
        request(meters, Rates(1), 0)
    with pytest.raises(ProtocolError):
        request(meters, Rates(1), 0)
    request((), Rates(1), 0)


def test_a_debt_outlives_its_connection() -> None:
    """Else coming back would be the way round a rate."""
    admission = Admission(Limits(address_frames_per_s=1), Counters())
    peer = admission.enter(HERE, 0)
    peer.meters[0].take(Rates(10), 0)
    peer.leave()
    admission.tick(5_000)
    assert admission.enter(HERE, 5_000).meters[0].wait_ms(5_000) > 0
    admission.tick(60_000)


def test_those_who_left_are_forgotten() -> None:
    admission = Admission(Limits(client_frames_per_s=1), Counters())
    for at in range(100):
        peer = admission.enter(f"10.0.1.{at}", 0)
        admission.greet(peer, str(at).encode(), 0)
        peer.leave()
    admission.tick(10_000)
    assert not admission._addresses and not admission._clients


def test_limits_may_change_under_those_who_are_there() -> None:
    admission = Admission(Limits(), Counters())
    admission.enter(HERE, 0)
    admission.limits = Limits(connections=1)
    refused(ErrorCode.OVERLOADED, admission)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("10.0.0.1", 5), HERE),
        (("127.0.0.1", 5), ""),
        (("127.9.9.9", 5), ""),
        (("::1", 5, 0, 0), ""),
        (("::ffff:127.0.0.1", 5, 0, 0), ""),
        (("::ffff:10.0.0.1", 5, 0, 0), HERE),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::"),
        (("2001:db8:1:2::1", 5, 0, 0), "2001:db8:1:2::"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::"),
        ("", ""),
        ("/run/s", ""),
        (None, ""),
    ],
)
def test_whom_a_socket_is_counted_for(name: object, address: str) -> None:
    assert counted_as(name) == address


def test_those_who_are_turned_away_are_counted() -> None:
    counters = Counters()
    admission = Admission(Limits(connections=1), counters)
    admission.enter(HERE, 0)
    for _ in range(3):
        refused(ErrorCode.OVERLOADED, admission)
    assert counters.turned_away == 3


def test_clients_who_share_a_socket_are_one_connection_and_clients_of_their_own() -> None:
    admission = Admission(Limits(connections=1, connections_per_client=1, connection_frames_per_s=1), Counters())
    peer = admission.enter(HERE, 0)
    tabs = [peer.beside(), peer.beside()]
    admission.greet(tabs[0], b"alice", 0)
    with pytest.raises(ProtocolError):
        admission.greet(tabs[1], b"alice", 0)
    admission.greet(tabs[1], b"bob", 0)
    assert tabs[0].meters == peer.meters == tabs[1].meters
    tabs[0].leave()
    admission.greet(peer.beside(), b"alice", 0)
    peer.leave()
    assert admission.connections == 0
