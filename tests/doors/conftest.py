from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.broker import Broker, running_broker
from tests.support.web import LISTEN, WebClient, port_of


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with running_broker(listen=LISTEN) as broker:
        yield broker


@pytest.fixture
def web(broker: Broker) -> Iterator[WebClient]:
    web = WebClient(port_of(broker))
    yield web
    web.close()


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).partition("[")[0]
