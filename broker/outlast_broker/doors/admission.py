"""Who is let in: connections and what comes over them, counted by address and by client. Pure; times are steady.

A socket's other end is a `Peer` from when it has said what it speaks until it is gone.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TypeVar

from outlast_protocol import ErrorCode, ProtocolError

from ..metering.counters import Counters
from .bucket import Bucket, Meter, Rates
from .limits import Limits

K = TypeVar("K")
# Who finds everything taken comes back after so long: others will have left.
RETRY_MS = 5_000
# Whoever has one address of IPv6 has all that share so many bits with it.
IPV6_BITS = 64


class Account:
    """The connections of one address or one client, and what they may send together."""

    __slots__ = ("connections", "connects", "meter")

    def __init__(self, rates: Rates, connects_per_s: int, now_ms: int) -> None:
        self.connections = 0
        self.meter = Meter(rates, now_ms) if any(rates) else None
        self.connects = Bucket(connects_per_s, now_ms) if connects_per_s else None

    def is_forgettable(self, now_ms: int) -> bool:
        """Nobody is there, and nothing is owed that coming back would wipe out."""
        paid = (self.meter is None or self.meter.is_full(now_ms)) and (
            self.connects is None or self.connects.is_full(now_ms)
        )
        return paid and not self.connections


class Peer:
    """`meters` say how fast it may be read."""

    __slots__ = ("_admission", "_client", "address", "meters")

    def __init__(self, admission: Admission | None, address: Account | None, meters: tuple[Meter, ...]) -> None:
        self._admission = admission
        self._client: Account | None = None
        self.address = address
        self.meters = meters

    def is_client(self, client: Account) -> None:
        self._client = client
        client.connections += 1
        if client.meter is not None:
            self.meters += (client.meter,)

    def beside(self) -> Peer:
        """For one more client over the same socket, which counts once."""
        return Peer(None, None, self.meters)

    def leave(self) -> None:
        """The socket is gone, or this client of it."""
        if self._admission is not None:
            self._admission.connections -= 1
        for account in (self.address, self._client):
            if account is not None:
                account.connections -= 1


class Admission:
    """`limits` may be replaced at any time: they hold for those who come from then on."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self.limits = limits
        self._counters = counters
        self.connections = 0
        self._addresses: dict[str, Account] = {}
        self._clients: dict[bytes, Account] = {}

    # --- connections --------------------------------------------------------------------------------------

    def enter(self, address: str, now_ms: int) -> Peer:
        """Raises ProtocolError when there is no room for one more. `address` "": of this machine, and not counted."""
        try:
            return self._enter(address, now_ms)
        except ProtocolError:
            self._counters.turned_away += 1
            raise

    def _enter(self, address: str, now_ms: int) -> Peer:
        limits = self.limits
        account = self._account_at(address, now_ms) if address else None
        _check_room("connections", self.connections, limits.connections)
        if account is not None:
            _check_room("connections_per_address", account.connections, limits.connections_per_address)
            if account.connects is not None and (wait_ms := account.connects.take(1, now_ms)):
                raise _too_fast("address_connects_per_s", wait_ms)
            account.connections += 1
        self.connections += 1
        own = Meter(limits.of_connection, now_ms) if any(limits.of_connection) else None
        shared = None if account is None else account.meter
        return Peer(self, account, tuple(meter for meter in (own, shared) if meter is not None))

    def greet(self, peer: Peer, client: bytes, now_ms: int) -> None:
        """The peer has said who it is. Raises ProtocolError when there are too many of it."""
        account = self._account_of(client, now_ms)
        _check_room("connections_per_client", account.connections, self.limits.connections_per_client)
        peer.is_client(account)

    # --- requests without a connection of their own -------------------------------------------------------

    def request(self, client: bytes, came: Rates, now_ms: int) -> None:
        """As the function `request`, for a client."""
        if any(self.limits.of_client) and (meter := self._account_of(client, now_ms).meter) is not None:
            request((meter,), came, now_ms)

    # --- looking after things -----------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Forgets whom nothing is known of any more."""
        _forget(self._addresses, now_ms)
        _forget(self._clients, now_ms)

    def _account_at(self, address: str, now_ms: int) -> Account:
        account = self._addresses.get(address)
        if account is None:
            limits = self.limits
            account = self._addresses[address] = Account(limits.of_address, limits.address_connects_per_s, now_ms)
        return account

    def _account_of(self, client: bytes, now_ms: int) -> Account:
        account = self._clients.get(client)
        if account is None:
            account = self._clients[client] = Account(self.limits.of_client, 0, now_ms)
        return account


def request(meters: tuple[Meter, ...], came: Rates, now_ms: int) -> None:
    """Of HTTP, where reading later would not be understood. Raises ProtocolError while something is owed."""
    if wait_ms := max((each.wait_ms(now_ms) for each in meters), default=0):
        raise _too_fast("requests", wait_ms)
    for each in meters:
        each.take(came, now_ms)


def counted_as(name: object) -> str:
    """Whom to count a socket for, by its other end's name; "": nobody, for it comes from this machine.

    What stands in front of the broker here, a proxy or a tunnel, has all its users come from one address.
    """
    if not isinstance(name, tuple):
        return ""
    address = ip_address(name[0].partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            shared = int(address) >> (128 - IPV6_BITS) << (128 - IPV6_BITS)
            return "" if address.is_loopback else str(IPv6Address(shared))
        address = address.ipv4_mapped
    return "" if address.is_loopback else str(address)


def _forget(accounts: dict[K, Account], now_ms: int) -> None:
    for key in [key for key, account in accounts.items() if account.is_forgettable(now_ms)]:
        del accounts[key]


def _check_room(limit: str, count: int, most: int) -> None:
    if most and count >= most:
        text = f"{count} are connected, allowed are {most}"
        raise ProtocolError(ErrorCode.OVERLOADED, text, limit=limit, retry_after_ms=RETRY_MS)


def _too_fast(limit: str, wait_ms: int) -> ProtocolError:
    text = f"more came than is taken in this time; it goes on in {wait_ms} ms"
    return ProtocolError(ErrorCode.RATE_LIMITED, text, limit=limit, retry_after_ms=wait_ms)
