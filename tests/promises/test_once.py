"""Promise 3: a publish that is sent again is stored once, whatever happened between the two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.limits import PRODUCERS_REMEMBERED, PUBLISHES_REMEMBERED

from tests.support.broker import BrokerProcess, RawClient, running_broker, socket_path
from tests.support.chance import FACTOR, chance
from tests.support.home import Home, home
from tests.support.ledger import read_channel
from tests.support.load import GONE
from tests.support.proxy import Faults, Proxy

PRODUCER = (77, 0)
MESSAGES = 2_000
TIMEOUT_S = 40


@pytest.fixture
def place(tmp_path: Path) -> Any:
    """Its journal moves into chunks at once: what is remembered must survive that, too."""
    with home(tmp_path, journal_bytes=1, journal_age_ms=1) as place:
        yield place


def datas(broker: BrokerProcess, channel: str = "room") -> list[bytes]:
    stored = read_channel(broker.client("auditor"), channel)
    return [record.data for record in stored.records.values()]


def author(broker: Any, producer: tuple[int, int] = PRODUCER) -> tuple[RawClient, int]:
    client = broker.client("author", producer)
    return client, client.open("room").number


# --- the same sequence twice ----------------------------------------------------------------------------------


def stay(place: Home, broker: BrokerProcess, client: RawClient) -> BrokerProcess:
    return broker


def reconnect(place: Home, broker: BrokerProcess, client: RawClient) -> BrokerProcess:
    client.close()
    return broker


def restart(place: Home, broker: BrokerProcess, client: RawClient) -> BrokerProcess:
    broker.terminate()
    assert broker.exit_code() == 0
    return place.start()


def crash(place: Home, broker: BrokerProcess, client: RawClient) -> BrokerProcess:
    broker.kill()
    return place.start()


Between = Callable[[Home, BrokerProcess, RawClient], BrokerProcess]


@pytest.mark.parametrize("between", [stay, reconnect, restart, crash])
def test_the_same_sequence_is_stored_once(between: Between, place: Home) -> None:
    broker = place.start()
    client, number = author(broker)
    assert client.publish(number, b"one", b"two", sequence=1) == (1, False)
    assert client.publish(number, b"three", sequence=2) == (3, False)
    broker = between(place, broker, client)
    if between is not stay:
        client, number = author(broker)
    assert client.publish(number, b"one", b"two", sequence=1) == (1, True)
    assert client.publish(number, b"three", sequence=2) == (3, True)
    assert client.publish(number, b"four", sequence=3) == (4, False)
    assert datas(broker) == [b"one", b"two", b"three", b"four"]


@pytest.mark.parametrize("between", [stay, crash])
def test_the_last_64_are_remembered_with_their_offsets(between: Between, place: Home) -> None:
    broker = place.start()
    client, number = author(broker)
    count = PUBLISHES_REMEMBERED + 10
    for sequence in range(1, count + 1):
        assert client.publish(number, b"%d" % sequence, sequence=sequence) == (sequence, False)
    broker = between(place, broker, client)
    if between is not stay:
        client, number = author(broker)
    for sequence in range(1, count + 1):
        known = sequence if sequence > count - PUBLISHES_REMEMBERED else 0
        assert client.publish(number, b"%d" % sequence, sequence=sequence) == (known, True)
    assert client.publish(number, b"next", sequence=count + 1) == (count + 1, False)
    assert len(datas(broker)) == count + 1


@pytest.mark.parametrize("between", [stay, crash])
def test_a_fenced_epoch_and_a_gap_store_nothing(between: Between, place: Home) -> None:
    broker = place.start()
    old, number = author(broker, (77, 1))
    old.publish(number, b"old", sequence=1)
    new, _ = author(broker, (77, 2))
    assert new.publish(number, b"new", sequence=1) == (2, False)
    broker = between(place, broker, old)
    if between is not stay:
        old, number = author(broker, (77, 1))
        new, _ = author(broker, (77, 2))
    fenced = old.refused(old.publishing(number, b"late", sequence=2), ErrorCode.FENCED)
    assert fenced.detail == {"epoch": 2}
    gap = new.refused(new.publishing(number, b"early", sequence=3), ErrorCode.SEQUENCE_GAP)
    assert gap.detail == {"expected": 2}
    assert new.publish(number, b"new", sequence=1) == (2, True)
    assert new.publish(number, b"newer", sequence=2) == (3, False)
    assert datas(broker) == [b"old", b"new", b"newer"]


def test_the_producers_that_published_last_are_remembered(place: Home) -> None:
    broker = place.start()
    for id_ in range(1, PRODUCERS_REMEMBERED + 1):
        client, number = author(broker, (id_, 0))
        client.publish(number, b"%d" % id_, sequence=1)
        client.close()
    broker.kill()
    broker = place.start()
    for id_ in range(1, PRODUCERS_REMEMBERED + 1):
        client, number = author(broker, (id_, 0))
        assert client.publish(number, b"%d" % id_, sequence=1) == (id_, True)
        client.close()


# --- crashes around the commit --------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_crash_around_the_commit(when: str, count: int, place: Home) -> None:
    """Between commit and acknowledgement the publish is stored and its author does not know it."""
    place.knob("die", f"{when} {count}")
    broker = place.start()
    client, number = author(broker)
    for sequence in range(1, count):
        client.publish(number, b"%d" % sequence, sequence=sequence)
    client.send(client.publishing(number, b"%d" % count, sequence=count))
    with pytest.raises(GONE):
        client.receive()
    place.knob("die", None)
    broker = place.start()
    stored = datas(broker)
    assert stored == [b"%d" % sequence for sequence in range(1, count + (when == "after"))]
    client, number = author(broker)
    assert client.publish(number, b"%d" % count, sequence=count) == (count, when == "after")
    assert datas(broker) == [b"%d" % sequence for sequence in range(1, count + 1)]


def test_random_kills_of_one_resending_author(place: Home) -> None:
    """Each life of the broker lasts for some commits; the author resends what it does not know of."""
    with chance("once/kills") as rng:
        sequence, offsets = 1, dict[int, int]()
        for _ in range(12 * FACTOR):
            place.knob("die", f"{rng.choice(('before', 'after'))} {rng.randint(1, 30)}")
            client, number = author(place.start())
            try:
                while True:
                    offsets[sequence] = client.publish(number, b"%d" % sequence, sequence=sequence)[0]
                    sequence += 1
            except GONE:
                continue
        place.knob("die", None)
        stored = datas(place.start())
        assert sequence - 1 <= len(stored) <= sequence
        assert stored == [b"%d" % each for each in range(1, len(stored) + 1)]
        assert offsets == {each: each for each in range(1, sequence)}


# --- the client ---------------------------------------------------------------------------------------------


def test_the_client_stores_each_message_once_through_a_network_that_cuts(tmp_path: Path) -> None:
    with chance("once/client") as rng, running_broker(tmp_path) as broker, socket_path() as path:

        async def publish_all() -> int:
            async with asyncio.timeout(TIMEOUT_S), Proxy(path, broker.path) as proxy:
                # Cut while requests go up and while acknowledgements come down.
                proxy.plan = lambda index: Faults(
                    up_bytes=rng.randint(0, 2_000), down_bytes=rng.randint(300, 900), reset=rng.random() < 0.3
                )
                async with outlast.connect(proxy.url, backoff_base_ms=1, backoff_cap_ms=2, timeout=None) as client:
                    acks = await publish_in_pieces(client.channel("room"))
                assert [ack.offset for ack in acks if ack.offset] == [
                    offset for offset, ack in enumerate(acks, start=1) if ack.offset
                ]
                return proxy.connections

        connections = asyncio.run(publish_all())
        assert connections > 20, "the network hardly cut anything"
        stored = read_channel(broker.client("auditor"), "room")
        assert [record.decoded() for record in stored.records.values()] == list(range(MESSAGES))


async def publish_in_pieces(channel: outlast.Channel) -> list[outlast.Ack]:
    """Several at a time, so that there are batches of many sizes."""
    acks: list[outlast.Ack] = []
    while len(acks) < MESSAGES:
        piece = range(len(acks), min(len(acks) + 25, MESSAGES))
        acks += await asyncio.gather(*[channel.publish_nowait(number) for number in piece])
    return acks
