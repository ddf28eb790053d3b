"""Which trace something belongs to, by the header `traceparent` (W3C Trace Context). Pure."""

from __future__ import annotations

import re

TRACEPARENT = "traceparent"
_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_id(traceparent: str | None) -> str | None:
    """None if it names no trace: nobody is refused for that."""
    match = _FORM.fullmatch(traceparent or "")
    return match[1] if match else None
