from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.broker import Broker, running_broker
from tests.support.web import LISTEN, WebClient, port_of


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One broker for all tests of a module; each has a channel of its own name."""
    with running_broker(listen=LISTEN) as broker:
        yield broker


@pytest.fixture
def web(broker: Broker) -> Iterator[WebClient]:
    web = WebClient(port_of(broker))
    yield web
    web.close()


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A name that a path can hold as it is."""
    return re.sub(r"[^a-z0-9_]+", "-", str(request.node.name))


@pytest.fixture
def path(room: str) -> str:
    """Of the channel that the test has for its own."""
    return f"/v1/channels/{room}"
