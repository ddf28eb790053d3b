"""The daemon's life: open the store, listen, look after things once a second, leave in five steps."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable

from outlast_protocol import ErrorCode, ProtocolError

from . import clock, logs
from .config import Config
from .configuration.reloading import Reloading, ReloadRefused
from .connection import ClientConnection
from .damage import Damaged
from .doors import descriptors
from .doors.address import Address, TcpAddress, UnixAddress, parse_address
from .doors.admission import Peer
from .doors.door import NativeDoor
from .doors.front_door import FrontDoor
from .doors.limits import fitting
from .doors.lobby import Lobby
from .doors.tls import Tls
from .doors.tls_door import TlsDoor
from .engine import Engine
from .folder import DataFolder
from .lmdb_log import LmdbLog
from .log import Log
from .memory_log import MemoryLog
from .metering.counters import Counters
from .metering.lag import Lag
from .revisiting import Revisiting
from .rules import Rules
from .status import headline
from .supervisor import Supervisor
from .web.origins import Origins
from .web.site import Site

logger = logs.logger("outlast")

TICK_S = 1.0
# Each connection's heartbeat is looked at every so many ticks.
HEARTBEAT_TICKS = 2
FULL_COLLECTION_TICKS = 600
DEAD_READERS_TICKS = 30
READ_ONLY_RETRY_MS = 5_000
DESCRIPTORS_SAY_MS = 60_000
BACKLOG = 4_096
STDERR = 2


class StoreFailed(Exception):
    """A commit failed: nothing was acknowledged after it, and the process must end (promise 7)."""


class Server:
    """One broker. `run` returns after a graceful stop and raises TlsError, StoreFailed, Damaged or OSError."""

    def __init__(
        self,
        config: Config,
        ready: Callable[[list[Address]], None] = lambda addresses: None,
        supervisor: Supervisor | None = None,
        load: Callable[[], Config] | None = None,
    ) -> None:
        """`load` reads the configuration anew from where it came, when it is to be reloaded."""
        self._config = config
        self._ready = ready
        self._supervisor = supervisor or Supervisor({}, os.getpid())
        self._reloading = Reloading(config, load or (lambda: config))
        self._addresses = [address for address, _ in self._supervisor.sockets] or [*map(parse_address, config.listen)]
        self._connections: set[ClientConnection] = set()
        self.lobby = Lobby(config.limits.arrivals, self._crowded_out)
        self._servers: list[asyncio.Server] = []
        self._socket_files: list[str] = []
        self._ticks = 0
        self._descriptors_said_ms = -DESCRIPTORS_SAY_MS
        self._stopping = False
        self._ending: asyncio.Future[None]
        self._folder: DataFolder | None = None
        self._engine: Engine
        self._site: Site | None = None
        self.tls: Tls | None = None
        self._revisiting: Revisiting
        self._reload_refused = ""
        self._headline = ""
        self._had_terminal = os.isatty(STDERR)

    async def run(self) -> None:
        self._ending = asyncio.get_running_loop().create_future()
        sys.setswitchinterval(0.001)
        try:
            if any(isinstance(address, TcpAddress) and address.tls for address in self._addresses):
                self.tls = Tls(self._config.tls)
            self._open_store()
            await self._listen()
            self._feed_watchdog()
            self._supervisor.tell("READY=1", self._status())
            await self._ending
            await self._leave()
        finally:
            self._abandon()

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def counters(self) -> Counters:
        return self._engine.counters

    @property
    def connected(self) -> int:
        """Sockets that are through the lobby."""
        return self._engine.admission.connections

    @property
    def waiting_bytes(self) -> int:
        """What sockets that are full have not taken yet."""
        return self._engine.debts.total + self._engine.debts.others

    def stop(self) -> None:
        """Begins a graceful stop; more calls change nothing."""
        if not self._stopping:
            self._stopping = True
            self._end()

    def _end(self) -> None:
        if not self._ending.done():
            self._ending.set_result(None)

    # --- starting -----------------------------------------------------------------------------------------

    def _open_store(self) -> None:
        loop = asyncio.get_running_loop()
        started_ms = clock.steady_ms()
        self._engine = Engine(self._config, self._open_log(), loop, self._fail)
        self._bound()
        self._site = Site(self._engine, self._connections.add, self._connections.discard)
        records = self._engine.recover()
        self._engine.compacting.pay()
        # What was loaded lives long and the hot path makes no cycles: the collector looks once a second
        # at what is young instead of after every few hundred frames, and rarely at everything.
        gc.collect()
        gc.freeze()
        gc.disable()
        logger.info("store_open", records=records, took_ms=clock.steady_ms() - started_ms)
        for number, handler in ((signal.SIGTERM, self.stop), (signal.SIGINT, self.stop), (signal.SIGHUP, self.hang_up)):
            with contextlib.suppress(ValueError, NotImplementedError):  # not the main thread: the caller stops us
                loop.add_signal_handler(number, handler)
        self._prepare_to_reload()
        loop.call_later(TICK_S, self._tick)
        self._lag = Lag(loop, self._engine.measures.loop_lag_us)
        self._watch_disk()

    def _open_log(self) -> Log:
        if self._config.data is None:
            return MemoryLog()
        self._folder = DataFolder(self._config.data)
        return LmdbLog(self._folder.path, self._config.map_bytes)

    async def _listen(self) -> None:
        inherited = [await self._take(*found) for found in self._supervisor.sockets]
        bound = inherited or [await self._bind(address) for address in self._addresses]
        self._ready(bound)
        logger.info("listening", addresses=[*map(str, bound)])

    async def _take(self, address: Address, found: socket.socket) -> Address:
        """Listens on a socket that others have opened, and keep: who comes while no broker runs waits there."""
        loop = asyncio.get_running_loop()
        if isinstance(address, UnixAddress):
            server = await loop.create_unix_server(self._door, sock=found, backlog=BACKLOG)
        else:
            server = await loop.create_server(self._door_at(address), sock=found, backlog=BACKLOG)
        self._servers.append(server)
        return address

    async def _bind(self, address: Address) -> Address:
        loop = asyncio.get_running_loop()
        if isinstance(address, UnixAddress):
            _remove_dead_socket(address.path)
            server = await loop.create_unix_server(self._door, address.path, backlog=BACKLOG)
            self._socket_files.append(address.path)
        else:
            door = self._door_at(address)
            server = await loop.create_server(door, address.host, address.port, backlog=BACKLOG)
            host, port = server.sockets[0].getsockname()[:2]
            address = TcpAddress(host, port, address.tls)
        self._servers.append(server)
        return address

    def _door_at(self, address: TcpAddress) -> Callable[[], asyncio.Protocol]:
        return self._tls_door if address.tls else self._door

    def _door(self) -> FrontDoor:
        assert self._site is not None, "the store is opened before anybody is let in"
        admission = self._engine.admission
        return FrontDoor(self._native_door, self._site.door, self.lobby, admission, self._config.hello_timeout_ms)

    def _tls_door(self) -> TlsDoor:
        assert self.tls is not None, "an address with TLS has a certificate"
        return TlsDoor(self.tls, self._door, self.lobby, self._config.handshake_timeout_ms, self._tls_failed)

    def _crowded_out(self) -> None:
        self._engine.counters.crowded_out += 1

    def _tls_failed(self) -> None:
        self._engine.counters.handshakes_failed += 1

    def _native_door(self, peer: Peer) -> NativeDoor:
        return NativeDoor(self._engine, peer, self._connections.add, self._connections.discard)

    # --- once a second ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._ending.done():
            return
        asyncio.get_running_loop().call_later(TICK_S, self._tick)
        now_ms = clock.steady_ms()
        self._ticks += 1
        gc.collect(2 if self._ticks % FULL_COLLECTION_TICKS == 0 else 1)
        for connection in list(self._connections):
            if id(connection) // 64 % HEARTBEAT_TICKS == self._ticks % HEARTBEAT_TICKS:
                connection.tick(now_ms)
        for arrival in self.lobby:
            arrival.tick(now_ms)
        self._engine.admission.tick(now_ms)
        self._relieve(now_ms)
        self._watch_descriptors(now_ms)
        self._watch_disk()
        self._watch_certificate()
        if self._ticks % DEAD_READERS_TICKS == 0:
            self._engine.log.drop_dead_readers()
        self._revisiting.tick()
        self._engine.tick(clock.now_ms())
        self._tell_of_jumps()
        self._engine.outbox.flush()
        self._say_how_things_are()

    def _say_how_things_are(self) -> None:
        if (now := self._status()) != self._headline:
            self._headline = now
            self._supervisor.tell(now)

    def _status(self) -> str:
        refused = f"; the last reload was refused: {self._reload_refused}" if self._reload_refused else ""
        return "STATUS=" + " ".join(f"{headline(self._engine)}{refused}".split())

    def _feed_watchdog(self) -> None:
        """By the loop itself, so that one that is stuck is noticed."""
        if self._supervisor.watchdog_ms:
            self._supervisor.tell("WATCHDOG=1")
            asyncio.get_running_loop().call_later(self._supervisor.watchdog_ms / 2_000, self._feed_watchdog)

    def _relieve(self, now_ms: int) -> None:
        """More waits for sockets that do not take it than memory is for: those to whom most is owed have to go."""
        assert self._site is not None
        debts, site = self._engine.debts, self._site
        debts.others = site.waiting_bytes
        for connection in debts:
            debts.owe(connection, connection.waiting_bytes, now_ms)
        for connection in debts.biggest(now_ms) if debts.is_over else ():
            self._engine.counters.overloaded += 1
            connection.cut_off(debts.total)
        if debts.is_over and debts.others:
            self._engine.counters.overloaded += site.abort_biggest(debts.over_bytes)

    def _watch_descriptors(self, now_ms: int) -> None:
        """The connections that are allowed leave some; but others may take them, and then the kernel lets nobody in."""
        if not descriptors.are_used_up():
            return
        self._engine.counters.descriptors_short += 1
        if now_ms - self._descriptors_said_ms >= DESCRIPTORS_SAY_MS:
            self._descriptors_said_ms = now_ms
            logger.error("descriptors_used_up", limit=descriptors.limit())

    def _tell_of_jumps(self) -> None:
        for jumped_ms in self._engine.jumps.noticed():
            self._engine.counters.clock_jumps += 1
            logger.warning("clock_jumped", by_ms=jumped_ms)

    def _watch_certificate(self) -> None:
        if self.tls is not None:
            self._engine.certificate_expires_ms = self.tls.expires_ms

    def _watch_disk(self) -> None:
        """Read-only comes before the disk is full: on a full disk even trimming could fail."""
        if self._folder is None:
            return
        free, engine = self._folder.free_bytes(), self._engine
        engine.disk_free_bytes = free
        why = self._why_read_only(self._folder, free)
        if why and engine.refusal is None:
            logger.error("read_only", reason=why)
            engine.refusal = ProtocolError(ErrorCode.READ_ONLY, why, retry_after_ms=READ_ONLY_RETRY_MS)
        elif not why and engine.refusal is not None and engine.refusal.code is ErrorCode.READ_ONLY:
            logger.warning("writable", free_bytes=free)
            engine.refusal = None

    def _why_read_only(self, folder: DataFolder, free: int) -> str:
        if folder.is_read_only():
            return "the disk is mounted read-only: see what the kernel says of it"
        if free < self._config.disk_reserve_bytes:
            return f"{free} bytes of disk are free, the reserve is {self._config.disk_reserve_bytes}"
        return ""

    # --- reloading ----------------------------------------------------------------------------------------

    def _prepare_to_reload(self) -> None:
        self._revisiting = Revisiting(self._engine)
        if self._engine.rules.bounded:
            self._revisiting.begin()
        self._reloading.add(self._prepare_config)
        self._reloading.add(lambda config: self._engine.authority.prepare(config.auth))
        if self.tls is not None:
            tls = self.tls
            self._reloading.add(lambda config: tls.prepare())

    def _bound(self) -> None:
        """Puts the limits of the configuration in force, as far as there are descriptors for them."""
        limits = fitting(self._config.limits, descriptors.limit())
        if limits.connections < self._config.limits.connections:
            logger.warning("descriptors_few", limit=descriptors.limit(), connections=limits.connections)
        self._engine.admission.limits = limits
        self._engine.debts.bound(limits.outgoing_bytes, self._config.reader_buffer_bytes)
        self.lobby.arrivals_max = limits.arrivals

    def _prepare_config(self, config: Config) -> Callable[[], str]:
        def adopt() -> str:
            ruled = (config.retention, config.rules) != (self._config.retention, self._config.rules)
            self._config = self._engine.config = config
            self._bound()
            if ruled:
                self._engine.rules = Rules(config.retention, config.rules)
                self._revisiting.begin()
            if self._site is not None:
                self._site.origins = Origins(config.allow_origins)
            logs.set_level(config.log_level)
            return ""

        return adopt

    def hang_up(self) -> None:
        """SIGHUP: reload; or the end of the terminal that this was started in, and so of this."""
        if self._had_terminal and not os.isatty(STDERR):
            self.stop()
        else:
            self.reload()

    def reload(self) -> None:
        self._supervisor.tell("RELOADING=1", f"MONOTONIC_USEC={clock.steady_us()}")
        try:
            reloaded = self._reloading.reload()
        except ReloadRefused as refusal:
            self._reload_refused = str(refusal)
            self._engine.counters.reloads_refused += 1
            logger.error("reload_refused", error=str(refusal))
        else:
            self._reload_refused = ""
            logger.warning("reloaded", **reloaded._asdict())
        self._supervisor.tell("READY=1", self._status())

    # --- ending -------------------------------------------------------------------------------------------

    async def _leave(self) -> None:
        """The five steps of a graceful stop (PROTOCOL.md 3.5)."""
        self._supervisor.tell("STOPPING=1")
        logger.info("stopping", connections=len(self._connections))
        # 1. Stop accepting, connections and publishes alike.
        for server in self._servers:
            server.close()
        wait_ms = self._config.come_back_ms
        self._engine.leaving = True
        self._engine.refusal = ProtocolError(ErrorCode.GOING_AWAY, "the broker is stopping", retry_after_ms=wait_ms)
        # 2. Tell the clients when to come back.
        for connection in list(self._connections):
            connection.go_away("the broker is stopping", wait_ms)
        self._engine.outbox.flush()
        # 3. Finish what was accepted: commit, acknowledge, deliver.
        await self._committed()
        # 4. Let the clients close their connections, once what was written to them has gone out.
        for connection in list(self._connections):
            connection.finish()
        self._close_others()
        await self._empty()
        # 5. Close the store.
        self._lag.stop()
        self._engine.close()
        logger.info("stopped")

    async def _committed(self) -> None:
        """A store that fails now ends the process like at any other time."""
        self._ending = asyncio.get_running_loop().create_future()
        self._engine.when_idle(self._end)
        await self._ending

    async def _empty(self) -> None:
        """Those who do not read what is left for them are not waited for longer than the drain time."""
        deadline_ms = clock.steady_ms() + self._config.drain_ms
        while self._crowded and clock.steady_ms() < deadline_ms:
            await asyncio.sleep(0.005)
        self._abort_all()
        while self._crowded:
            await asyncio.sleep(0)

    @property
    def _crowded(self) -> bool:
        return bool(self._connections) or (self._site is not None and not self._site.empty)

    def _close_others(self) -> None:
        """Those who never said what they want, and HTTP."""
        for arrival in self.lobby:
            arrival.close()
        if self._site is not None:
            self._site.leave()

    def _abort_all(self) -> None:
        for connection in list(self._connections):
            connection.abort()
        if self._site is not None:
            self._site.abort()

    def _fail(self, error: Exception) -> None:
        logger.critical("store_failed", error=str(error))
        if not self._ending.done():
            kind = error if isinstance(error, Damaged) else StoreFailed(str(error))
            self._ending.set_exception(kind)

    def _abandon(self) -> None:
        gc.enable()
        for server in self._servers:
            server.close()
        for arrival in self.lobby:
            arrival.close()
        self._abort_all()
        for path in self._socket_files:
            with contextlib.suppress(OSError):
                os.unlink(path)
        if self._folder is not None:
            self._folder.release()
        self._supervisor.close()


def _remove_dead_socket(path: str) -> None:
    """Removes what a killed broker left behind. Raises OSError when somebody still listens there."""
    with contextlib.suppress(FileNotFoundError), socket.socket(socket.AF_UNIX) as probe:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, f"somebody else listens on {path}")
