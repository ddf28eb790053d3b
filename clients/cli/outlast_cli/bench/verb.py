"""`outlast bench` on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
from outlast import Client

from ..exits import Exit
from ..options import broker_options
from ..session import run_session
from ..terminal import paint
from .figures import fields, head, line
from .plan import CHANNELS_MAX, MESSAGE_BYTES_MAX, RATE_MAX, SECONDS_MAX, Plan
from .scenarios import SCENARIOS, measure, summary

_DEFAULT = Plan()
_SCENARIO_LINES = "\n".join(["\b", "Scenarios:", *(f"  {name:<8}{summary(name)}" for name in SCENARIOS)])


@click.command(short_help="Measure a running broker on this machine.", epilog=_SCENARIO_LINES)
@click.argument("names", nargs=-1, type=click.Choice(list(SCENARIOS)), metavar="[SCENARIO]...")
@click.option("--seconds", type=click.FloatRange(0.1, SECONDS_MAX), default=_DEFAULT.seconds, show_default=True,
              help="How long each scenario publishes.")  # fmt: skip
@click.option("--rate", type=click.IntRange(1, RATE_MAX), default=_DEFAULT.rate, show_default=True,
              help="stream: messages a second, over all channels.")  # fmt: skip
@click.option("--channels", type=click.IntRange(1, CHANNELS_MAX), default=_DEFAULT.channels, show_default=True,
              help="stream and flood: how many.")  # fmt: skip
@click.option("--message-bytes", type=click.IntRange(1, MESSAGE_BYTES_MAX), default=_DEFAULT.message_bytes,
              show_default=True, help="Size of each message's data.")  # fmt: skip
@click.option("--json", "wants_json", is_flag=True, help="One JSON object a line.")
@broker_options
def bench(
    names: Sequence[str], seconds: float, rate: int, channels: int, message_bytes: int, wants_json: bool, url: str,
    connect_timeout_ms: int,
) -> int:  # fmt: skip
    """Measure a running broker: all scenarios, or those that are named.

    Publishes and reads through the Python client, on channels of its own that are deleted afterwards.
    Latencies are in ms. `own CPU` is what this process used of one core; `client-bound` says that it was
    more than 90 %, so that the client is what was measured. The exit code is 1 if anything that was sent
    was not acknowledged, or not delivered.
    """
    plan = Plan(seconds, rate, channels, message_bytes)

    async def job(client: Client) -> int:
        return await run(client, url, plan, list(dict.fromkeys(names)) or list(SCENARIOS), wants_json)

    return run_session(url, connect_timeout_ms, job)


async def run(client: Client, url: str, plan: Plan, names: Sequence[str], wants_json: bool) -> int:
    """Prints each row as soon as there is one. Returns the exit code."""
    all_complete = True
    if not wants_json:
        click.echo(paint(head(), dim=True))
    for name in names:
        row = await measure(name, plan, client, url)
        all_complete = all_complete and row.is_complete
        click.echo(json.dumps(fields(row) | plan._asdict(), ensure_ascii=False) if wants_json else line(row))
    return Exit.OK if all_complete else Exit.REFUSED
