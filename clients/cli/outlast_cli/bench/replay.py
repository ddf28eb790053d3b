"""The scenario `replay`."""

from __future__ import annotations

from .figures import Found
from .lane import drained, followed
from .site import Site, Stopwatch

RECORDS = 100_000


async def replay(site: Site) -> Found:
    """A late reader gets 100,000 records: messages a second.

    They are written first, in batches and unmeasured, into one channel, then a subscription reads them
    from the start (fewer where they would be more than 256 MiB). Good: 100,000 a second and more, so that
    who was away for a while is back at once. Bound: this process's decoding, for what was just written is
    still in memory.
    """
    (lane,) = await site.open(1)
    left = site.grant(RECORDS)
    while left:
        messages = [site.data] * min(left, site.plan.batch_records)
        await lane.publish_many(messages)
        left -= len(messages)
    with Stopwatch() as watch:
        async with followed([lane]):
            await drained([lane])
    return Found(watch.elapsed_s, watch.cpu_s)
