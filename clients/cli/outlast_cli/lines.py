"""Lines out of chunks of bytes, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from outlast_protocol.limits import BATCH_BYTES_MAX

# A longer line could not be one record anyway.
LINE_BYTES_MAX = BATCH_BYTES_MAX


class Lines:
    """Feed it chunks; it gives whole lines without their end. None stands for one that is too long."""

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._max = line_bytes_max
        self._rest = bytearray()
        self._is_too_long = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        head, *whole = chunk.split(b"\n")
        for piece in whole:
            yield self._end_line(head)
            head = piece
        self._keep(head)

    def end(self) -> Iterator[bytes | None]:
        """A last line need not end with a newline."""
        if self._rest or self._is_too_long:
            yield self._end_line(b"")

    def _keep(self, piece: bytes) -> None:
        if len(self._rest) + len(piece) > self._max:
            self._is_too_long = True
            self._rest.clear()
        elif not self._is_too_long:
            self._rest += piece

    def _end_line(self, piece: bytes) -> bytes | None:
        self._keep(piece)
        line = None if self._is_too_long else bytes(self._rest)
        self._rest.clear()
        self._is_too_long = False
        return line
