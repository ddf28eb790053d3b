"""A connection to an Outlast broker that asks and is answered: for what is counted in requests, not in messages."""

from __future__ import annotations

import asyncio
from typing import Any

from outlast_protocol import frames as f

from .link import Link, Load, LoadFailed
from .systems.outlast import CLIENT, decode, hello
from .walk import Frames

ANSWER_S = 60.0


class Asker(Link):
    """`ask` sends a request and returns what answers it; whatever else comes is heard in its order by `hear`."""

    def __init__(self, load: Load, client_id: str = CLIENT) -> None:
        super().__init__(load, [])
        self._client_id = client_id
        self._frames = Frames()
        self._came: asyncio.Queue[Any] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._request = 0

    def greet(self) -> None:
        self.transport.write(hello(self._client_id))

    def send(self, *frames: f.Frame) -> None:
        self.transport.write(b"".join([f.encode(frame) for frame in frames]))

    def request(self) -> int:
        self._request += 1
        return self._request

    async def ask(self, frame: Any) -> Any:
        """Raises LoadFailed when the broker refuses."""
        [answer] = await self.ask_all(frame)
        return answer

    async def ask_all(self, *frames: Any) -> list[Any]:
        """Many at once; their answers in the same order."""
        answers = [asyncio.get_running_loop().create_future() for _ in frames]
        self._answers.update((frame.request, answer) for frame, answer in zip(frames, answers, strict=True))
        self.send(*frames)
        return await asyncio.wait_for(asyncio.gather(*answers), ANSWER_S)

    async def hear(self) -> Any:
        return await asyncio.wait_for(self._came.get(), ANSWER_S)

    def data_received(self, data: bytes) -> None:
        for kind, run, start, end in self._frames.feed(data):
            self._take(decode(kind, run, start, end))

    def _take(self, frame: Any) -> None:
        match frame:
            case f.Welcome():
                self.opened()
            case f.Ping():
                self.send(f.Pong(frame.token))
            case f.Published():
                for request, offset, _ in frame.acks:
                    self._answers.pop(request).set_result(offset)
            case f.Error():
                self.load.fail(LoadFailed(f"the broker said {frame!r}"))
            case _:
                answer = self._answers.pop(getattr(frame, "request", 0), None)
                if answer is None:
                    self._came.put_nowait(frame)
                else:
                    answer.set_result(frame)
