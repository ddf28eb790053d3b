"""The Outlast protocol: bytes <-> meaning. No I/O, no clock, the same code for both ends.

Reading order: position, errors, limits, operations, batch, tile, frames, session_frames, map_body, connection,
heartbeat.
The specification is PROTOCOL.md.
"""

from __future__ import annotations

from . import batch, frames, limits
from .batch import Data, Encoding, Headers, Record, Span
from .connection import Connection, State
from .errors import ERRORS, ErrorCode, ErrorTraits, ProtocolError
from .frames import Frame, Malformed, Role
from .position import Position

__all__ = [
    "ERRORS",
    "Connection",
    "Data",
    "Encoding",
    "ErrorCode",
    "ErrorTraits",
    "Frame",
    "Headers",
    "Malformed",
    "Position",
    "ProtocolError",
    "Record",
    "Role",
    "Span",
    "State",
    "batch",
    "frames",
    "limits",
]
