from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from outlast_broker import lmdb_log
from outlast_broker.cursor import Standing
from outlast_broker.damage import Damaged
from outlast_broker.head import Head
from outlast_broker.lmdb_file import COPY_FOLDER, FORMAT, NewFile, StoreError, WrongFormat
from outlast_broker.lmdb_log import GivenUp, LmdbLog
from outlast_broker.log import CUT_CHUNKS, JOURNAL_CUTS, Cut, Deletion, Due, Log

from tests.broker.log_contract import ALL, LogContract, Steps, any_history, check_history
from tests.broker.logs import BIRTH_MS, Mark, Row, batch, commit, create, entry, move, offsets, ranges, with_chunks
from tests.broker.patience import within
from tests.broker.store import flipped, put, raw, values
from tests.support.bounds import bounded

MIB = 1 << 20


@contextmanager
def opened(folder: Path, map_bytes: int = 64 * MIB) -> Iterator[LmdbLog]:
    log = LmdbLog(folder, map_bytes)
    try:
        yield log
    finally:
        log.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LmdbLog]:
    with opened(tmp_path) as log:
        yield log


class TestLmdbLog(LogContract):
    @contextmanager
    def opened(self) -> Iterator[Log]:
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as log:
            yield log


@bounded(20)
@any_history
def test_any_history_reads_like_a_list(steps: Steps) -> None:
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as log:
        check_history(log, steps)


# --- slices -----------------------------------------------------------------------------------------------


def test_a_commit_cuts_no_more_than_its_slice(log: LmdbLog) -> None:
    number = with_chunks(log, "a", 2 * CUT_CHUNKS, records=1)
    commit(log, Cut(number, 2 * CUT_CHUNKS))
    assert log.oldest(number, 1)[0].first == CUT_CHUNKS + 1


def test_a_commit_erases_no_more_of_a_deleted_channel_than_its_slice(log: LmdbLog) -> None:
    number = with_chunks(log, "a", 2 * CUT_CHUNKS, records=1)
    assert commit(log, Deletion(number, "a")).erasing
    assert log.oldest(number, 1)[0].first == CUT_CHUNKS + 1


def test_a_commit_forgets_no_more_of_the_journal_than_its_slice(log: LmdbLog) -> None:
    number = create(log, "a")
    ids = [commit(log, entry(number, offset, "x")).journal_newest for offset in range(1, 2 * JOURNAL_CUTS)]
    assert commit(log, forget_journal=ids[-1]).journal_oldest == ids[JOURNAL_CUTS]


# --- opening again ----------------------------------------------------------------------------------------


def test_everything_is_there_after_opening_again(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = with_chunks(log, "a", 3)
        gone = with_chunks(log, "gone", 2)
        commit(log, Deletion(gone, "gone"))
        young = [entry(number, 7, "x"), entry(number, 8, "y")]
        newest = commit(log, *young, Due(number, 0, 99)).journal_newest
        before = (log.head(number), log.read(number, 1, ALL), log.due(99, 9), log.stats()[0])
    with opened(tmp_path) as log:
        assert (log.head(number), log.read(number, 1, ALL), log.due(99, 9), log.stats()[0]) == before
        assert list(log.recover()) == [(newest, young)]
        assert log.find("gone") is None
        assert log.next_number() > gone
        assert commit(log, entry(number, 9, "z")).journal_newest == newest + 1


def test_cursors_are_there_after_opening_again(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = create(log, "a")
        commit(log, Mark(number, "phone", Standing(3, BIRTH_MS)), Mark(number, "tab", Standing(4, BIRTH_MS)))
        commit(log, Mark(number, "tab", None))
    with opened(tmp_path) as log:
        assert log.cursors(number) == {"phone": Standing(3, BIRTH_MS)}


def test_a_half_erased_channel_is_erased_further_after_opening_again(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = with_chunks(log, "a", CUT_CHUNKS + 5, records=1)
        commit(log, Deletion(number, "a"))
    with opened(tmp_path) as log:
        while commit(log).erasing:
            pass
        assert log.read(number, 1, ALL) == []


def test_a_half_forgotten_journal_begins_where_it_was_left(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = create(log, "a")
        ids = [commit(log, entry(number, offset, "x")).journal_newest for offset in range(1, 6)]
        commit(log, forget_journal=ids[1])
    with opened(tmp_path) as log:
        assert [journal_id for journal_id, _ in log.recover()] == ids[2:]


def test_a_commit_that_did_not_end_left_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = create(log, "a")
        with pytest.raises(Damaged):
            commit(log, entry(number, 1, "x"), move(number, batch(1, "x"))._replace(merge=5))
        assert list(log.recover()) == [] and log.read(number, 1, ALL) == []
        assert commit(log, entry(number, 1, "x")).journal_newest == 1


# --- the format -------------------------------------------------------------------------------------------


def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        with_chunks(log, "a", 3)
    with raw(tmp_path, "store") as txn:
        txn.put(b"format", (FORMAT + 1).to_bytes(8, "big"))
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(WrongFormat, match=f"format {FORMAT + 1}, this version reads {FORMAT}"):
        LmdbLog(tmp_path, 64 * MIB)
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_a_format_with_other_databases_is_refused_untouched(tmp_path: Path) -> None:
    with raw(tmp_path, "store") as txn:
        txn.put(b"format", (FORMAT + 1).to_bytes(8, "big"))
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(WrongFormat):
        LmdbLog(tmp_path, 64 * MIB)
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_a_refused_store_can_be_opened_by_the_version_that_wrote_it(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = with_chunks(log, "a", 3)
    for version in (FORMAT + 1, FORMAT):
        with raw(tmp_path, "store") as txn:
            txn.put(b"format", version.to_bytes(8, "big"))
        if version != FORMAT:
            with pytest.raises(WrongFormat):
                LmdbLog(tmp_path, 64 * MIB)
    with opened(tmp_path) as log:
        assert len(offsets(log.read(number, 1, ALL))) == 6


# --- growth, failure --------------------------------------------------------------------------------------


class Repeating:
    """A thread that does one thing all the time, until `join`, which raises what went wrong."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._rounds = threading.Semaphore(0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._work()
                self._rounds.release()
        except BaseException as error:
            self._error = error

    def await_round(self) -> None:
        """Returns once it has been done again, not counting what was waited for before."""
        assert self._rounds.acquire(timeout=15), self._error

    def join(self) -> None:
        self._stopping.set()
        self._thread.join(15)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


def test_the_map_grows_while_others_read(tmp_path: Path) -> None:
    with opened(tmp_path, map_bytes=MIB) as log:
        number = with_chunks(log, "a", 20)
        expected = log.read(number, 1, ALL)

        def read() -> None:
            assert log.read(number, 1, ALL) == expected
            assert log.head(number) is not None

        reading = Repeating(read)
        reading.await_round()
        try:
            with within(4):
                for offset in range(1, 21):
                    commit(log, entry(number, offset, bytes([offset]) * 400_000))
        finally:
            reading.join()
        assert log.stats().file_bytes > 7 * MIB
        assert [each[0].batch for _, each in log.recover()] == [
            batch(offset, bytes([offset]) * 400_000) for offset in range(1, 21)
        ]


def test_a_store_larger_than_the_map_asked_for_is_opened(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = create(log, "a")
        commit(log, move(number, batch(1, bytes(900_000))), move(number, batch(2, bytes(900_000))))
    with opened(tmp_path, map_bytes=MIB) as log:
        assert offsets(log.read(number, 1, ALL)) == [1, 2]
        commit(log, move(number, batch(3, bytes(900_000))))
        assert offsets(log.read(number, 1, ALL)) == [1, 2, 3]


# --- compacting -------------------------------------------------------------------------------------------


def test_what_is_written_while_a_copy_is_made_is_in_it(
    tmp_path: Path, log: LmdbLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two pieces of the copy something of every kind is written, changed and erased."""
    number, gone = with_chunks(log, "a", 6), with_chunks(log, "gone", 2)
    with_chunks(log, "owed", 1)
    rounds = iter(range(1, 1_000))
    append = NewFile.append

    def busy(fresh: NewFile, database: str, items: list[tuple[bytes, bytes]]) -> None:
        append(fresh, database, items)
        turn = next(rounds)
        newest = commit(
            log,
            entry(number, 12 + turn, f"entry {turn}"),
            Cut(number, 1 + 2 * min(turn, 3)),
            Due(number, turn - 1, turn),
            Mark(number, "phone", Standing(turn, BIRTH_MS)),
            Mark(number, "tab", Standing(turn, BIRTH_MS) if turn % 2 else None),
            Row(number, b"k%d" % (turn % 3), b"%d" % turn),
            Row(number, b"k%d" % ((turn + 1) % 3), None),
            (number, Head("a", 7, BIRTH_MS, next=13, last_ms=turn)),
        ).journal_newest
        commit(log, forget_journal=newest - 3)
        if turn == 2:
            commit(log, Deletion(gone, "gone", hard=True))

    monkeypatch.setattr(lmdb_log, "COPY_BYTES", 1)
    monkeypatch.setattr(NewFile, "append", busy)
    compacted = log.compact(0)
    assert compacted.after_bytes == (tmp_path / "data.mdb").stat().st_size
    turns = next(rounds) - 1
    assert turns > 8
    head = log.head(number)
    assert head is not None and head.last_ms == turns
    assert ranges(log.read(number, 1, ALL)) == [(7, 8), (9, 10), (11, 12)]
    assert log.due(turns, 9) == [number] and log.due(turns - 1, 9) == []
    marks = {"phone": Standing(turns, BIRTH_MS)} | ({"tab": Standing(turns, BIRTH_MS)} if turns % 2 else {})
    assert log.cursors(number) == marks
    assert log.rows(number, b"k")[b"k%d" % (turns % 3)] == b"%d" % turns
    assert [each.batch for _, [each] in log.recover()][-1] == batch(12 + turns, f"entry {turns}")
    assert [name for name, _ in log.names("", None, 9)] == ["a", "owed"] and log.find("gone") is None
    assert log.owes_compaction(), "the deletion came too late for this copy"
    monkeypatch.undo()
    log.compact(0)
    assert not log.owes_compaction()
    assert commit(log, entry(number, 13 + turns, "goes on")).journal_newest == turns + 1


def test_a_copy_is_given_up_and_leaves_nothing(tmp_path: Path, log: LmdbLog) -> None:
    number = with_chunks(log, "a", 3)
    log.give_up_compaction()
    with pytest.raises(GivenUp):
        log.compact(0)
    assert not (tmp_path / COPY_FOLDER).exists() and len(log.read(number, 1, ALL)) == 3


def test_remains_of_a_copy_are_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / COPY_FOLDER).mkdir()
    (tmp_path / COPY_FOLDER / "data.mdb").write_bytes(b"half")
    with opened(tmp_path):
        assert not (tmp_path / COPY_FOLDER).exists()


def test_a_copy_that_cannot_take_its_place_fails_the_next_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows which of the two files a power cut would leave: nothing may be acknowledged after that."""

    def fail(folder: Path) -> None:
        raise OSError("the disk is gone")

    with opened(tmp_path) as log:
        number = with_chunks(log, "a", 3)
        monkeypatch.setattr(lmdb_log, "put_copy_in_place", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            log.compact(0)
        with pytest.raises(StoreError):
            commit(log, entry(number, 7, "x"))
    with opened(tmp_path) as log:
        assert len(log.read(number, 1, ALL)) == 3


FAILING = """
import resource, sys
from pathlib import Path
import lmdb
from outlast_broker.lmdb_log import LmdbLog, ReaderTable
from tests.broker.logs import commit, create, entry
log = LmdbLog(Path(sys.argv[1]), 1 << 24)
number = create(log, "a")
commit(log, entry(number, 1, "kept"))
size = (Path(sys.argv[1]) / "data.mdb").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    commit(log, entry(number, 2, b"x" * 500_000))
except (lmdb.Error, OSError) as error:
    print("refused")
"""


def test_a_commit_fails_when_the_file_cannot_be_written(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", FAILING, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr
    with opened(tmp_path) as log:
        [(_, [kept])] = log.recover()
        assert kept == entry(1, 1, "kept")


# --- damage -----------------------------------------------------------------------------------------------


def test_any_flipped_byte_of_a_chunk_is_noticed(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = create(log, "a")
        commit(log, move(number, batch(1, "some text", "more"), batch(3, "the second chunk")))
    key, value = next((key, value) for key, value in values(tmp_path, "chunks") if key[8:] == (1).to_bytes(8, "big"))
    for at in range(len(value)):
        put(tmp_path, "chunks", key, flipped(value, at, at % 8))
        with opened(tmp_path) as log:
            for read in (lambda: log.read(number, 1, ALL), lambda: log.read_back(number, 2)):
                with pytest.raises(Damaged, match=f"channel number {number} "):
                    read()
    put(tmp_path, "chunks", key, value)
    with opened(tmp_path) as log:
        assert offsets(log.read(number, 1, ALL)) == [1, 2, 3]


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_damage_is_noticed_when_a_time_is_looked_for(tmp_path: Path, at: int) -> None:
    """Either the chunk that is found fails, or another one is found that is whole: wrong bytes never come."""
    with opened(tmp_path) as log:
        number = with_chunks(log, "a", 3)
        expected = log.read(number, 1, ALL)
    key, value = next((key, value) for key, value in values(tmp_path, "chunks") if key[8:] == (3).to_bytes(8, "big"))
    put(tmp_path, "chunks", key, flipped(value, at))
    with opened(tmp_path) as log:
        try:
            with within(2):
                found = log.find_time(number, BIRTH_MS + 1)
        except Damaged:
            return
        assert found is None or found in expected


def test_a_damaged_chunk_is_not_joined_with_the_next(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = create(log, "a")
        commit(log, move(number, batch(1, "some text")))
    key, value = next((key, value) for key, value in values(tmp_path, "chunks") if key[8:] == (1).to_bytes(8, "big"))
    put(tmp_path, "chunks", key, flipped(value, len(value) - 1))
    with opened(tmp_path) as log, pytest.raises(Damaged):
        commit(log, move(number, batch(2, "more"))._replace(merge=1))


def test_any_flipped_byte_of_the_journal_is_noticed(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = create(log, "a")
        commit(log, entry(number, 1, "some text"), entry(number, 2, "more"))
    [(key, value)] = values(tmp_path, "journal")
    for at in range(len(value)):
        put(tmp_path, "journal", key, flipped(value, at, at % 8))
        with opened(tmp_path) as log, pytest.raises(Damaged, match="journal value 1"):
            list(log.recover())


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 20, 60])
def test_a_shortened_value_is_noticed(tmp_path: Path, length: int) -> None:
    with opened(tmp_path) as log:
        number = create(log, "a")
        commit(log, move(number, batch(1, "some text")), entry(number, 2, "some text"))
    for database in ("chunks", "journal"):
        key, value = next(pair for pair in values(tmp_path, database) if pair[0][-8:] == (1).to_bytes(8, "big"))
        put(tmp_path, database, key, value[:length])
    with opened(tmp_path) as log:
        with pytest.raises(Damaged):
            log.read(number, 1, ALL)
        with pytest.raises(Damaged):
            list(log.recover())


def test_a_missing_journal_value_is_noticed(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        number = create(log, "a")
        for offset in (1, 2, 3):
            commit(log, entry(number, offset, "x"))
    with raw(tmp_path, "journal") as txn:
        txn.delete((2).to_bytes(8, "big"))
    with opened(tmp_path) as log, pytest.raises(Damaged, match="journal value 2"):
        list(log.recover())


def test_chunks_of_other_channels_are_still_read(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        hurt, whole = with_chunks(log, "hurt", 1), with_chunks(log, "whole", 1)
    key, value = next(pair for pair in values(tmp_path, "chunks") if pair[0][:8] == hurt.to_bytes(8, "big"))
    put(tmp_path, "chunks", key, flipped(value, 60))
    with opened(tmp_path) as log:
        with pytest.raises(Damaged):
            log.read(hurt, 1, ALL)
        assert ranges(log.read(whole, 1, ALL)) == [(1, 2)]


def test_a_log_that_nobody_reads_has_no_reader(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        assert (log.stats().reader_age_us, log.stats().reader_age_us) == (0, 0), "who asks is not meant"
