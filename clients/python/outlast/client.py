"""The client: its links, its channels, and their common end."""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from outlast_protocol import frames

from . import address, token as token_of, trust
from .backoff import BASE_MS_DEFAULT, CAP_MS_DEFAULT, Pace
from .channel import Channel
from .ephemeral import Hearing
from .errors import Closed, ConnectFailed, Forbidden, OutlastError, TokenExpired, Unauthorized
from .link import Link
from .options import LinkState, OnState, Options, WhenFull, check_channel_name
from .outbox import Outbox
from .records import ChannelSummary, ConnectionInfo, connection_from, summary_from
from .subscription import Feed
from .token import TokenSource

BUFFER_BYTES_DEFAULT = 8 * 1_048_576
HEARTBEAT_MS_DEFAULT = 15_000
LIST_PAGE = 500
CONNECTIONS_PAGE = 500


def connect(
    url: str | None = None,
    *,
    client_id: str | None = None,
    timeout: float | None = 10.0,
    close_timeout: float = 5.0,
    buffer_bytes: int = BUFFER_BYTES_DEFAULT,
    when_full: WhenFull = "wait",
    on_state: OnState | None = None,
    producer: tuple[int, int] | None = None,
    token: TokenSource = None,
    ssl_context: ssl.SSLContext | None = None,
    heartbeat_ms: int = HEARTBEAT_MS_DEFAULT,
    backoff_base_ms: int = BASE_MS_DEFAULT,
    backoff_cap_ms: int = CAP_MS_DEFAULT,
) -> Client:
    """A client for `async with`: entering it connects, leaving it waits for acknowledgements.

    - url: outlast[s]://HOST[:PORT], outlast+unix:///PATH; default OUTLAST_URL, else outlast://127.0.0.1:6180.
    - client_id: whose records these are, for readers to see; by default what the token says, or a random one.
    - timeout: seconds that entering tries to connect before ConnectFailed; None: for ever.
    - close_timeout: seconds that leaving waits for publishes that are not acknowledged.
    - buffer_bytes: bound of what is not acknowledged. A message counts its bytes and 256 more.
    - when_full: beyond it, `publish` waits ("wait") or raises BufferFull ("raise").
    - on_state: called with ("connecting" | "open" | "waiting" | "closed", reason) at each change.
    - producer: (id, epoch) of a publisher that restarts under one id. The epoch MUST be higher after each
      restart, else new messages are taken for ones that are stored already. Random by default.
    - token: text, or an async function that gives one; by default OUTLAST_TOKEN, or the content of OUTLAST_TOKEN_FILE.
    - ssl_context: whom to trust with outlasts://; by default OUTLAST_CA_FILE, or what the system trusts.
    - heartbeat_ms: how long silence may last.
    - backoff_base_ms, backoff_cap_ms: reconnecting waits at random up to a bound that doubles between these.

    Raises ValueError or TypeError for an argument that cannot be right.
    """
    return Client(
        Options(
            address=(chosen := address.choose(url, os.environ)),
            ssl_context=ssl_context or trust.choose(os.environ, chosen.tls),
            client_id=client_id,
            producer=producer if producer is not None else (secrets.randbits(64), 0),
            token=token_of.choose(token, os.environ),
            timeout=timeout,
            close_timeout=close_timeout,
            buffer_bytes=buffer_bytes,
            when_full=when_full,
            heartbeat_ms=heartbeat_ms,
            pace=Pace(backoff_base_ms, backoff_cap_ms),
            on_state=on_state,
        )
    )


class Client:
    """Made by `connect`. Lives in one event loop, and once: make a new one after `close`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._channels: dict[str, Channel] = {}
        self._link: Link | None = None
        self._outbox: Outbox | None = None
        self._extra: list[Link] = []
        self._leaving: list[Link] = []
        self._hearing = Hearing(self, options.pace)
        self._closed = False

    @property
    def state(self) -> LinkState:
        """ "connecting", "open", "waiting" for the next attempt, or "closed"."""
        if self._closed:
            return "closed"
        return self._link.state if self._link is not None else "connecting"

    @property
    def client_id(self) -> str:
        """The name under which this client publishes; "" if the broker has not said it yet."""
        return self._link.bounds.client_id if self._link is not None else self._options.client_id or ""

    async def __aenter__(self) -> Self:
        if self._link is not None:
            raise RuntimeError("a client can be entered once: call connect() again for another one")
        options = self._options
        self._link = Link(options, options.on_state, publishes=True)
        self._link.ears = self._hearing
        self._outbox = Outbox(self._link, options.buffer_bytes, options.when_full, options.pace)
        self._link.listeners.append(self._outbox)
        self._link.start()
        try:
            async with asyncio.timeout(options.timeout):
                await self._link.ready()
        except (TimeoutError, OutlastError) as error:
            await self.close()
            raise self._connect_failed(self._link.failure or error) from error
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _connect_failed(self, cause: BaseException) -> OutlastError:
        url = self._options.address.url
        if isinstance(cause, Unauthorized | TokenExpired | Forbidden):
            return cause
        if isinstance(cause, OutlastError) and not cause.retryable:
            failed = ConnectFailed(f"{url} refuses this client: {cause.code}, {cause.message}")
            failed.retryable, failed.advice = False, cause.advice
            return failed
        reason = cause.message if isinstance(cause, OutlastError) else "no answer"
        failed = ConnectFailed(f"no connection to {url} within {self._options.timeout:g} s: {reason}")
        if isinstance(cause, ConnectFailed):
            failed.advice = cause.advice
        return failed

    async def close(self) -> None:
        """Waits up to `close_timeout` for acknowledgements, then closes. May be called twice.

        What is not acknowledged then fails with Closed, and so do subscriptions that are iterated.
        """
        if self._closed or self._link is None or self._outbox is None:
            self._closed = True
            return
        try:
            await self._outbox.close(self._options.close_timeout)
        finally:
            self._closed = True
            await self._hang_up()

    async def _hang_up(self) -> None:
        assert self._link is not None
        for channel in self._channels.values():
            channel.presence.close()
        self._hearing.close()
        links = [self._link, *self._extra, *self._leaving]
        for link in links:
            for reader in list(link.readers.values()):
                reader.fail(Closed("the client was closed"))
            link.close()
        for link in links:
            await link.gone()

    # --- channels -----------------------------------------------------------------------------------------

    def channel(self, name: str) -> Channel:
        """The channel of that name; no I/O. 1 to 255 bytes of UTF-8 without control characters."""
        known = self._channels.get(name)
        if known is None:
            check_channel_name(name)
            if self._link is None or self._outbox is None:
                raise Closed("the client is not open yet: use `async with outlast.connect(...) as client`")
            known = Channel(name, self._link, self._outbox, self, self._options.pace, self._hearing)
            self._channels[name] = known
        return known

    async def channels(self, *, prefix: str = "") -> AsyncIterator[ChannelSummary]:
        """The channels whose names begin with `prefix`, in the byte order of their names."""
        if prefix:
            check_channel_name(prefix)
        link = self._opened()
        ask = frames.List(0, prefix, None, LIST_PAGE)
        more = True
        while more:
            reply = await link.call_again(partial(_requested, ask), frames.Reply)
            rows = [summary_from(row) for row in reply.result["channels"]]
            for row in rows:
                yield row
            more = bool(rows) and reply.result["more"]
            ask = ask._replace(after=rows[-1].name if rows else None)

    # --- the broker itself --------------------------------------------------------------------------------

    async def status(self) -> Mapping[str, Any]:
        """What the broker is and does now: the map of PROTOCOL.md 6.16, by its keys."""
        reply = await self._opened().call_again(frames.Status, frames.Reply)
        return reply.result

    async def connections(self) -> AsyncIterator[ConnectionInfo]:
        """Who is connected to the broker, in the order in which they came; this client, too."""
        link, after, more = self._opened(), 0, True
        while more:
            ask = partial(frames.Connections, after=after, limit=CONNECTIONS_PAGE)
            reply = await link.call_again(ask, frames.Reply)
            rows = [connection_from(row) for row in reply.result["connections"]]
            for row in rows:
                yield row
            after, more = rows[-1].id if rows else 0, bool(rows) and reply.result["more"]

    async def compact(self) -> tuple[int, int]:
        """Has the broker write its file anew, without free space and what was deleted; it goes on serving meanwhile.

        Returns how many bytes the file had, and has. Raises ReadOnly if the disk has no room for the copy.
        """
        reply = await self._opened().call_again(frames.Compact, frames.Reply)
        return reply.result["before_bytes"], reply.result["after_bytes"]

    async def revoke(self, *, subject: str | None = None, token_id: str | None = None) -> int:
        """Has the broker not believe tokens any more: those of `subject` issued until now, or the one with `token_id`.

        Who came with one is cut off: returns how many connections were. Takes `manage` on all channels.
        """
        ask = partial(frames.Revoke, subject=subject, token_id=token_id)
        reply = await self._opened().call_again(ask, frames.Reply)
        cut: int = reply.result["cut"]
        return cut

    async def revocations(self) -> AsyncIterator[Mapping[str, Any]]:
        """What the broker does not believe any more: subject and issued_before_ms, or token_id; and until_ms."""
        link, after, more = self._opened(), "", True
        while more:
            ask = partial(frames.Revocations, after=after, limit=LIST_PAGE)
            reply = await link.call_again(ask, frames.Reply)
            rows: list[Mapping[str, Any]] = reply.result["revocations"]
            for row in rows:
                yield row
            after, more = _name_of(rows[-1]) if rows else "", bool(rows) and reply.result["more"]

    def _opened(self) -> Link:
        if self._link is None:
            raise Closed("the client is not open yet: use `async with outlast.connect(...) as client`")
        return self._link

    # --- seats for subscriptions --------------------------------------------------------------------------

    def seat(self, feed: Feed) -> Link:
        """A link with no subscription to the feed's channel; a new one when all have one."""
        if self._closed or self._link is None:
            raise Closed("this client is closed")
        for link in self._links():
            occupant = link.readers.get(feed.name)
            while occupant is not None and occupant.abandoned:
                occupant.close()
                occupant = link.readers.get(feed.name)
            if feed.name not in link.readers and link.state != "closed":
                link.readers[feed.name] = feed
                return link
        self._leaving = [link for link in self._leaving if not link.is_gone]
        link = Link(self._options, None, publishes=False)
        link.bounds = self._link.bounds
        link.ears = self._hearing
        link.readers[feed.name] = feed
        self._extra.append(link)
        link.start()
        return link

    def leave(self, feed: Feed, link: Link) -> None:
        """Frees the feed's seat; an extra link with nobody on it is closed."""
        if link.readers.get(feed.name) is feed:
            del link.readers[feed.name]
        if link is not self._link and not link.readers and link in self._extra:
            self._extra.remove(link)
            self._leaving.append(link)
            link.close()
        self._hearing.ended(feed)

    def seated(self, name: str) -> Link | None:
        """The first link with a subscription to the channel."""
        return next((link for link in self._links() if name in link.readers), None)

    def _links(self) -> list[Link]:
        return [*([self._link] if self._link is not None else []), *self._extra]


def _name_of(revocation: Mapping[str, Any]) -> str:
    name: str = revocation.get("subject") or revocation["token_id"]
    return name


def _requested(ask: frames.List, request: int) -> frames.List:
    return ask._replace(request=request)
