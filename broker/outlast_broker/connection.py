"""The broker's end of one connection. Each frame a client may send has a method of its name, and HANDLERS finds it."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple, Unpack

from outlast_protocol import Connection, ErrorCode, ProtocolError, Role, State, frames as f
from outlast_protocol.heartbeat import Beat, beat

from . import (
    administration,
    attaching,
    attendance,
    claiming,
    clock,
    compacting,
    ephemeral,
    greeting,
    history,
    leasing,
    logs,
    receipts,
    revoking,
    status,
    subscribing,
)
from .attendance import Attendance, Watcher
from .auth.identity import EVERYBODY, NOBODY, Identity
from .channel import Channel
from .cursor import Waiter
from .damage import Damaged
from .doors.admission import RETRY_MS, Peer
from .doors.bucket import Meter, Rates
from .log import Log
from .names import check_channel_name
from .presence import Key
from .rights import guarded, is_less
from .subscription import Subscription

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from .engine import Engine

logger = logs.logger("outlast.connection")

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Wire(Protocol):
    """What a door gives a connection: the transport's side of a socket."""

    def write(self, data: bytes) -> None: ...
    def can_write_eof(self) -> bool: ...
    def write_eof(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class ClientConnection:
    """`clogged`: the socket takes no more for now. `behind`: subscriptions that the feeder serves from the log."""

    __slots__ = (
        "_closed", "_finished", "_handlers", "_heartbeat_ms", "_holds", "_out", "_out_bytes", "_postponed",
        "_protocol", "_received_ms", "_sent_ms", "_wire", "address", "agent", "awaits", "behind", "channels", "client",
        "clogged", "door", "engine", "heard_ms", "heard_us", "id", "identity", "lagging", "members", "pages_asked",
        "peer", "producer", "rights", "serving", "since_ms", "subscriptions", "token", "watches",
    )  # fmt: skip

    def __init__(self, engine: Engine, wire: Wire, now_ms: int, peer: Peer | None = None) -> None:
        self.engine = engine
        self._wire = wire
        self.peer = peer
        self._protocol = Connection(Role.BROKER)
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._heartbeat_ms = 0
        self._received_ms = self._sent_ms = now_ms
        self._holds = 0
        self._closed = False
        self._postponed: list[f.Frame | f.Malformed] = []
        # Pages of history and lists of channels that are being made.
        self.pages_asked = 0
        self._finished = False
        # Whose it is and where it came in, for those who ask.
        self.id = 0
        self.door = self.address = self.agent = ""
        self.since_ms = 0
        self.client = b""
        self.identity = NOBODY
        # By channel number, of those that are open here: what may be done to them. Empty where everybody may all.
        self.rights = _NO_RIGHTS
        self._handlers = GUARDED_HANDLERS
        # What came with the socket, for a HELLO that brings none itself.
        self.token: str | None = None
        self.heard_ms = self.heard_us = 0
        self.producer: tuple[int, int] | None = None
        self.channels: dict[int, Channel] = {}
        self.subscriptions: dict[int, Subscription] = {}
        self.behind: dict[Subscription, None] = {}
        # AWAITs that are not answered yet.
        self.awaits: dict[Waiter, None] = {}
        # Whom it has brought into channels, what it watches, and which watches are owed a snapshot.
        self.members: dict[tuple[Attendance, Key], None] = {}
        self.watches: dict[Attendance, Watcher] = {}
        self.lagging: dict[Watcher, None] = {}
        self.clogged = False
        self.serving = False
        engine.counters.connections_opened += 1

    @property
    def log(self) -> BoundLogger:
        """Says whose connection it is about. Made when there is something to say: that is seldom."""
        return logger.bind(connection=self.id, client=self.client.decode())

    def came_by(self, door: str, address: str) -> None:
        """It is somebody's from outside, who counts as connected until `closed`."""
        self.door, self.address, self.since_ms = door, address, clock.now_ms()
        self.id = self.engine.crowd.enter(self, door)

    # --- the socket ---------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Handles every frame that `data` completes, then writes what there is to say."""
        self.heard_us = clock.steady_us()
        self._received_ms = self.heard_us // 1_000
        self.heard_ms = clock.now_ms()
        self.engine.counters.bytes_in += len(data)
        frames = self._protocol.receive(data)
        if self.peer is not None and self.peer.meters:
            self._pace(self.peer.meters, frames, len(data))
        self._handle(self._postponed + frames if self._postponed else frames)
        self.engine.outbox.flush()

    def _pace(self, meters: Sequence[Meter], frames: Sequence[f.Frame | f.Malformed], size: int) -> None:
        """Reads no further for as long as what came is beyond what may come: the socket fills, and its writer waits."""
        publishes = sum(type(frame) in _PUBLISHING for frame in frames)
        came = Rates(len(frames), size, publishes)
        wait_ms = max(meter.take(came, self._received_ms) for meter in meters)
        if wait_ms and not self._holds & _PACED:
            self.engine.counters.paced += 1
            self._pause(_PACED)
            self.engine.loop.call_later(wait_ms / 1000, self._resume, _PACED)

    def _handle(self, frames: Sequence[f.Frame | f.Malformed]) -> None:
        """Handles frames until there is more to answer than one client may ask for at a time."""
        self._postponed = []
        handlers = LEAVING_HANDLERS if self.engine.leaving else self._handlers
        for index, frame in enumerate(frames):
            if self.clogged or self.pages_asked >= PAGES_ASKED_MAX:
                self._postponed = list(frames[index:])
                self._pause(_POSTPONED)
                return
            try:
                handlers[type(frame)](self, frame)
            except ProtocolError as error:
                self.refuse(getattr(frame, "request", 0), error)
                if error.fatal:
                    return
            except Damaged as damage:
                self._say_damaged(getattr(frame, "request", 0), damage)
        if self._protocol.failure is not None:
            self.fail(self._protocol.failure)

    def go_on(self) -> None:
        """There is room for answers again."""
        if self._postponed and not self._closed:
            self._resume(_POSTPONED)
            self._handle(self._postponed)

    def send(self, data: bytes) -> None:
        """Queues whole frames for the next flush."""
        if self._closed or self._finished:
            return
        if not self._out:
            self.engine.outbox.waiting.append(self)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > self.engine.debts.connection_bytes_max:
            self.clogged = True

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes more would go out with what waits, and neither socket nor disk is behind."""
        bounded = self._out_bytes + size <= self.engine.debts.connection_bytes_max
        return bounded and not self.clogged and not self._holds

    @property
    def waiting_bytes(self) -> int:
        """What is to be sent, and what its socket has not taken yet."""
        return self._out_bytes + self._wire.get_write_buffer_size()

    def flush(self) -> None:
        out, self._out = self._out, []
        self.engine.counters.bytes_out += self._out_bytes
        self._out_bytes = 0
        if self._closed:
            return
        self._sent_ms = clock.steady_ms()
        self._wire.write(out[0] if len(out) == 1 else b"".join(out))
        if self.clogged and not self._holds & _CLOGGED:
            self.unclog()

    def clog(self) -> None:
        """The socket is full: the readers fall behind, and requests wait until answers can go out."""
        self.clogged = True
        self._pause(_CLOGGED)
        self.engine.debts.owe(self, self.waiting_bytes, self._sent_ms)

    def unclog(self) -> None:
        self.clogged = False
        self.engine.debts.settled(self)
        self._resume(_CLOGGED)
        self.go_on()
        attendance.drained(self)
        self.engine.feeder.serve(self)

    def hold(self) -> bool:
        """The disk is behind: stops reading from this publisher. False if it was stopped already."""
        held = bool(self._holds & _HELD)
        self._pause(_HELD)
        return not held

    def unhold(self) -> None:
        self._resume(_HELD)

    def _pause(self, reason: int) -> None:
        if not self._holds and not self._closed:
            self._wire.pause_reading()
        self._holds |= reason

    def _resume(self, reason: int) -> None:
        if self._holds == reason and not self._closed:
            self._wire.resume_reading()
            self._received_ms = clock.steady_ms()
        self._holds &= ~reason

    def closed(self) -> None:
        """The socket is gone; everything that was accepted stays accepted."""
        self._closed = True
        self.engine.crowd.leave(self.id, self.door)
        self.engine.debts.settled(self)
        self._postponed = []
        self._protocol.close()
        for subscription in list(self.subscriptions.values()):
            subscription.end()
        for channel in self.channels.values():
            channel.left(clock.now_ms())
        self.subscriptions.clear()
        self.channels.clear()
        for waiter in list(self.awaits):
            waiter.leave()
        attendance.gone(self)
        self.engine.authority.left(self)

    # --- time and endings ---------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Heartbeats; the end of those who never say HELLO, or do not take the last word (PROTOCOL.md 3.2, 3.4)."""
        if self._protocol.state is State.CLOSED:
            if now_ms - self._sent_ms >= LAST_WORD_MS:
                self.abort()
            return
        if not self._heartbeat_ms:
            # Nothing is sent before WELCOME, so this is the time since the socket opened.
            if now_ms - self._sent_ms >= self.engine.config.hello_timeout_ms:
                self.fail(ProtocolError(ErrorCode.HELLO_TIMEOUT, "no HELLO came"))
            return
        if self._holds:
            self._received_ms = now_ms  # it may have said something; nobody has looked
        todo = beat(now_ms, self._sent_ms, self._received_ms, self._heartbeat_ms)
        if todo is Beat.DEAD:
            self.fail(ProtocolError(ErrorCode.HEARTBEAT_TIMEOUT, "nothing was heard of the client"))
        elif todo is Beat.PING:
            self.send(f.encode(f.Ping(now_ms)))

    @property
    def broken(self) -> bool:
        """Whether what came breaks the rules of framing: the connection is about to end."""
        return self._protocol.failure is not None

    @property
    def within_frame(self) -> bool:
        """Whether what came ends inside a frame."""
        return self._protocol.within_frame

    def greet(self, welcome: f.Welcome, producer: tuple[int, int] | None, identity: Identity) -> None:
        self.client = welcome.client_id.encode()
        self.producer = producer
        self.identity = identity
        if identity is EVERYBODY:
            self._handlers = HANDLERS
        else:
            self.rights = {}
            self.engine.authority.entered(self)
        self._heartbeat_ms = welcome.heartbeat_ms
        self.send(self._protocol.send(welcome))

    def become(self, identity: Identity) -> None:
        """The same client by a newer token. One that takes a right away ends the connection: all was begun under it."""
        if self.identity is EVERYBODY:
            return
        rights = {number: identity.capabilities.verbs(channel.name) for number, channel in self.channels.items()}
        less = is_less(rights, self.rights)
        self.identity, self.rights = identity, rights
        if less:
            text = "the newer token grants less than the one before: come again with it"
            raise ProtocolError(ErrorCode.TOKEN_EXPIRED, text)

    def go_away(self, reason: str, retry_after_ms: int) -> None:
        if self._protocol.state in (State.OPEN, State.LEAVING):
            self.send(self._protocol.send(f.GoAway(reason, retry_after_ms)))
        for waiter in list(self.awaits):
            waiter.miss(ProtocolError(ErrorCode.GOING_AWAY, reason, retry_after_ms=retry_after_ms))

    def finish(self) -> None:
        """Says nothing more, and hears until the client closes: a socket that is closed on a client which
        is writing takes what it has not read yet, GOAWAY and its last acknowledgements, with it.
        """
        if not self._closed and not self._finished:
            self._finished = True
            if self._wire.can_write_eof():
                self._wire.write_eof()
            else:  # TLS: its close waits for the client's
                self._wire.close()

    def close(self) -> None:
        """Closes the socket once what is queued has gone out."""
        if not self._closed:
            self._wire.close()

    def abort(self) -> None:
        if not self._closed:
            self._wire.abort()

    def cut_off(self, owed: int) -> None:
        """To make room in memory. What waits for its socket goes, too, so it can hardly be told."""
        self.log.warning("cut_off", waiting_bytes=self.waiting_bytes, all_waiting_bytes=owed)
        text = f"{owed} bytes wait for sockets that do not take them"
        detail: dict[str, int | str] = {"limit": "outgoing_bytes", "retry_after_ms": RETRY_MS}
        self.send(f.encode(f.Error(0, ErrorCode.OVERLOADED, text, detail)))
        self.engine.outbox.flush()
        self.abort()
        self.engine.debts.settled(self)

    def ended(self, channel: Channel) -> None:
        """A subscription has ended from the broker's side; the number of a dead channel is dead too."""
        self.subscriptions.pop(channel.number, None)

    def refuse(self, request: int, error: ProtocolError) -> None:
        self.engine.counters.refuse(error.code)
        self.send(f.encode(f.Error(request, error.code, error.message, error.detail)))
        if error.fatal:
            self._hang_up()

    def fail(self, error: ProtocolError) -> None:
        self.log.info("refused", code=error.code.name.lower(), error=error.message)
        self.engine.counters.refuse(error.code)
        self.send(f.encode(f.Error(0, error.code, error.message, error.detail)))
        self._hang_up()

    def _hang_up(self) -> None:
        """Nothing that comes is looked at any more, and nothing is said, however long the socket takes to close."""
        self.engine.outbox.flush()
        self._finished = True
        self._postponed = []
        self._protocol.close()
        self.close()

    # --- frames -------------------------------------------------------------------------------------------

    def malformed(self, frame: f.Malformed) -> None:
        raise frame.error

    def refuse_leaving(self, frame: Any) -> None:
        """Any request while the broker is leaving."""
        self.engine.check_writable()

    def ping(self, frame: f.Ping) -> None:
        self.send(f.encode(f.Pong(frame.token)))

    def pong(self, frame: f.Pong) -> None:
        """Hearing it was all it was for."""

    def open(self, frame: f.Open) -> None:
        check_channel_name(frame.channel)
        full = len(self.channels) >= self.engine.config.channels_per_connection
        channel = self.engine.open(frame.channel, frame.create and not full)
        if full and (channel is None or channel.number not in self.channels):
            most = self.engine.config.channels_per_connection
            text = f"{most} channels are open on this connection"
            raise ProtocolError(ErrorCode.LIMIT_EXCEEDED, text, limit="channels", value=most)
        if channel is None:
            raise _unknown(frame.channel)
        if channel.number not in self.channels:
            self.channels[channel.number] = channel
            channel.entered()
            if self.identity is not EVERYBODY:
                self.rights[channel.number] = self.identity.capabilities.verbs(frame.channel)
        self.when_readable(frame.request, channel, lambda: self._opened(frame.request, channel))

    def _opened(self, request: int, channel: Channel) -> None:
        self.send(f.encode(f.Opened(request, channel.number, channel.epoch, channel.first, channel.last)))

    def publish(self, frame: f.Publish) -> None:
        channel = self.channels.get(frame.number)
        if channel is None or channel.dead:
            raise self._dead_number(frame.number)
        try:
            self.engine.publish(self, channel, frame)
        except ProtocolError as error:
            self.engine.counters.refuse(error.code)
            # What the refusal reveals (the last offset, a token) may not be on disk yet: PROTOCOL.md 2.1.
            answer = f.encode(f.Error(frame.request, error.code, error.message, error.detail))
            if error.code is ErrorCode.FENCED:
                self.after_commit(frame.request, lambda: self.send(answer))
            else:
                self.when_readable(frame.request, channel, lambda: self.send(answer))

    # --- small help ---------------------------------------------------------------------------------------

    def opened_channel(self, number: int) -> Channel:
        channel = self.channels.get(number)
        if channel is None or channel.dead:
            raise self._dead_number(number)
        return channel

    def _dead_number(self, number: int) -> ProtocolError:
        channel = self.channels.pop(number, None)
        if channel is not None:
            channel.left(clock.now_ms())
        text = f"channel number {number} is not open on this connection, or its channel was deleted"
        return ProtocolError(ErrorCode.UNKNOWN_CHANNEL, text)

    def named_channel(self, name: str) -> Channel:
        check_channel_name(name)
        channel = self.engine.open(name, create=False)
        if channel is None:
            raise _unknown(name)
        return channel

    def reply(self, request: int, result: dict[str, Any]) -> None:
        self.send(f.encode(f.Reply(request, result)))

    def when_readable(self, request: int, channel: Channel, answer: Callable[[], None]) -> None:
        """An answer must not tell of anything that a crash could take back (PROTOCOL.md 2.1)."""
        if channel.settled:
            self.guard(request, answer)
        else:
            self.after_commit(request, answer)

    def after_commit(self, request: int, answer: Callable[[], None]) -> None:
        self.engine.after_commit(lambda: self.guard(request, answer))

    def guard(self, request: int, answer: Callable[[], None], number: int = 0) -> None:
        """What goes wrong in a late answer ends with this connection: the others wait behind it."""
        try:
            answer()
        except Damaged as damage:
            self._say_damaged(request, damage, number)
        except ProtocolError as error:
            self.refuse(request, error)
        except Exception:
            self.log.exception("request_failed", request=request)
            self.refuse(request, ProtocolError(ErrorCode.INTERNAL, "the broker failed to answer"))

    def _say_damaged(self, request: int, damage: Damaged, number: int = 0) -> None:
        self.engine.counters.damaged += 1
        self.log.error("damaged", error=str(damage))
        self.refuse(request, ProtocolError(ErrorCode.DAMAGED, str(damage), number=number))

    def read_aside(
        self,
        request: int,
        channel: Channel,
        done: Callable[[Future[R]], None],
        read: Callable[[Log, Unpack[Ts]], R],
        *args: *Ts,
    ) -> None:
        """Runs `read` of the log aside, with `args`, then `done` here."""
        self.pages_asked += 1

        def finished(future: Future[R]) -> None:
            self.pages_asked -= 1
            if not self._closed and not future.cancelled():
                self.guard(request, lambda: done(future), channel.number)
                self.go_on()
                self.engine.outbox.flush()

        self.engine.feeder.read(finished, read, self.engine.log, *args)


# Shared by all who need none: an idle connection is to cost little.
_NO_RIGHTS: dict[int, int] = {}
# How long the socket of one who was hung up on may take to send the reason.
LAST_WORD_MS = 5_000
_CLOGGED, _HELD, _POSTPONED, _PACED = 1, 2, 4, 8
_PUBLISHING = (f.Publish, f.Ephemeral)
# Each may take a frame of memory, and a request for it takes next to none.
PAGES_ASKED_MAX = 4

HANDLERS: dict[type[Any], Callable[[ClientConnection, Any], None]] = {
    f.Malformed: ClientConnection.malformed,
    f.Hello: greeting.hello,
    f.Auth: greeting.auth,
    f.Ping: ClientConnection.ping,
    f.Pong: ClientConnection.pong,
    f.Open: ClientConnection.open,
    f.Publish: ClientConnection.publish,
    f.Subscribe: subscribing.subscribe,
    f.Unsubscribe: subscribing.unsubscribe,
    f.Attach: attaching.attach,
    f.Message: attaching.message,
    f.State: attaching.state,
    f.Credit: subscribing.credit,
    f.Ephemeral: ephemeral.ephemeral,
    f.History: history.history,
    f.Info: administration.info,
    f.List: administration.list,
    f.Delete: administration.delete,
    f.Truncate: administration.truncate,
    f.Configure: administration.configure,
    f.Compact: compacting.compact,
    f.Ack: receipts.ack,
    f.Await: receipts.await_cursor,
    f.Cursors: receipts.cursors,
    f.Forget: receipts.forget,
    f.Lease: leasing.lease,
    f.Renew: leasing.renew,
    f.Release: leasing.release,
    f.Leases: leasing.leases,
    f.Claim: claiming.claim,
    f.Settle: claiming.settle,
    f.Extend: claiming.extend,
    f.Abandon: claiming.abandon,
    f.Claims: claiming.claims,
    f.Enter: attendance.enter,
    f.Leave: attendance.leave,
    f.Members: attendance.members,
    f.Watch: attendance.watch,
    f.Unwatch: attendance.unwatch,
    f.Status: status.status,
    f.Connections: status.connections,
    f.Revoke: revoking.revoke,
    f.Revocations: revoking.revocations,
}
# For those who may not do everything: what rights.py says each frame needs is looked at first.
GUARDED_HANDLERS = {frame: guarded(frame, handler) for frame, handler in HANDLERS.items()}
# While the broker leaves, it still hears the living and takes nothing new (PROTOCOL.md 3.5).
LEAVING_HANDLERS = {
    frame: handler if frame in (f.Malformed, f.Ping, f.Pong, f.Credit) else ClientConnection.refuse_leaving
    for frame, handler in HANDLERS.items()
}


def _unknown(name: str) -> ProtocolError:
    return ProtocolError(ErrorCode.UNKNOWN_CHANNEL, f"there is no channel {name!r}")
