"""`outlast completion`: the script that lets a shell complete verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SETUP = {
    "bash": 'eval "$(outlast completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(outlast completion zsh)"  # in ~/.zshrc',
    "fish": "outlast completion fish | source  # in ~/.config/fish/config.fish",
}


@click.command(epilog="\n".join(["\b", "To switch it on:", *(f"  {line}" for line in _SETUP.values())]))
@click.argument("shell", type=click.Choice(list(_SETUP)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "outlast", "_OUTLAST_COMPLETE").source())
