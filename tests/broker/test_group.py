from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from outlast_broker.channel import Channel
from outlast_broker.cursor import Standing
from outlast_broker.group import Group
from outlast_broker.head import Head
from outlast_broker.log import Cut, Rewrite

ROOM = Channel(3, Head("room", 0xABC, 1_000, 1, 1))
HALL = Channel(4, Head("hall", 0xDEF, 1_000, 1, 1))


def noted(channel: Channel) -> Group:
    """A group in which everything that a group may have of a channel waits."""
    group = Group()
    note(group, channel)
    return group


def note(group: Group, channel: Channel) -> None:
    group.fresh[channel] = ([1], [b"batch"])
    for channels in (group.heads, group.cursors, group.rows, group.trims):
        channels.add(channel)
    group.work.cursors[channel.number, "phone"] = Standing(1, 1_000)
    group.work.rows[channel.number, b"key"] = b"value"


def test_a_new_group_has_nothing_to_do() -> None:
    group = Group()
    assert not group and not group.names(ROOM) and group.bytes == 0


FILLS: dict[str, Callable[[Group], Any]] = {
    "a batch": lambda group: group.work.journal.append(b"batch"),
    "a cursor": lambda group: group.work.cursors.update({(3, "phone"): None}),
    "a row": lambda group: group.work.rows.update({(3, b"key"): None}),
    "an acknowledgement": lambda group: group.acks.update({None: [1, 1]}),
    "an answer": lambda group: group.answers.append(lambda: None),
    "a head": lambda group: group.heads.add(ROOM),
    "a trim": lambda group: group.trims.add(ROOM),
}


@pytest.mark.parametrize("fill", FILLS.values(), ids=list(FILLS))
def test_anything_at_all_is_something_to_do(fill: Callable[[Group], Any]) -> None:
    group = Group()
    fill(group)
    assert group


@pytest.mark.parametrize("what", ["heads", "trims", "cursors", "rows"])
def test_a_group_names_a_channel_of_which_something_waits(what: str) -> None:
    group = Group()
    getattr(group, what).add(ROOM)
    assert group.names(ROOM) and not group.names(HALL)


def test_a_group_says_whose_chunks_it_changes() -> None:
    moving, cutting, rewriting = Group(), Group(), Group()
    moving.moving.append(ROOM)
    cutting.work.cuts.append(Cut(ROOM.number, 5))
    rewriting.rewrite(ROOM, Rewrite(ROOM.number, [1], []))
    assert all(group.moves_chunks(ROOM) and not group.moves_chunks(HALL) for group in (moving, cutting, rewriting))
    assert not noted(ROOM).moves_chunks(ROOM), "what is published is in no chunk yet"
    rewriting.drop(ROOM)
    assert not rewriting.moves_chunks(ROOM)


def test_of_a_channel_that_is_deleted_nothing_is_written() -> None:
    group = noted(ROOM)
    note(group, HALL)
    group.drop(ROOM)
    assert not group.names(ROOM) and ROOM not in group.fresh
    assert group.names(HALL) and HALL in group.fresh
    assert list(group.work.cursors) == [(4, "phone")] and list(group.work.rows) == [(4, b"key")]


def test_dropping_what_is_not_there_changes_nothing() -> None:
    group = noted(HALL)
    group.drop(ROOM)
    assert group.names(HALL) and group.work.cursors and group.work.rows
