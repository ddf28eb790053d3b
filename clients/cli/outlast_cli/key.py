"""`outlast key`: static keys, and keys to sign tokens with. It works on files, which brokers read on reload."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from outlast_broker import clock
from outlast_broker.auth.capabilities import names_of
from outlast_broker.auth.jwks import ALGORITHMS, read_key
from outlast_broker.auth.static_keys import hash_of, make_secret, read_static_keys, token_of

from .grants import Grants, grant_option, parse_grants
from .options import DURATION
from .secret_files import ASYMMETRIC_PARTS, add_jwk_row, read_text, write_text
from .session import say

FILE = click.Path(path_type=Path, dir_okay=False)
RSA_BITS = 3_072


@click.group()
def key() -> None:
    """Keys: static ones, and those that tokens are signed with.

    A broker gets the files by --auth-keys and --auth-jwks, and reads them again on reload. docs/security.md explains.
    """


@key.command()
@click.argument("file", type=FILE)
@click.argument("key_id", metavar="ID")
@grant_option
@click.option("--client-id", help="The client id of its bearer; with :* at its end, how several begin. Default: ID.")
@click.option("--ttl", "ttl_ms", type=DURATION, help="How long it is good for. Default: until it is taken out of FILE.")
def add(file: Path, key_id: str, grants: tuple[str, ...], client_id: str | None, ttl_ms: int | None) -> None:
    """Make a static key and add it to FILE.

    The key goes to standard output, this once: FILE holds a hash of it. Its bearer sends it as a token.
    """
    secret, before = make_secret(), read_text(file)
    row = _row(key_id, hash_of(secret), parse_grants(grants), client_id, ttl_ms)
    text = f"{before.rstrip()}\n\n{row}".lstrip("\n")
    try:
        read_static_keys(text)
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None
    write_text(file, text, secret=False)
    click.echo(token_of(key_id, secret))
    say(f"key {key_id} is in {file}; a broker that runs takes it up on reload")


def _row(key_id: str, hashed: str, grants: Grants, client_id: str | None, ttl_ms: int | None) -> str:
    """As the file has it. Texts of TOML are those of JSON."""
    now_ms = clock.now_ms()
    lines = ["[[key]]", f"id = {json.dumps(key_id)}", f'hash = "{hashed}"', f"created = {_time(now_ms)}"]
    if client_id is not None:
        lines.append(f"client_id = {json.dumps(client_id, ensure_ascii=False)}")
    if ttl_ms is not None:
        lines.append(f"expires = {_time(now_ms + ttl_ms)}")
    lines.append("[key.capabilities]")
    lines += [f"{json.dumps(pattern, ensure_ascii=False)} = {json.dumps(verbs)}" for pattern, verbs in grants.items()]
    return "\n".join([*lines, ""])


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@key.command(name="list")
@click.argument("file", type=FILE)
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
def list_keys(file: Path, wants_json: bool) -> None:
    """Show the static keys in FILE: whose they are, and what they grant."""
    try:
        keys = read_static_keys(read_text(file))
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None
    for identity in keys.all():
        grants = {pattern: names_of(verbs) for pattern, verbs in identity.capabilities.grants.items()}
        said: dict[str, Any] = {"id": identity.subject, "client_id": str(identity.client), "capabilities": grants}
        said |= {"created_ms": identity.issued_ms, "expires_ms": identity.expires_ms}
        if wants_json:
            click.echo(json.dumps(said, ensure_ascii=False))
            continue
        until = f"until {_time(identity.expires_ms)}" if identity.expires_ms else "without end"
        click.echo(f"{identity.subject}  client {identity.client}  {until}")
        for pattern, verbs in grants.items():
            click.echo(f"    {pattern}  {', '.join(verbs)}")


@key.command()
@click.argument("file", type=FILE)
@click.option("--alg", type=click.Choice(list(ALGORITHMS)), default="EdDSA", show_default=True, help="How it signs.")
@click.option("--kid", help="Its name in tokens. Default: today's date.")
@click.option("--jwks", type=FILE, help="Adds what a broker needs of it to this file, a JWK Set.")
def make(file: Path, alg: str, kid: str | None, jwks: Path | None) -> None:
    """Make a key to sign tokens with, and add it to FILE, a JWK Set.

    FILE is for whoever issues tokens. A broker needs the public part: --jwks. An HS256 key has none: broker and issuer
    share its secret.
    """
    made = _made(alg) | {"kid": kid or _time(clock.now_ms())[:10], "alg": alg, "use": "sig"}
    read_key(made, str(file))
    add_jwk_row(file, made)
    if jwks is not None and jwks != file:
        add_jwk_row(jwks, {name: value for name, value in made.items() if name not in ASYMMETRIC_PARTS})
    say(f"key {made['kid']} is in {file}" + (f", what a broker needs of it in {jwks}" if jwks else ""))


def _made(alg: str) -> dict[str, Any]:
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

    makers: dict[str, Any] = {
        "HS256": lambda: OctKey.generate_key(256),
        "ES256": lambda: ECKey.generate_key("P-256"),
        "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
        "RS256": lambda: RSAKey.generate_key(RSA_BITS),
    }
    made: dict[str, Any] = makers[alg]().as_dict(private=True)
    return made
