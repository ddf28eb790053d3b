from __future__ import annotations

from pathlib import Path

from outlast_broker.auth.settings import AuthSettings


def test_either_file_makes_it_ask() -> None:
    assert not AuthSettings().configured
    assert AuthSettings(keys=Path("keys.toml")).configured
    assert AuthSettings(jwks=Path("jwks.json")).configured
