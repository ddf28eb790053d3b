"""Runs conformance cases: conversations that are data, held against a client by its adapter (README.md)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from outlast_broker.tls_files import TlsFiles

from tests.support.broker import running_broker
from tests.support.proxy import CALM, Faults, Proxy
from tests.support.web import port_of

CASES = Path(__file__).parent / "cases"
# Longer than anything here takes: what does not answer fails its case and nothing else.
PATIENCE_S = 15.0
_SOON_S = 0.02
# The keys of a step that name what a step has made.
_THINGS = ("as", "of", "to", "under", "inbox")
_LINE_BYTES_MAX = 1 << 22
_DEAD = Faults(down_bytes=0, up_bytes=0)

Said = dict[str, Any]


class Step(NamedTuple):
    """`who` does `verb` `with` this, which `gives` that. `soon`: is asked again until it does."""

    who: str
    verb: str
    given: Said
    gives: Any
    soon: bool

    def __str__(self) -> str:
        return f"{self.who} {self.verb} {json.dumps(self.given)}"


class Case(NamedTuple):
    name: str
    steps: Sequence[Step]


def load(folder: Path = CASES) -> list[Case]:
    """All cases. Raises ValueError for what is none."""
    return [
        Case(f"{path.stem}: {name}", [_step(row) for row in rows])
        for path in sorted(folder.glob("*.json"))
        for name, rows in json.loads(path.read_text(encoding="utf-8")).items()
    ]


def _step(row: list[Any]) -> Step:
    who, verb, *more = row
    soon = more[-1:] == ["soon"]
    given, gives = [*more[: len(more) - soon], {}, None][:2] if len(more) - soon < 2 else more[:2]
    if not isinstance(given, dict) or len(more) - soon > 2:
        raise ValueError(f"a step is [who, verb, with, gives, soon], not {row}")
    return Step(who, verb, given, gives, soon)


# --- what was said against what was to be said ------------------------------------------------------------------


class Unlike(Exception):
    """It is not what the case says."""


def match(expected: Any, got: Any, known: Said) -> None:
    """Of a map only the keys that are expected count. "$name" is whatever it was the first time, "*" anything."""
    if expected == "*":
        return
    if isinstance(expected, str) and expected.startswith("$"):
        expected = known.setdefault(expected, got)
    if isinstance(expected, dict) and isinstance(got, dict):
        for key, value in expected.items():
            if key not in got:
                raise Unlike(f"there is no {key} in {got}")
            match(value, got[key], known)
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for each, item in zip(expected, got, strict=True):
            match(each, item, known)
    elif type(expected) is not type(got) or expected != got:
        raise Unlike(f"expected {expected!r}, got {got!r}")


def filled(value: Any, known: Mapping[str, Any]) -> Any:
    """With what is known in the place of its name."""
    if isinstance(value, dict):
        return {key: filled(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, known) for item in value]
    return known[value] if isinstance(value, str) and value.startswith("$") else value


# --- clients ----------------------------------------------------------------------------------------------------


class Adapter(Protocol):
    """Something that does verbs with a client."""

    async def ask(self, verb: str, given: Said) -> Any: ...


class AdapterProcess:
    """A program that is asked in lines of JSON, several at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def ask(self, verb: str, given: Said) -> Any:
        assert self._process.stdin is not None
        if self._reading.done():
            raise Unlike("the adapter has ended")
        number = len(self._asked)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "verb": verb, "with": given}).encode() + b"\n")
        return await answer

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            answer = self._asked[said["id"]]
            # Whoever asked may have lost patience.
            if not answer.done():
                answer.set_result(said["gives"])
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(Unlike("the adapter has ended"))

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def adapter(*command: str, env: Mapping[str, str]) -> AsyncIterator[AdapterProcess]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, env=dict(env), limit=_LINE_BYTES_MAX
    )
    running = AdapterProcess(process)
    try:
        yield running
    finally:
        await running.end()


# --- the world that they live in --------------------------------------------------------------------------------


class Door(NamedTuple):
    """How clients come in: their network's scheme, whether that listens on a Unix socket, and what the broker shows."""

    scheme: str
    on_unix: bool = False
    tls: TlsFiles | None = None


TCP = Door("outlast")
UNIX = Door("outlast+unix", on_unix=True)
WEBSOCKET = Door("ws")


def tls(files: TlsFiles) -> Door:
    return Door("outlasts", tls=files)


class World:
    """A broker that can be restarted, and for each client a network of its own."""

    def __init__(self, folder: Path, path: str, door: Door) -> None:
        self._folder = folder
        self._path = path
        self._door = door
        self._stack = ExitStack()
        self._networks: dict[str, Proxy] = {}
        self._target: str | int
        self.start()

    def start(self) -> None:
        tls = self._door.tls
        settings: Said = {} if tls is None else {"listen": ("tls:127.0.0.1:0",), "tls": tls}
        broker = self._stack.enter_context(running_broker(self._folder / "data", self._path, **settings))
        self._target = self._path if tls is None else port_of(broker)
        for network in self._networks.values():
            network.target = self._target

    def stop(self) -> None:
        self._stack.close()

    async def restart(self) -> None:
        await asyncio.to_thread(self.stop)
        await asyncio.to_thread(self.start)

    async def address(self, who: str) -> str:
        """Where this client finds the broker."""
        if who not in self._networks:
            path = f"{self._path}-{len(self._networks)}" if self._door.on_unix else None
            network = self._networks[who] = Proxy(path, self._target)
            await network.__aenter__()
        return self._networks[who].url.replace(
            "outlast+unix" if self._door.on_unix else "outlast", self._door.scheme, 1
        )

    def network(self, verb: str, who: str) -> None:
        network = self._networks[who]
        network.plan = (lambda _: _DEAD) if verb == "goes" else (lambda _: CALM)
        if verb != "returns":
            network.cut_all()

    async def close(self) -> None:
        for network in self._networks.values():
            await network.__aexit__(None, None, None)
        await asyncio.to_thread(self.stop)


# --- running ----------------------------------------------------------------------------------------------------


class Run:
    """One case with one client in one world. All names that the case gives are its own."""

    def __init__(self, case: Case, number: int, client: Adapter, world: World) -> None:
        self._case = case
        self._mark = f"{number}:"
        self._channel = f"conformance:{number}"
        self._client = client
        self._world = world
        self._known: Said = {}
        self._later: dict[str, asyncio.Task[Any]] = {}
        self._connected: list[str] = []
        self._last: Exception = Unlike("nothing came of it")

    @property
    def needs_broker(self) -> bool:
        """For itself."""
        return any(step.who == "broker" for step in self._case.steps)

    async def run(self) -> str | None:
        """What went wrong, None: nothing."""
        try:
            for step in self._case.steps:
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        await self._step(step)
                except (Unlike, TimeoutError, LookupError) as error:
                    return f"{self._case.name}\n  {step}\n  {error if str(error) else self._last}"
        finally:
            await self._end()
        return None

    async def _end(self) -> None:
        """Closes its clients, whatever state they are in."""
        for task in self._later.values():
            task.cancel()
        with contextlib.suppress(TimeoutError, Unlike):
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(self._client.ask("close", {"client": who}) for who in self._connected))

    async def _step(self, step: Step) -> None:
        if step.who == "network":
            self._world.network(step.verb, self._mark + step.given["of"])
        elif step.who == "broker":
            await getattr(self._world, step.verb)()
        elif step.verb == "hears":
            match(step.gives, await self._later.pop(step.given["of"]), self._known)
        elif step.soon:
            await self._soon(step)
        else:
            await self._now(step)

    async def _now(self, step: Step) -> None:
        asking = asyncio.create_task(self._ask(step))
        if "later" in step.given:
            self._later[step.given["later"]] = asking
            return
        got = await asking
        expected = {} if step.gives is None else step.gives
        if "error" in got and "error" not in expected:
            raise Unlike(f"it failed: {got}")
        match(expected, got, self._known)

    async def _soon(self, step: Step) -> None:
        while True:
            known = dict(self._known)
            try:
                match(step.gives, await self._ask(step), known)
            except Unlike as error:
                self._last = error
                await asyncio.sleep(_SOON_S)
            else:
                self._known = known
                return

    async def _ask(self, step: Step) -> Any:
        who = self._mark + step.who
        given = {
            key: self._named(key, value) for key, value in filled(step.given, self._known).items() if key != "later"
        }
        if step.verb == "connect":
            given["url"] = await self._world.address(who)
            given.setdefault("client_id", step.who)
            self._connected.append(who)
        return await self._client.ask(step.verb, {"channel": self._channel, **given, "client": who})

    def _named(self, key: str, value: Any) -> Any:
        """What a case calls its things must not meet what another one calls so."""
        return self._mark + value if key in _THINGS else value


async def run_all(cases: Sequence[Case], client: Adapter, folder: Path, path: str, door: Door) -> list[str]:
    """What went wrong, case by case. Cases that leave the broker alone run together."""
    world = World(folder, path, door)
    runs = [Run(case, number, client, world) for number, case in enumerate(cases)]
    try:
        wrong = await asyncio.gather(*(run.run() for run in runs if not run.needs_broker))
        wrong += [await run.run() for run in runs if run.needs_broker]
    finally:
        await world.close()
    return [each for each in wrong if each is not None]


def verbs(cases: Sequence[Case]) -> Iterator[str]:
    """Those that a client has to know."""
    for case in cases:
        for step in case.steps:
            if step.who not in ("network", "broker") and step.verb != "hears":
                yield step.verb
