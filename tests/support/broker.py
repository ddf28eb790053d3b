"""A real broker to talk to, and a client that says one frame at a time.

    with running_broker() as broker:
        alice = broker.client("alice")
        number = alice.open("room").number
        alice.publish(number, "hello")

`running_broker` runs in this process, on a thread and loop of its own; `broker_process` in a process, for tests
that kill it. Both listen on a Unix socket in a short-lived folder of their own.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from outlast_broker.config import Config
from outlast_broker.doors.address import Address
from outlast_broker.serve import serve
from outlast_broker.server import Server
from outlast_protocol import Connection, Data, ErrorCode, Frame, Malformed, Record, Role
from outlast_protocol.batch import encode_batch, read_records
from outlast_protocol.frames import (
    UNCONDITIONAL,
    Deliver,
    Error,
    Hello,
    Info,
    Open,
    Opened,
    Ping,
    Pong,
    Publish,
    Published,
    Reply,
    Subscribe,
    Subscribed,
    Welcome,
    encode,
)

# Longer than anything here takes, so that a broken broker fails a test instead of stopping the run.
PATIENCE_S = 15.0
CREDIT = 1 << 20
_RECEIVE_BYTES = 1 << 18
_ROOT = Path(__file__).parents[2]
_DEFAULT = Config()

F = TypeVar("F")
T = TypeVar("T")


class RawClient:
    """One blocking socket. The verbs return the broker's answer; `expect` takes the next frame of what comes.

    Pings of the broker are answered on the way and never seen.
    """

    def __init__(self, sock: socket.socket, client_id: str) -> None:
        self.id = client_id
        self._socket = sock
        self._socket.settimeout(PATIENCE_S)
        self._protocol = Connection(Role.CLIENT)
        self._came: list[Frame | Malformed] = []
        self._request = 0

    # --- speaking ---------------------------------------------------------------------------------------------

    def hello(
        self, producer: tuple[int, int] | None = None, heartbeat_ms: int = 15_000, token: str | None = None
    ) -> Welcome:
        self.send(Hello([1], self.id, list(producer) if producer else None, heartbeat_ms, token=token))
        return self.expect(Welcome)

    def send(self, *frames: Frame) -> None:
        """All of them in one write."""
        self._socket.sendall(b"".join([self._protocol.send(frame) for frame in frames]))

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def request(self) -> int:
        """A number that no request of this client has had."""
        self._request += 1
        return self._request

    def batch(self, *datas: Data) -> bytes:
        return encode_batch(self.id, [(data, None, None) for data in datas])

    def publishing(self, number: int, *datas: Data, sequence: int = 0, if_offset: int = UNCONDITIONAL) -> Publish:
        """The frame that publishes `datas` as one batch."""
        return Publish(self.request(), number, sequence, if_offset, 0, self.batch(*datas))

    def ask(self, frame: Any) -> Any:
        """Sends a request; returns its answer. What else came before it stays to be taken."""
        self.send(frame)
        return self.answer_to(frame.request)

    def answer_to(self, request: int) -> Any:
        """The frame that answers, or the single acknowledgement `(request, offset, duplicate)` that does."""
        seen = 0
        while True:
            for index in range(seen, len(self._came)):
                answer = _answer(self._came[index], request)
                if answer is not None:
                    self._take(index, answer)
                    return answer
            seen = len(self._came)
            self._more()

    def _take(self, index: int, answer: Any) -> None:
        """Takes a frame, or one acknowledgement out of it."""
        frame = self._came[index]
        rest = [ack for ack in frame.acks if ack != answer] if isinstance(frame, Published) else []
        self._came[index : index + 1] = [Published(rest)] if rest else []

    # --- the usual requests -----------------------------------------------------------------------------------

    def open(self, channel: str, create: bool = True) -> Opened:
        return self._answered(Open(self.request(), channel, create), Opened)

    def publish(self, number: int, *datas: Data, sequence: int = 0, if_offset: int = UNCONDITIONAL) -> tuple[int, bool]:
        """(first offset, duplicate) once it is acknowledged."""
        answer = self.ask(self.publishing(number, *datas, sequence=sequence, if_offset=if_offset))
        assert isinstance(answer, tuple) and not isinstance(answer, Error), answer
        return answer[1], answer[2]

    def subscribe(self, number: int, credit: int = CREDIT, **start: Any) -> Subscribed:
        return self._answered(Subscribe(self.request(), number, credit, **(start or {"start": "earliest"})), Subscribed)

    def info(self, channel: str) -> dict[str, Any]:
        return self.result(Info(self.request(), channel))

    def result(self, frame: Any) -> dict[str, Any]:
        """What REPLY says to this request."""
        return self._answered(frame, Reply).result

    def refused(self, frame: Any, code: ErrorCode) -> Error:
        """The ERROR that answers this request, which must have this code."""
        error = self._answered(frame, Error)
        assert ErrorCode(error.code) is code, error
        return error

    def _answered(self, frame: Any, kind: type[F]) -> F:
        answer = self.ask(frame)
        assert isinstance(answer, kind), answer
        return answer

    # --- listening --------------------------------------------------------------------------------------------

    def expect(self, kind: type[F]) -> F:
        """The next frame, which must be of this kind."""
        frame = self.receive()
        assert isinstance(frame, kind), frame
        return frame

    def receive(self) -> Frame | Malformed:
        """The next frame. Raises EOFError when the broker has closed instead."""
        while not self._came:
            self._more()
        return self._came.pop(0)

    def records(self, last: int) -> list[Record]:
        """What DELIVER frames bring, up to the record at offset `last`."""
        records: list[Record] = []
        while not records or records[-1].offset < last:
            records += read_records(self.expect(Deliver).batches)
        return records

    def hears_nothing(self) -> None:
        """Nothing was said before the answer to a ping."""
        self.send(Ping(self.request()))
        self.expect(Pong)

    def sees_close(self) -> None:
        """Nothing more comes but the end of the connection."""
        try:
            frame = self.receive()
        except (EOFError, ConnectionResetError):
            return
        raise AssertionError(f"a frame came instead of the end: {frame}")

    def _more(self) -> None:
        data = self._socket.recv(_RECEIVE_BYTES)
        if not data:
            raise EOFError("the broker has closed the connection")
        for frame in self._protocol.receive(data):
            if isinstance(frame, Ping):
                self._socket.sendall(encode(Pong(frame.token)))
            else:
                self._came.append(frame)
        assert self._protocol.failure is None, self._protocol.failure

    def close(self) -> None:
        self._socket.close()


def _answer(frame: Any, request: int) -> Any:
    if isinstance(frame, Published):
        return next((ack for ack in frame.acks if ack[0] == request), None)
    return frame if getattr(frame, "request", None) == request and request else None


class _Reachable:
    """What both kinds of broker share: a socket to come to, and the clients that came."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._clients: list[RawClient] = []

    def client(
        self,
        client_id: str = "client",
        producer: tuple[int, int] | None = None,
        heartbeat_ms: int = 15_000,
        token: str | None = None,
    ) -> RawClient:
        """A client that has been welcomed."""
        client = self.stranger(client_id)
        client.hello(producer, heartbeat_ms, token)
        return client

    def stranger(self, client_id: str = "client") -> RawClient:
        """A client that has connected and said nothing yet."""
        sock = socket.socket(socket.AF_UNIX)
        client = RawClient(sock, client_id)
        self._clients.append(client)
        sock.connect(self.path)
        return client

    def leave_all(self) -> None:
        for client in self._clients:
            client.close()


class Broker(_Reachable):
    """A broker on a thread of this process. `error` is what its `run` raised, if it did."""

    def __init__(self, config: Config, path: str) -> None:
        super().__init__(path)
        self.error: BaseException | None = None
        self.addresses: list[Address] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._server = Server(config, self._started)
        self._thread = threading.Thread(target=self._run, name="broker under test", daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S), "the broker does not start"

    def _started(self, addresses: list[Address]) -> None:
        self.addresses = addresses
        self._ready.set()

    def _run(self) -> None:
        try:
            uvloop.run(self._main())
        except BaseException as error:
            self.error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.run()

    def call(self, function: Callable[[Server], F]) -> F:
        """Calls on the broker's loop; returns what comes of it."""

        async def run() -> F:
            return function(self._server)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE_S)

    def begin_stop(self) -> None:
        self._loop.call_soon_threadsafe(self._server.stop)

    def within(self, ask: Callable[[Server], T]) -> T:
        """What `ask` returns on the broker's own loop."""
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(lambda: answer.set_result(ask(self._server)))
        return answer.result(PATIENCE_S)

    def wait(self) -> None:
        """Until it has ended, in whatever way."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the broker does not end"

    def stop(self) -> None:
        """A graceful stop, to its end."""
        if self._thread.is_alive():
            self.begin_stop()
        self.wait()


class BrokerProcess(_Reachable):
    """A broker in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], path: str) -> None:
        super().__init__(path)
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """As a crash: nothing is said, nothing is cleaned up."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)

    def complaint(self) -> str:
        """What it said on stderr, after its end."""
        return self.process.communicate(timeout=PATIENCE_S)[1]


@contextmanager
def socket_path() -> Iterator[str]:
    """A path short enough for a Unix socket, wherever the tests' own folders are."""
    folder = tempfile.mkdtemp(prefix="ol-")
    try:
        yield f"{folder}/s"
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_broker(
    data: Path | None = None, path: str | None = None, listen: tuple[str, ...] = (), **settings: Any
) -> Iterator[Broker]:
    """A broker in this process, in memory or on `data`; `listen` are addresses beside its own Unix socket.

    `settings` are Config's other fields. Raises what keeps it from starting.
    """
    with socket_path() as own_path:
        path = path or own_path
        broker = Broker(replace(_DEFAULT, data=data, listen=(f"unix:{path}", *listen), **settings), path)
        try:
            if broker.error is not None:
                raise broker.error
            yield broker
        finally:
            broker.leave_all()
            broker.stop()


@contextmanager
def broker_process(data: Path, path: str, wait: bool = True, **settings: Any) -> Iterator[BrokerProcess]:
    """A broker in a process; `wait` until it is ready. It is killed at the end if it still runs."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", __name__, str(data), path]
    given = [f"{name}={value}" for name, value in settings.items()]
    process = subprocess.Popen(command + given, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    broker = BrokerProcess(process, path)
    try:
        if wait:
            _await_ready(process)
        yield broker
    finally:
        broker.leave_all()
        if process.poll() is None:
            broker.kill()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def _await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(PATIENCE_S), "the broker process does not start"
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate(timeout=PATIENCE_S)[1]


def main(arguments: list[str]) -> int:
    """The process: DATA SOCKET [NAME=NUMBER ...]. Says `ready` on stdout."""
    # That a machine is slow is no complaint of the broker.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    data, path, *settings = arguments
    given: dict[str, Any] = {name: int(value) for name, _, value in (each.partition("=") for each in settings)}
    listen = (path,) if ":" in path else (f"unix:{path}",)
    config = replace(_DEFAULT, data=Path(data), listen=listen, **given)
    return serve(config, lambda addresses: print("ready", flush=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
