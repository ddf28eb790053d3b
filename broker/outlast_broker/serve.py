"""From a Config to a process: the loop, the log lines, the exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import replace

import uvloop

from . import logs
from .auth.authority import BadKeys
from .config import Config
from .configuration.soundness import idle_certificate, unsound
from .damage import Damaged
from .doors.address import Address
from .doors.descriptors import raise_limit
from .doors.tls import TlsError
from .folder import FolderInUse
from .lmdb_file import StoreError, WrongFormat
from .server import Server, StoreFailed
from .supervisor import Supervisor

EXIT_DAMAGED = os.EX_DATAERR
EXIT_UNAVAILABLE = os.EX_UNAVAILABLE
EXIT_IN_USE = os.EX_CANTCREAT
EXIT_STORE_FAILED = os.EX_IOERR
EXIT_CONFIG = os.EX_CONFIG
ADVICE = {
    errno.EACCES: "this user may not; see who owns the folder (ports below 1024 are for root)",
    errno.EADDRINUSE: "somebody else listens there; stop them, or give another --listen",
    errno.EADDRNOTAVAIL: "this machine has no such address; see --listen",
    errno.EMFILE: "no file descriptor is left; raise `ulimit -n`, or LimitNOFILE= in the unit",
    errno.ENOSPC: "the disk is full; make room",
    errno.EROFS: "the disk is read-only; mount it for writing, or see in the kernel's log why it is not",
}


def serve(
    config: Config,
    ready: Callable[[list[Address]], None] = lambda addresses: None,
    load: Callable[[], Config] | None = None,
) -> int:
    """Runs a broker until it is stopped; returns the process's exit code and says on stderr what went wrong.

    `load` reads the configuration anew when it is to be reloaded.
    """
    logs.configure(config.log_level, sys.stderr)
    raise_limit()
    try:
        supervisor = Supervisor(os.environ, os.getpid())
        if supervisor.sockets:
            config, load = _activated(config, load, supervisor)
        if idle := idle_certificate(config):
            raise Unfit(idle)
        uvloop.run(Server(config, ready, supervisor, load).run())
    except Unfit as error:
        return _complain(str(error), EXIT_CONFIG)
    except FolderInUse as error:
        return _complain(str(error), EXIT_IN_USE)
    except Damaged as error:
        return _complain(f"the store is damaged: {error}. Restore it from a backup.", EXIT_DAMAGED)
    except BadKeys as error:
        return _complain(str(error), EXIT_CONFIG)
    except WrongFormat as error:
        return _complain(str(error), EXIT_DAMAGED)
    except (StoreFailed, StoreError) as error:
        code = EXIT_STORE_FAILED
        return _complain(f"the store failed: {error}. Nothing acknowledged is lost; check the disk.", code)
    except TlsError as error:
        return _complain(str(error), EXIT_UNAVAILABLE)
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "")
        return _complain(f"cannot listen or open the data folder: {error}{advice and f': {advice}'}", EXIT_UNAVAILABLE)
    return os.EX_OK


class Unfit(Exception):
    """What we listen on and the configuration do not go together."""


def _activated(
    config: Config, load: Callable[[], Config] | None, supervisor: Supervisor
) -> tuple[Config, Callable[[], Config]]:
    """The sockets that were handed to us stand in the place of `listen`, whatever that says, and are judged alike."""
    listen = tuple(str(address) for address, _ in supervisor.sockets)

    def with_sockets() -> Config:
        return replace(load() if load else config, listen=listen)

    config = replace(config, listen=listen)
    if wrong := [text for _, text in unsound(config)]:
        raise Unfit("\n".join(wrong))
    return config, with_sockets


def _complain(text: str, code: int) -> int:
    print(f"outlast: {text}", file=sys.stderr, flush=True)
    return code
