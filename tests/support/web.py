"""A blocking HTTP client over one socket, and a reader of server-sent events."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, NamedTuple

from outlast_broker.doors.address import TcpAddress

from .broker import PATIENCE_S, Broker

LISTEN = ("127.0.0.1:0",)


def port_of(broker: Broker) -> int:
    """The port of a broker that was started with `LISTEN`."""
    return next(address.port for address in broker.addresses if isinstance(address, TcpAddress))


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of a problem."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        return str(self.said["code"])


class Event(NamedTuple):
    """`data` None: an id alone."""

    name: str
    id: str | None
    data: Any


class Events:
    """A stream of events that is read one by one."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response

    def next(self) -> Event:
        """The next event, or id; comments and `retry` are passed over. Raises EOFError at the end."""
        name, id_, data = "", None, None
        while True:
            line = self.response.readline().decode()
            if not line:
                raise EOFError("the stream has ended")
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                id_ = value
            elif field == "data":
                data = json.loads(value)
            elif line == "\n" and (name or id_ is not None or data is not None):
                return Event(name, id_, data)


class WebClient:
    """Keeps its connection. `at` is a port of this machine, or the path of a Unix socket."""

    def __init__(self, at: int | str) -> None:
        self._at = at
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        port = self._at if isinstance(self._at, int) else 80
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        if isinstance(self._at, str):
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(PATIENCE_S)
            connection.sock.connect(self._at)
        return connection

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`body` that is no bytes goes as JSON. Headers are written with _ for -."""
        response = self._begin(method, path, body, headers)
        return Answer(response.status, response.headers, response.read())

    def _begin(self, method: str, path: str, body: Any, headers: dict[str, str]) -> http.client.HTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            named.setdefault("Content-Type", "application/json")
        self._connection.request(method, path, body, named)
        return self._connection.getresponse()

    def get(self, path: str, **headers: str) -> Any:
        """What a request that succeeds says in JSON."""
        answer = self.ask("GET", path, **headers)
        assert answer.status == 200, answer
        return answer.said

    def publish(self, channel: str, *datas: Any) -> dict[str, Any]:
        answer = self.ask("POST", f"/v1/channels/{channel}/records", [{"data": data} for data in datas])
        assert answer.status == 201, answer
        said: dict[str, Any] = answer.said
        return said

    def events(self, path: str, **headers: str) -> Events:
        """Takes the connection: what it is read with is what there is."""
        response = self._begin("GET", path, None, headers)
        assert response.status == 200, response.read()
        return Events(response)

    def close(self) -> None:
        self._connection.close()
