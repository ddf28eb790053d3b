"""`outlast serve`: the broker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from outlast_broker.config import Config
from outlast_broker.doors.address import Address, UnixAddress, is_private

from .configuring import given, load_settings, settings_options


@click.command()
@settings_options
def serve(file: Path | None, **flags: Any) -> int:
    """Run a broker, until Ctrl-C or SIGTERM.

    Records are on disk before they are acknowledged. Without --auth-keys or --auth-jwks nobody is asked who they are,
    so a broker then listens on this machine only, unless --insecure-no-auth is given.

    Flags count before the environment, that before credentials, and that before the file; `outlast config show`, with
    the same flags, says what comes of it.
    """
    config = load_settings(file, flags).config
    from outlast_broker.configuration.settings import load
    from outlast_broker.serve import serve as run_broker

    return run_broker(config, lambda addresses: _say_ready(addresses, config), lambda: load(file, given(flags)).config)


def url_of(address: Address) -> str:
    """What clients are given to come here."""
    if isinstance(address, UnixAddress):
        return f"outlast+unix://{quote(str(Path(address.path).absolute()))}"
    return f"{'outlasts' if address.tls else 'outlast'}://{address.place}"


def _say_ready(addresses: Sequence[Address], config: Config) -> None:
    where = f"records in {config.data}" if config.data else "IN MEMORY: nothing is on disk, a restart forgets it all"
    for address in addresses:
        click.echo(f"outlast: ready at {url_of(address)} ({where})", err=True)
        if not is_private(address) and not config.auth.configured:
            click.echo(f"outlast: WARNING: no authentication, everybody who reaches {address} is let in", err=True)
