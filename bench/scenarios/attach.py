"""Somebody opens the page while an answer streams and a thousand people watch.

Measures: from ATTACH until all that is told as of that moment is there, on a connection that is open already: the open
message of 10,000 tokens in one piece, 1,000 members, the state of 100 keys, and the last 50 records before. One reader
after the other, while tokens go on being appended at 1,000 a second. `raw` gets the last 10,000 tokens one by one.
Good: p50 below 10 ms and p99 below 50 ms; no dependence on the number of tokens.
Near: encoding the members; what a reader of the log as it lies there has to be sent.
"""

from __future__ import annotations

import asyncio
from array import array
from time import perf_counter
from typing import Any

from outlast_protocol import frames as f
from outlast_protocol.batch import Encoding, encode_labelled, read_records, spans
from outlast_protocol.operations import Op, Operation

from .. import gauge
from ..asker import Asker
from ..link import LoadFailed
from ..run import Result, Run, spread
from ..systems.outlast import CLIENT

CASES = ("folded", "raw")
ONLY = ("outlast",)
TOKENS = 10_000
MEMBERS = 1_000
KEYS = 100
EARLIER = 60
CHANNEL = "room"
TOKENS_PER_S = 1_000
PAUSE_S = 0.02
CREDIT = 1 << 30


async def measure(run: Run, case: str) -> Result:
    run.start()
    writer, reader = await run.ask([CLIENT, "reader"])
    number = (await writer.ask(f.Open(writer.request(), CHANNEL))).number
    await reader.ask(f.Open(reader.request(), CHANNEL))
    message = await prepare(run, writer, number)
    streaming = asyncio.ensure_future(stream(writer, number, message))
    begin, latencies = run.reading(), array("d")
    deadline_s = perf_counter() + run.plan.seconds
    while perf_counter() < deadline_s:
        latencies.append(await attach(reader, number, message, raw=case == "raw"))
        await run.sleep(PAUSE_S)
    result = gauge.between(begin, run.reading())
    streaming.cancel()
    return result | spread("attach", latencies)


async def prepare(run: Run, writer: Asker, number: int) -> int:
    """The room as it is when somebody comes; returns the message that grows."""
    members = range(1, run.plan.scaled(MEMBERS) + 1)
    await writer.ask_all(*[f.Enter(writer.request(), number, member, Encoding.TEXT, b"reading") for member in members])
    state = [(Operation(Op.SET, key=f"key-{index}"), b"value") for index in range(KEYS)]
    await writer.ask(publish(writer, number, state))
    await writer.ask_all(*[publish(writer, number, [(None, b"earlier")]) for _ in range(EARLIER)])
    message: int = await writer.ask(publish(writer, number, [(Operation(Op.OPEN), b"")]))
    for _ in range(run.plan.scaled(TOKENS) // 100):
        await writer.ask_all(*[append(writer, number, message) for _ in range(100)])
    return message


async def stream(writer: Asker, number: int, message: int) -> None:
    while True:
        await asyncio.sleep(10 / TOKENS_PER_S)
        await writer.ask_all(*[append(writer, number, message) for _ in range(10)])


def append(writer: Asker, number: int, message: int) -> f.Publish:
    return publish(writer, number, [(Operation(Op.APPEND, message), b"token ")])


def publish(writer: Asker, number: int, records: list[tuple[Operation | None, bytes]]) -> f.Publish:
    rows: Any = [((int(Encoding.TEXT), None, (), operation, 0), data) for operation, data in records]
    return f.Publish(writer.request(), number, 0, f.UNCONDITIONAL, 0, encode_labelled(CLIENT, rows))


async def attach(reader: Asker, number: int, message: int, raw: bool) -> float:
    """Seconds until everything as of the moment of attaching is there."""
    begin_s = perf_counter()
    last = TOKENS if raw else 50
    attached = await reader.ask(f.Attach(reader.request(), number, CREDIT, last=last, raw=raw))
    text, members, reached = 0, 0, attached.after
    more = True
    while reached < attached.through or more:
        frame = await reader.hear()
        if isinstance(frame, f.Presence) and frame.snapshot:
            members, more = members + len(frame.members), frame.more
        elif isinstance(frame, f.Deliver):
            reached = list(spans(frame.batches))[-1].last
            text += sum(len(each.data) for each in read_records(frame.batches) if each.operation is not None)
    took_s = perf_counter() - begin_s
    if not members or not text or message not in attached.messages:
        raise LoadFailed(f"{members} members, {text} bytes of text, open messages {attached.messages}")
    await reader.ask(f.Unsubscribe(reader.request(), number))
    return took_s
