"""A handshake whose failure is heard: OpenSSL's alert gets to the other end, and the reason to the door.

The loop closes a socket in the moment in which its handshake fails, and the alert goes with it. So a failure looks to
the loop like a handshake that waits for more, before which it writes what there is; when to close is the door's.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextvars import ContextVar

Told = Callable[[ssl.SSLError], None]
# Who is told if a handshake fails that goes on in this context once. Without anybody it fails as ever.
LISTENING: ContextVar[Told | None] = ContextVar("LISTENING", default=None)


class Handshake(ssl.SSLObject):
    """One end of TLS, which the loop drives."""

    incoming: ssl.MemoryBIO
    told: Told | None = None
    has_failed = False

    def do_handshake(self) -> None:
        if not self.has_failed:
            self._go_on()
        if self.has_failed:
            self.incoming.read()  # what still comes is for nobody
            raise ssl.SSLWantReadError

    def _go_on(self) -> None:
        self.told = self.told or LISTENING.get()
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            told, self.told = self.told, None
            if told is None:
                raise
            self.has_failed = True
            told(error)
        else:
            self.told = None


class Context(ssl.SSLContext):
    """Makes Handshakes."""

    sslobject_class = Handshake

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Handshake:
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(made, Handshake)
        made.incoming = incoming
        return made
