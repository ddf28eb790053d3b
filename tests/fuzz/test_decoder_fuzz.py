"""Hostile bytes against everything that reads bytes.

Whatever arrives, a decoder answers with frames, with Malformed or with ProtocolError, and its memory stays bounded.
The canaries are decoders with one bug each: a fuzzer that does not find them finds nothing.
"""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable, Sequence
from zlib import crc32

import msgpack
import pytest
from hypothesis import example, given, strategies as st
from outlast_protocol import Connection, Malformed, Position, ProtocolError, Role, State, batch
from outlast_protocol.frames import BY_CLASS, BY_NUMBER, HEADER, MAGIC
from outlast_protocol.operations import is_for_clients, operation_row, read_operation
from outlast_protocol.tile import make_tile

from tests.protocol.bad_batches import nested_tile
from tests.support.bounds import FACTOR, bounded, seeded_random
from tests.support.transcript import connection_in
from tests.support.vectors import from_json, load

ENDS = [
    (State.CONNECTING, Role.BROKER),
    (State.GREETED, Role.CLIENT),
    (State.OPEN, Role.BROKER),
    (State.OPEN, Role.CLIENT),
    (State.LEAVING, Role.CLIENT),
]
# Enough for the frames of the seeds and their decoded forms, far below what a header can claim.
MEMORY_BYTES_MAX = 16_000_000
CLIENT = b"agent"

FRAME_SEEDS = [bytes.fromhex(row["hex"]) for name in ("frames.json", "malformed.json") for row in load(name)["frames"]]
BATCH_SEEDS = [bytes.fromhex(row["published"]) for row in load("batches.json")["batches"]]
BATCH_SEEDS += [bytes.fromhex(row["hex"]) for row in load("malformed.json")["batches"]]
RUN_SEEDS = [bytes.fromhex(row["stamped"]) for row in load("batches.json")["batches"]]
RUN_SEEDS += [bytes.fromhex(row["hex"]) for name in ("batches.json", "malformed.json") for row in load(name)["runs"]]

ROW_SEEDS = [
    msgpack.packb(from_json(record["operation"]))
    for listed in load("batches.json").values()
    for row in listed
    for record in row["records"]
    if record["operation"]
]

Reader = Callable[[bytes], object]


# --- readers: each raises only for a bug ------------------------------------------------------------------


def read_stream(pieces: Sequence[bytes], state: State, role: Role) -> None:
    """Feeds a connection and looks at everything it makes."""
    connection = connection_in(state, role)
    for piece in pieces:
        for frame in connection.receive(piece):
            if isinstance(frame, Malformed):
                assert isinstance(frame.error, ProtocolError) and len(frame.error.message) < 500
            else:
                assert type(frame) in BY_CLASS
    assert (connection.failure is not None) == (connection.state is State.FAILED)


def read_stream_everywhere(data: bytes) -> None:
    for state, role in ENDS:
        read_stream([data], state, role)


def read_published(data: bytes) -> None:
    """A batch that passes the checks must be readable, whoever published it, and says nothing that is the broker's."""
    try:
        count = batch.check_batch(data, CLIENT)
    except ProtocolError:
        return
    records = batch.read_records(batch.stamp(data, 1, 1))
    assert len(records) == count
    for record in records:
        if record.operation is not None:
            assert is_for_clients(record.operation) and not record.ttl_ms
            assert read_operation(operation_row(record.operation)) == record.operation


def read_row(data: bytes) -> None:
    """An operation by itself, from any msgpack."""
    try:
        row = msgpack.unpackb(data, raw=False)
    except Exception:
        return
    try:
        operation = read_operation(row)
    except ProtocolError as error:
        assert len(error.message) < 500
        return
    assert read_operation(operation_row(operation)) == operation


def read_run(data: bytes) -> None:
    try:
        records = batch.read_records(data)
    except ProtocolError as error:
        assert len(error.message) < 500
        return
    for record in records:
        try:
            record.decoded()
        except ValueError:
            assert record.encoding == batch.Encoding.JSON


# --- random bytes -----------------------------------------------------------------------------------------

SHORT_TEXT, SHORT_BYTES = st.text(max_size=8), st.binary(max_size=8)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats()
BODIES = st.recursive(
    st.none() | st.booleans() | NUMBERS | SHORT_TEXT | SHORT_BYTES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SHORT_TEXT | SHORT_BYTES, inner, max_size=4),
    max_leaves=16,
)
KEYS = sorted({name for cls in BY_CLASS for name in cls._fields})
MAPS = st.dictionaries(st.sampled_from(KEYS), BODIES, max_size=8)


def framed(number: int, body: bytes) -> bytes:
    return HEADER.pack(8 + len(body), number, 0, 0) + body


FRAMED = st.builds(framed, st.sampled_from(sorted(BY_NUMBER)), st.binary(max_size=80))
MAP_FRAMED = st.builds(
    lambda number, head, body: framed(number, head + msgpack.packb(body)),
    st.sampled_from(sorted(BY_NUMBER)),
    st.sampled_from([MAGIC, b"\7\0\0\0", b""]),
    MAPS | BODIES,
)
STREAMS = st.lists(FRAMED | MAP_FRAMED | st.binary(max_size=40) | st.sampled_from(FRAME_SEEDS), max_size=5)


@bounded(300)
@given(STREAMS, st.sampled_from(ENDS), st.lists(st.integers(0, 400), max_size=4))
@example([], (State.OPEN, Role.BROKER), [])
def test_any_stream_in_any_pieces(stream: list[bytes], end: tuple[State, Role], cuts: list[int]) -> None:
    data = b"".join(stream)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    read_stream([data[start:stop] for start, stop in zip(places, places[1:], strict=False)], *end)


@bounded(150)
@given(st.binary(max_size=200))
def test_any_bytes_as_a_batch(data: bytes) -> None:
    read_published(data)
    read_run(data)


@bounded(150)
@given(st.binary(max_size=40) | BODIES.map(msgpack.packb), st.integers(0, 5), st.binary(max_size=40))
def test_any_labels_and_vectors_under_a_right_checksum(labels: bytes, count: int, rest: bytes) -> None:
    for kind in (batch.KIND_RECORDS, batch.KIND_SESSION, batch.KIND_TILE, batch.KIND_TILE + 1):
        data = batch.assemble(CLIENT, labels, count, rest, kind)
        read_published(data)
        read_run(data)


ROWS = st.lists(BODIES | st.sampled_from([1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 32]), max_size=5)


@bounded(200)
@given(ROWS, st.none() | BODIES)
def test_any_operation_in_a_label(row: list[object], ttl_ms: object) -> None:
    for label in ([1, None, {}, row], [1, None, {}, row, ttl_ms], [1, None, {}, None, ttl_ms]):
        data = batch.assemble(CLIENT, msgpack.packb([label]), 1, bytes(4), batch.KIND_SESSION)
        read_published(data)
        read_run(data)


@bounded(150)
@given(
    st.lists(st.sampled_from(RUN_SEEDS) | st.binary(max_size=40), max_size=4), st.integers(1, 60), st.integers(0, 60)
)
def test_any_bytes_in_a_tile(pieces: list[bytes], first: int, more: int) -> None:
    read_run(make_tile(first, first + more, 1, b"".join(pieces)))


@bounded(100)
@given(st.text(max_size=40))
def test_any_text_as_a_position(text: str) -> None:
    try:
        Position.parse(text)
    except ValueError:
        return


# --- mutated vectors --------------------------------------------------------------------------------------

INTERESTING = [struct.pack("<I", n) for n in (0, 1, 7, 8, 36, 65_535, 65_536, 2**20, 2**31, 2**32 - 1)]
INTERESTING += [
    b"\xdc\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\x91" * 40,
]


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A seed with one to four wounds: bytes changed, cut out, put in, or another seed's end."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[place : place + chance.randint(1, 9)]
            case 2:
                data[place:place] = chance.randbytes(chance.randint(1, 9))
            case 3:
                new = chance.choice(INTERESTING)
                data[place : place + len(new)] = new
            case _:
                data[place:] = chance.choice(seeds)[place:]
    return bytes(data)


def repaired(data: bytes) -> bytes:
    """With length, checksum, kind and reserved fields right again, so that mutations reach what lies behind them."""
    if len(data) < batch.HEAD_BYTES:
        return data
    covered = bytes([data[24] & 1]) + data[25:26] + bytes(2) + data[28:]
    return struct.pack("<IIQQ", len(data), crc32(covered), 0, 0) + covered


def repaired_run(data: bytes) -> bytes:
    """With every checksum right again, also those in tiles, as far as lengths lead."""
    fixed, start = bytearray(data), 0
    while len(fixed) - start >= batch.HEAD_BYTES:
        end = start + int.from_bytes(fixed[start : start + 4], "little")
        if not start + batch.HEAD_BYTES <= end <= len(fixed):
            fixed[start : start + 4] = (len(fixed) - start).to_bytes(4, "little")
            end = len(fixed)
        if fixed[start + 24] == batch.KIND_TILE:
            fixed[start + 25 : start + 28] = bytes(3)
            fixed[start + 36 : end] = repaired_run(bytes(fixed[start + 36 : end]))
        fixed[start + 4 : start + 8] = crc32(fixed[start + 24 : end]).to_bytes(4, "little")
        start = end
    return bytes(fixed)


def reframed(data: bytes) -> bytes:
    """With length and reserved fields of the header right again."""
    return HEADER.pack(len(data), data[4], 0, 0) + data[8:] if len(data) >= 8 else data


def fuzz(chance: random.Random, rounds: int, seeds: Sequence[bytes], repair: Reader, read: Reader) -> None:
    """Reads mutations as they are and repaired. Raises AssertionError with the bytes that did harm."""
    for _ in range(rounds):
        data = mutated(chance, seeds)
        for attempt in (data, repair(data)):
            assert isinstance(attempt, bytes)
            try:
                read(attempt)
            except Exception as error:
                raise AssertionError(f"{type(error).__name__} from {attempt.hex()}") from error


@pytest.mark.parametrize(
    ("rounds", "seeds", "repair", "read"),
    [
        (3_000, FRAME_SEEDS, reframed, read_stream_everywhere),
        (15_000, BATCH_SEEDS, repaired, read_published),
        (8_000, RUN_SEEDS, repaired_run, read_run),
        (15_000, ROW_SEEDS, bytes, read_row),
    ],
    ids=["frames", "published batches", "stored runs", "operations"],
)
def test_mutated_vectors_do_no_harm(rounds: int, seeds: list[bytes], repair: Reader, read: Reader) -> None:
    with seeded_random() as chance:
        fuzz(chance, rounds * FACTOR, seeds, repair, read)


def test_memory_stays_bounded_whatever_arrives() -> None:
    with seeded_random() as chance:
        tracemalloc.start()
        try:
            fuzz(chance, 300 * FACTOR, FRAME_SEEDS, reframed, read_stream_everywhere)
            fuzz(chance, 300 * FACTOR, BATCH_SEEDS, repaired, read_published)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < MEMORY_BYTES_MAX


# --- canaries ---------------------------------------------------------------------------------------------


def trusting_connection(data: bytes) -> None:
    """Does not check lengths against the frame table."""
    if len(data) >= 8 and (spec := BY_NUMBER.get(data[4])):
        try:
            spec.decode(data, 0, len(data))
        except ProtocolError:
            return


def trusting_batch(data: bytes) -> None:
    """Believes the head of a batch."""
    if len(data) >= batch.HEAD_BYTES:
        count, labels_length = batch.HEAD.unpack_from(data)[7:9]
        start = batch.HEAD_BYTES + data[25] + labels_length
        struct.unpack_from(f"<{min(count, 2**20)}I", data, start)


def trusting_tile(data: bytes) -> None:
    """Reads tiles in tiles in tiles, as deep as they go."""
    if len(data) >= batch.HEAD_BYTES and data[24] == batch.KIND_TILE:
        trusting_tile(data[batch.HEAD_BYTES :])


def trusting_row(data: bytes) -> None:
    """Believes that an operation is an array of what it ought to hold."""
    try:
        row = msgpack.unpackb(data)
    except Exception:
        return
    if isinstance(row, list) and row[0] == 2:
        row[1].to_bytes(8, "little")


def trusting_run(data: bytes) -> None:
    """Looks at nothing but the first bytes of each batch."""
    position = 0
    for _ in range(1_000):
        if position == len(data):
            return
        position += int(struct.unpack_from("<I", data, position)[0])


@pytest.mark.parametrize(
    ("seeds", "repair", "read"),
    [
        (FRAME_SEEDS, reframed, trusting_connection),
        (BATCH_SEEDS, repaired, trusting_batch),
        (RUN_SEEDS, repaired, trusting_run),
        ([nested_tile(2_000)], bytes, trusting_tile),
        (ROW_SEEDS, bytes, trusting_row),
    ],
    ids=["frames", "published batches", "stored runs", "tiles", "operations"],
)
def test_the_fuzzer_catches_a_decoder_that_trusts(seeds: list[bytes], repair: Reader, read: Reader) -> None:
    with seeded_random() as chance, pytest.raises(AssertionError, match="[eE]rror from"):
        fuzz(chance, 2_500, seeds, repair, read)


def test_the_fuzzer_catches_a_connection_with_one_check_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary that counts: the real decoder, but no frame is ever too short."""
    monkeypatch.setattr("outlast_protocol.connection.BYTES_MIN", dict.fromkeys(BY_NUMBER, 0))
    with seeded_random() as chance, pytest.raises(AssertionError, match="[eE]rror from"):
        fuzz(chance, 2_500, FRAME_SEEDS, reframed, read_stream_everywhere)


def test_a_connection_starts_where_the_fuzzer_says() -> None:
    for state, role in ENDS:
        connection: Connection = connection_in(state, role)
        assert (connection.state, connection.role) == (state, role)
