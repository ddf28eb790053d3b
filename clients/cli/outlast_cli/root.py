"""The group that holds the verbs. A verb is loaded when it is used, for some of them load a lot."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from .exits import Exit, Failure, exit_table

# Verb: the module and the name in it.
VERBS: dict[str, tuple[str, str]] = {
    "serve": (".serve", "serve"),
    "config": (".config", "config"),
    "pub": (".pub", "pub"),
    "sub": (".sub", "sub"),
    "attach": (".attach", "attach"),
    "history": (".history", "history"),
    "ask": (".ask", "ask"),
    "answer": (".ask", "answer"),
    "channels": (".channels", "channels"),
    "cursors": (".cursors", "cursors"),
    "leases": (".leases", "leases"),
    "presence": (".presence", "presence"),
    "state": (".state", "state"),
    "claims": (".claims", "claims"),
    "status": (".status", "status"),
    "connections": (".status", "connections"),
    "doctor": (".doctor", "doctor"),
    "backup": (".backup", "backup"),
    "verify": (".verify", "verify"),
    "restore": (".restore", "restore"),
    "compact": (".compact", "compact"),
    "export": (".export", "export"),
    "import": (".importing", "import_channels"),
    "token": (".token", "token"),
    "key": (".key", "key"),
    "bench": (".bench.verb", "bench"),
    "demo": (".demo.verb", "demo"),
    "completion": (".completion", "completion"),
}


class Root(click.Group):
    """As click's group, with verbs in the order of their use and exit codes that are written down."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, name = VERBS[cmd_name]
        command: click.Command = getattr(import_module(module, __package__), name)
        return command

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
