from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from outlast_cli.options import COUNT_OR_RULE, DURATION, DURATION_OR_RULE, SIZE, SIZE_OR_RULE, broker_options


@click.command()
@click.option("--size", type=SIZE)
@click.option("--age", type=DURATION)
@click.option("--own-size", type=SIZE_OR_RULE)
@click.option("--own-age", type=DURATION_OR_RULE)
@click.option("--own-count", type=COUNT_OR_RULE)
@broker_options
def verb(**values: object) -> None:
    click.echo(repr({key: value for key, value in values.items() if value is not None}))


def shown(*arguments: str, **env: str) -> str:
    result = CliRunner().invoke(verb, arguments, env=env)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_values() -> None:
    text = shown("--size", "1KiB", "--age", "2s", "--own-size", "default", "--own-age", "0", "--own-count", "7")
    for pair in ("'size': 1024", "'age': 2000", "'own_size': 'default'", "'own_age': 0", "'own_count': 7"):
        assert pair in text


def test_the_broker_is_named_by_option_or_environment() -> None:
    assert "'url': 'outlast://127.0.0.1:6180'" in shown(OUTLAST_URL="")
    assert "'url': 'outlast://far:1'" in shown(OUTLAST_URL="outlast://far:1")
    assert "'url': 'outlast://near'" in shown("--url", "outlast://near", OUTLAST_URL="outlast://far:1")
    assert "'connect_timeout_ms': 200" in shown("--connect-timeout", "200ms")


@pytest.mark.parametrize(
    ("option", "text", "allowed"),
    [
        ("--size", "5zib", "allowed is a number with B"),
        ("--age", "5", "allowed are numbers with ms"),
        ("--own-age", "soon", "0 for no bound, or default"),
        ("--own-count", "-1", "0 for no bound, or default"),
    ],
)
def test_bad_ones_say_what_is_allowed(option: str, text: str, allowed: str) -> None:
    result = CliRunner().invoke(verb, [option, text])
    assert result.exit_code == 2
    assert allowed in " ".join(result.stderr.split())
