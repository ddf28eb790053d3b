"""Writer leases: a right to write that ends by itself when its holder does (PROTOCOL.md 6.12).

The lease itself is in the broker. Here is what asks for it, renews it, publishes under its token, and gives it back.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import secrets
from collections.abc import Iterable, Mapping
from random import random
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from outlast_protocol import Data, Headers, frames
from outlast_protocol.limits import LEASE_MS_MAX, LEASE_NAME_BYTES_MAX

from .errors import Fenced, LeaseHeld, OutlastError
from .options import check_name
from .records import Ack, Message

if TYPE_CHECKING:
    from .channel import Channel
    from .growing import Content
    from .link import Answer, Link
    from .message import MessageWriter
    from .outbox import Lane, Outbox

LEASE_MS_MIN = 1_000
# Who waits for a lease asks again so often: one that is released is free before its time is up.
ASK_AGAIN_MS_MIN = 50
ASK_AGAIN_MS_MAX = 1_000
RENEW_AGAIN_MS_MIN = 100

_log = logging.getLogger("outlast")


class LeaseInfo(NamedTuple):
    """A lease as lists show it: `left_ms` until it lapses, unless it is renewed."""

    name: str
    holder: str
    token: int
    ttl_ms: int
    left_ms: int


def info_from(result: Mapping[str, Any]) -> LeaseInfo:
    return LeaseInfo(result["lease"], result["holder"], result["token"], result["ttl_ms"], result["left_ms"])


class Terms(NamedTuple):
    """How a lease is asked for. `timeout` is in seconds, None: for ever."""

    name: str
    ttl_ms: int
    wait: bool
    timeout: float | None
    take_over: bool


def terms(name: str, ttl: float, wait: bool, timeout: float | None, take_over: bool) -> Terms:
    """Raises ValueError and TypeError."""
    check_name("a lease's name", name, LEASE_NAME_BYTES_MAX)
    if not isinstance(ttl, int | float) or isinstance(ttl, bool):
        raise TypeError(f"ttl is {type(ttl).__name__}, expected seconds as a number")
    if not LEASE_MS_MIN <= ttl * 1000 <= LEASE_MS_MAX:
        raise ValueError(f"ttl is {ttl} s, expected {LEASE_MS_MIN // 1000} to {LEASE_MS_MAX // 1000}")
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout is {timeout} s, expected 0 or more, or None to wait for ever")
    return Terms(name, round(ttl * 1000), wait, timeout, take_over)


class Way(NamedTuple):
    """How a channel's requests and publishes go out."""

    link: Link
    outbox: Outbox
    lane: Lane


class Lease:
    """Made by `channel.lease(...)`, without I/O. `async with` takes it, renews it, and gives it back.

    `lost` is set when the broker says that it is not ours any more; everything under it raises Fenced from then on.
    """

    def __init__(self, channel: Channel, way: Way, terms: Terms) -> None:
        self.name = terms.name
        self.ttl = terms.ttl_ms / 1000
        self.taken_from = ""
        self.lost = asyncio.Event()
        self._channel = channel
        self._way = way
        self._terms = terms
        # An answer may be lost with its connection: under the same nonce the broker gives it again.
        self._nonce = secrets.randbits(64) or 1
        self._token = 0
        self._over: Fenced | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._refusal: LeaseHeld | None = None

    def __repr__(self) -> str:
        return f"<outlast.Lease {self.name!r} of {self._channel.name!r}, token {self._token}>"

    @property
    def token(self) -> int:
        """Higher than that of every lease of this channel before. Raises RuntimeError before the lease is taken."""
        if not self._token:
            raise RuntimeError(f"lease {self.name!r} is not taken yet: use `async with channel.lease(...) as lease`")
        return self._token

    @property
    def is_held(self) -> bool:
        """As far as is known here. Only the broker knows: a publish under the lease is the proof."""
        return bool(self._token) and self._over is None

    # --- taking and giving back ---------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    async def acquire(self) -> None:
        """Takes the lease, over as many connections as that takes. Raises LeaseHeld."""
        if self._token:
            raise RuntimeError("a lease is taken once: call channel.lease() again for another one")
        try:
            async with asyncio.timeout(self._terms.timeout):
                result = await self._granted()
        except TimeoutError:
            text = f"lease {self.name!r} was not granted within {self._terms.timeout:g} s: no connection"
            raise self._refusal or LeaseHeld(text) from None
        self._token, self.taken_from = result["token"], result["holder"]
        self._way.lane.fenced[self._token] = self._lose
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def _granted(self) -> Mapping[str, Any]:
        """What the broker grants. Asks again as long as it is worth it."""
        while True:
            try:
                return await self._ask()
            except OutlastError as error:
                self._refusal = error if isinstance(error, LeaseHeld) else self._refusal
                if not self._terms.wait or not error.retryable:
                    raise
                wait_ms = min(error.retry_after_ms, ASK_AGAIN_MS_MAX) + ASK_AGAIN_MS_MIN * (1 + random())
            await asyncio.sleep(wait_ms / 1000)

    async def _ask(self) -> Mapping[str, Any]:
        name, ttl_ms, take_over = self.name, self._terms.ttl_ms, self._terms.take_over
        reply = await self._way.link.call_in(
            self._channel.name,
            lambda request, number: frames.Lease(request, number, name, ttl_ms, take_over, self._nonce),
            create=True,
            unheard=self._give_back,
        )
        return reply.result

    def _give_back(self, answer: Answer) -> None:
        """Nobody waits for it any more: what is granted now must not have to lapse."""
        link = self._way.link
        life = link.life(self._channel.name)
        if life is not None and isinstance(answer, frames.Reply):
            token: int = answer.result["token"]
            link.request(lambda request: frames.Release(request, life.number, token), lambda answer: None)

    async def release(self) -> None:
        """Waits for what was published under the lease, then gives it back. Messages that it leaves open are closed.

        Takes no longer than the ttl: after that the lease lapses by itself.
        """
        try:
            if self.is_held:
                async with asyncio.timeout(self.ttl):
                    await self._way.outbox.settled(self._way.lane, self._token)
                    await self._hand_in()
        except (TimeoutError, OutlastError) as error:
            _log.info("lease %r of %r is left to lapse: %s", self.name, self._channel.name, error)
        finally:
            over = Fenced(f"lease {self.name!r} was released", detail={"token": self._token})
            over.advice = "make another one by channel.lease()"
            self._end(over)

    async def _hand_in(self) -> None:
        if self.is_held:
            await self._way.link.call_in(
                self._channel.name, lambda request, number: frames.Release(request, number, self._token)
            )

    # --- keeping it ---------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        try:
            while True:
                await asyncio.sleep(self.ttl / 3)
                await self._renew()
        except OutlastError as error:
            self._lose(error)

    async def _renew(self) -> None:
        while True:
            try:
                await self._way.link.call_in(
                    self._channel.name, lambda request, number: frames.Renew(request, number, self._token)
                )
                return
            except OutlastError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(max(error.retry_after_ms, RENEW_AGAIN_MS_MIN) / 1000)

    def _lose(self, error: OutlastError) -> None:
        if self._over is None:
            _log.warning("lease %r of %r is lost: %s", self.name, self._channel.name, error)
            self._end(error if isinstance(error, Fenced) else Fenced(f"lease {self.name!r} is lost: {error.message}"))
            self.lost.set()

    def _end(self, reason: Fenced) -> None:
        self._over = self._over or reason
        self._way.lane.fenced.pop(self._token, None)
        if self._keeping is not None and self._keeping is not asyncio.current_task():
            self._keeping.cancel()

    # --- publishing ---------------------------------------------------------------------------------------

    def fence(self) -> int:
        """The token to publish under. Raises Fenced once the lease is over, and RuntimeError before it is taken."""
        if self._over is not None:
            raise copy.copy(self._over)
        return self.token

    async def publish(
        self,
        data: Data,
        *,
        name: str | None = None,
        headers: Headers | None = None,
        if_offset: int | None = None,
        ttl: float | None = None,
    ) -> Ack:
        """As `channel.publish`, and only if the lease is ours when it is stored. Raises Fenced."""
        return await self._channel.publish(data, name=name, headers=headers, if_offset=if_offset, lease=self, ttl=ttl)

    def publish_nowait(
        self,
        data: Data,
        *,
        name: str | None = None,
        headers: Headers | None = None,
        if_offset: int | None = None,
        ttl: float | None = None,
    ) -> asyncio.Future[Ack]:
        """As `channel.publish_nowait`; the future gets Fenced when the lease is not ours any more."""
        return self._channel.publish_nowait(data, name=name, headers=headers, if_offset=if_offset, lease=self, ttl=ttl)

    async def publish_many(self, messages: Iterable[Data | Message], *, if_offset: int | None = None) -> Ack:
        """As `channel.publish_many`, and only if the lease is ours when they are stored. Raises Fenced."""
        return await self._channel.publish_many(messages, if_offset=if_offset, lease=self)

    def message(self, *, name: str | None = None, headers: Headers | None = None, data: Content = "") -> MessageWriter:
        """As `channel.message`. The message belongs to the lease: who takes that over may go on with it."""
        return self._channel.message(name=name, headers=headers, data=data, lease=self)
