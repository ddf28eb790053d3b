"""GET /v1/channels/{channel}/events: a channel as server-sent events, for as long as somebody reads (docs/http.md).

A stream is a client like any other: it attaches with credit, and gives credit back for what its socket has taken. One
that does not read costs the broker that credit, and is served from the log when it reads again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import Any

from aiohttp import web
from outlast_protocol import Position, frames as f

from .. import logs
from ..trace import TRACEPARENT, trace_id
from . import event_text
from .caller import Caller, refusal
from .problem import of_error
from .visit import Visit, place_of

logger = logs.logger("outlast.web")

HEARTBEAT_S = 15.0
CREDIT = 262_144
# What is told once and kept for nobody is dropped for a stream of which so much waits.
WAITING_MAX = CREDIT
# Streams that were cut off together do not come back together.
RETRY_MS_MIN, RETRY_MS_MAX = 500, 3_000
DELIVER_HEAD_BYTES = 16
HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


async def stream_events(visit: Visit) -> web.StreamResponse:
    stream = Stream(visit)
    visit.streams.add(stream)
    try:
        return await stream.run()
    finally:
        visit.streams.discard(stream)
        stream.leave()


def attach_keys(visit: Visit) -> dict[str, Any]:
    """Where to start, as ATTACH takes it: what the reader has comes first. From now on, if nothing is said."""
    said = visit.header("Last-Event-ID")
    if said:
        after, epoch = place_of("Last-Event-ID", said)
        return {"after": after, "epoch": epoch}
    after_or_none, epoch = visit.place("after")
    keys: dict[str, Any] = {
        "after": after_or_none,
        "epoch": epoch,
        "last": visit.number("last"),
        "since_ms": visit.number("since_ms"),
        "start": visit.text("start"),
        "cursor": visit.text("cursor"),
    }
    keys = {name: value for name, value in keys.items() if value is not None}
    return keys if keys.keys() - {"cursor"} else keys | {"start": "latest"}


class Stream:
    """One reader. `_waiting` holds frames of which it has not been told yet: what is kept of them is what they cost."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._keys = attach_keys(visit)
        self._raw = visit.flag("raw")
        # One that comes back does not bring a channel to life again that somebody has deleted.
        self._create = visit.flag("create", default=visit.header("Last-Event-ID") is None)
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived = asyncio.Event()
        self._waiting: deque[Any] = deque()
        self._waiting_bytes = self._taken = 0
        self._number = self._epoch = self._after = 0
        self._caller = Caller(visit.engine, visit.client_id, visit.token, visit.address, self._hear)

    async def run(self) -> web.StreamResponse:
        """Raises ProtocolError and Problem as long as nothing was said."""
        self._visit.count(self._caller)
        opened = await self._caller.open(self._visit.channel, self._create)
        self._number, self._epoch = opened.number, opened.epoch
        request = self._caller.request()
        self._caller.tell(f.Attach(request, self._number, CREDIT, raw=self._raw, presence=False, **self._keys))
        await self._begun
        response = web.StreamResponse(headers=HEADERS | self._visit.headers)
        await response.prepare(self._visit.request)
        wait_ms = RETRY_MS_MIN + secrets.randbelow(RETRY_MS_MAX - RETRY_MS_MIN)
        await response.write(event_text.retry(wait_ms).encode())
        try:
            await self._pour(response)
        except ConnectionError:
            raise
        except Exception:  # what was begun cannot become an answer that says so
            trace = trace_id(self._visit.request.headers.get(TRACEPARENT))
            logger.exception("stream_failed", channel=self._visit.channel, client=self._visit.client_id, trace=trace)
            raise ConnectionAbortedError from None
        return response

    def end(self) -> None:
        """It is told what waits for it, and no more."""
        self._waiting.append(None)
        self._arrived.set()

    def leave(self) -> None:
        self._caller.leave()

    # --- what the broker says -----------------------------------------------------------------------------

    def _hear(self, frame: Any) -> None:
        if isinstance(frame, f.Error) and not self._begun.done():
            self._begun.set_exception(refusal(frame))
            return
        if isinstance(frame, f.Attached) and not self._begun.done():
            self._begun.set_result(None)
        if isinstance(frame, f.Ephemeral) and self._waiting_bytes > WAITING_MAX:
            return
        if isinstance(frame, (f.Attached, f.Deliver, f.Resync, f.Ephemeral, f.Error)):
            self._waiting_bytes += _size(frame)
            self._waiting.append(frame)
            self._arrived.set()

    # --- what the reader is told --------------------------------------------------------------------------

    async def _pour(self, response: web.StreamResponse) -> None:
        """Until the stream ends, or its reader does."""
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._arrived.wait()
            except TimeoutError:
                await response.write(event_text.HEARTBEAT.encode())
                continue
            self._arrived.clear()
            while self._waiting:
                frame = self._waiting.popleft()
                if frame is None:
                    return
                await response.write(self._text_of(frame).encode())
                self._waiting_bytes -= _size(frame)
                if isinstance(frame, f.Deliver):
                    self._give_back(DELIVER_HEAD_BYTES + len(frame.batches))
                elif _is_end(frame):
                    return

    def _give_back(self, credit: int) -> None:
        """Half of it at a time: a reader that keeps up costs few CREDITs, and never runs out."""
        self._taken += credit
        if self._taken >= CREDIT // 2:
            self._caller.tell(f.Credit(self._number, self._taken))
            self._taken = 0

    def _text_of(self, frame: Any) -> str:
        if isinstance(frame, f.Deliver):
            text, self._after = event_text.records(frame.batches, self._epoch, self._after)
            return text
        if isinstance(frame, f.Attached):
            self._after = frame.after
            return event_text.attached(frame)
        if isinstance(frame, f.Resync):
            self._after = frame.after
            return event_text.resync(frame.reason, Position(frame.epoch, frame.after))
        if isinstance(frame, f.Ephemeral):
            return event_text.ephemeral(frame.batch)
        return event_text.event(of_error(refusal(frame)).encoded().decode(), "failed")


def _is_end(frame: Any) -> bool:
    return isinstance(frame, f.Error) or (isinstance(frame, f.Resync) and frame.reason == "deleted")


def _size(frame: Any) -> int:
    if isinstance(frame, f.Deliver):
        return len(frame.batches)
    return len(frame.batch) if isinstance(frame, f.Ephemeral) else 0
