"""An answered ACK is on disk: the cursor stands there or beyond, whatever ended the broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from outlast_protocol.frames import Ack, Cursors, Delete, Forget

from tests.support.broker import BrokerProcess
from tests.support.home import Home, home


def restart(place: Home, broker: BrokerProcess) -> BrokerProcess:
    broker.terminate()
    assert broker.exit_code() == 0
    return place.start()


def crash(place: Home, broker: BrokerProcess) -> BrokerProcess:
    broker.kill()
    return place.start()


@pytest.mark.parametrize("between", [restart, crash])
@pytest.mark.parametrize("settings", [{}, {"journal_bytes": 1}], ids=["default", "tiny-journal"])
def test_cursors_survive(
    between: Callable[[Home, BrokerProcess], BrokerProcess], settings: dict[str, int], tmp_path: Path
) -> None:
    with home(tmp_path, **settings) as place:
        broker = place.start()
        client = broker.client("reader")
        number, gone = client.open("room").number, client.open("gone").number
        for opened in (number, gone):
            client.publish(opened, *[b"%d" % index for index in range(10)])
            assert client.result(Ack(client.request(), opened, "phone", 7)) == {"offset": 7}
            assert client.result(Ack(client.request(), opened, "tab", 3)) == {"offset": 3}
        client.result(Forget(client.request(), "room", "tab"))
        client.result(Delete(client.request(), "gone"))
        for _ in range(2):
            broker = between(place, broker)
        client = broker.client("reader")
        rows = client.result(Cursors(client.request(), "room"))["cursors"]
        assert [(row["cursor"], row["offset"], row["lag"]) for row in rows] == [("phone", 7, 3)]
        assert client.subscribe(client.open("room").number, cursor="phone", start="latest").after == 7
        client.open("gone")
        assert client.result(Cursors(client.request(), "gone"))["cursors"] == []
