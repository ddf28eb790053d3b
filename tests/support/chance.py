"""Chance for schedules of faults, and how to have the same schedule again.

A schedule is the same every time unless OUTLAST_SEED names another seed; OUTLAST_FACTOR multiplies how long or how
often a schedule runs. Threads and processes interleave as they like: a seed repeats what was tried, not the moment.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

SEED = int(os.environ.get("OUTLAST_SEED", "0"))
FACTOR = int(os.environ.get("OUTLAST_FACTOR", "1"))


@contextmanager
def chance(name: str) -> Iterator[random.Random]:
    """A source of chance of its own for each name; prints its seed, and a failure says how to repeat it."""
    print(f"schedule {name}: OUTLAST_SEED={SEED}")
    try:
        yield random.Random(f"{SEED}:{name}")
    except BaseException as error:
        error.add_note(f"repeat with: OUTLAST_SEED={SEED} OUTLAST_FACTOR={FACTOR} pytest ...")
        raise


def branch(rng: random.Random) -> random.Random:
    """A source of its own for a thread, so that no thread takes another's numbers."""
    return random.Random(rng.getrandbits(64))
