"""The group that holds the verbs. A verb is loaded when it is used, for some of them load a lot."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import click

from .exits import Exit, Failure, exit_table


class Verb(NamedTuple):
    """Where it is, and what it says of itself: so that `--help` need not load it."""

    module: str
    name: str
    help: str


VERBS: dict[str, Verb] = {
    "serve": Verb(".serve", "serve", "Run a broker, until Ctrl-C or SIGTERM."),
    "config": Verb(".config", "config", "Check, show and make the configuration of a broker."),
    "pub": Verb(".pub", "pub", "Publish a record, or every line of standard input."),
    "sub": Verb(".sub", "sub", "Read a channel, and go on as more comes."),
    "attach": Verb(".attach", "attach", "Show what a channel is now, and text as it grows."),
    "history": Verb(".history", "history", "Print what a channel holds now."),
    "ask": Verb(".ask", "ask", "Ask whoever works on a channel for something, and wait for the answer."),
    "answer": Verb(".ask", "answer", "Accept or refuse a request."),
    "channels": Verb(".channels", "channels", "List, inspect, trim, configure and delete channels."),
    "cursors": Verb(".cursors", "cursors", "List and forget the cursors of a channel."),
    "leases": Verb(".leases", "leases", "List the leases of CHANNEL that are held."),
    "presence": Verb(".presence", "presence", "Show who is in a channel."),
    "state": Verb(".state", "state", "Read and change the shared state of CHANNEL."),
    "claims": Verb(".claims", "claims", "List the claims of CHANNEL: what was to be done once."),
    "status": Verb(".status", "status", "Show what the broker is and does now."),
    "connections": Verb(".status", "connections", "List who is connected to the broker, this command too."),
    "doctor": Verb(".doctor", "doctor", "Say what is wrong, why it matters, and what to do."),
    "backup": Verb(".backup", "backup", "Copy the store, while the broker runs."),
    "verify": Verb(".verify", "verify", "Check every checksum of a store or a backup."),
    "restore": Verb(".restore", "restore", "Make a data folder out of a backup."),
    "compact": Verb(".compact", "compact", "Give the store's free space back to the disk."),
    "export": Verb(".export", "export", "Write channels to standard output, a line of JSON for each record."),
    "import": Verb(".importing", "import_channels", "Publish what `outlast export` wrote."),
    "token": Verb(".token", "token", "Tokens: who a client is and what it may do, signed."),
    "key": Verb(".key", "key", "Keys: static ones, and those that tokens are signed with."),
    "bench": Verb(".bench.verb", "bench", "Measure a running broker on this machine."),
    "demo": Verb(".demo.verb", "demo", "Watch an agent's work outlive all that breaks."),
    "completion": Verb(".completion", "completion", "Print the completion script for a shell."),
}


class Root(click.Group):
    """As click's group, with verbs in the order of their use and exit codes that are written down."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        verb = VERBS[cmd_name]
        command: click.Command = getattr(import_module(verb.module, __package__), verb.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **settings: Any
    ) -> None:
        """Never returns. A verb returns its exit code; None is 0."""
        settings["standalone_mode"] = False
        replace_closed_streams()
        sys.exit(self._run(lambda: super(Root, self).main(args, prog_name, **settings)))

    def _run(self, run: Any) -> int:
        try:
            outcome = run()
            sys.stdout.flush()
            return outcome if isinstance(outcome, int) else Exit.OK
        except Failure as failure:
            failure.show()
            return failure.code
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            return Exit.INTERRUPTED
        except BrokenPipeError:
            silence_stdout()
            return Exit.PIPE_CLOSED
        except OSError as error:
            click.echo(f"outlast: {error}", err=True)
            silence_stdout()
            return Exit.REFUSED


def silence_stdout() -> None:
    """It cannot be written to any more: what is still buffered goes nowhere when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def replace_closed_streams() -> None:
    """A shell can start us with `>&-`. Else the next socket would be opened in the stream's place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


@click.group(cls=Root, epilog=exit_table(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="outlast", message="outlast %(version)s")
def root() -> None:
    """Outlast: the durable session broker. Publish, leave, come back, get exactly the rest.

    Start a broker with `outlast serve`, publish with `outlast pub`, read with `outlast sub`. Data goes to
    standard output, everything else to standard error.
    """
