"""The scenario `batch`."""

from __future__ import annotations

from .figures import Found
from .lane import Lane, drained, followed, workers
from .site import Site, Stopwatch

IN_FLIGHT = 4


async def batch(site: Site) -> Found:
    """publish_many of 500 records, 4 in flight: messages a second, on disk.

    One batch at a time to each of 4 channels (fewer records where they would exceed a batch's 1 MiB).
    Read back afterwards, unmeasured, to see that all is there. Good: several times `flood`, for a batch
    costs little more than a message. Bound: this process's encoding; the disk's throughput when
    --message-bytes is large.
    """
    lanes = await site.open(IN_FLIGHT)
    with Stopwatch() as watch:
        async with workers() as group:
            for lane in lanes:
                group.create_task(_pour(site, lane, watch))
    async with followed(lanes):
        await drained(lanes)
    return Found(watch.elapsed_s, watch.cpu_s)


async def _pour(site: Site, lane: Lane, watch: Stopwatch) -> None:
    records = site.plan.batch_records
    messages = [site.data] * records
    while watch.running_s < site.plan.seconds and site.grant(records) == records:
        await lane.publish_many(messages)
