"""Of all who claim a key one is granted; what it was settled with stays, whatever ends the broker or the claimant."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import outlast
import pytest
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Abandon, Claim, Claims, Settle

from tests.support.broker import PATIENCE_S, BrokerProcess, running_broker
from tests.support.home import Home, home

KEY = "charge:42"
TTL_MS = 30_000
CLAIMANT = """
import asyncio, outlast, sys

async def main():
    async with outlast.connect(sys.argv[1], client_id="first") as client:
        async with client.channel("room").claim("charge:42", ttl=1) as claim:
            print(claim.attempt, flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


def restart(place: Home, broker: BrokerProcess) -> BrokerProcess:
    broker.terminate()
    assert broker.exit_code() == 0
    return place.start()


def crash(place: Home, broker: BrokerProcess) -> BrokerProcess:
    broker.kill()
    return place.start()


# --- one of many ------------------------------------------------------------------------------------------


def test_of_fifty_who_race_one_is_granted(tmp_path: Path) -> None:
    """Five connections, each asked ten times at once, on a disk that has to be synced; for several keys."""
    with running_broker(tmp_path) as broker:
        clients = [broker.client(f"{index}") for index in range(5)]
        numbers = [client.open("room").number for client in clients]
        for key in ("a", "b", "c"):
            asked = [
                (client, [Claim(client.request(), number, key, TTL_MS) for _ in range(10)])
                for client, number in zip(clients, numbers, strict=True)
            ]
            for client, frames in asked:
                client.send(*frames)
            answers = [client.answer_to(frame.request).result for client, frames in asked for frame in frames]
            assert Counter(answer["status"] for answer in answers) == {"granted": 1, "in_progress": 49}
            assert len({answer.get("holder") for answer in answers} - {None}) == 1


def test_of_fifty_tasks_one_does_it_and_all_know_what_came_of_it() -> None:
    with running_broker() as broker:
        asyncio.run(asyncio.wait_for(race(f"outlast+unix://{broker.path}"), PATIENCE_S))


async def race(url: str) -> None:
    done: list[str] = []

    async def charge(client: outlast.Client) -> outlast.Data:
        async def once() -> str:
            done.append(client.client_id)
            return f"charged by {client.client_id}"

        return await client.channel("room").once(KEY, once)

    async with asyncio.TaskGroup() as tasks:
        for index in range(5):
            tasks.create_task(_with_client(url, f"{index}", charge))
    assert len(done) == 1


async def _with_client(url: str, name: str, charge: Callable[[outlast.Client], object]) -> None:
    async with outlast.connect(url, client_id=name) as client:
        results = await asyncio.gather(*[charge(client) for _ in range(10)])  # type: ignore[call-overload]
    assert len(set(results)) == 1 and str(results[0]).startswith("charged by")


# --- claimants that die -----------------------------------------------------------------------------------


@contextmanager
def claimant(url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", CLAIMANT, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        patience = threading.Timer(PATIENCE_S, process.kill)
        patience.start()
        try:
            yield process
        finally:
            patience.cancel()
            process.kill()


def test_what_a_killed_claimant_had_is_granted_to_the_next() -> None:
    with running_broker() as broker:
        url = f"outlast+unix://{broker.path}"
        with claimant(url) as process:
            assert process.stdout is not None and process.stdout.readline() == "1\n"
            other = broker.client("other")
            number = other.open("room").number
            held = other.result(Claim(other.request(), number, KEY, TTL_MS))
            assert (held["status"], held["holder"]) == ("in_progress", "first")
            assert held["retry_after_ms"] <= 1_000
            process.kill()
            process.wait()
            asyncio.run(asyncio.wait_for(take_over(url), PATIENCE_S))


async def take_over(url: str) -> None:
    async with outlast.connect(url, client_id="second") as client:
        async with client.channel("room").claim(KEY, wait=True) as claim:
            assert claim.granted and claim.attempt == 2
            await claim.settle("paid")
        assert await client.channel("room").once(KEY, lambda: "paid twice") == "paid"


# --- brokers that die -------------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [restart, crash])
@pytest.mark.parametrize("settings", [{}, {"journal_bytes": 1}], ids=["default", "tiny-journal"])
def test_claims_survive(
    between: Callable[[Home, BrokerProcess], BrokerProcess], settings: dict[str, int], tmp_path: Path
) -> None:
    with home(tmp_path, **settings) as place:
        broker = place.start()
        first = broker.client("first")
        number = first.open("room").number
        tokens = {}
        for key in ("done", "granted", "free"):
            granted = first.result(Claim(first.request(), number, key, TTL_MS, nonce=77))
            assert granted["status"] == "granted"
            tokens[key] = granted["token"]
        first.result(Settle(first.request(), number, "done", tokens["done"], 1, b"paid"))
        first.result(Abandon(first.request(), number, "free", tokens["free"]))
        first.close()
        for _ in range(2):
            broker = between(place, broker)
        client = broker.client("second")
        number = client.open("room").number
        rows = client.result(Claims(client.request(), "room"))["claims"]
        assert [(row["key"], row["status"]) for row in rows] == [
            ("done", "done"),
            ("free", "free"),
            ("granted", "in_progress"),
        ]
        done = client.result(Claim(client.request(), number, "done", TTL_MS))
        assert (done["status"], done["data"], done["attempt"]) == ("done", b"paid", 1)
        client.result(Settle(client.request(), number, "done", tokens["done"], 1, b"again"))
        held = client.result(Claim(client.request(), number, "granted", TTL_MS))
        assert (held["status"], held["holder"]) == ("in_progress", "first")
        again = client.result(Claim(client.request(), number, "granted", TTL_MS, nonce=77))
        assert (again["status"], again["token"]) == ("granted", tokens["granted"])
        freed = client.result(Claim(client.request(), number, "free", TTL_MS))
        assert (freed["token"], freed["attempt"]) == (max(tokens.values()) + 1, 2)
        old = Settle(client.request(), number, "free", tokens["free"])
        assert client.refused(old, ErrorCode.FENCED).detail == {"token": freed["token"]}


def test_who_is_at_it_goes_on_after_a_crash_of_the_broker(tmp_path: Path) -> None:
    """The block does not notice: it is extended, and settled, by the next broker."""
    with home(tmp_path) as place:
        place.start()
        asyncio.run(asyncio.wait_for(work_through_crashes(place), 2 * PATIENCE_S))


async def work_through_crashes(place: Home) -> None:
    async with (
        outlast.connect(place.url, client_id="first", backoff_base_ms=1, backoff_cap_ms=50) as first,
        outlast.connect(place.url, client_id="second", backoff_base_ms=1, backoff_cap_ms=50) as second,
    ):
        async with first.channel("room").claim(KEY, ttl=5) as claim:
            assert claim.granted
            waiting = asyncio.create_task(second.channel("room").once(KEY, lambda: "paid twice"))
            for _ in range(2):
                await asyncio.to_thread(place.start)
                with pytest.raises(outlast.ClaimHeld) as raised:
                    await second.channel("room").claim(KEY).__aenter__()
                assert raised.value.holder == "first"
            await claim.settle("paid")
            assert not claim.lost
        await asyncio.to_thread(place.start)
        assert await waiting == "paid"
