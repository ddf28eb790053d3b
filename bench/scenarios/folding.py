"""What folding saves: a stream of answers, recorded token by token, before and after the store has folded it.

Measures: bytes in the store for 50 answers of 2,000 tokens each, as they were appended (each token a publish of its
own) and once they are closed, cold and folded, beside the bytes of their text. Tokens are 1 to 12 bytes, as a model's
are. How long the folded history takes to be read before and after.
Good: folded at most 1.2 times the text and 200 bytes for each message; a tenth of what was appended.
Near: nothing; a message is one record then.
"""

from __future__ import annotations

import asyncio
from random import Random
from time import perf_counter

from outlast_protocol import frames as f
from outlast_protocol.batch import Encoding, encode_labelled, read_records
from outlast_protocol.operations import MessageState, Op, Operation

from ..asker import Asker
from ..link import LoadFailed
from ..run import Result, Run
from ..systems.outlast import CLIENT

CASES = ("recorded answers",)
ONLY = ("outlast",)
ANSWERS = 50
TOKENS = 2_000
CHANNEL = "answers"
AT_ONCE = 64
FOLD_AFTER_MS = 4_000
FOLDED_S = 120.0


async def measure(run: Run, case: str) -> Result:
    run.start("--fold-after-ms", str(FOLD_AFTER_MS))
    [asker] = await run.ask([CLIENT])
    opened = await asker.ask(f.Open(asker.request(), CHANNEL))
    chance, texts = Random(42), []
    for _ in range(run.plan.scaled(ANSWERS, least=2)):
        texts.append(await stream(asker, opened.number, tokens(chance)))
    appended = await asker.ask(f.Info(asker.request(), CHANNEL))
    raw_ms = await read_all(asker, opened.number, texts)
    text_bytes = sum(map(len, texts))
    kept_bytes = await folded(asker, text_bytes + 200 * len(texts))
    return {
        "text_kb": text_bytes / 1e3,
        "appended_kb": appended.result["bytes"] / 1e3,
        "folded_kb": kept_bytes / 1e3,
        "history_ms": raw_ms,
        "folded_history_ms": await read_all(asker, opened.number, texts),
    }


def tokens(chance: Random) -> list[bytes]:
    return [bytes(chance.choices(range(97, 123), k=chance.randrange(1, 13))) for _ in range(TOKENS)]


async def stream(asker: Asker, number: int, parts: list[bytes]) -> bytes:
    """One answer, each token as a publish of its own; returns its text."""
    message = await asker.ask(publish(asker, number, Operation(Op.OPEN), b""))
    append = Operation(Op.APPEND, message)
    for start in range(0, len(parts), AT_ONCE):
        await asker.ask_all(*[publish(asker, number, append, part) for part in parts[start : start + AT_ONCE]])
    await asker.ask(publish(asker, number, Operation(Op.CLOSE, message, MessageState.COMPLETE), b""))
    return b"".join(parts)


def publish(asker: Asker, number: int, operation: Operation, data: bytes) -> f.Publish:
    label = (int(Encoding.TEXT), None, (), operation, 0)
    return f.Publish(asker.request(), number, 0, f.UNCONDITIONAL, 0, encode_labelled(CLIENT, [(label, data)]))


async def read_all(asker: Asker, number: int, texts: list[bytes]) -> float:
    """How long the whole history takes, folded; it must be the answers and nothing else."""
    begin_s, found, after = perf_counter(), [], 0
    while True:
        page = await asker.ask(f.History(asker.request(), number, 1_000, after=after, fold=True))
        found += [record.data for record in read_records(page.batches)]
        after = page.high
        if after >= page.last:
            break
    if found != texts:
        raise LoadFailed(f"the history has {len(found)} answers of {len(texts)}, or other texts")
    return (perf_counter() - begin_s) * 1e3


async def folded(asker: Asker, bytes_max: int) -> int:
    """Waits until the channel takes less than a fifth more than this; returns what it takes."""
    deadline_s = perf_counter() + FOLDED_S
    while perf_counter() < deadline_s:
        kept = await asker.ask(f.Info(asker.request(), CHANNEL))
        if kept.result["bytes"] <= 1.2 * bytes_max:
            return int(kept.result["bytes"])
        await asyncio.sleep(0.2)
    raise LoadFailed("the answers are not folded")
