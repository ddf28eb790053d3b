"""Handshakes that succeed, and those that do not, against a real broker."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from outlast_broker import server
from outlast_broker.doors.address import TcpAddress
from outlast_protocol import Connection, ErrorCode, Role
from outlast_protocol.frames import Error, Hello, Welcome, encode

from tests.support.broker import PATIENCE_S, Broker, RawClient, running_broker
from tests.support.certificates import HOST, Authority

T = TypeVar("T")
CLIENT_HELLO_HEAD = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(authority: Authority) -> Iterator[Broker]:
    with running_broker(listen=("tls:127.0.0.1:0", "127.0.0.1:0"), tls=authority.server()) as broker:
        yield broker


def port_of(broker: Broker, tls: bool) -> int:
    return next(each.port for each in broker.addresses if isinstance(each, TcpAddress) and each.tls is tls)


def plain(broker: Broker, tls: bool = True) -> socket.socket:
    """A connection without TLS, to the address with it or the other one."""
    return socket.create_connection((HOST, port_of(broker, tls)), PATIENCE_S)


def wrapped(broker: Broker, context: ssl.SSLContext, tls: bool = True) -> ssl.SSLSocket:
    return context.wrap_socket(plain(broker, tls), server_hostname=HOST)


def all_of(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65_536), b""))


def trusting_all() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def has_failed(broker: Broker, times: int) -> None:
    """The broker notices a little later than the client."""
    for _ in range(1_000):
        if broker.within(lambda server: server.counters.handshakes_failed) == times:
            return
    raise AssertionError(f"{times} handshakes should have failed")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_frames_go_through_it(broker: Broker, authority: Authority, version: ssl.TLSVersion) -> None:
    context = authority.trusting()
    context.minimum_version = context.maximum_version = version
    with wrapped(broker, context) as sock:
        client = RawClient(sock, "alice")
        client.hello()
        client.publish(client.open("room").number, "x" * 900_000)


@pytest.mark.parametrize("piece", [1, 1_000])
def test_what_comes_with_the_end_of_the_handshake_is_not_lost(broker: Broker, authority: Authority, piece: int) -> None:
    """The client's Finished and its first frame come in one segment, its first words in pieces."""
    came, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.trusting().wrap_bio(came, said, server_hostname=HOST)
    with plain(broker) as sock:

        def until_done(step: Callable[[], T]) -> T:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    words = said.read()
                    for start in range(0, len(words), piece):
                        sock.send(words[start : start + piece])
                    came.write(sock.recv(65_536))

        until_done(tls.do_handshake)
        tls.write(encode(Hello([1], "alice")))
        codec = Connection(Role.CLIENT)
        codec.send(Hello([1], "alice"))
        [welcome] = codec.receive(until_done(lambda: tls.read(65_536)))
        assert isinstance(welcome, Welcome)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_older_than_1_2_is_refused(broker: Broker, authority: Authority) -> None:
    before = broker.within(lambda server: server.counters.handshakes_failed)
    context = authority.trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="(?i)alert.protocol.version"):
        wrapped(broker, context)
    has_failed(broker, before + 1)


def test_a_client_without_tls_is_told_so_as_a_client(broker: Broker) -> None:
    with plain(broker) as sock:
        sock.sendall(encode(Hello([1], "alice")))
        [error] = Connection(Role.CLIENT).receive(all_of(sock))
        assert isinstance(error, Error) and error.code == ErrorCode.BAD_MAGIC and "outlasts://" in error.message


def test_a_browser_without_tls_is_told_so_in_http(broker: Broker) -> None:
    with plain(broker) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = all_of(sock)
        assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer


def test_one_without_tls_may_go_on_talking(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    with plain(broker) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        assert sock.recv(12) == b"HTTP/1.1 400"
        sock.sendall(b"Host: x\r\n\r\n")
        assert b"https://" in all_of(sock)
    with wrapped(broker, trusting_all()) as other:
        RawClient(other, "alice").hello()
    assert not caplog.records


def test_a_client_with_tls_where_none_is_spoken_hears_it_from_its_library(broker: Broker, authority: Authority) -> None:
    with pytest.raises(ssl.SSLError, match="(?i)handshake.failure"):
        wrapped(broker, authority.trusting(), tls=False)


def test_half_a_handshake_ends_in_time_and_is_counted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TICK_S", 0.01)
    with running_broker(listen=("tls:127.0.0.1:0",), tls=authority.server(), handshake_timeout_ms=200) as broker:
        for said in (b"", b"\x16", CLIENT_HELLO_HEAD):
            with plain(broker) as sock:
                sock.sendall(said)
                try:
                    assert all_of(sock) == b""
                except ConnectionResetError:
                    continue
        has_failed(broker, 3)
        with wrapped(broker, authority.trusting()) as sock:
            RawClient(sock, "alice").hello()


def test_one_who_has_the_alert_and_goes_on_is_cut_off_in_time(authority: Authority) -> None:
    files = replace(authority.server(), client_ca=authority.file)
    context = authority.trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with running_broker(listen=("tls:127.0.0.1:0",), tls=files, handshake_timeout_ms=200) as broker:
        with plain(broker) as sock:
            with pytest.raises(ssl.SSLError, match="(?i)alert.handshake.failure"):
                context.wrap_socket(sock.dup(), server_hostname=HOST)
            with pytest.raises(OSError):
                while True:
                    sock.sendall(bytes(65_536))
        has_failed(broker, 1)


def test_one_who_is_silent_behind_the_handshake_is_sent_away(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TICK_S", 0.01)
    listening = running_broker(listen=("tls:127.0.0.1:0",), tls=authority.server(), hello_timeout_ms=100)
    with listening as broker, wrapped(broker, authority.trusting()) as sock:
        stranger = RawClient(sock, "stranger")
        assert stranger.expect(Error).code == ErrorCode.HELLO_TIMEOUT
        stranger.sees_close()


def test_one_who_leaves_within_the_handshake_disturbs_nobody(broker: Broker, authority: Authority) -> None:
    for said in (b"\x16", CLIENT_HELLO_HEAD, b"\x16\x03\x01\x00\x05hello"):
        with plain(broker) as sock:
            sock.sendall(said)
    with wrapped(broker, authority.trusting()) as sock:
        RawClient(sock, "alice").hello()


def test_with_a_client_ca_strangers_are_refused(authority: Authority) -> None:
    files = replace(authority.server(), client_ca=authority.file)
    with running_broker(listen=("tls:127.0.0.1:0",), tls=files) as broker:
        with wrapped(broker, authority.trusting(authority.client())) as sock:
            RawClient(sock, "alice").hello()
        for certificate, reason in ((None, "certificate.required"), (foreign(authority), "unknown.ca")):
            with (
                wrapped(broker, authority.trusting(certificate)) as sock,
                pytest.raises(ssl.SSLError, match=f"(?i)alert.{reason}"),
            ):
                RawClient(sock, "mallory").hello()
        has_failed(broker, 2)
        older = authority.trusting()
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match="(?i)alert.handshake.failure"):
            wrapped(broker, older)
        has_failed(broker, 3)


def foreign(authority: Authority) -> Path:
    """A client's certificate of which the broker knows nothing."""
    folder = authority.file.parent / "foreign"
    folder.mkdir(exist_ok=True)
    return Authority(folder).client()
