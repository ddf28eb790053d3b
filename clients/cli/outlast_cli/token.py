"""`outlast token`: tokens are issued, looked into, and revoked."""

from __future__ import annotations

import json
import secrets
import sys
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import click
import outlast
from outlast_broker import clock
from outlast_broker.auth.jwks import TokenKey, read_jwks, read_key
from outlast_broker.auth.settings import AuthSettings
from outlast_broker.auth.tokens import Untrusted, read_token, sign_token

from .channels import show_time
from .exits import Exit
from .grants import grant_option, parse_grants
from .options import DURATION, broker_options
from .secret_files import read_jwk_rows, read_text
from .session import run_session, say

FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
TTL_DEFAULT = "1h"


@click.group()
def token() -> None:
    """Tokens: who a client is and what it may do, signed.

    docs/security.md explains.
    """


@token.command()
@click.option(
    "--key", "file", type=FILE, required=True, help="File of the key to sign with, as `outlast key make` makes it."
)
@click.option("--kid", help="Which key of that file; the last one by default.")
@click.option("--subject", required=True, help="Whose it is; also the client id, if --client-id says no other.")
@grant_option
@click.option("--client-id", help="The client id of its bearer; with :* at its end, how several begin.")
@click.option("--ttl", "ttl_ms", type=DURATION, default=TTL_DEFAULT, show_default=True, help="How long it is good for.")
@click.option("--issuer", help="What it says in `iss`, if the broker asks for that.")
@click.option("--audience", help="What it says in `aud`, if the broker asks for that.")
def issue(file: Path, kid: str | None, subject: str, grants: tuple[str, ...], ttl_ms: int, **said: str | None) -> None:
    """Issue a token, to standard output."""
    now_s = clock.now_ms() // 1000
    claims: dict[str, Any] = {"sub": subject, "iat": now_s, "exp": now_s + max(ttl_ms // 1000, 1)}
    claims |= {"jti": secrets.token_hex(8), "capabilities": parse_grants(grants)}
    claims |= {"iss": said["issuer"], "aud": said["audience"], "client_id": said["client_id"]}
    claims = {name: value for name, value in claims.items() if value is not None}
    signing = _signing_key(file, kid)
    try:
        signed = sign_token(claims, signing)
        read_token(signed, {signing.kid: signing}, _mirror(claims, ttl_ms), clock.now_ms())
    except (ValueError, Untrusted) as error:
        raise click.UsageError(f"no broker would believe this token: {error}") from None
    click.echo(signed)


def _mirror(claims: dict[str, Any], ttl_ms: int) -> AuthSettings:
    """A broker that asks for what this token says."""
    audience, issuer = claims.get("aud", ""), claims.get("iss", "")
    return AuthSettings(audience=audience, issuer=issuer, lifetime_ms=max(ttl_ms, 1_000))


def _signing_key(file: Path, kid: str | None) -> TokenKey:
    rows = [row for row in read_jwk_rows(file) if kid in (None, row.get("kid"))]
    if not rows:
        raise click.UsageError(f"{file} has no key" + (f" {kid!r}" if kid else ""))
    try:
        return read_key(rows[-1], str(file))
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None


@token.command()
@click.option("--jwks", type=FILE, help="Says whether a broker with this file would believe it.")
def inspect(jwks: Path | None) -> int:
    """Show what a token says, from standard input, as JSON.

    It is not shown whether it is signed well, unless --jwks is given; then the exit code is 1 if it would not be
    believed. Issuer and audience are taken as the token says them.
    """
    text = sys.stdin.read().strip()
    try:
        header, claims = (json.loads(_decoded(part)) for part in _without_signature(text))
    except ValueError:
        raise click.UsageError("that is no token: standard input has three parts with dots between them") from None
    click.echo(json.dumps({"header": header, "claims": claims}, indent=2, ensure_ascii=False))
    return Exit.OK if jwks is None else _judge(text, claims, jwks)


def _without_signature(text: str) -> tuple[str, str]:
    header, claims, _ = text.split(".")
    return header, claims


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _judge(text: str, claims: Any, jwks: Path) -> int:
    audience = claims.get("aud", "") if isinstance(claims, dict) else ""
    first = audience[0] if isinstance(audience, list) and audience else audience
    try:
        keys = read_jwks(read_text(jwks))
        identity = read_token(text, keys, AuthSettings(audience=str(first)), clock.now_ms())
    except ValueError as error:
        raise click.UsageError(f"{jwks}: {error}") from None
    except Untrusted as error:
        say(f"not believed: {error}")
        return Exit.REFUSED
    say(f"believed until {show_time(identity.expires_ms)}")
    return Exit.OK


@token.command()
@click.option("--subject", help="Every token of this subject that was issued until now.")
@click.option("--id", "token_id", help="The one token with this `jti`.")
@broker_options
def revoke(subject: str | None, token_id: str | None, url: str, connect_timeout_ms: int) -> int:
    """End tokens early, and cut off who came with them.

    It holds over restarts. It takes the right `manage` on all channels.
    """
    if (subject is None) == (token_id is None):
        raise click.UsageError("give --subject or --id, one of them")

    async def job(client: outlast.Client) -> int:
        cut = await client.revoke(subject=subject, token_id=token_id)
        say(f"revoked; {cut} connections were cut off")
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)


@token.command()
@broker_options
def revoked(url: str, connect_timeout_ms: int) -> int:
    """List what a broker does not believe any more, one JSON object a line."""

    async def job(client: outlast.Client) -> int:
        async for row in client.revocations():
            click.echo(json.dumps(row, ensure_ascii=False))
        return Exit.OK

    return run_session(url, connect_timeout_ms, job)
