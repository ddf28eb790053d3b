from __future__ import annotations

from collections.abc import Callable

import pytest
from outlast_broker.channel import Channel
from outlast_broker.head import Head
from outlast_broker.hub import EVICT_SLICE, Hub
from outlast_broker.log import Creation, Deletion
from outlast_broker.memory_log import MemoryLog
from outlast_protocol.batch import encode_batch

from tests.broker.logs import BIRTH_MS, commit, create, entry

NOBODY: Callable[[Channel], bool] = lambda channel: False  # noqa: E731


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def hub(log: MemoryLog) -> Hub:
    return Hub(log)


def test_a_channel_is_loaded_once(hub: Hub, log: MemoryLog) -> None:
    number = create(log, "room")
    channel = hub.by_name("room")
    assert channel is not None and channel.number == number
    assert hub.by_name("room") is hub.by_number(number) is channel
    assert len(hub) == 1


def test_what_is_not_in_the_log_is_not_here(hub: Hub) -> None:
    assert hub.by_name("room") is None and hub.by_number(7) is None and len(hub) == 0


def test_a_new_channel_is_there_before_it_is_on_disk(hub: Hub, log: MemoryLog) -> None:
    head = Head("room", 7, BIRTH_MS)
    channel = hub.add(5, head)
    assert hub.by_name("room") is hub.by_number(5) is channel
    assert not channel.durable and not channel.settled
    hub.born(Creation(5, head))
    assert channel.durable and channel.settled


def test_a_removed_channel_is_not_found_while_the_log_still_has_it(hub: Hub, log: MemoryLog) -> None:
    number = create(log, "room")
    channel = hub.by_name("room")
    assert channel is not None
    hub.remove(channel)
    assert channel.dead
    assert hub.by_name("room") is None and hub.by_number(number) is None
    commit(log, Deletion(number, "room"))
    hub.born(Deletion(number, "room"))
    assert hub.by_name("room") is None


def test_a_channel_that_is_removed_before_it_was_on_disk_stays_removed(hub: Hub, log: MemoryLog) -> None:
    """Its creation may be committed alone, and its deletion with the next group."""
    head = Head("room", 7, BIRTH_MS)
    channel = hub.add(log.next_number(), head)
    hub.remove(channel)
    commit(log, Creation(channel.number, head))
    hub.born(Creation(channel.number, head))
    assert hub.by_name("room") is None and hub.by_number(channel.number) is None


def test_a_name_can_live_again_at_once(hub: Hub, log: MemoryLog) -> None:
    number = create(log, "room")
    old = hub.by_name("room")
    assert old is not None
    hub.remove(old)
    head = Head("room", 8, BIRTH_MS)
    new = hub.add(log.next_number(), head)
    assert hub.by_name("room") is new
    commit(log, Deletion(number, "room"), Creation(new.number, head))
    hub.born(Deletion(number, "room"))
    hub.born(Creation(new.number, head))
    assert hub.by_name("room") is new and new.settled


def test_a_journal_entry_brings_its_producer_back(hub: Hub, log: MemoryLog) -> None:
    create(log, "room")
    channel = hub.by_name("room")
    assert channel is not None
    hub.recover_producer(channel, entry(1, 5, "x")._replace(producer=9, producer_epoch=2, sequence=4))
    assert channel.producers.admit(9, 2, 4) == 5
    hub.recover_producer(channel, entry(1, 6, "x"))
    assert len(channel.producers.pack()) == 1, "sequence 0 is not deduplicated"


# --- letting go -------------------------------------------------------------------------------------------


def loaded(hub: Hub, log: MemoryLog, name: str = "room") -> Channel:
    create(log, name)
    channel = hub.by_name(name)
    assert channel is not None
    return channel


def test_a_channel_that_nobody_uses_is_let_go_of_and_comes_back(hub: Hub, log: MemoryLog) -> None:
    channel = loaded(hub, log)
    hub.evict(NOBODY)
    assert len(hub) == 0
    again = hub.by_name("room")
    assert again is not None and again is not channel and again.head() == channel.head()


def test_a_channel_that_somebody_has_open_stays(hub: Hub, log: MemoryLog) -> None:
    channel = loaded(hub, log)
    channel.entered()
    hub.evict(NOBODY)
    assert hub.by_name("room") is channel


def test_a_channel_whose_records_only_the_journal_holds_stays(hub: Hub, log: MemoryLog) -> None:
    channel = loaded(hub, log)
    batch = channel.accept(encode_batch("agent", [("x", None, None)]), 1, 5)
    hub.evict(NOBODY)
    assert hub.by_name("room") is channel
    channel.release([1], [batch])
    hub.evict(NOBODY)
    assert hub.by_name("room") is channel


def test_a_channel_that_still_has_something_to_write_stays(hub: Hub, log: MemoryLog) -> None:
    channel = loaded(hub, log)
    hub.evict(lambda each: each is channel)
    assert hub.by_name("room") is channel


def test_a_channel_that_is_not_on_disk_yet_stays(hub: Hub) -> None:
    channel = hub.add(5, Head("room", 7, BIRTH_MS))
    hub.evict(NOBODY)
    assert hub.by_name("room") is channel


def test_letting_go_of_many_takes_several_rounds(hub: Hub, log: MemoryLog) -> None:
    heads = [Head(f"room {index}", 7, BIRTH_MS) for index in range(EVICT_SLICE + 50)]
    commit(log, *[Creation(log.next_number(), head) for head in heads])
    for head in heads:
        hub.by_name(head.name)
    hub.evict(NOBODY)
    assert 0 < len(hub) < len(heads), "one round is short, so that nobody waits for it"
    hub.evict(NOBODY)
    hub.evict(NOBODY)
    assert len(hub) == 0
