"""A client inside the broker: it speaks the protocol to a ClientConnection of its own, without a socket.

So what comes by HTTP is judged and answered by what answers every client, and costs the others nothing.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Callable
from typing import Any, TypeVar

from outlast_protocol import Connection, ErrorCode, ProtocolError, Role, frames as f

from .. import clock
from ..channel import Channel
from ..connection import ClientConnection
from ..engine import Engine

DEFAULT_CLIENT = "http"
F = TypeVar("F")
# PUBLISHED holds acknowledgements; one of them is the answer to one request.
Ack = tuple[int, int, bool]


class Caller:
    """One client for one HTTP request; it is its connection's Wire. `unasked` is given what answers no request.

    Raises ProtocolError for one who is not let in. `client_id` is what the broker calls it; one who has none is the
    same client each time, for what it does twice is to be known again (docs/http.md, Idempotency-Key).
    """

    def __init__(
        self,
        engine: Engine,
        client_id: str | None,
        token: str | None,
        address: str,
        unasked: Callable[[Any], None] = lambda frame: None,
    ) -> None:
        if client_id is None:
            client_id = engine.authority.identify(token, clock.now_ms()).client.named(DEFAULT_CLIENT)
        self.engine = engine
        self.client_id = ""
        # Why it is not let in, or not any more.
        self._refused: ProtocolError | None = None
        self._ended = False
        self._unasked = unasked
        self._codec = Connection(Role.CLIENT)
        self._waiting: dict[int, Future[Any]] = {}
        self._request = 0
        self.connection = ClientConnection(engine, self, clock.steady_ms())
        self.tell(f.Hello([f.VERSION], client_id, token=token))
        if self._refused is not None:
            raise self._refused
        self.connection.came_by("http", address)

    # --- asking -------------------------------------------------------------------------------------------

    def request(self) -> int:
        """A number for the next request."""
        self._request += 1
        return self._request

    def tell(self, frame: Any) -> None:
        self.connection.receive(self._codec.send(frame))

    def begin(self, frame: Any) -> Future[Any]:
        """Its answer to come: a frame, or an `Ack`. Raises ProtocolError from there when it is refused."""
        if self._ended:
            raise self._last_words()
        answer: Future[Any] = get_running_loop().create_future()
        self._waiting[frame.request] = answer
        self.tell(frame)
        return answer

    async def ask(self, frame: Any, kind: type[F]) -> F:
        answer = await self.begin(frame)
        assert isinstance(answer, kind), f"{type(frame).__name__} was answered with {type(answer).__name__}"
        return answer

    async def result(self, frame: Any) -> dict[str, Any]:
        """What REPLY says."""
        return (await self.ask(frame, f.Reply)).result

    async def open(self, name: str, create: bool) -> f.Opened:
        return await self.ask(f.Open(self.request(), name, create), f.Opened)

    def channel(self, number: int) -> Channel:
        """What the engine holds of a channel that is open here."""
        return self.connection.opened_channel(number)

    async def settled(self) -> None:
        """Until everything accepted so far is on disk."""
        done: Future[None] = get_running_loop().create_future()
        self.engine.after_commit(lambda: None if done.done() else done.set_result(None))
        await done

    def leave(self) -> None:
        self.connection.closed()
        self._end()

    # --- Wire ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        for frame in self._codec.receive(data):
            self._hear(frame)

    def _hear(self, frame: Any) -> None:
        if isinstance(frame, f.Published):
            for ack in frame.acks:
                self._answer(ack[0], ack)
            return
        if isinstance(frame, f.Welcome):
            self.client_id = frame.client_id
        if self._answer(getattr(frame, "request", 0), frame):
            return
        if isinstance(frame, f.Error):
            self._refused = refusal(frame)
        if self.client_id:
            self._unasked(frame)

    def _answer(self, request: int, answer: Any) -> bool:
        waiting = self._waiting.pop(request, None)
        if waiting is None:
            return False
        if not waiting.done():
            if isinstance(answer, f.Error):
                waiting.set_exception(refusal(answer))
            else:
                waiting.set_result(answer)
        return True

    def _end(self) -> None:
        """Nobody will be answered any more."""
        self._ended = True
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            if not each.done():
                each.set_exception(self._last_words())
                each.exception()  # it may be that nobody asks for it

    def _last_words(self) -> ProtocolError:
        return self._refused or ProtocolError(ErrorCode.INTERNAL, "the broker did not answer")

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._end()

    def close(self) -> None:
        self._end()

    def abort(self) -> None:
        self._end()

    def pause_reading(self) -> None:
        """What it asks it asks at once; there is nothing to pause."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""

    def get_write_buffer_size(self) -> int:
        return 0


def refusal(frame: f.Error) -> ProtocolError:
    return ProtocolError(ErrorCode(frame.code), frame.message, **frame.detail)
