"""The leases of one channel: who may write under which token, and until when (PROTOCOL.md 6.12). Pure: told the time.

A token is in force from its grant until it is released, taken over, or lapsed. Time alone ends nothing: a lease whose
time is up is in force until the lapse has its place in the log, so that everything before that place was allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

import msgpack
from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import LEASES_MAX

# Under channel number 0 the key is this, the channel's number and the lease's name: at start all are found at once.
LEASE_ROW = b"l"
# A row of the channel: its highest token, which outlives every lease.
TOKEN_ROW = b"t"
# A channel's number is never used again, so the tokens of its next life lie above these: an old one fits no new lease.
TOKENS_PER_LIFE = 1 << 20
_U64 = Struct(">Q")


class Lease(NamedTuple):
    """One that is held. `taken_from` is the client that had it before, "" if it was free.

    `ends_ms` is by the steady clock.
    """

    name: str
    token: int
    holder: str
    ttl_ms: int
    nonce: int = 0
    taken_from: str = ""
    ends_ms: int = 0

    def left_ms(self, now_ms: int) -> int:
        return max(self.ends_ms - now_ms, 0)

    def pack(self) -> bytes:
        """What the store keeps. Not when it ends: a restart counts as a renewal."""
        packed: bytes = msgpack.packb(self[1:-1])
        return packed


def lease_key(number: int, name: str) -> bytes:
    return LEASE_ROW + _U64.pack(number) + name.encode()


def read_lease(key: bytes, value: bytes, now_ms: int) -> tuple[int, Lease]:
    """The channel's number and the lease that a row holds; it lives on for its ttl from now."""
    number = _U64.unpack_from(key, len(LEASE_ROW))[0]
    token, holder, ttl_ms, nonce, taken_from = msgpack.unpackb(value)
    name = key[len(LEASE_ROW) + _U64.size :].decode()
    return number, Lease(name, token, holder, ttl_ms, nonce, taken_from, now_ms + ttl_ms)


def pack_token(token: int) -> bytes:
    return _U64.pack(token)


def read_token(value: bytes | None) -> int:
    return 0 if value is None else _U64.unpack(value)[0]


class Leases:
    """Includes what is accepted and not on disk yet: answers that reveal it wait for the commit."""

    __slots__ = ("_by_name", "_by_token", "_number", "highest")

    def __init__(self, number: int, highest: int, held: Iterable[Lease] = ()) -> None:
        self._number = number
        self.highest = highest
        self._by_name: dict[str, Lease] = {}
        self._by_token: dict[int, Lease] = {}
        for lease in held:
            self._keep(lease)

    def __len__(self) -> int:
        return len(self._by_name)

    def held(self) -> list[Lease]:
        """In byte order of their names."""
        return [self._by_name[name] for name in sorted(self._by_name, key=str.encode)]

    def _keep(self, lease: Lease) -> Lease:
        self._by_name[lease.name] = self._by_token[lease.token] = lease
        return lease

    # --- asking -------------------------------------------------------------------------------------------

    def again(self, name: str, nonce: int, now_ms: int) -> Lease | None:
        """The lease as it was granted under this nonce, renewed; None when it was not, or is not any more."""
        lease = self._by_name.get(name)
        return self._renewed(lease, now_ms) if lease is not None and nonce and lease.nonce == nonce else None

    def acquire(self, wanted: Lease, take_over: bool, now_ms: int) -> Lease:
        """The lease with its token, from now on. Raises `lease_held` and `limit_exceeded`."""
        known = self._by_name.get(wanted.name)
        if known is not None and not take_over:
            text = f"lease {wanted.name!r} is held by client {known.holder!r}"
            left_ms = known.left_ms(now_ms)
            raise ProtocolError(ErrorCode.LEASE_HELD, text, holder=known.holder, retry_after_ms=left_ms)
        if known is None and len(self._by_name) >= LEASES_MAX:
            text = f"the channel has {LEASES_MAX} leases"
            raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="leases", value=LEASES_MAX)
        if known is not None:
            self.end(known)
        self.highest = max(self.highest, self._number * TOKENS_PER_LIFE) + 1
        taken_from = known.holder if known is not None else ""
        return self._keep(wanted._replace(token=self.highest, taken_from=taken_from, ends_ms=now_ms + wanted.ttl_ms))

    def under(self, token: int) -> Lease:
        """The lease whose token this is. Raises `fenced`."""
        lease = self._by_token.get(token)
        if lease is None:
            text = f"token {token} is not in force: the highest that was given is {self.highest}"
            raise ProtocolError(ErrorCode.FENCED, text, token=self.highest)
        return lease

    def renew(self, token: int, now_ms: int) -> Lease:
        """Raises `fenced`."""
        return self._renewed(self.under(token), now_ms)

    def _renewed(self, lease: Lease, now_ms: int) -> Lease:
        return self._keep(lease._replace(ends_ms=now_ms + lease.ttl_ms))

    # --- ending -------------------------------------------------------------------------------------------

    def due(self, now_ms: int) -> list[Lease]:
        """Those whose time is up, in the order of their ends."""
        return sorted((each for each in self._by_name.values() if each.ends_ms <= now_ms), key=_ends_ms)

    @property
    def next_ms(self) -> int | None:
        """When the first of them ends, None when none is held."""
        return min(map(_ends_ms, self._by_name.values()), default=None)

    def end(self, lease: Lease) -> None:
        """It is released, lapsed, or taken over: its token is dead."""
        del self._by_name[lease.name], self._by_token[lease.token]


def _ends_ms(lease: Lease) -> int:
    return lease.ends_ms
