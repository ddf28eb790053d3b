"""Who somebody is: what a token was found to say. Pure."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from outlast_protocol import ErrorCode, ProtocolError, limits

from ..names import is_name
from ..patterns import ANY, SEPARATOR
from .capabilities import EVERYTHING, NOTHING, Capabilities


class ClientRule(NamedTuple):
    """Which client ids somebody may have: `name`, or those that begin with it and go on."""

    name: str
    goes_on: bool = False

    def choose(self, asked: str | None) -> str:
        """The id of a client that asks for one, or for none. Raises `forbidden` for another's."""
        if not self.goes_on:
            chosen, allowed = self.name, asked in (None, self.name)
        else:
            chosen = self.name + secrets.token_hex(_RANDOM_BYTES // 2) if asked is None else asked
            allowed = chosen.startswith(self.name) and len(chosen) > len(self.name)
        if not allowed:
            text = f"the token is for client_id {str(self)!r}: leave client_id out, or give one of these"
            raise ProtocolError(ErrorCode.FORBIDDEN, text)
        return chosen

    def named(self, last: str) -> str:
        """The id of one that has none, where it is to be the same each time."""
        return self.name + last if self.goes_on else self.name

    def __str__(self) -> str:
        return self.name + ANY if self.goes_on else self.name


class Identity(NamedTuple):
    """`key` is what vouched for it. `issued_ms` 0: nobody knows; `expires_ms` 0: never; `token_id` "": it has none."""

    subject: str
    client: ClientRule
    capabilities: Capabilities
    issued_ms: int = 0
    expires_ms: int = 0
    token_id: str = ""
    key: object = None


def read_client_rule(said: object) -> ClientRule:
    """What a token or a key says: a client id, or the beginning of some, as `alice:*`. Raises ValueError."""
    if not isinstance(said, str):
        raise ValueError("a client_id is text")
    goes_on = said == ANY or said.endswith(SEPARATOR + ANY)
    name = said[:-1] if goes_on else said
    room = _RANDOM_BYTES if goes_on else 0
    if ANY in name or not is_name(said, limits.CLIENT_ID_BYTES_MAX - room):
        raise ValueError(f"{said[:80]!r} is no client id, nor the beginning of some, as alice:*")
    return ClientRule(name, goes_on)


_RANDOM_BYTES = 12
# Of a broker that asks nobody who they are; of a client that has not said it.
EVERYBODY = Identity("", ClientRule("", True), EVERYTHING)
NOBODY = Identity("", ClientRule(""), NOTHING)
