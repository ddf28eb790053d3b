"""Sizes and durations as people write them: 64MiB, 10s, 7d, 1h30m."""

from __future__ import annotations

import re

_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)", re.ASCII)
_PART = r"(\d{1,12}(?:\.\d{1,9})?)(ms|[smhdw])"
_DURATION = re.compile(f"(?:{_PART})+", re.ASCII)
_LONGEST_MS = 2**53
SIZES_ALLOWED = "a number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, as 64MiB"
DURATIONS_ALLOWED = "numbers with ms, s, m, h, d or w, as 10s, 7d or 1h30m"


def parse_bytes(text: str) -> int:
    """Raises ValueError that says what is allowed."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].upper() not in _BYTES:
        raise ValueError(f"{text!r} is no size: allowed is {SIZES_ALLOWED}")
    return round(float(match[1]) * _BYTES[match[2].upper()])


def parse_duration_ms(text: str) -> int:
    """Raises ValueError that says what is allowed. `0` needs no unit."""
    stripped = text.strip()
    if stripped == "0":
        return 0
    if _DURATION.fullmatch(stripped) is None:
        raise ValueError(f"{text!r} is no duration: allowed are {DURATIONS_ALLOWED}")
    total_ms = round(sum(float(number) * _MS[unit] for number, unit in re.findall(_PART, stripped, re.ASCII)))
    if total_ms > _LONGEST_MS:
        raise ValueError(f"{text!r} is longer than {_LONGEST_MS // _MS['w']} weeks")
    return total_ms


def show_bytes(size: int) -> str:
    """`size` with three digits or so, in binary units."""
    number, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{size} B" if unit == "B" else f"{number:.1f} {unit}"


def show_duration(duration_ms: int) -> str:
    """The largest units that say `duration_ms` exactly, as parse_duration_ms reads them."""
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        number, duration_ms = divmod(duration_ms, _MS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0"


def show_count(count: int, noun: str = "") -> str:
    """`1,204 records`; one of them is `1 record`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}" if noun else f"{count:,}"


def exact_bytes(size: int) -> str:
    """The largest unit that says `size` in whole numbers, as parse_bytes reads it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit.upper()] == 0:
            return f"{size // _BYTES[unit.upper()]}{unit}"
    return f"{size}B" if size else "0"
