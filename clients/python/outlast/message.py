"""Writing a message that grows: opened, appended to, closed (PROTOCOL.md 4.5).

What is said of a message goes the way of every publish, in the order in which it was said. Before the opening is
acknowledged nobody knows the message's offset; what is said until then waits behind it, and goes as one batch.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from outlast_protocol import Headers, Position
from outlast_protocol.limits import REASON_BYTES_MAX
from outlast_protocol.operations import MessageState, Op, Operation
from outlast_protocol.position import OFFSET_MAX

from .errors import MessageClosed, OutlastError
from .growing import Content, GrowingMessage
from .outbox import Lane, Outbox, Ticket
from .publisher import Anchor, Leased, Tie, fence_of
from .records import Ack
from .rows import Row, make_row
from .starts import Where, read_where

# How long leaving a block by an exception waits for the closing to be on disk.
CLOSE_TIMEOUT_S = 1.0
# Stands for the offset of a message that is not opened yet; the longest that there is, so that sizes are upper bounds.
STAND_IN = OFFSET_MAX

_log = logging.getLogger("outlast")


class Named(Protocol):
    """A message: what wrote it, or a view of it."""

    @property
    def id(self) -> int: ...

    @property
    def epoch(self) -> int | None: ...


class Voice(NamedTuple):
    """How a channel's publishes go out, and under which lease."""

    outbox: Outbox
    lane: Lane
    lease: Leased | None = None

    def tie(self, anchor: Anchor) -> Tie:
        return Tie(fence=fence_of(self.lease), anchor=anchor, late=not anchor.offset)


class MessageWriter:
    """A growing message in the hand of its writer, made by `channel.message` or `channel.adopt`.

    Use it with `async with`: leaving the block closes the message as `complete`, by cancellation as `cancelled`, by any
    other exception as `error` with its text as the reason. What was appended and is not on disk yet is kept, sent again
    and stored once, as every publish is.

    Once an operation was refused, all that were made after it fail with the same error, and so does every later one but
    `cancel` and `fail`: a text never has a hole. Such a message is closed as `error` when the block is left.
    """

    def __init__(self, voice: Voice, anchor: Anchor, content: Content, opening: Row | None = None) -> None:
        self.content = content
        self._voice = voice
        self._anchor = anchor
        self._opening = opening
        self._latest: Ticket | None = None
        self._state: MessageState | None = None

    def __repr__(self) -> str:
        return f"<outlast.MessageWriter {self._anchor.offset or 'not on disk yet'}>"

    @property
    def id(self) -> int:
        """The offset that opened it. RuntimeError until it is on disk: `await message.flush()` waits for that."""
        if not self._anchor.offset:
            raise RuntimeError("the message is not on disk yet, and has no id: `await message.flush()` first")
        return self._anchor.offset

    @property
    def epoch(self) -> int | None:
        """Of the channel's life that it belongs to; None until it is on disk."""
        return self._anchor.epoch

    @property
    def position(self) -> Position:
        """Of the latest operation on it that is on disk. RuntimeError until there is one."""
        return Position(self._anchor.epoch or 0, self._anchor.place) if self.id else Position(0, 0)

    # --- growing ------------------------------------------------------------------------------------------

    async def append(self, data: Content) -> Ack:
        """Adds to the end, and returns when that is on disk. TypeError unless it is text to text, or bytes to bytes.

        Cancelling this call does not withdraw what may have been sent. Raises what the broker refused this
        operation with, or an earlier one, and MessageClosed once it is closed.
        """
        row = self._piece(data)
        await self._open()
        voice = self._voice
        ticket = self._latest = await voice.outbox.admit(voice.lane, (row,), tie=voice.tie(self._anchor))
        return await asyncio.shield(ticket)

    def append_nowait(self, data: Content) -> asyncio.Future[Ack]:
        """As `append`, but returns at once; the future gets the Ack, or the error. It need not be looked at.

        Raises BufferFull when there is no room, whatever `when_full` says; then nothing was taken.
        """
        row = self._piece(data)
        self._open_nowait()
        voice = self._voice
        self._latest = voice.outbox.offer(voice.lane, (row,), tie=voice.tie(self._anchor))
        return self._latest

    async def flush(self) -> None:
        """Returns when everything said so far is on disk. Raises what an operation was refused with."""
        await self._open()
        self._check()
        if self._latest is not None and self._latest.cancelled():
            # Its future was the user's, who cancelled it: what comes after it tells when it is done.
            await self.append(self.content[:0])
        elif self._latest is not None:
            await asyncio.shield(self._latest)

    def _piece(self, data: Content) -> Row:
        self._check()
        if self._state is not None:
            raise self._closed()
        check_kind(data, self.content)
        return make_row(data, operation=self._operation(Op.APPEND))

    def _operation(self, op: Op, state: MessageState = MessageState.OPEN) -> Operation:
        return Operation(op, self._anchor.offset or STAND_IN, state)

    def _check(self) -> None:
        if self._anchor.failure is not None:
            raise copy.copy(self._anchor.failure)

    def _closed(self) -> MessageClosed:
        state = "" if self._state is None else self._state.name.lower()
        return MessageClosed(
            f"the message was closed as {state} here", detail={"message": self._anchor.offset, "state": state}
        )

    # --- opening ------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Sends the opening, once; does not wait for its acknowledgement."""
        row, self._opening = self._opening, None
        if row is None:
            return
        voice = self._voice
        try:
            self._latest = await voice.outbox.admit(
                voice.lane, (row,), tie=voice.tie(self._anchor)._replace(late=False)
            )
        except BaseException:
            self._opening = row
            raise

    def _open_nowait(self) -> None:
        voice = self._voice
        if self._opening is not None:
            tie = voice.tie(self._anchor)._replace(late=False)
            self._latest = voice.outbox.offer(voice.lane, (self._opening,), tie=tie)
            self._opening = None

    # --- closing ------------------------------------------------------------------------------------------

    async def complete(self) -> Ack:
        """Closes it; returns when that, and with it all of the message, is on disk."""
        self._check()
        return await self._close(MessageState.COMPLETE, "")

    async def cancel(self, reason: str = "") -> Ack:
        """Closes it as `cancelled`. A reason that is too long for the broker is cut."""
        return await self._close(MessageState.CANCELLED, reason)

    async def fail(self, reason: str = "") -> Ack:
        """Closes it as `error`. A reason that is too long for the broker is cut."""
        return await self._close(MessageState.ERROR, reason)

    async def _close(self, state: MessageState, reason: str) -> Ack:
        if self._state is not None:
            raise self._closed()
        await self._open()
        voice, row = self._voice, make_row(_shortened(reason), operation=self._operation(Op.CLOSE, state))
        ticket = self._latest = voice.outbox.offer(voice.lane, (row,), tie=voice.tie(self._anchor), always=True)
        self._state = state
        try:
            return await asyncio.shield(ticket)
        except OutlastError:
            self._state = None
            raise

    async def __aenter__(self) -> Self:
        """Opens it, without waiting for the disk: what is appended meanwhile goes together."""
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state is not None:
            return
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            await self._leave(MessageState.CANCELLED, "")
        elif error is not None:
            await self._leave(MessageState.ERROR, str(error) or type(error).__name__)
        else:
            await self._leave_well()

    async def _leave_well(self) -> None:
        try:
            await self.complete()
        except OutlastError as failure:
            await self._leave(MessageState.ERROR, str(failure))
            raise

    async def _leave(self, state: MessageState, reason: str) -> None:
        """Says how it ended, for a moment at most: there is an exception on its way already."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._close(state, reason)
        except (TimeoutError, OutlastError) as failure:
            _log.warning("%r is not closed on disk as %s: %s", self, state.name.lower(), failure or "no answer yet")


def opening(voice: Voice, name: str | None, headers: Headers | None, data: Content) -> MessageWriter:
    """A message that is opened with its first use. Raises TypeError and ValueError."""
    check_kind(data, data)
    return MessageWriter(voice, Anchor(), data, make_row(data, name, headers, Operation(Op.OPEN)))


async def adopted(voice: Voice, view: GrowingMessage) -> MessageWriter:
    """The writer of a message that is open, or interrupted and opened again by this. Raises MessageClosed."""
    anchor = Anchor(view.id, view.epoch, view.place)
    if view.state == "interrupted":
        row = make_row(view.content[:0], operation=Operation(Op.REOPEN, view.id))
        await (await voice.outbox.admit(voice.lane, (row,), tie=voice.tie(anchor)))
    elif not view.is_open:
        text = f"message {view.id} is {view.state}: only open and interrupted ones go on"
        raise MessageClosed(text, detail={"message": view.id, "state": view.state})
    return MessageWriter(voice, anchor, view.content)


async def amended(voice: Voice, message: Where | Named, op: Op, data: Content) -> Ack:
    """Replaces or removes a message, perhaps a closed one."""
    offset, epoch = read_message(message)
    row = make_row(data, operation=Operation(op, offset))
    return await (await voice.outbox.admit(voice.lane, (row,), tie=voice.tie(Anchor(offset, epoch))))


def read_message(message: Where | Named) -> tuple[int, int | None]:
    """(id, epoch): an id leaves the epoch open."""
    if isinstance(message, int | str | tuple):
        offset, epoch = read_where("message", message)
    else:
        offset, epoch = message.id, message.epoch
    if not offset:
        raise ValueError("message is 0: the id of a message is the offset that opened it, 1 or more")
    return offset, epoch


def check_kind(data: object, first: Content) -> None:
    """Raises TypeError for what cannot be a part of a message that began with `first`."""
    if not isinstance(data, str | bytes):
        raise TypeError(f"a growing message is text or bytes, not {type(data).__name__}")
    if isinstance(data, str) is not isinstance(first, str):
        kinds = ("text", "bytes") if isinstance(first, str) else ("bytes", "text")
        raise TypeError(f"this message is {kinds[0]}, and {kinds[1]} cannot be added: open it with data of that kind")


def _shortened(reason: str) -> str:
    """Cut to what the broker takes, at a letter's end."""
    return reason.encode(errors="replace")[:REASON_BYTES_MAX].decode(errors="ignore")
