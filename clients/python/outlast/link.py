"""A connection to the broker that comes back by itself, one wire after another.

The link keeps what outlives a wire. Requests do not: when a wire ends, each unanswered one is answered
with ConnectionLost, and whoever made it decides whether to ask again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from functools import partial
from random import random
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from outlast_protocol import Malformed, frames, limits
from outlast_protocol.frames import Frame

from .backoff import attempt_after, delay_ms
from .errors import (
    Closed,
    ConnectFailed,
    ConnectionLost,
    GoingAway,
    OutlastError,
    RateLimited,
    UnknownChannel,
    Violation,
    from_wire,
    is_fatal,
)
from .options import LinkState, OnState, Options
from .publisher import Bounds
from .token import Refresher, fetch
from .trust import tls_failed, unheard
from .turns import settle
from .wire import Wire

DIAL_TIMEOUT_MS = 10_000
LEAVE_TIMEOUT_MS = 5_000
CLOSE_TIMEOUT_MS = 1_000
REQUEST_MAX = 2**32 - 1
PUBLISH_HEAD_BYTES = 44
# Beyond so much that the socket has not taken, nothing more is sent that may as well be dropped.
ROOM_BYTES = 262_144
AGENT = "outlast-python/0.1.0"

_log = logging.getLogger("outlast")


class Acked(NamedTuple):
    """One acknowledgement of a PUBLISHED frame."""

    offset: int
    duplicate: bool


class Life(NamedTuple):
    """One life of a channel, under the number that this wire may use for it."""

    number: int
    epoch: int


Reply: TypeAlias = frames.Opened | frames.Subscribed | frames.Attached | frames.Page | frames.Reply
Answer: TypeAlias = Reply | Acked | OutlastError
OnAnswer: TypeAlias = Callable[[Answer], None]
R = TypeVar("R", frames.Opened, frames.Page, frames.Reply)


class Listener(Protocol):
    """Who wants to know when a wire is there and when it is gone."""

    def link_opened(self) -> None: ...

    def link_lost(self) -> None: ...


class Reader(Listener, Protocol):
    """A subscription as its link sees it."""

    name: str

    def delivered(self, batches: bytes) -> None: ...

    def resynced(self, resync: frames.Resync) -> None: ...

    @property
    def abandoned(self) -> bool:
        """Its user has dropped it; it can be closed."""
        ...

    def close(self) -> None: ...

    def fail(self, error: OutlastError) -> None: ...


class Witness(Protocol):
    """Who is told of a channel's presence on one wire."""

    def told(self, presence: frames.Presence) -> None: ...

    def deleted(self, number: int) -> None: ...


class Ears(Protocol):
    """Who wants to hear what is not stored, and from when on it comes."""

    def began(self, name: str) -> None: ...

    def heard(self, link: Link, name: str, batch: bytes) -> None: ...


class Link:
    """Dials, greets and comes back. `is_open` says whether requests can be made now."""

    def __init__(self, options: Options, on_state: OnState | None, *, publishes: bool) -> None:
        self._options = options
        self._on_state = on_state
        self._producer = list(options.producer) if publishes else None
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._wire: Wire | None = None
        self._attempt = 0
        self._not_before_ms = 0.0
        self._leave_timer: asyncio.TimerHandle | None = None
        self._request = 0
        self._answers: dict[int, OnAnswer] = {}
        self._lives: dict[str, Life] = {}
        self._routes: dict[int, Reader] = {}
        self._witnesses: dict[int, Witness] = {}
        self._reserved: dict[int, OnAnswer] = {}
        self._ready: list[asyncio.Future[None]] = []
        self._handlers: dict[type[Any], Callable[[Wire, Any], None]] = {
            frames.Published: self._published,
            frames.Deliver: self._delivered,
            frames.Ephemeral: self._heard,
            frames.Ping: lambda wire, ping: wire.send(frames.Pong(ping.token)),
            frames.Pong: lambda wire, pong: None,
            frames.Error: self._refused,
            frames.Resync: self._resynced,
            frames.Presence: self._told,
            frames.Welcome: self._welcomed,
            frames.GoAway: self._sent_away,
            Malformed: lambda wire, bad: wire.fail(Violation(str(bad.error))),
        }
        self._refresher = Refresher(options.token, self)
        self.bounds = Bounds(options.client_id or "", limits.BATCH_BYTES_MAX, limits.BATCH_RECORDS_MAX)
        self.limits: dict[str, int] = {}
        self.is_open = False
        self.was_open = False
        self.state: LinkState = "connecting"
        self.failure: OutlastError | None = None
        self.listeners: list[Listener] = []
        self.readers: dict[str, Reader] = {}
        self.ears: Ears | None = None

    # --- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def ready(self) -> None:
        """Returns when requests can be made.

        Raises Closed when the link is closed, and the broker's refusal when it never was open and asking
        again cannot help.
        """
        while not self.is_open:
            if self.state == "closed":
                raise Closed("this client is closed, or not open yet")
            turn: asyncio.Future[None] = self._loop.create_future()
            self._ready.append(turn)
            await turn

    def close(self) -> None:
        """Lets go of everything now; `gone` waits until the socket is closed."""
        if self.state == "closed":
            return
        self.is_open = False
        if self._task is not None:
            self._task.cancel()
        if self._wire is not None:
            self._wire.close()
        self._enter("closed", "closed by its user")
        self._settle_ready(Closed("this client was closed"))

    @property
    def is_gone(self) -> bool:
        """Closed, and nothing of it is left."""
        return (self._task is None or self._task.done()) and (self._wire is None or self._wire.is_gone)

    async def gone(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._wire is not None:
            await self._wire.gone(CLOSE_TIMEOUT_MS / 1000)

    def fail(self, failure: OutlastError) -> None:
        """Drops the present wire, because of what came over it; the next one follows."""
        _log.error("dropping the connection to %s: %s", self._options.address.url, failure)
        if self._wire is not None:
            self._wire.fail(failure)

    async def _run(self) -> None:
        while True:
            self._enter("connecting", self._options.address.url)
            wire = self._wire = Wire(self, self._hello())
            await self._live(wire)
            self.failure = wire.failure or ConnectionLost("the connection ended")
            if self._options.address.tls and not wire.was_heard and isinstance(self.failure, ConnectionLost):
                self.failure = unheard(self.failure)
            if not self.failure.retryable:
                self._refuse(self.failure)
                if self._producer is not None and not self.was_open:
                    return  # `connect` says so and closes; other links are those of a client that has been open
            wait_ms = self._wait_ms(wire)
            self._enter("waiting", f"{self.failure.message}; next attempt in {wait_ms:.0f} ms")
            await asyncio.sleep(wait_ms / 1000)

    def _refuse(self, refusal: OutlastError) -> None:
        """Asking again cannot help now; but an operator may, so only the first connect gives up."""
        if self.was_open:
            _log.warning("%s: %s", self._options.address.url, refusal)
        else:
            self._settle_ready(refusal)

    async def _live(self, wire: Wire) -> None:
        """Returns when the wire is gone or could not be made; `wire.failure` says why."""
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_MS / 1000):
                await self._dial(wire)
        except TimeoutError:
            wire.fail(ConnectFailed(f"no connection within {DIAL_TIMEOUT_MS} ms"))
        except ssl.SSLError as error:
            wire.fail(tls_failed(error))
        except OutlastError as error:  # there is no token
            wire.fail(error)
        except (OSError, ValueError) as error:
            wire.fail(ConnectFailed(str(error)))
        else:
            await wire.ended.wait()

    async def _dial(self, wire: Wire) -> None:
        wire.hello = wire.hello._replace(token=await fetch(self._options.token))
        address = self._options.address
        if address.path:
            await self._loop.create_unix_connection(lambda: wire, address.path)
        else:
            await self._loop.create_connection(lambda: wire, address.host, address.port, ssl=self._options.ssl_context)

    def _hello(self) -> frames.Hello:
        options = self._options
        return frames.Hello(
            versions=[frames.VERSION],
            client_id=self.bounds.client_id or None,
            producer=self._producer,
            heartbeat_ms=options.heartbeat_ms,
            agent=AGENT,
        )

    def _wait_ms(self, wire: Wire) -> float:
        attempt = attempt_after(self._attempt, wire.lived_ms, self._options.pace)
        self._attempt = attempt + 1
        return delay_ms(attempt, self._options.pace, random(), self._not_before_ms - wire.now_ms())

    def _enter(self, state: LinkState, reason: str) -> None:
        self.state = state
        _log.info("%s: %s", state, reason)
        if self._on_state is None:
            return
        try:
            self._on_state(state, reason)
        except Exception:
            _log.exception("on_state failed")

    def _settle_ready(self, error: OutlastError | None) -> None:
        ready, self._ready = self._ready, []
        settle(ready, error)

    def show(self, token: str) -> None:
        """A newer token; one that is refused is followed by the next one on another connection, if need be."""
        self.request(lambda request: frames.Auth(request, token), self._shown)

    def _shown(self, answer: Answer) -> None:
        if isinstance(answer, frames.Reply):
            self._refresher.begin(answer.result.get("expires_in_ms"))

    # --- requests -----------------------------------------------------------------------------------------

    def request(self, make: Callable[[int], Frame], on_answer: OnAnswer) -> None:
        """Sends what `make(request)` gives; `on_answer` is called exactly once."""
        if not self.is_open or self._wire is None:
            on_answer(ConnectionLost("there is no connection to the broker at present"))
            return
        self._request = self._request % REQUEST_MAX + 1
        self._answers[self._request] = on_answer
        self._wire.send(make(self._request))

    def reserve(self, on_refusal: OnAnswer) -> int:
        """A request number for frames that have no answer but an ERROR; `on_refusal` is called with each of those."""
        self._request = self._request % REQUEST_MAX + 1
        self._reserved[self._request] = on_refusal
        return self._request

    async def call(self, make: Callable[[int], Frame], expected: type[R], unheard: OnAnswer | None = None) -> R:
        """The answer to one request. Raises what the broker refuses it with, or ConnectionLost.

        `unheard` gets the answer when this call is cancelled before it returns.
        """
        answer = await self._asked(partial(self.request, make), unheard)
        if isinstance(answer, expected):
            return answer
        self.fail(Violation(f"{type(answer).__name__} is no answer to what was asked"))
        raise ConnectionLost("the broker gave an answer of the wrong kind")

    async def call_again(self, make: Callable[[int], Frame], expected: type[R]) -> R:
        """As `call`, and asks again on the next connection: for what does no harm when done twice."""
        while True:
            try:
                return await self.call(make, expected)
            except ConnectionLost:
                continue

    async def _asked(self, ask: Callable[[OnAnswer], None], unheard: OnAnswer | None = None) -> Answer:
        while True:
            await self.ready()
            future: asyncio.Future[Answer] = self._loop.create_future()
            ask(partial(_settle, future, unheard))
            try:
                return await future
            except asyncio.CancelledError:
                if unheard is not None and not future.cancelled() and future.exception() is None:
                    unheard(future.result())
                raise
            except (GoingAway, RateLimited) as refusal:
                # Not done, so asking again, or the broker's successor, is safe.
                await asyncio.sleep(max(refusal.retry_after_ms, self._options.pace.base_ms) / 1000)

    def open_channel(self, name: str, on_answer: OnAnswer, create: bool = True) -> None:
        """OPEN; after a good answer `life(name)` is known."""
        opened = partial(self._opened, name, on_answer)
        self.request(lambda request: frames.Open(request, name, create), opened)

    async def find_channel(self, name: str, create: bool = False) -> Life:
        """The channel's present life. Raises UnknownChannel, unless it is to `create` it."""
        while (life := self._lives.get(name)) is None:
            try:
                await self._asked(partial(self.open_channel, name, create=create))
            except ConnectionLost:
                continue
        return life

    async def call_in(
        self, name: str, make: Callable[[int, int], Frame], create: bool = False, unheard: OnAnswer | None = None
    ) -> frames.Reply:
        """As `call_again`, for what names a channel by its number: `make(request, number)`."""
        while True:
            life = await self.find_channel(name, create)
            try:
                return await self.call(partial(_numbered, make, life.number), frames.Reply, unheard)
            except ConnectionLost:
                continue
            except UnknownChannel:
                if self._lives.get(name) is life:
                    self.forget(name)

    def life(self, name: str) -> Life | None:
        return self._lives.get(name)

    def forget(self, name: str) -> None:
        """The channel's number is dead: the next use opens it anew."""
        self._lives.pop(name, None)

    def route(self, number: int, reader: Reader) -> None:
        """From now on `reader` gets what is delivered for `number`."""
        self._routes[number] = reader
        if self.ears is not None:
            self.ears.began(reader.name)

    def reads(self, name: str) -> bool:
        """Whether the broker has accepted a subscription to the channel on this connection."""
        life = self._lives.get(name)
        return life is not None and life.number in self._routes

    def unroute(self, number: int) -> None:
        self._routes.pop(number, None)

    def call_witness(self, number: int, witness: Witness) -> None:
        """From now on `witness` is told of the presence in channel `number`, and of its end."""
        self._witnesses[number] = witness

    def dismiss_witness(self, number: int) -> None:
        self._witnesses.pop(number, None)

    def send(self, frame: Frame) -> None:
        """For what has no answer; nothing happens without a connection."""
        if self.is_open and self._wire is not None:
            self._wire.send(frame)

    @property
    def has_room(self) -> bool:
        """Whether what is sent now would soon go out."""
        return self.is_open and self._wire is not None and self._wire.unsent_bytes <= ROOM_BYTES

    def flush(self) -> None:
        if self._wire is not None:
            self._wire.flush()

    # --- what a wire brings -------------------------------------------------------------------------------

    def received(self, wire: Wire, frame: Frame | Malformed) -> None:
        handler = self._handlers.get(type(frame))
        if handler is not None:
            handler(wire, frame)
        elif isinstance(frame, Reply):
            self._answer(wire, frame.request, frame)

    def wire_ended(self, wire: Wire) -> None:
        self.is_open = False
        self._refresher.end()
        if self._leave_timer is not None:
            self._leave_timer.cancel()
            self._leave_timer = None
        self._lives.clear()
        self._routes.clear()
        self._witnesses.clear()
        answers, self._answers = self._answers, {}
        for on_answer in answers.values():
            on_answer(ConnectionLost("the connection ended before the broker answered"))
        for listener in (*self.listeners, *self.readers.values()):
            listener.link_lost()

    def _welcomed(self, wire: Wire, welcome: frames.Welcome) -> None:
        self.limits = welcome.limits
        frame_bytes = min(welcome.limits.get("frame_bytes", limits.FRAME_BYTES_MAX), limits.FRAME_BYTES_MAX)
        self.bounds = Bounds(
            welcome.client_id,
            min(welcome.limits.get("batch_bytes", limits.BATCH_BYTES_MAX), frame_bytes - PUBLISH_HEAD_BYTES),
            min(welcome.limits.get("batch_records", limits.BATCH_RECORDS_MAX), limits.BATCH_RECORDS_MAX),
            min(welcome.limits.get("batch_labels", limits.BATCH_LABELS_MAX), limits.BATCH_LABELS_MAX),
        )
        wire.open(welcome.heartbeat_ms)
        self._refresher.begin(welcome.expires_in_ms)
        self.is_open = self.was_open = True
        self._enter("open", f"{self._options.address.url}, {welcome.server}")
        self._settle_ready(None)
        for listener in (*self.listeners, *self.readers.values()):
            listener.link_opened()

    def _sent_away(self, wire: Wire, away: frames.GoAway) -> None:
        """No new requests; what is unanswered may still be answered (PROTOCOL.md 3.5)."""
        self._not_before_ms = wire.now_ms() + away.retry_after_ms
        farewell = GoingAway(f"the broker is leaving: {away.reason}")
        self.is_open = False
        if not self._answers:
            wire.fail(farewell)
        elif self._leave_timer is None:
            self._leave_timer = self._loop.call_later(LEAVE_TIMEOUT_MS / 1000, wire.fail, farewell)

    def _published(self, wire: Wire, published: frames.Published) -> None:
        for request, offset, duplicate in published.acks:
            self._answer(wire, request, Acked(offset, duplicate))

    def _refused(self, wire: Wire, error: frames.Error) -> None:
        refusal = from_wire(error.code, error.message, error.detail)
        if error.request in self._answers:
            self._answer(wire, error.request, refusal)
        elif (on_refusal := self._reserved.get(error.request)) is not None:
            on_refusal(refusal)
        elif (reader := self._routes.get(_number(error))) is not None:
            reader.fail(refusal)
        elif wire.is_open:
            _log.warning("the broker says: %s", refusal)
        if not wire.is_open or is_fatal(error.code):
            self._not_before_ms = wire.now_ms() + refusal.retry_after_ms
            wire.fail(refusal)

    def _answer(self, wire: Wire, request: int, answer: Answer) -> None:
        on_answer = self._answers.pop(request, None)
        if on_answer is not None:
            on_answer(answer)
        if self._leave_timer is not None and not self._answers:
            wire.fail(GoingAway("the broker is leaving"))

    def _opened(self, name: str, on_answer: OnAnswer, answer: Answer) -> None:
        if isinstance(answer, frames.Opened):
            self._lives[name] = Life(answer.number, answer.epoch)
        on_answer(answer)

    def _delivered(self, wire: Wire, deliver: frames.Deliver) -> None:
        reader = self._routes.get(deliver.number)
        if reader is not None:
            reader.delivered(deliver.batches)

    def _heard(self, wire: Wire, ephemeral: frames.Ephemeral) -> None:
        reader = self._routes.get(ephemeral.number)
        if reader is not None and self.ears is not None:
            self.ears.heard(self, reader.name, ephemeral.batch)

    def _resynced(self, wire: Wire, resync: frames.Resync) -> None:
        witness = self._witnesses.get(resync.number)
        if witness is not None and resync.reason == "deleted":
            witness.deleted(resync.number)
        reader = self._routes.get(resync.number)
        if reader is not None:
            reader.resynced(resync)

    def _told(self, wire: Wire, presence: frames.Presence) -> None:
        witness = self._witnesses.get(presence.number)
        if witness is not None:
            witness.told(presence)


def _number(error: frames.Error) -> int:
    """Of the channel whose subscription an error outside of any request has ended (PROTOCOL.md 6.5), else 0."""
    number = error.detail.get("number")
    return number if isinstance(number, int) else 0


def _numbered(make: Callable[[int, int], Frame], number: int, request: int) -> Frame:
    return make(request, number)


def _settle(future: asyncio.Future[Answer], unheard: OnAnswer | None, answer: Answer) -> None:
    if future.done():
        if unheard is not None:
            unheard(answer)
    elif isinstance(answer, OutlastError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
