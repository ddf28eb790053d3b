"""What an operator can decide about who is let in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..configuration.option import option

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Without `keys` and `jwks` nobody is asked who they are."""

    keys: Path | None = option(None, "File of static keys, hashed: whoever has one of them is let in.")
    jwks: Path | None = option(None, "File of the keys that tokens are signed with, a JWK Set.")
    issuer: str = option("", "What tokens must say in `iss`; nothing, if it is empty.", live=True)
    audience: str = option("", "What tokens must say in `aud`; nothing, if it is empty.", live=True)
    skew_ms: int = option(30_000, "How far the clocks of issuers and broker may be apart.", live=True)
    lifetime_ms: int = option(
        30 * DAY_MS, "No token may be good for longer, counted from its `iat`.", least=1, live=True
    )
    query_tokens: bool = option(
        False,
        "Takes a token that is good for a minute at most out of the query of an event stream, for EventSource.",
        live=True,
    )

    @property
    def configured(self) -> bool:
        return self.keys is not None or self.jwks is not None
