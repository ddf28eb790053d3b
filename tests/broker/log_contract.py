"""What every log promises (log.Log). test_memory_log.py and test_lmdb_log.py run it, each with its own `opened`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from hypothesis import given, strategies as st
from outlast_broker.chunk import Chunk, make
from outlast_broker.cursor import Standing
from outlast_broker.head import Head
from outlast_broker.log import CUT_CHUNKS, JOURNAL_CUTS, Creation, Cut, Deletion, Due, Log, Move, Rewrite
from outlast_protocol.tile import make_tile

from tests.broker.logs import BIRTH_MS, Mark, Row, batch, commit, create, entry, move, offsets, ranges, with_chunks

ALL = 1 << 30
NAMES = ["a", "ab", "abc", "b", "z", "ä", "ß", "日本", "日本語", "🦊", "a/b", "a:b", " "]


class Births:
    def test_a_channel_is_found_by_name_and_number(self, log: Log) -> None:
        number = create(log, "room", epoch=99)
        assert log.find("room") == number
        assert log.head(number) == Head("room", 99, BIRTH_MS)
        assert log.heads([number, number + 1]) == {number: Head("room", 99, BIRTH_MS)}

    def test_what_was_never_created_is_not_found(self, log: Log) -> None:
        assert log.find("room") is None
        assert log.head(1) is None and log.heads([1, 2]) == {}
        assert log.read(1, 1, ALL) == []
        assert log.read_back(1, 1) is None
        assert log.find_time(1, 0) is None
        assert log.oldest(1, 5) == []
        assert log.names("", None, 5) == []
        assert list(log.recover()) == []

    def test_numbers_are_never_given_twice(self, log: Log) -> None:
        numbers = [create(log, f"room {index}") for index in range(5)] + [log.next_number()]
        assert len(set(numbers)) == 6

    def test_a_deleted_channel_is_gone_at_once(self, log: Log) -> None:
        number = create(log, "room")
        commit(log, Deletion(number, "room"))
        assert log.find("room") is None
        assert log.head(number) is None
        assert log.stats().channels == 0

    def test_a_name_lives_again_under_another_number(self, log: Log) -> None:
        old = with_chunks(log, "room", 3)
        new = log.next_number()
        commit(log, Deletion(old, "room"), Creation(new, Head("room", 8, BIRTH_MS)))
        assert log.find("room") == new != old
        assert log.read(new, 1, ALL) == []

    def test_a_channel_may_end_in_the_commit_that_made_it(self, log: Log) -> None:
        number = log.next_number()
        commit(log, Creation(number, Head("room", 7, BIRTH_MS)), Deletion(number, "room"))
        assert log.find("room") is None and log.head(number) is None

    @pytest.mark.parametrize("chunks", [0, 1, CUT_CHUNKS, CUT_CHUNKS + 1, 3 * CUT_CHUNKS])
    @pytest.mark.parametrize("followed", [True, False])
    def test_a_deleted_channels_chunks_are_erased_over_the_following_commits(
        self, log: Log, chunks: int, followed: bool
    ) -> None:
        """Whether or not another channel's chunks lie behind them."""
        number = with_chunks(log, "room", chunks) if chunks else create(log, "room")
        other = with_chunks(log, "other", 2) if followed else 0
        outcome = commit(log, Deletion(number, "room"))
        commits = 1
        while outcome.erasing:
            outcome = commit(log)
            commits += 1
        assert log.read(number, 1, ALL) == []
        assert commits <= chunks // CUT_CHUNKS + 2
        assert not other or ranges(log.read(other, 1, ALL)) == [(1, 2), (3, 4)]

    def test_several_deleted_channels_are_all_erased(self, log: Log) -> None:
        numbers = [with_chunks(log, f"room {index}", 3) for index in range(4)]
        outcome = commit(log, *[Deletion(number, f"room {index}") for index, number in enumerate(numbers)])
        while outcome.erasing:
            outcome = commit(log)
        assert [log.read(number, 1, ALL) for number in numbers] == [[]] * 4


class Journal:
    def test_entries_come_back_in_the_order_of_their_commits(self, log: Log) -> None:
        a, b = create(log, "a"), create(log, "b")
        written = [[entry(a, 1, "x"), entry(b, 1, "y", "z")], [entry(a, 2, "later")], [entry(b, 3, "last")]]
        ids = [commit(log, *entries).journal_newest for entries in written]
        assert list(log.recover()) == list(zip(ids, written, strict=True))
        assert ids == sorted(set(ids))

    def test_an_entry_keeps_who_published_it(self, log: Log) -> None:
        from_agent = entry(create(log, "a"), 1, "x")._replace(producer=2**64 - 1, producer_epoch=3, sequence=2**64 - 2)
        commit(log, from_agent)
        [(_, [found])] = log.recover()
        assert found == from_agent

    def test_a_commit_without_entries_leaves_the_journal_as_it_is(self, log: Log) -> None:
        number = create(log, "a")
        before = commit(log, entry(number, 1, "x"))
        after = commit(log, (number, Head("a", 7, BIRTH_MS, last_ms=5)))
        assert after[:2] == before[:2]
        assert log.stats().journal_values == 1

    def test_what_is_forgotten_does_not_come_back(self, log: Log) -> None:
        number = create(log, "a")
        ids = [commit(log, entry(number, offset, "x")).journal_newest for offset in range(1, 6)]
        outcome = commit(log, forget_journal=ids[2])
        assert [journal_id for journal_id, _ in log.recover()] == ids[3:]
        assert outcome.journal_oldest == ids[3] and outcome.journal_newest == ids[4]

    def test_an_empty_journals_oldest_is_the_next_one(self, log: Log) -> None:
        number = create(log, "a")
        newest = commit(log, entry(number, 1, "x")).journal_newest
        outcome = commit(log, forget_journal=newest)
        assert (outcome.journal_oldest, outcome.journal_newest) == (newest + 1, newest)
        assert commit(log, entry(number, 2, "y")).journal_newest == newest + 1
        assert [journal_id for journal_id, _ in log.recover()] == [newest + 1]

    def test_a_long_journal_is_forgotten_over_several_commits(self, log: Log) -> None:
        number = create(log, "a")
        for offset in range(1, 2 * JOURNAL_CUTS + 3):
            newest = commit(log, entry(number, offset, "x")).journal_newest
        for _ in range(3):
            outcome = commit(log, forget_journal=newest)
        assert outcome.journal_oldest == newest + 1
        assert list(log.recover()) == []

    def test_an_entry_and_its_forgetting_may_share_a_commit(self, log: Log) -> None:
        """What moves and what is forgotten for it are atomic."""
        number = create(log, "a")
        old = commit(log, entry(number, 1, "x")).journal_newest
        outcome = commit(log, entry(number, 2, "y"), move(number, batch(1, "x")), forget_journal=old)
        assert outcome[:3] == (old + 1, old + 1, False)
        assert offsets(log.read(number, 1, ALL)) == [1]


class Moves:
    def test_batches_become_chunks_byte_for_byte(self, log: Log) -> None:
        number = create(log, "a")
        first, second, third = batch(1, "x"), batch(2, "y", "z"), batch(4, "later", time_ms=BIRTH_MS + 9)
        commit(log, Move(number, [[first, second], [third]], 0))
        assert log.read(number, 1, ALL) == [
            Chunk(1, 3, BIRTH_MS, BIRTH_MS, first + second),
            Chunk(4, 4, BIRTH_MS + 9, BIRTH_MS + 9, third),
        ]

    def test_a_small_chunk_is_joined_with_what_comes_next(self, log: Log) -> None:
        number = create(log, "a")
        first, second, third = batch(1, "x"), batch(2, "y", time_ms=BIRTH_MS + 1), batch(3, "z")
        commit(log, move(number, first))
        commit(log, Move(number, [[second], [third]], 1))
        assert ranges(log.read(number, 1, ALL)) == [(1, 2), (3, 3)]
        joined = log.read(number, 1, 1)[0]
        assert joined == Chunk(1, 2, BIRTH_MS, BIRTH_MS + 1, first + second)

    def test_the_newest_of_several_chunks_is_joined(self, log: Log) -> None:
        number = with_chunks(log, "a", 3, records=1)
        commit(log, Move(number, [[batch(4, "x")]], 3))
        assert ranges(log.read(number, 1, ALL)) == [(1, 1), (2, 2), (3, 4)]

    def test_channels_do_not_see_each_others_chunks(self, log: Log) -> None:
        numbers = [with_chunks(log, name, 2) for name in ("a", "b", "c")]
        for number in numbers:
            assert ranges(log.read(number, 1, ALL)) == [(1, 2), (3, 4)]
            assert log.read(number, 5, ALL) == []
            assert ranges(filter(None, [log.read_back(number, 99)])) == [(3, 4)]

    def test_a_head_is_replaced(self, log: Log) -> None:
        number = create(log, "a")
        head = Head(
            "a",
            7,
            BIRTH_MS,
            3,
            9,
            5,
            1_000,
            77,
            8,
            100,
            {"age_ms": 5},
            [[2**64 - 1, 0, 7, [1, 2]]],  # type: ignore[list-item]
        )
        commit(log, (number, head))
        assert log.head(number) == head


class Reading:
    @pytest.mark.parametrize(
        ("offset", "found"),
        [
            (0, [1, 3, 5]),
            (1, [1, 3, 5]),
            (2, [1, 3, 5]),
            (3, [3, 5]),
            (4, [3, 5]),
            (5, [5]),
            (6, [5]),
            (7, []),
            (2**62, []),
        ],
    )
    def test_reading_begins_with_the_chunk_that_holds_the_offset(self, log: Log, offset: int, found: list[int]) -> None:
        number = with_chunks(log, "a", 3)
        assert [chunk.first for chunk in log.read(number, offset, ALL)] == found

    def test_reading_stops_at_the_bytes_asked_for_but_gives_something(self, log: Log) -> None:
        number = with_chunks(log, "a", 50)
        assert ranges(log.read(number, 3, 1)) == [(3, 4)]
        few = log.read(number, 3, 500)
        assert 1 < len(few) < 10
        assert offsets(few) == list(range(3, 3 + 2 * len(few)))

    def test_reading_where_the_beginning_is_cut_gives_what_is_left(self, log: Log) -> None:
        number = with_chunks(log, "a", 4)
        commit(log, Cut(number, 5))
        assert ranges(log.read(number, 1, ALL)) == [(5, 6), (7, 8)]

    @pytest.mark.parametrize(
        ("offset", "found"),
        [
            (0, None),
            (1, (1, 2)),
            (2, (1, 2)),
            (3, (3, 4)),
            (4, (3, 4)),
            (5, (5, 6)),
            (6, (5, 6)),
            (7, (5, 6)),
            (2**62, (5, 6)),
        ],
    )
    def test_reading_back_gives_the_chunk_that_holds_the_offset_or_lies_before(
        self, log: Log, offset: int, found: tuple[int, int] | None
    ) -> None:
        number = with_chunks(log, "a", 3)
        with_chunks(log, "b", 3)
        chunk = log.read_back(number, offset)
        assert (chunk and (chunk.first, chunk.last)) == found

    def test_the_oldest_chunks_are_told_from_their_heads(self, log: Log) -> None:
        number = with_chunks(log, "a", 5)
        facts = log.oldest(number, 3)
        assert [(each.first, each.last, each.last_ms) for each in facts] == [
            (1, 2, BIRTH_MS), (3, 4, BIRTH_MS + 1), (5, 6, BIRTH_MS + 2),
        ]  # fmt: skip
        assert [each.bytes for each in facts] == [len(chunk.encode()) for chunk in log.read(number, 1, ALL)[:3]]
        assert len(log.oldest(number, 99)) == 5

    @pytest.mark.parametrize(
        "times", [[5], [5, 5], [5, 5, 5, 9], [1, 2, 3, 4, 5, 6, 7, 8], [1, 50, 50, 50, 51, 200], [0, 0, 1, 1, 1, 7, 7]]
    )
    def test_a_time_is_found_between_equal_times_and_gaps(self, log: Log, times: list[int]) -> None:
        number = create(log, "a")
        with_chunks(log, "b", 3)
        commit(log, move(number, *[batch(1 + 3 * at, "x", "y", "z", time_ms=each) for at, each in enumerate(times)]))
        for asked in range(max(times) + 2):
            chunk = log.find_time(number, asked)
            expected = next((1 + 3 * at for at, each in enumerate(times) if each >= asked), None)
            assert (chunk and chunk.first) == expected

    def test_a_time_inside_a_chunk_finds_that_chunk(self, log: Log) -> None:
        number = create(log, "a")
        commit(
            log, Move(number, [[batch(1, "x", time_ms=10), batch(2, "y", time_ms=20)], [batch(3, "z", time_ms=30)]], 0)
        )
        found = {asked: log.find_time(number, asked) for asked in (5, 10, 11, 20, 21, 30, 31)}
        assert [chunk and chunk.first for chunk in found.values()] == [1, 1, 1, 1, 3, 3, None]


class Cuts:
    def test_only_chunks_that_end_before_the_cut_go(self, log: Log) -> None:
        number = with_chunks(log, "a", 4)
        commit(log, Cut(number, 4))
        assert ranges(log.read(number, 1, ALL)) == [(3, 4), (5, 6), (7, 8)]
        assert log.find("a") == number

    def test_everything_may_go(self, log: Log) -> None:
        number = with_chunks(log, "a", 4)
        commit(log, Cut(number, 9))
        assert log.read(number, 1, ALL) == [] and log.read_back(number, 8) is None
        assert log.find_time(number, 0) is None
        assert log.head(number) is not None

    def test_many_chunks_go_after_enough_commits(self, log: Log) -> None:
        number, other = with_chunks(log, "a", 2 * CUT_CHUNKS + 2), with_chunks(log, "b", 1)
        for _ in range(3):
            commit(log, Cut(number, 4 * CUT_CHUNKS + 3))
        assert ranges(log.read(number, 1, ALL)) == [(4 * CUT_CHUNKS + 3, 4 * CUT_CHUNKS + 4)]
        assert ranges(log.read(other, 1, ALL)) == [(1, 2)]

    def test_a_cut_sees_what_the_same_commit_moved(self, log: Log) -> None:
        number = create(log, "a")
        commit(log, move(number, batch(1, "x"), batch(2, "y")), Cut(number, 2))
        assert ranges(log.read(number, 1, ALL)) == [(2, 2)]


class Dues:
    def test_channels_are_due_in_the_order_of_their_times(self, log: Log) -> None:
        a, b, c = (create(log, name) for name in "abc")
        commit(log, Due(a, 0, 300), Due(b, 0, 100), Due(c, 0, 200))
        assert log.due(99, 9) == []
        assert log.due(100, 9) == [b]
        assert log.due(300, 9) == [b, c, a]
        assert log.due(300, 2) == [b, c]

    def test_a_due_time_moves_and_ends(self, log: Log) -> None:
        a, b = create(log, "a"), create(log, "b")
        commit(log, Due(a, 0, 100), Due(b, 0, 100))
        commit(log, Due(a, 100, 200))
        assert log.due(150, 9) == [b]
        commit(log, Due(b, 100, 0))
        assert log.due(250, 9) == [a]

    def test_due_times_reach_as_far_as_the_clock(self, log: Log) -> None:
        number = create(log, "a")
        commit(log, Due(number, 0, 2**63))
        assert log.due(2**63 - 1, 9) == [] and log.due(2**63, 9) == [number]


class Listing:
    def test_names_come_in_byte_order(self, log: Log) -> None:
        numbers = {name: create(log, name) for name in NAMES}
        expected = [(name, numbers[name]) for name in sorted(NAMES, key=str.encode)]
        assert log.names("", None, 99) == expected

    @pytest.mark.parametrize("prefix", ["", "a", "ab", "abcd", "日", "日本語", "🦊", "zz", "ä", "b"])
    @pytest.mark.parametrize("after", [None, "", "a", "aa", "ab", "b", "日", "日本", "zzz", "🦊"])
    @pytest.mark.parametrize("count", [1, 2, 99])
    def test_names_by_prefix_and_after(self, log: Log, prefix: str, after: str | None, count: int) -> None:
        commit(log, *[Creation(log.next_number(), Head(name, 7, BIRTH_MS)) for name in NAMES])
        names = sorted((name for name in NAMES if name.startswith(prefix)), key=str.encode)
        later = [name for name in names if name.encode() > (after or "").encode()]
        assert [name for name, _ in log.names(prefix, after, count)] == later[:count]

    @pytest.mark.parametrize(("prefix", "after"), [("x" * 600, None), ("", "x" * 600), ("a", "a" * 60_000)])
    def test_a_name_longer_than_any_can_be_asked_for(self, log: Log, prefix: str, after: str | None) -> None:
        create(log, "z" if after else "a")
        expected = ["z"] if after and not prefix else []
        assert [name for name, _ in log.names(prefix, after, 9)] == expected

    def test_the_longest_name_is_kept_whole(self, log: Log) -> None:
        name = "語" * 85
        number = create(log, name)
        assert log.names("語", None, 1) == [(name, number)] and log.find(name) == number


class Statistics:
    def test_stats_count_channels_and_journal_values(self, log: Log) -> None:
        number = with_chunks(log, "a", 1)
        create(log, "b")
        commit(log, entry(number, 3, "x"))
        stats = log.stats()
        assert (stats.channels, stats.journal_values) == (2, 1)

    def test_stats_grow_with_what_is_kept(self, log: Log) -> None:
        before = log.stats()
        number = create(log, "a")
        commit(log, move(number, batch(1, b"x" * 100_000)))
        after = log.stats()
        assert after.used_bytes - before.used_bytes >= 100_000
        assert after.file_bytes >= after.used_bytes


class Cursors:
    def test_cursors_are_read_back(self, log: Log) -> None:
        number = create(log, "room")
        written = {name: Standing(index, BIRTH_MS + index) for index, name in enumerate(NAMES)}
        commit(log, *[Mark(number, name, standing) for name, standing in written.items()])
        assert log.cursors(number) == written

    def test_the_last_standing_counts(self, log: Log) -> None:
        number = create(log, "room")
        commit(log, Mark(number, "phone", Standing(1, BIRTH_MS)))
        commit(log, Mark(number, "phone", Standing(2**63 - 1, BIRTH_MS + 1)))
        assert log.cursors(number) == {"phone": Standing(2**63 - 1, BIRTH_MS + 1)}

    def test_each_channel_has_its_own(self, log: Log) -> None:
        numbers = [create(log, f"room {index}") for index in range(300)]
        commit(log, *[Mark(number, "phone", Standing(number, 5)) for number in numbers])
        assert [log.cursors(number) for number in numbers] == [{"phone": Standing(number, 5)} for number in numbers]
        assert log.cursors(log.next_number()) == {}

    def test_a_forgotten_one_is_gone(self, log: Log) -> None:
        number = create(log, "room")
        commit(log, Mark(number, "phone", Standing(1, 5)), Mark(number, "tab", Standing(2, 5)))
        commit(log, Mark(number, "phone", None), Mark(number, "nobody", None))
        assert log.cursors(number) == {"tab": Standing(2, 5)}

    def test_they_go_with_their_channel(self, log: Log) -> None:
        numbers = [create(log, f"room {index}") for index in range(3)]
        commit(log, *[Mark(number, name, Standing(1, 5)) for number in numbers for name in NAMES])
        commit(log, Deletion(numbers[1], "room 1"))
        assert [len(log.cursors(number)) for number in numbers] == [len(NAMES), 0, len(NAMES)]

    def test_what_was_read_does_not_change(self, log: Log) -> None:
        number = create(log, "room")
        commit(log, Mark(number, "phone", Standing(1, 5)))
        before = log.cursors(number)
        commit(log, Mark(number, "phone", Standing(2, 5)))
        assert before == {"phone": Standing(1, 5)}


class Rewrites:
    def test_chunks_are_replaced_by_others(self, log: Log) -> None:
        number, other = with_chunks(log, "a", 5), with_chunks(log, "b", 5)
        together = Chunk(3, 8, BIRTH_MS, BIRTH_MS, batch(3, *"abcdef"))
        commit(log, Rewrite(number, [3, 5, 7], [together]))
        assert ranges(log.read(number, 1, ALL)) == [(1, 2), (3, 8), (9, 10)]
        assert log.read(number, 3, 1) == [together]
        assert len(log.read(other, 1, ALL)) == 5

    def test_one_becomes_several(self, log: Log) -> None:
        number = with_chunks(log, "a", 1, records=6)
        commit(log, Rewrite(number, [1], [make([batch(1, *"abc")]), make([batch(4, *"def")])]))
        assert ranges(log.read(number, 1, ALL)) == [(1, 3), (4, 6)]
        assert log.read_back(number, 5) == log.read(number, 4, ALL)[0]

    def test_a_move_of_the_same_commit_joins_what_was_rewritten(self, log: Log) -> None:
        number = with_chunks(log, "a", 3)
        rewrite = Rewrite(number, [3, 5], [make([batch(3, *"abcd")])])
        commit(log, Move(number, [[batch(7, "x")]], 3), rewrite)
        assert ranges(log.read(number, 1, ALL)) == [(1, 2), (3, 7)]

    def test_a_cut_of_the_same_commit_sees_what_was_rewritten(self, log: Log) -> None:
        number = with_chunks(log, "a", 4)
        commit(log, Cut(number, 6), Rewrite(number, [1, 3], [make([batch(1, *"abcd")])]))
        assert ranges(log.read(number, 1, ALL)) == [(5, 6), (7, 8)]

    def test_tiles_are_read_and_found_like_batches(self, log: Log) -> None:
        number = with_chunks(log, "a", 3)
        tile = make_tile(1, 6, BIRTH_MS + 7, batch(2, "x"))
        commit(log, Rewrite(number, [1, 3, 5], [make([tile])]))
        for offset in range(1, 7):
            assert ranges(log.read(number, offset, ALL)) == [(1, 6)]
            assert log.read_back(number, offset) == log.read(number, 1, ALL)[0]
        assert log.find_time(number, BIRTH_MS + 7) is not None and log.find_time(number, BIRTH_MS + 8) is None
        assert [(each.first, each.last, each.last_ms) for each in log.oldest(number, 9)] == [(1, 6, BIRTH_MS + 7)]


class Rows:
    KEYS = (b"m\0\1", b"m\0\2", b"m\1", b"ma", b"s", b"s\xff", b"x", b"M")

    def test_rows_are_read_back_one_by_one_and_by_prefix(self, log: Log) -> None:
        number = create(log, "a")
        commit(log, *[Row(number, key, b"value of " + key) for key in self.KEYS])
        assert log.row(number, b"ma") == b"value of ma"
        assert log.rows(number, b"") == {key: b"value of " + key for key in self.KEYS}
        assert list(log.rows(number, b"m")) == [b"m\0\1", b"m\0\2", b"m\1", b"ma"]
        assert list(log.rows(number, b"m", 2)) == [b"m\0\1", b"m\0\2"]
        assert list(log.rows(number, b"")) == sorted(self.KEYS)

    def test_what_was_never_written_is_not_there(self, log: Log) -> None:
        number = create(log, "a")
        assert log.row(number, b"m") is None and log.rows(number, b"") == {} == log.rows(99, b"")

    def test_the_last_value_counts_and_an_erased_row_is_gone(self, log: Log) -> None:
        number = create(log, "a")
        commit(log, Row(number, b"k", b"1"), Row(number, b"l", b"1"))
        commit(log, Row(number, b"k", b"2"), Row(number, b"l", None), Row(number, b"nobody", None))
        assert log.rows(number, b"") == {b"k": b"2"}

    def test_each_channel_has_its_own_and_number_zero_those_of_none(self, log: Log) -> None:
        numbers = [0, *(create(log, name) for name in "ab"), 256, 2**32]
        commit(log, *[Row(number, b"k", b"%d" % number) for number in numbers])
        assert [log.rows(number, b"") for number in numbers] == [{b"k": b"%d" % number} for number in numbers]

    def test_keys_and_values_may_be_as_long_as_they_come(self, log: Log) -> None:
        number = create(log, "a")
        commit(log, Row(number, b"k" * 256, b"v" * 1_100_000), Row(number, b"", b""))
        assert log.row(number, b"k" * 256) == b"v" * 1_100_000 and log.row(number, b"") == b""

    def test_they_go_with_their_channel(self, log: Log) -> None:
        numbers = [create(log, name) for name in "abc"]
        commit(log, *[Row(number, b"%05d" % at, b"x") for number in numbers for at in range(3)])
        outcome = commit(log, Deletion(numbers[1], "b"))
        while outcome.erasing:
            outcome = commit(log)
        assert [len(log.rows(number, b"")) for number in numbers] == [3, 0, 3]

    def test_many_go_over_several_commits(self, log: Log) -> None:
        number, other = create(log, "a"), create(log, "b")
        commit(log, *[Row(number, b"%05d" % at, b"x") for at in range(10_000)], Row(other, b"k", b"v"))
        outcome, commits = commit(log, Deletion(number, "a")), 1
        while outcome.erasing:
            outcome, commits = commit(log), commits + 1
        assert log.rows(number, b"") == {} and log.row(other, b"k") == b"v"
        assert commits < 6

    def test_what_was_read_does_not_change(self, log: Log) -> None:
        number = create(log, "a")
        commit(log, Row(number, b"k", b"1"))
        before = log.rows(number, b"")
        commit(log, Row(number, b"k", b"2"))
        assert before == {b"k": b"1"}


class LogContract(Births, Journal, Moves, Reading, Cuts, Dues, Listing, Statistics, Cursors, Rewrites, Rows):
    """All of it, for a log that `opened` gives."""

    def opened(self) -> AbstractContextManager[Log]:
        """A new, empty log."""
        raise NotImplementedError

    @pytest.fixture
    def log(self) -> Iterator[Log]:
        with self.opened() as log:
            yield log


# --- any order of moves, merges and cuts, against a list --------------------------------------------------

# What happens, how many batches it is about, and how many records each of them has.
STEPS = st.lists(
    st.tuples(st.sampled_from(["move", "merge", "cut"]), st.integers(1, 4), st.integers(1, 4)), max_size=12
)
any_history = given(steps=STEPS)
Steps = list[tuple[str, int, int]]


def check_history(log: Log, steps: Steps) -> None:
    """Does the steps to a channel of an empty log, and reads it from everywhere."""
    number = create(log, "room")
    kept: list[tuple[int, int]] = []
    end = 1
    for kind, count, records in steps:
        if kind == "cut":
            commit(log, Cut(number, end - count))
            kept = [each for each in kept if each[1] >= end - count]
            continue
        first, end = end, end + count * records
        batches = [batch(offset, *(["x"] * records)) for offset in range(first, end, records)]
        merge = kept.pop()[0] if kind == "merge" and kept else 0
        commit(log, Move(number, [batches], merge))
        kept.append((merge or first, end - 1))
    _check_reads(log, number, kept, end)


def _check_reads(log: Log, number: int, kept: list[tuple[int, int]], end: int) -> None:
    assert [(facts.first, facts.last) for facts in log.oldest(number, 99)] == kept
    for offset in range(end + 2):
        assert ranges(log.read(number, offset, ALL)) == [each for each in kept if each[1] >= offset]
        back = log.read_back(number, offset)
        assert (back and (back.first, back.last)) == next((each for each in kept[::-1] if each[0] <= offset), None)
