"""What an operator can decide about who is let in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Without `keys` and `jwks` nobody is asked who they are."""

    # Static keys, hashed (TOML), and the keys that tokens are signed with (JWKS).
    keys: Path | None = None
    jwks: Path | None = None
    # What tokens must say, if it is given.
    issuer: str = ""
    audience: str = ""
    # How far the clocks of issuers may be off.
    skew_ms: int = 30_000
    # No token is good for longer, counted from its `iat`.
    lifetime_ms: int = 30 * DAY_MS
    # Whether a token may stand in the query of an HTTP request, where it must not be good for longer than a minute.
    query_tokens: bool = False

    @property
    def configured(self) -> bool:
        return self.keys is not None or self.jwks is not None
