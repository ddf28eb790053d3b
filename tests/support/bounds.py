"""How much the random tests try, and how to try the same again.

Runs are the same every time unless OUTLAST_FUZZ_SEED names another seed; a failure prints the command that
repeats it. OUTLAST_FUZZ_FACTOR multiplies the number of attempts.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, seed, settings

SEED = int(os.environ.get("OUTLAST_FUZZ_SEED", "0"))
FACTOR = int(os.environ.get("OUTLAST_FUZZ_FACTOR", "1"))


def bounded(examples: int) -> Callable[[Any], Any]:
    """A decorator for a hypothesis test: so many examples, no deadline, and the seed of this run."""
    bounds = settings(
        max_examples=examples * FACTOR,
        deadline=None,
        database=None,
        derandomize=SEED == 0,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    return lambda test: bounds(seed(SEED)(test)) if SEED else bounds(test)


@contextmanager
def seeded_random() -> Iterator[random.Random]:
    """A source of chance for one test; when the test fails, says how to repeat it."""
    try:
        yield random.Random(SEED)
    except BaseException as error:
        error.add_note(f"repeat with: OUTLAST_FUZZ_SEED={SEED} OUTLAST_FUZZ_FACTOR={FACTOR} pytest ...")
        raise
