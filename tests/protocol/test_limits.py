from __future__ import annotations

from outlast_protocol import limits
from outlast_protocol.frames import SPECS


def test_a_batch_of_any_accepted_size_fits_into_every_frame_that_carries_batches() -> None:
    heads_bytes = {"PUBLISH": 36, "DELIVER": 16, "PAGE": 44}
    assert limits.BATCH_BYTES_MAX + max(heads_bytes.values()) <= limits.FRAME_BYTES_MAX


def test_no_frame_may_be_longer_than_the_limit_of_all_frames() -> None:
    assert max(spec.bytes_max for spec in SPECS) == limits.FRAME_BYTES_MAX


def test_frames_that_come_before_trust_are_the_smallest() -> None:
    assert limits.HELLO_BYTES_MAX < limits.CONTROL_FRAME_BYTES_MAX < limits.FRAME_BYTES_MAX


def test_every_limit_is_a_positive_number() -> None:
    values = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert values and all(type(value) is int and value > 0 for value in values.values())
