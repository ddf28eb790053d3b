from __future__ import annotations

from dataclasses import dataclass, fields

from outlast_broker.configuration.option import INLINE, KEY, inlined, option


@dataclass(frozen=True, slots=True)
class Group:
    wait_ms: int = option(5, "How long.", live=True)


@dataclass(frozen=True, slots=True)
class Whole:
    group: Group = inlined(Group)


def test_a_field_has_its_default_and_says_what_it_is_for() -> None:
    [field] = fields(Group)
    assert Group().wait_ms == 5
    details = field.metadata[KEY]
    assert (details.text, details.live, details.secret) == ("How long.", True, False)


def test_a_group_can_stand_without_its_name() -> None:
    [field] = fields(Whole)
    assert Whole().group == Group() and field.metadata[INLINE]
