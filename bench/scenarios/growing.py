"""Answers stream token by token into messages that grow.

Measures: appends per second into 200 growing messages, one in each of 200 channels, with a publisher each and with 1 or
10 subscribers each, 64 tokens of 6 bytes outstanding per publisher. What the acks freed goes as one batch, an
operation per token, as the clients do by themselves.
Good: within twice the CPU of plain messages in the same batches (`sessions`), for the broker judges each operation.
Near: judging, which walks the records in Python; then the deliveries, as for plain messages.
"""

from __future__ import annotations

from functools import lru_cache

from outlast_protocol.batch import Encoding, encode_labelled
from outlast_protocol.operations import Op, Operation

from ..lane import Lane
from ..run import Result, Run, each
from ..systems.outlast import CLIENT, OutlastWriter

CASES = ("1 subscriber", "10 subscribers")
ONLY = ("outlast",)
CHANNELS = 200
WINDOW = 64
TOKEN_BYTES = 6
# The first record of a new channel opens its message.
MESSAGE = 1


class Grower(OutlastWriter):
    """The first thing that it sends to a lane opens a message, all else is appended to it."""

    def encode(self, lane: Lane, count: int) -> None:
        lane.pending.append(count)
        operation = Operation(Op.APPEND, MESSAGE) if lane.sequence else Operation(Op.OPEN)
        self.publish(lane, _batch(operation, count, self.load.message))


@lru_cache(maxsize=4_096)
def _batch(operation: Operation, count: int, token: bytes) -> bytes:
    label = (int(Encoding.TEXT), None, (), operation, 0)
    return encode_labelled(CLIENT, [(label, token)] * count)


async def measure(run: Run, case: str) -> Result:
    run.load.set_message(TOKEN_BYTES)
    lanes = run.add_lanes(run.plan.scaled(CHANNELS, least=4), WINDOW)
    run.start()
    for _ in range(10 if case == "10 subscribers" else 1):
        await run.read(each(lanes))
    await run.join([Grower(run.load, share) for share in each(lanes)])
    await run.publish_once(1)
    return await run.closed_loop()
