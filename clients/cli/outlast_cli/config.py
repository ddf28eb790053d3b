"""`outlast config`: what a broker would be configured to do, before one is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from outlast_broker.configuration.options import OF_A_RULE, RULES, values_of
from outlast_broker.rules import Rule

from .configuring import load_settings, settings_options
from .session import say
from .terminal import table, visible


@click.group()
def config() -> None:
    """Check, show and make the configuration of a broker.

    `check` and `show` take the flags of `outlast serve`, and look where it looks.
    """


@config.command()
@settings_options
def check(file: Path | None, **flags: Any) -> None:
    """Say what is wrong with the configuration, all of it. The exit code is 0 if nothing is."""
    from outlast_broker.configuration.soundness import idle_certificate

    config = load_settings(file, flags).config
    click.echo("the configuration is right")
    if idle := idle_certificate(config):
        say(f"note: unless systemd opens one: {idle}")


@config.command()
@settings_options
def show(file: Path | None, **flags: Any) -> None:
    """Show what every option is, and where that came from. Secrets are not shown."""
    from outlast_broker.configuration.settings import DEFAULT

    settings = load_settings(file, flags)
    shown = [(option.name, option.in_file, option.shown(values)) for option, values in values_of(settings.config)]
    shown += [(RULES, f"[[{RULES}]]", show_rule(rule)) for rule in settings.config.rules]
    rows = [(place, visible(value), settings.origins.get(name, DEFAULT)) for name, place, value in shown]
    click.echo("\n".join(table(("option", "value", "from"), rows)))


def show_rule(rule: Rule) -> str:
    said = [(option, getattr(rule, option.path[-1])) for option in OF_A_RULE]
    return "  ".join(f"{option.key} = {option.shown(value)}" for option, value in said if value is not None)


@config.command()
def default() -> None:
    """Print a configuration file: every option, its default, its purpose."""
    from outlast_broker.configuration.template import template

    click.echo(template(), nl=False)
