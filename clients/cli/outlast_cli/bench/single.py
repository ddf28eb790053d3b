"""The scenario `single`."""

from __future__ import annotations

from array import array

from .figures import Found, spread
from .lane import drained, followed
from .site import Site, Stopwatch


async def single(site: Site) -> Found:
    """One publisher that awaits each ack: what one fsync costs here.

    One channel, nobody else; read back afterwards, unmeasured. With `outlast serve --memory` it is what
    the way there and back costs without a disk. Good: p50 of 1 ms or less on an NVMe disk that tells the
    truth; 5 to 15 ms are a rotating disk's. Bound: one commit, which is LMDB's two flushes.
    """
    (lane,) = await site.open(1)
    acks_s = array("d")
    with Stopwatch() as watch:
        started_s = watch.running_s
        while started_s < site.plan.seconds and site.grant(1):
            await lane.publish(site.data)
            ended_s = watch.running_s
            acks_s.append(ended_s - started_s)
            started_s = ended_s
    async with followed([lane]):
        await drained([lane])
    return Found(watch.elapsed_s, watch.cpu_s, ack=spread(acks_s))
