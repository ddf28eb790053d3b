"""Handshakes in memory, whose failure is heard at the other end (doors/test_tls_door.py has them over sockets)."""

from __future__ import annotations

import contextvars
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from outlast_broker.doors.handshake import LISTENING
from outlast_broker.doors.tls import load

from tests.support.certificates import HOST, Authority

ALERT = b"\x15\x03\x03"


class Pair:
    """A broker that asks for a certificate, and a client that has none. With TLS 1.2 it is told in the clear."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        self.failures: list[ssl.SSLError] = []
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = load(replace(authority.server(), client_ca=authority.file))
        self.broker = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        older = authority.trusting()
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        self.client = older.wrap_bio(self.outgoing, self.incoming, server_hostname=HOST)

    def step(self, end: ssl.SSLObject) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()

    def up_to_the_end(self) -> None:
        for end in (self.client, self.broker, self.client):
            self.step(end)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_who_listens_is_told_and_so_is_the_other_end(pair: Pair) -> None:
    context = contextvars.copy_context()
    context.run(LISTENING.set, pair.failures.append)
    context.run(pair.up_to_the_end)
    pair.step(pair.broker)
    [failure] = pair.failures
    assert failure.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    with pytest.raises(ssl.SSLError, match="(?i)alert.handshake.failure"):
        pair.client.do_handshake()


def test_what_comes_after_it_is_for_nobody(pair: Pair) -> None:
    context = contextvars.copy_context()
    context.run(LISTENING.set, pair.failures.append)
    context.run(pair.up_to_the_end)
    pair.step(pair.broker)
    assert pair.outgoing.read().startswith(ALERT)
    pair.incoming.write(b"x" * 100_000)
    pair.step(pair.broker)
    assert (pair.incoming.pending, pair.outgoing.pending, len(pair.failures)) == (0, 0, 1)


def test_without_anybody_it_fails_as_ever(pair: Pair) -> None:
    pair.up_to_the_end()
    with pytest.raises(ssl.SSLError, match="(?i)peer.did.not.return"):
        pair.broker.do_handshake()
