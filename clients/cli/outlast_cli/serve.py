"""`outlast serve`: the broker."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from outlast_broker.address import TLS_PREFIX, Address, UnixAddress, parse_address
from outlast_broker.config import Config
from outlast_broker.retention import Retention
from outlast_broker.tls import TlsFiles

from .options import DURATION, SIZE
from .quantities import show_bytes, show_duration

Verb = Callable[..., Any]
Option = Callable[[Verb], Verb]
_PEM = click.Path(path_type=Path, dir_okay=False)
LOG_LEVELS = ("debug", "info", "warning", "error")
_DEFAULT = Config()
_LISTEN_FORMS = "HOST:PORT, [IPV6]:PORT, tls:HOST:PORT or unix:PATH"


def _option(name: str, field: str, kind: Any, default: Any, text: str, **more: Any) -> Option:
    """An option that can be given as OUTLAST_NAME, too."""
    envvar = "OUTLAST_" + name.removeprefix("--").upper().replace("-", "_")
    shown = {"show_envvar": True, "show_default": True, **more}
    return click.option(name, field, type=kind, default=default, envvar=envvar, help=text, **shown)


def _size(name: str, field: str, text: str) -> Option:
    return _option(name, field, SIZE, show_bytes(getattr(_DEFAULT, field)).replace(".0 ", ""), text)


def _duration(name: str, field: str, text: str) -> Option:
    return _option(name, field, DURATION, show_duration(getattr(_DEFAULT, field)), text)


@click.command()
@_option("--listen", "listen", str, _DEFAULT.listen, f"Address: {_LISTEN_FORMS}. Repeat it for more "
         "(in the variable: spaces between).", multiple=True)  # fmt: skip
@_option("--data", "data", click.Path(path_type=Path, file_okay=False), f"./{_DEFAULT.data}", "Folder for the records.")
@_option("--memory", "memory", bool, False, "Keep everything in memory: a restart forgets it all.", is_flag=True)
@_option("--retain-age", "age_ms", DURATION, "0", "Forget records that are older. 0: never.")
@_option("--retain-records", "records", click.IntRange(0), 0, "Keep so many records per channel. 0: all.")
@_option("--retain-bytes", "bytes", SIZE, "0", "Keep about so many bytes per channel. 0: all.")
@_option("--idle-ttl", "idle_ttl_ms", DURATION, "0", "Delete channels that nobody used for so long. 0: never.")
@_option("--allow-origin", "allow_origins", str, _DEFAULT.allow_origins, "Lets pages of this origin come here out of a "
         "browser, as https://app.example.org, or * for all. Repeat it for more.", multiple=True)  # fmt: skip
@_option("--tls-certificate", "tls_certificate", _PEM, None, "Certificate for tls: addresses, then what has signed it.")
@_option("--tls-key", "tls_key", _PEM, None, "Its key, if the certificate's file does not have it.")
@_option(
    "--tls-client-ca", "tls_client_ca", _PEM, None, "Lets in only clients with a certificate signed by one of these."
)
@click.option("--console/--no-console", "console", default=_DEFAULT.console, envvar="OUTLAST_CONSOLE",
              show_envvar=True, show_default=True, help="The page for people at /.")  # fmt: skip
@_option("--insecure-no-auth", "insecure", bool, False, "Listen beyond this machine and let everybody in.",
         is_flag=True)  # fmt: skip
@_size("--reader-buffer", "reader_buffer_bytes", "What one reader's socket may hold before it is served from the log.")
@_size("--commit-backlog", "commit_backlog_bytes", "What may wait for the disk before publishers are held back.")
@_size("--journal-size", "journal_bytes", "The journal is moved into channels when it has grown so much ...")
@_duration("--journal-age", "journal_age_ms", "... or is so old.")
@_duration("--fold-after", "fold_after_ms", "A growing message becomes one record once it was closed for so long.")
@_size("--contents-size", "contents_bytes", "What open messages hold is kept in memory up to this.")
@_size("--disk-reserve", "disk_reserve_bytes", "With less free disk, publishing stops; reading and deleting go on.")
@_size("--map-size", "map_bytes", "Address space for the store at first; it doubles when the store outgrows it.")
@_option("--channels-per-connection", "channels_per_connection", click.IntRange(1), _DEFAULT.channels_per_connection,
         "How many channels one connection may open.")  # fmt: skip
@_duration("--hello-timeout", "hello_timeout_ms", "How long a new connection may stay silent.")
@_duration("--handshake-timeout", "handshake_timeout_ms", "How long a TLS handshake may take.")
@_duration("--drain-time", "drain_ms", "How long stopping waits for readers to take what is theirs.")
@_duration("--come-back", "come_back_ms", "When clients are told to come back after a stop.")
@_option("--log-level", "log_level", click.Choice(LOG_LEVELS), "warning", "What is logged to standard error.")
def serve(listen: Sequence[str], data: Path, memory: bool, insecure: bool, log_level: str, **fields: Any) -> int:
    """Run a broker, until Ctrl-C or SIGTERM.

    Records are on disk before they are acknowledged. There is no authentication yet, so a broker listens
    on this machine only, unless --insecure-no-auth is given.
    """
    check_listen(listen, insecure)
    check_origins(fields["allow_origins"])
    check_tls(listen, fields["tls_certificate"])
    if memory:
        _refuse_data_with_memory()
    config = make_config(tuple(listen), None if memory else data, fields)
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    from outlast_broker.serve import serve as run_broker

    return run_broker(config, lambda addresses: _say_ready(addresses, config))


def make_config(listen: tuple[str, ...], data: Path | None, fields: dict[str, Any]) -> Config:
    """`fields` hold those of Config and of Retention, by their names."""
    retention = {name: fields.pop(name) for name in Retention.__dataclass_fields__}
    fields["allow_origins"] = tuple(fields["allow_origins"])
    tls = TlsFiles(**{name: fields.pop(f"tls_{name}") for name in TlsFiles.__dataclass_fields__})
    return Config(listen=listen, data=data, retention=Retention(**retention), tls=tls, **fields)


def check_listen(listen: Sequence[str], insecure: bool) -> None:
    """Raises UsageError for what is no address, and for one that lets strangers in."""
    for text in listen:
        try:
            address = parse_address(text)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if not insecure and not is_private(address):
            raise click.UsageError(
                f"{text} can be reached from other machines, and Outlast has no authentication yet: whoever reaches it "
                "could read, write and delete everything. Listen on 127.0.0.1 or unix:PATH and put a tunnel in front, "
                "or accept that with --insecure-no-auth."
            )


def check_tls(listen: Sequence[str], certificate: Path | None) -> None:
    """Raises UsageError for TLS without a certificate, and for a certificate without TLS."""
    spoken = any(text.startswith(TLS_PREFIX) for text in listen)
    if spoken and certificate is None:
        raise click.UsageError("an address with tls: needs a certificate: give --tls-certificate, and --tls-key")
    if certificate is not None and not spoken:
        raise click.UsageError("--tls-certificate is for addresses with tls: in front, as --listen tls:0.0.0.0:6180")


def check_origins(origins: Sequence[str]) -> None:
    """Raises UsageError for what no browser would call an origin."""
    from outlast_broker.web.origins import check_origin

    for text in origins:
        try:
            check_origin(text)
        except ValueError as error:
            raise click.UsageError(str(error)) from None


def is_private(address: Address) -> bool:
    """Only this machine can reach it."""
    if isinstance(address, UnixAddress) or address.host == "localhost":
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return False


def url_of(address: Address) -> str:
    """What clients are given to come here."""
    if isinstance(address, UnixAddress):
        return f"outlast+unix://{quote(str(Path(address.path).absolute()))}"
    return f"{'outlasts' if address.tls else 'outlast'}://{address.place}"


def _refuse_data_with_memory() -> None:
    source = click.get_current_context().get_parameter_source("data")
    if source is not None and source.name == "COMMANDLINE":
        raise click.UsageError("--memory keeps nothing on disk, --data does: give one of them")


def _say_ready(addresses: Sequence[Address], config: Config) -> None:
    where = f"records in {config.data}" if config.data else "IN MEMORY: nothing is on disk, a restart forgets it all"
    for address in addresses:
        click.echo(f"outlast: ready at {url_of(address)} ({where})", err=True)
        if not is_private(address):
            click.echo(f"outlast: WARNING: no authentication, everybody who reaches {address} is let in", err=True)
