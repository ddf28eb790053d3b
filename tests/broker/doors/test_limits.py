from __future__ import annotations

from outlast_broker.doors.bucket import Rates
from outlast_broker.doors.limits import DESCRIPTORS_RESERVED, Limits, fitting


def test_rates_by_whom_they_bound() -> None:
    limits = Limits(connection_frames_per_s=1, client_bytes_per_s=2, address_publishes_per_s=3)
    assert limits.of_connection == Rates(1, 0, 0)
    assert (limits.of_client, limits.of_address) == (Rates(0, 2, 0), Rates(0, 0, 3))


def test_no_rate_by_default() -> None:
    limits = Limits()
    assert not any((*limits.of_connection, *limits.of_client, *limits.of_address))


def test_with_many_descriptors_the_limits_stay() -> None:
    assert fitting(Limits(), 100_000) == Limits()


def test_with_few_descriptors_there_are_fewer_connections() -> None:
    few = fitting(Limits(), 1_024)
    assert few.connections + few.arrivals + DESCRIPTORS_RESERVED == 1_024 and few.arrivals == 256


def test_no_bound_means_as_many_as_there_are_descriptors() -> None:
    most = fitting(Limits(connections=0, arrivals=0), 100_000)
    assert most.connections + most.arrivals + DESCRIPTORS_RESERVED == 100_000


def test_somebody_is_always_let_in() -> None:
    assert fitting(Limits(), 3) == Limits(connections=1, arrivals=1)
