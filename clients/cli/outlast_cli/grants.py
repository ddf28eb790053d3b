"""What `--grant` says: a pattern of channels, and verbs."""

from __future__ import annotations

from collections.abc import Sequence

import click
from outlast_broker.auth.capabilities import ALL_VERBS, CHANNEL_VERBS, VERB_NAMES, names_of, read_capabilities
from outlast_broker.patterns import ANY

ALL = "all"
Grants = dict[str, list[str]]

grant_option = click.option(
    "--grant", "grants", multiple=True, metavar="PATTERN=VERBS",
    help=f"What it grants, as 'session:*=publish,subscribe'; VERBS are {VERB_NAMES}, or {ALL}; metrics is for "
    f"'{ANY}' only. Repeat it for more.",
)  # fmt: skip


def parse_grants(texts: Sequence[str]) -> Grants:
    """Raises UsageError that says what is allowed."""
    found: Grants = {}
    for text in texts:
        pattern, equals, verbs = text.rpartition("=")
        if not equals:
            raise click.UsageError(f"--grant is PATTERN=VERBS, as 'session:*=publish,subscribe', not {text!r}")
        found.setdefault(pattern, []).extend(_verbs_of(pattern, verbs))
    try:
        read_capabilities(found)
    except ValueError as error:
        raise click.UsageError(f"--grant: {error}") from None
    return found


def _verbs_of(pattern: str, verbs: str) -> list[str]:
    if verbs == ALL:
        return names_of(ALL_VERBS if pattern == ANY else CHANNEL_VERBS)
    return [verb.strip() for verb in verbs.split(",")]
