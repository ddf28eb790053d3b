"""`outlast ask` and `outlast answer`: requests to whoever works on a channel, and their answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import click
from outlast import Channel, Client, Outcome

from .exits import Exit
from .options import DURATION, broker_options
from .rendering import json_data
from .session import channel_of, run_session, say
from .terminal import visible

NUMBER = click.IntRange(1)
TIMEOUT_DEFAULT = "30s"

timeout_option = click.option(
    "--timeout", "timeout_ms", type=DURATION, default=TIMEOUT_DEFAULT, show_default=True,
    help="How long to wait for the answer; 0: for ever.",
)  # fmt: skip
json_option = click.option("--json", "wants_json", is_flag=True, help="Print the outcome as one JSON object.")


def run(
    channel: str, url: str, connect_timeout_ms: int, wants_json: bool, ask: Callable[[Channel], Awaitable[Outcome]]
) -> int:
    """Prints the outcome; the exit code is 1 for a refusal."""

    async def job(client: Client) -> int:
        try:
            outcome = await ask(channel_of(client, channel))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        return show(outcome, wants_json)

    return run_session(url, connect_timeout_ms, job)


def show(outcome: Outcome, wants_json: bool) -> int:
    if wants_json:
        fields = outcome._asdict()
        fields["request"] = fields.pop("id")
        click.echo(json.dumps(fields | {"data": json_data(outcome.data)}, ensure_ascii=False))
    elif outcome.accepted:
        say(f"request {outcome.id} was accepted by {visible(outcome.client_id)}")
        if outcome.data is not None:
            click.echo(json.dumps(outcome.data, ensure_ascii=False))
    else:
        reason = visible(outcome.reason) or "no reason given"
        say(f"request {outcome.id} was refused by {visible(outcome.client_id)}: {reason}")
    return Exit.OK if outcome.accepted else Exit.REFUSED


def seconds(timeout_ms: int) -> float | None:
    return timeout_ms / 1000 if timeout_ms else None


@click.group()
def ask() -> None:
    """Ask whoever works on a channel for something, and wait for the answer.

    What an acceptance brings goes to standard output, as JSON. The exit code is 1 when it was refused, or when nobody
    answered in time; the request stays open then.
    """


@ask.command()
@click.argument("channel")
@click.argument("text")
@timeout_option
@json_option
@broker_options
def prompt(channel: str, text: str, timeout_ms: int, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """Ask for the work that TEXT describes."""
    wait = seconds(timeout_ms)
    return run(channel, url, connect_timeout_ms, wants_json, lambda target: target.prompt(text, timeout=wait))


@ask.command()
@click.argument("channel")
@click.argument("message", type=NUMBER)
@click.argument("text", required=False)
@timeout_option
@json_option
@broker_options
def cancel(
    channel: str, message: int, text: str | None, timeout_ms: int, wants_json: bool, url: str, connect_timeout_ms: int
) -> int:
    """Ask to stop the work on MESSAGE.

    MESSAGE is an offset: of a message, or of the prompt for it.
    """
    wait = seconds(timeout_ms)
    return run(channel, url, connect_timeout_ms, wants_json, lambda target: target.cancel(message, text, timeout=wait))


@ask.command()
@click.argument("channel")
@click.argument("message", type=NUMBER)
@click.argument("text")
@timeout_option
@json_option
@broker_options
def steer(
    channel: str, message: int, text: str, timeout_ms: int, wants_json: bool, url: str, connect_timeout_ms: int
) -> int:
    """Ask to go on with MESSAGE in the way that TEXT says."""
    wait = seconds(timeout_ms)
    return run(channel, url, connect_timeout_ms, wants_json, lambda target: target.steer(message, text, timeout=wait))


@ask.command()
@click.argument("channel")
@click.argument("text")
@timeout_option
@json_option
@broker_options
def approval(channel: str, text: str, timeout_ms: int, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """Ask people whether something may be done."""
    wait = seconds(timeout_ms)
    return run(channel, url, connect_timeout_ms, wants_json, lambda target: target.ask_approval(text, timeout=wait))


@ask.command()
@click.argument("channel")
@click.argument("request", type=NUMBER)
@timeout_option
@json_option
@broker_options
def outcome(channel: str, request: int, timeout_ms: int, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """Wait for the answer to REQUEST, which was made before."""
    wait = seconds(timeout_ms)
    return run(channel, url, connect_timeout_ms, wants_json, lambda target: target.outcome(request, timeout=wait))


@click.command(short_help="Accept or refuse a request.")
@click.argument("channel")
@click.argument("request", type=NUMBER)
@click.option("--refuse", "reason", metavar="WHY", help="Refuse it, and say why.")
@json_option
@broker_options
def answer(channel: str, request: int, reason: str | None, wants_json: bool, url: str, connect_timeout_ms: int) -> int:
    """Accept REQUEST of CHANNEL by its offset, or refuse it with --refuse; for approvals above all.

    Of several answers the first counts: the one that is shown. The exit code is 1 if that is a refusal.
    """
    return run(
        channel, url, connect_timeout_ms, wants_json,
        lambda target: target.approve(request) if reason is None else target.reject(request, reason),
    )  # fmt: skip
