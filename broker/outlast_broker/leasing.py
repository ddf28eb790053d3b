"""LEASE, RENEW, RELEASE and LEASES: what is written of leases, and what time does to them (PROTOCOL.md 6.12)."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from outlast_protocol import Encoding, ErrorCode, ProtocolError, frames as f, limits
from outlast_protocol.batch import LabelKey, encode_labelled
from outlast_protocol.operations import MessageState, Op, Operation

from . import clock, logs
from .channel import Channel
from .damage import Damaged
from .lease import LEASE_ROW, TOKEN_ROW, Lease, Leases, lease_key, pack_token, read_lease, read_token
from .names import check_name

if TYPE_CHECKING:
    from .connection import ClientConnection
    from .engine import Engine

logger = logs.logger("outlast.leasing")

LEASE_MS_MIN = 1_000
# A lapse that cannot be stored now is tried again after this.
RETRY_MS = 500
DAMAGED_RETRY_MS = 60_000
# A timer that rings later than this says that the whole process stood still, as a paused machine does.
LATE_MS = 200
READ_FIRST_MS = 100
LAPSED = b"the lease lapsed"
RELEASED = b"the lease was released"
F = TypeVar("F")


class Leasing:
    """The leases of all channels. Those that are held are in memory from the start on, whoever uses their channels."""

    def __init__(self, engine: Engine, loop: AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        # One for each channel with leases, for the first that ends.
        self._timers: dict[Channel, TimerHandle] = {}

    def recover(self) -> None:
        """Every stored lease lives on for its ttl from now. Raises Damaged."""
        now_ms = clock.steady_ms()
        held: dict[int, list[Lease]] = {}
        for key, value in self._engine.log.rows(0, LEASE_ROW).items():
            number, lease = read_lease(key, value, now_ms)
            held.setdefault(number, []).append(lease)
        for number, leases in held.items():
            channel = self._engine.load(number)
            if channel is not None:
                channel.leases = Leases(number, self._stored_token(channel), leases)
                self._watch(channel)

    def _stored_token(self, channel: Channel) -> int:
        return read_token(self._engine.log.row(channel.number, TOKEN_ROW))

    def of(self, channel: Channel) -> Leases:
        if channel.leases is None:
            channel.leases = Leases(channel.number, self._stored_token(channel))
        return channel.leases

    def name_under(self, channel: Channel, token: int) -> str:
        """The name of the lease whose token this is. Raises `fenced`."""
        return self.of(channel).under(token).name

    # --- what is asked ------------------------------------------------------------------------------------

    def acquire(self, channel: Channel, wanted: Lease, take_over: bool) -> Lease:
        """The lease as granted. Raises `lease_held`, `limit_exceeded`, and what the broker refuses changes with."""
        now_ms = clock.steady_ms()
        leases = self.of(channel)
        known = leases.again(wanted.name, wanted.nonce, now_ms)
        if known is not None:
            return known
        self._engine.check_writable()
        granted = leases.acquire(wanted, take_over, now_ms)
        self._engine.put_row(channel, TOKEN_ROW, pack_token(granted.token))
        self._engine.put_listed_row(channel, lease_key(channel.number, granted.name), granted.pack())
        self._watch(channel)
        return granted

    def renew(self, channel: Channel, token: int) -> Lease:
        """Raises `fenced`. The timer stays: when it rings it looks again."""
        return self.of(channel).renew(token, clock.steady_ms())

    def release(self, channel: Channel, token: int) -> None:
        """Raises `fenced`, and what the broker refuses changes with."""
        lease = self.of(channel).under(token)
        self._engine.check_writable()
        self._end(channel, lease, self._closing(channel, lease, RELEASED))
        self._watch(channel)

    def forget(self, channel: Channel) -> None:
        """The channel is deleted, and its leases with it."""
        for lease in channel.leases.held() if channel.leases is not None else ():
            self._engine.put_listed_row(channel, lease_key(channel.number, lease.name), None)
        channel.leases = None
        self._stop(channel)

    # --- what time does -----------------------------------------------------------------------------------

    def lapse(self, channel: Channel, now_ms: int) -> None:
        """Ends the leases whose time is up. Raises what the broker refuses changes with, and Damaged."""
        for lease in self.of(channel).due(now_ms):
            label: LabelKey = (Encoding.BYTES, None, (), Operation(Op.LAPSED, lease=lease.name, token=lease.token), 0)
            self._end(channel, lease, [*self._closing(channel, lease, LAPSED), (label, b"")])
            logger.info("lease_lapsed", channel=channel.name, lease=lease.name, client=lease.holder)

    def _closing(self, channel: Channel, lease: Lease, reason: bytes) -> list[tuple[LabelKey, bytes]]:
        """What closes the messages that belong to the lease."""
        messages = self._engine.session(channel).open_under(lease.name)
        closes = [Operation(Op.CLOSE, message, MessageState.INTERRUPTED) for message in messages]
        return [((Encoding.TEXT, None, (), close, 0), reason) for close in closes]

    def _end(self, channel: Channel, lease: Lease, rows: list[tuple[LabelKey, bytes]]) -> None:
        """All in one commit. When the batch is refused, nothing has happened."""
        if rows:
            self._engine.publish_own(channel, encode_labelled("", rows))
        self.of(channel).end(lease)
        self._engine.put_listed_row(channel, lease_key(channel.number, lease.name), None)

    def _watch(self, channel: Channel, wait_ms: int | None = None) -> None:
        """Rings when the channel's first lease ends, or after `wait_ms`."""
        self._stop(channel)
        next_ms = self.of(channel).next_ms
        if next_ms is None:
            return
        if wait_ms is None:
            # A millisecond more, for a timer may fire a little early.
            wait_ms = max(next_ms - clock.steady_ms(), 0) + 1
            timer = self._loop.call_later(wait_ms / 1000, self.ring, channel, next_ms)
        else:
            timer = self._loop.call_later(wait_ms / 1000, self.ring, channel)
        self._timers[channel] = timer

    def _stop(self, channel: Channel) -> None:
        timer = self._timers.pop(channel, None)
        if timer is not None:
            timer.cancel()

    def ring(self, channel: Channel, due_ms: int | None = None) -> None:
        """A lease of this channel may have come to its end, unless it was renewed.

        Renewals that came while the process stood still wait in its sockets: they are read first.
        """
        now_ms, wait_ms = clock.steady_ms(), None
        if due_ms is not None and now_ms - due_ms > LATE_MS:
            self._watch(channel, READ_FIRST_MS)
            return
        try:
            self.lapse(channel, now_ms)
        except ProtocolError as refusal:
            wait_ms = RETRY_MS
            if self._engine.refusal is None:
                logger.error("lapse_refused", channel=channel.name, error=str(refusal))
        except Damaged as damage:
            wait_ms = DAMAGED_RETRY_MS
            self._engine.counters.damaged += 1
            logger.error("damaged", channel=channel.name, error=str(damage))
        self._watch(channel, wait_ms)

    def stop(self) -> None:
        for channel in list(self._timers):
            self._stop(channel)


# --- frames -----------------------------------------------------------------------------------------------


def _late(handler: Callable[[ClientConnection, F], None]) -> Callable[[ClientConnection, F], None]:
    """Refusals, too, tell of what may not be on disk yet: they wait as answers do."""

    @wraps(handler)
    def handle(connection: ClientConnection, frame: Any) -> None:
        try:
            handler(connection, frame)
        except ProtocolError as error:
            connection.after_commit(frame.request, partial(connection.refuse, frame.request, error))

    return handle


@_late
def lease(connection: ClientConnection, frame: f.Lease) -> None:
    channel = connection.opened_channel(frame.number)
    check_name("a lease's name", frame.lease, limits.LEASE_NAME_BYTES_MAX)
    if not LEASE_MS_MIN <= frame.ttl_ms <= limits.LEASE_MS_MAX:
        text = f"ttl_ms is {frame.ttl_ms}, allowed are {LEASE_MS_MIN} to {limits.LEASE_MS_MAX}"
        raise ProtocolError(ErrorCode.BAD_BODY, text)
    wanted = Lease(frame.lease, 0, connection.client.decode(), frame.ttl_ms, frame.nonce)
    granted = connection.engine.leasing.acquire(channel, wanted, frame.take_over)
    result = {"token": granted.token, "ttl_ms": granted.ttl_ms, "holder": granted.taken_from}
    connection.after_commit(frame.request, partial(connection.reply, frame.request, result))


@_late
def renew(connection: ClientConnection, frame: f.Renew) -> None:
    renewed = connection.engine.leasing.renew(connection.opened_channel(frame.number), frame.token)
    connection.after_commit(frame.request, partial(connection.reply, frame.request, {"ttl_ms": renewed.ttl_ms}))


@_late
def release(connection: ClientConnection, frame: f.Release) -> None:
    connection.engine.leasing.release(connection.opened_channel(frame.number), frame.token)
    connection.after_commit(frame.request, partial(connection.reply, frame.request, {}))


@_late
def leases(connection: ClientConnection, frame: f.Leases) -> None:
    channel = connection.named_channel(frame.channel)
    now_ms = clock.steady_ms()
    rows = [
        {
            "lease": each.name,
            "holder": each.holder,
            "token": each.token,
            "ttl_ms": each.ttl_ms,
            "left_ms": each.left_ms(now_ms),
        }
        for each in connection.engine.leasing.of(channel).held()
    ]
    connection.after_commit(frame.request, partial(connection.reply, frame.request, {"leases": rows}))
