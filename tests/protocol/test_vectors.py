"""The vectors are what make_vectors.py says, and the codec agrees with them in both directions."""

from __future__ import annotations

from typing import Any

import pytest
from outlast_protocol import Connection, Malformed, Position, ProtocolError, State, batch
from outlast_protocol.frames import BY_NUMBER, SPECS, encode
from outlast_protocol.operations import Op

from tests.protocol.make_vectors import vectors
from tests.support.transcript import connection_in, peer_of
from tests.support.vectors import (
    FOLDER,
    ROLES,
    frame_from_json,
    frame_to_json,
    from_json,
    label_from_json,
    load,
    record_to_json,
)

MADE = vectors()
FRAMES, BATCHES, MALFORMED, POSITIONS = map(load, ("frames.json", "batches.json", "malformed.json", "positions.json"))


def rows(listed: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", listed, ids=[row["name"] for row in listed])


@pytest.mark.parametrize("name", MADE)
def test_the_files_are_what_the_script_makes(name: str) -> None:
    """Otherwise: python -m tests.protocol.make_vectors, and look at what changed."""
    assert (FOLDER / name).read_text(encoding="utf-8") == MADE[name]


def test_there_is_no_file_that_nobody_makes() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*MADE, "README.md"}


LISTS = [listed for file in (FRAMES, BATCHES, MALFORMED) for listed in file.values()]


@pytest.mark.parametrize("listed", LISTS)
def test_names_tell_rows_apart(listed: list[dict[str, Any]]) -> None:
    assert len({row["name"] for row in listed}) == len(listed)


# --- frames.json ------------------------------------------------------------------------------------------


def test_every_frame_is_there() -> None:
    assert {row["type"] for row in FRAMES["frames"]} == {spec.cls.__name__.upper() for spec in SPECS}


def test_every_optional_key_is_there_with_and_without() -> None:
    """Where a default cannot be told from its absence, the rows differ in value."""
    for spec in SPECS:
        seen = [row["fields"] for row in FRAMES["frames"] if row["type"] == spec.cls.__name__.upper()]
        for name, default in spec.cls._field_defaults.items():
            values = [from_json(fields[name]) for fields in seen]
            assert default in values and any(value != default for value in values), (spec.cls, name)


@rows(FRAMES["frames"])
def test_a_frame_decodes_to_its_fields(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["hex"])
    spec = BY_NUMBER[data[4]]
    frame = spec.decode(data, 0, len(data))
    assert spec.cls.__name__.upper() == row["type"]
    assert frame_to_json(frame) == row["fields"]


@rows(FRAMES["frames"])
def test_the_fields_encode_to_the_frame(row: dict[str, Any]) -> None:
    frame = frame_from_json(row["type"], row["fields"])
    data = bytes.fromhex(row["hex"])
    assert (encode(frame) == data) == row["exact"]
    assert BY_NUMBER[data[4]].decode(data, 0, len(data)) == frame


@rows(FRAMES["frames"])
def test_the_sender_may_send_it(row: dict[str, Any]) -> None:
    frame = frame_from_json(row["type"], row["fields"])
    for name in ("client", "broker") if row["from"] == "both" else (row["from"],):
        state = {"HELLO": State.CONNECTING, "WELCOME": State.GREETED}.get(row["type"], State.OPEN)
        assert connection_in(state, peer_of(ROLES[name])).receive(bytes.fromhex(row["hex"])) == [frame]


# --- batches.json -----------------------------------------------------------------------------------------


@rows(BATCHES["batches"])
def test_a_published_batch_passes_every_check_and_is_stamped(row: dict[str, Any]) -> None:
    published = bytes.fromhex(row["published"])
    assert batch.check_batch(published, row["client_id"].encode()) == len(row["records"])
    assert batch.stamp(published, **from_json(row["stamp"])).hex() == row["stamped"]


@rows(BATCHES["batches"])
def test_a_stamped_batch_holds_its_records(row: dict[str, Any]) -> None:
    read = batch.read_records(bytes.fromhex(row["stamped"]))
    assert [record_to_json(record) for record in read] == row["records"]


@rows(BATCHES["batches"])
def test_the_records_encode_to_the_batch(row: dict[str, Any]) -> None:
    records = [(label_from_json(record), bytes.fromhex(record["data"])) for record in row["records"]]
    encoded = batch.encode_labelled(row["client_id"], records)
    assert (encoded.hex() == row["published"]) == row["exact"]
    stamped = batch.stamp(encoded, **from_json(row["stamp"]))
    assert [record_to_json(record) for record in batch.read_records(stamped)] == row["records"]


def test_every_operation_is_there() -> None:
    listed = [*BATCHES["batches"], *BATCHES["runs"]]
    seen = {record["operation"][0] for row in listed for record in row["records"] if record["operation"]}
    assert seen == set(Op)


@rows(BATCHES["runs"])
def test_a_run_holds_the_records_of_all_its_batches(row: dict[str, Any]) -> None:
    read = batch.read_records(bytes.fromhex(row["hex"]))
    assert [record_to_json(record) for record in read] == row["records"]
    assert [[span.offset, span.last] for span in batch.spans(bytes.fromhex(row["hex"]))] == from_json(row["spans"])


# --- malformed.json ---------------------------------------------------------------------------------------


def receiver(row: dict[str, Any]) -> Connection:
    return connection_in(State(row["state"]), peer_of(ROLES[row["from"]]))


@rows(MALFORMED["frames"])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_malformed_bytes_are_refused_by_name(row: dict[str, Any], step: int) -> None:
    connection, data = receiver(row), bytes.fromhex(row["hex"])
    got = [frame for at in range(0, len(data), step) for frame in connection.receive(data[at : at + step])]
    if row["fatal"]:
        assert got == [] and connection.failure is not None
        assert connection.failure.name == row["error"]
    else:
        [malformed] = got
        assert isinstance(malformed, Malformed) and connection.failure is None
        assert (malformed.error.name, malformed.request) == (row["error"], row["request"])


@rows(MALFORMED["batches"])
def test_malformed_batches_are_refused_by_name(row: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        batch.check_batch(bytes.fromhex(row["hex"]), row["client_id"].encode())
    assert (caught.value.name, caught.value.fatal) == (row["error"], row["fatal"])


@rows(MALFORMED["runs"])
def test_a_reader_refuses_malformed_runs_by_name(row: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        batch.read_records(bytes.fromhex(row["hex"]))
    assert caught.value.name == row["error"]


def test_every_error_that_the_codec_gives_has_a_row() -> None:
    named = {row["error"] for row in [*MALFORMED["frames"], *MALFORMED["batches"]]}
    assert named == {
        "bad_magic", "bad_frame", "frame_too_large", "unknown_frame", "unexpected_frame",
        "bad_body", "bad_batch", "bad_checksum", "unsupported_kind", "client_mismatch",
        "limit_exceeded",
    }  # fmt: skip


# --- positions.json ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", POSITIONS["good"], ids=lambda row: row["text"])
def test_a_position_and_its_text_are_one(row: dict[str, Any]) -> None:
    position = Position(*(from_json(row[name]) for name in ("epoch", "offset")))
    assert Position.parse(row["text"]) == position and str(position) == row["text"]


@rows(POSITIONS["bad"])
def test_other_texts_are_no_positions(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no position"):
        Position.parse(row["text"])
