from __future__ import annotations

import msgpack
from outlast_protocol import broker_frames
from outlast_protocol.broker_frames import Connections, Status
from outlast_protocol.frames import BY_CLASS, BY_NUMBER, Role, encode

from tests.support.samples import SAMPLES


def test_every_one_is_in_the_table_has_a_sample_and_is_sent_by_clients() -> None:
    classes = {cls for cls in vars(broker_frames).values() if isinstance(cls, type) and hasattr(cls, "_fields")}
    classes = {cls for cls in classes if cls.__module__ == broker_frames.__name__}
    assert classes == {Status, Connections}
    assert classes <= {type(frame) for frame in SAMPLES}
    assert {BY_CLASS[cls].sender for cls in classes} == {Role.CLIENT}


def test_a_question_without_keys_is_an_empty_map() -> None:
    data = encode(Status(7))
    assert msgpack.unpackb(data[12:]) == {}
    assert BY_NUMBER[data[4]].decode(data, 0, len(data)) == Status(7)


def test_what_is_at_its_default_is_not_written() -> None:
    assert msgpack.unpackb(encode(Connections(7))[12:]) == {}
    assert msgpack.unpackb(encode(Connections(7, 3, 5))[12:]) == {"after": 3, "limit": 5}
