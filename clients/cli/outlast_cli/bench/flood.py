"""The scenario `flood`."""

from __future__ import annotations

from .figures import Found
from .lane import Lane, drained, followed, workers
from .site import Site, Stopwatch

OUTSTANDING = 64


async def flood(site: Site) -> Found:
    """As fast as the client goes, message by message, to subscribers.

    Over --channels channels, 64 publishers each that await their ack before the next message (fewer when
    large messages fill the client's buffer). Counts what reached the subscribers, from the first message
    sent to the last delivered. Good: `client-bound`, for then the broker has room to spare for more
    clients. Bound: this process's Python; with a slow disk, 64 times the channels per two fsyncs.
    """
    lanes = await site.open(site.plan.channels)
    async with followed(lanes):
        with Stopwatch() as watch:
            async with workers() as group:
                for lane in lanes:
                    for _ in range(OUTSTANDING):
                        group.create_task(_pour(site, lane, watch))
            await drained(lanes)
    return Found(watch.elapsed_s, watch.cpu_s)


async def _pour(site: Site, lane: Lane, watch: Stopwatch) -> None:
    while watch.running_s < site.plan.seconds and site.grant(1):
        await lane.publish(site.data)
