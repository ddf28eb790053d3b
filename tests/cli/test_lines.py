from __future__ import annotations

import pytest
from outlast_cli.lines import LINE_BYTES_MAX, Lines
from outlast_protocol.limits import BATCH_BYTES_MAX


@pytest.mark.parametrize("step", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"one\ntwo\n", [b"one", b"two"]),
        (b"no end", [b"no end"]),
        (b"\n\nx", [b"", b"", b"x"]),
        (b"123456789\nok\n", [None, b"ok"]),
        (b"12345678\n123456789", [b"12345678", None]),
        (b"1234567890123456789012345\n\n", [None, b""]),
    ],
)
def test_lines_come_out_whole_however_they_are_cut(text: bytes, expected: list[bytes | None], step: int) -> None:
    lines = Lines(line_bytes_max=8)
    found = [line for at in range(0, len(text), step) for line in lines.feed(text[at : at + step])]
    assert [*found, *lines.end()] == expected


def test_what_is_too_long_is_not_kept() -> None:
    lines = Lines(line_bytes_max=8)
    for _ in range(1000):
        assert list(lines.feed(b"x" * 7)) == []
        assert len(lines._rest) <= 8
    assert list(lines.end()) == [None]


def test_the_bound_is_what_one_batch_can_hold() -> None:
    assert LINE_BYTES_MAX == BATCH_BYTES_MAX
