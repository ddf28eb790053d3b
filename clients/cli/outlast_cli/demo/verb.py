"""`outlast demo` on the command line."""

from __future__ import annotations

import click

from ..exits import Failure
from ..session import run_loop
from .stage import run_demo


@click.command(short_help="Watch an agent's work outlive all that breaks.")
@click.option("--seconds", type=click.FloatRange(5, 3600), default=60, show_default=True, help="How long.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed breaks things at other times.")
@click.option(
    "--page-port", type=click.IntRange(0, 65_535), default=0, help="Where the page is; a free one by default."
)
@click.option("--stay", "stays", is_flag=True, help="Keep the page after the proof, until Ctrl-C.")
def demo(seconds: float, seed: int, page_port: int, stays: bool) -> int:
    """Watch an agent's work survive cut connections and a killed broker.

    An agent studies Python's standard library and writes its report word by word, two viewers follow it,
    and a hand cuts their connections, stops and kills them, and kills the broker. At the end the records
    that the broker acknowledged are compared with what everybody saw; exit code 1 if anything is missing,
    doubled or changed. Everything runs on this machine, in processes and a folder of its own.

    The page, whose address is printed first, shows the same in the browser: the report as it grows, and buttons
    that cut its connection, kill the broker or the agent, and cancel the run. What its tabs saw is in the proof.
    """
    try:
        return run_loop(run_demo(seconds, seed, page_port, stays))
    except TimeoutError as error:
        raise Failure(str(error)) from None
