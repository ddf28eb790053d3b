"""What a whole run writes to its log: no token, by whichever door it came and however it was wrong."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

from outlast_broker.doors.address import TcpAddress, parse_address
from outlast_protocol.frames import Error, Hello

from tests.support.broker import PATIENCE_S, RawClient
from tests.support.credentials import SECRET, Credentials, secret_key
from tests.support.supervised import Listener, started
from tests.support.web import WebClient


def address_of(process: subprocess.Popen[str]) -> TcpAddress:
    """Where it says that it is ready."""
    assert process.stderr is not None
    for line in process.stderr:
        if "ready at outlast://" in line:
            address = parse_address(line.split("outlast://")[1].split()[0])
            assert isinstance(address, TcpAddress), line
            return address
    raise AssertionError("it ended before it was ready")


def say_hello(address: TcpAddress, token: str) -> object:
    with socket.create_connection((address.host, address.port), PATIENCE_S) as own:
        alice = RawClient(own, "alice")
        alice.send(Hello([1], "alice", None, 15_000, token=token))
        return alice.receive()


def say_http(address: TcpAddress, token: str) -> None:
    web = WebClient(address.port)
    web.ask("GET", "/v1/channels", Authorization=f"Bearer {token}")
    web.ask("GET", f"/v1/channels?access_token={token}")
    web.ask("GET", f"/v1/channels/room/events?access_token={token}&last=1", Authorization=f"Bearer {token}")
    web.ask("GET", f"/v1/channels/{token}", Authorization=token)
    web.close()
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    web = WebClient(address.port)
    web.ask("GET", "/v1/ws", Sec_WebSocket_Protocol=f"outlast.v1, bearer.{token}", **upgrade)
    web.close()


def say_nonsense(address: TcpAddress, token: str) -> None:
    for head in (
        f"GET /?access_token={token} HTTP/9.9",
        f"GET / HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\tx: \0y",
    ):
        with socket.create_connection((address.host, address.port), PATIENCE_S) as own:
            own.sendall(f"{head}\r\n\r\n".encode())
            while own.recv(65_536):
                pass


def test_no_token_is_in_the_log(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    good = credentials.token("alice")
    static = credentials.static("alice", secret="dGhlLXNlY3JldC1vZi1hLXN0YXRpYy1rZXk-x")
    wrong = [
        credentials.token("alice", key=secret_key("two", "A" * 43)),
        credentials.token("alice", exp=1),
        good[:-4] + "AAAA",
        static[:-6] + "AAAAAA",
    ]
    files = ("--auth-keys", str(credentials.keys), "--auth-jwks", str(credentials.jwks))
    with (
        Listener(tmp_path / "notify") as listener,
        started(listener, "--memory", "--listen", "127.0.0.1:0", "--log-level", "debug", *files) as process,
    ):
        address = address_of(process)
        listener.until("READY")
        assert not isinstance(say_hello(address, good), Error) and not isinstance(say_hello(address, static), Error)
        assert all(isinstance(say_hello(address, token), Error) for token in wrong)
        for token in (good, static, *wrong):
            say_http(address, token)
            say_nonsense(address, token)
        process.terminate()
        assert process.stderr is not None
        written = process.stderr.read()
    events = {json.loads(line)["event"] for line in written.splitlines()}
    assert {"unauthorized", "refused"} <= events, "the run did say something about them"
    for token in (good, static, *wrong):
        for part in (token, *token.split(".")[1:], token.rpartition("_")[2]):
            assert part not in written
    assert SECRET not in written
