"""Who is believed, by which keys, and who of them is here: tokens become identities, and those that end are cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from outlast_protocol import ErrorCode, ProtocolError

from .. import logs
from .identity import EVERYBODY, Identity
from .revocations import REVOCATION_ROW, Revocation, Revocations
from .settings import AuthSettings
from .static_keys import PREFIX, StaticKeys, read_static_keys

if TYPE_CHECKING:
    from ..connection import ClientConnection
    from ..engine import Engine
    from .jwks import TokenKey

logger = logs.logger("outlast.auth")

QUERY_LIFETIME_MS = 60_000
PRUNE_MS = 60_000
UNAUTHORIZED = "no token that this broker accepts came"
T = TypeVar("T")


class BadKeys(Exception):
    """A file of keys cannot be used; the message says which and why, and shows nothing of it."""


class Keys(NamedTuple):
    """All keys of one moment."""

    static: StaticKeys
    signing: Mapping[str, TokenKey]

    def marks(self) -> set[object]:
        """What tells these keys from others: an identity's `key` is one of them as long as it is vouched for."""
        return {each.key for each in self.static.all()} | {key.fingerprint for key in self.signing.values()}


def load_keys(settings: AuthSettings) -> Keys:
    """Raises BadKeys."""
    static = StaticKeys({}) if settings.keys is None else _read(settings.keys, read_static_keys)
    if settings.jwks is None:
        return Keys(static, {})
    from .jwks import read_jwks  # takes 10 MB with it

    return Keys(static, _read(settings.jwks, read_jwks))


def _read(path: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(path.read_text())
    except OSError as error:
        raise BadKeys(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise BadKeys(f"{path}: {error}") from None


class Authority:
    """One broker's. Raises BadKeys when it is made."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.settings = engine.config.auth
        self._keys = load_keys(self.settings)
        self._revocations = Revocations(engine.log.rows(0, REVOCATION_ROW))
        self._here: set[ClientConnection] = set()
        self._pruned_ms = 0

    # --- who comes ----------------------------------------------------------------------------------------

    def identify(self, token: str | None, now_ms: int) -> Identity:
        """Raises `unauthorized`, whatever is wrong, and `token_expired` for what once was right."""
        if not self.settings.configured:
            return EVERYBODY
        try:
            identity = self._believed(token, now_ms)
        except ProtocolError:
            self._engine.counters.unauthorized += 1
            raise
        if self._revocations.covers(identity):
            self._engine.counters.unauthorized += 1
            raise _unauthorized("it is revoked")
        return identity

    def _believed(self, token: str | None, now_ms: int) -> Identity:
        if not token:
            raise _unauthorized("there is none")
        if token.startswith(PREFIX):
            identity = self._keys.static.find(token)
            if identity is None:
                raise _unauthorized("it is no static key of ours")
            if 0 < identity.expires_ms <= now_ms:
                raise _expired()
            return identity
        if not self._keys.signing:
            raise _unauthorized("no keys for tokens are configured")
        from .tokens import Expired, Untrusted, read_token

        try:
            return read_token(token, self._keys.signing, self.settings, now_ms)
        except Expired:
            raise _expired() from None
        except Untrusted as error:
            raise _unauthorized(str(error)) from None

    def admit_by_query(self, token: str, now_ms: int) -> None:
        """Raises `unauthorized` for a token that must not stand in a query: one that is good for long."""
        left_ms = self.identify(token, now_ms).expires_ms - self.settings.skew_ms - now_ms
        if not self.settings.query_tokens or not -self.settings.skew_ms <= left_ms <= QUERY_LIFETIME_MS:
            raise _unauthorized("it came in a query, where it may not be good for long, if tokens may come so at all")

    # --- who is here --------------------------------------------------------------------------------------

    def entered(self, connection: ClientConnection) -> None:
        self._here.add(connection)

    def left(self, connection: ClientConnection) -> None:
        self._here.discard(connection)

    def tick(self, now_ms: int) -> None:
        """Once a second: tells those whose token has expired, and lets them go."""
        for connection in [each for each in self._here if 0 < each.identity.expires_ms <= now_ms]:
            connection.fail(_expired())
        if now_ms - self._pruned_ms >= PRUNE_MS:
            self._pruned_ms = now_ms
            for key in self._revocations.prune(now_ms, self._is_about_a_key):
                self._put(key, None)

    def _is_about_a_key(self, revocation: Revocation) -> bool:
        """Static keys do not expire by themselves."""
        issued_ms = self._keys.static.issued(revocation.subject)
        return issued_ms is not None and issued_ms < revocation.issued_before_ms

    # --- who is not believed any more ---------------------------------------------------------------------

    def revoke(self, revocation: Revocation) -> int:
        """From now on, over restarts, and for those who are here: returns how many of them were cut off."""
        in_force = self._revocations.add(revocation)
        self._put(in_force.row_key, in_force.pack())
        return self._cut([each for each in self._here if in_force.covers(each.identity)], "it is revoked")

    def revoked(self, after: str, count: int) -> list[Revocation]:
        return self._revocations.listed(after, count)

    def prepare(self, settings: AuthSettings) -> Callable[[], str]:
        """Reads the files of keys anew, for what takes them up and says how many are cut off. Raises BadKeys.

        Those are they who are here by a key that is not there any more, or that grants something else now.
        """
        keys = load_keys(settings)
        before, after = self._keys.marks(), keys.marks()

        def adopt() -> str:
            self._keys, self.settings = keys, settings
            if before == after:
                return ""
            cut = self._cut([each for each in self._here if each.identity.key not in after], "its key is gone")
            return f"keys: {len(after - before)} new, {len(before - after)} gone, {cut} connections cut off"

        return adopt

    def _cut(self, connections: list[ClientConnection], reason: str) -> int:
        for connection in connections:
            connection.fail(_unauthorized(reason))
        return len(connections)

    def _put(self, key: bytes, value: bytes | None) -> None:
        self._engine.group.work.rows[0, key] = value
        self._engine.wake()


def _unauthorized(reason: str) -> ProtocolError:
    """The reason is for the log: who has no token that is believed is told no more than that."""
    logger.info("unauthorized", reason=reason)
    return ProtocolError(ErrorCode.UNAUTHORIZED, UNAUTHORIZED)


def _expired() -> ProtocolError:
    return ProtocolError(ErrorCode.TOKEN_EXPIRED, "the token has expired")
