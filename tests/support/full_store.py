"""A store with something of every kind in it, made by a real broker; and what must be found in it, whoever opens it.

`python -m tests.support.full_store tests/formats` made the fixture of the format that this version writes, in two
files there. A fixture is made once, when its format is new: it stands for the stores that are out there.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zlib import crc32

import outlast
from outlast_broker.care.backup import back_up
from outlast_broker.lmdb_file import FORMAT, U64, StoreFile, View
from outlast_broker.session import FOLDED_ROW
from outlast_protocol.batch import encode_labelled
from outlast_protocol.frames import UNCONDITIONAL, Ack, Lease, Publish
from outlast_protocol.operations import Op, Operation

from tests.support.broker import PATIENCE_S, Broker, BrokerProcess
from tests.support.home import Home, home
from tests.support.web import WebClient

LONG_S = 3_600.0
AGES_S = 1e9
IDEMPOTENT = {"Idempotency_Key": '"k1"'}
SECRET = "a word that nothing else here has: xylophonics"
# What makes everything move at once.
MOVING = {"journal_bytes": 1, "journal_age_ms": 1, "fold_after_ms": 1, "drain_ms": 10}


def fill(place: Home) -> None:
    """One broker that moves everything into chunks, and one whose records stay in the journal."""
    place.settings = dict(MOVING)
    broker = place.start()
    asyncio.run(_old(place.url))
    _set_cursors(broker)
    _publish_by_http(broker)
    _publish_in_sequence(broker)
    _leave_a_lease(broker)
    _await(place.data, _is_settled)
    place.stop()
    place.settings = {"drain_ms": 10}
    place.start()
    asyncio.run(_young(place.url))
    place.stop()


async def _old(url: str) -> None:
    async with outlast.connect(url, client_id="agent") as client:
        log = client.channel("log")
        for start in range(0, 80, 20):
            await log.publish_many([{"n": n, "text": "." * 1_000} for n in range(start, start + 20)])
        await log.publish("named", name="note", headers={"a": "1", "b": "2"})
        await log.publish(b"\x00\xff", ttl=AGES_S)
        await log.truncate(before=11)
        await log.configure(retention={"records": 1_000, "age_ms": 0})
        await _talk(client.channel("talk"))
        await _change_state(client.channel("state"))
        claims = client.channel("claims")
        await claims.once("done", lambda: {"paid": 1})
        await claims.claim("begun", ttl=LONG_S).__aenter__()
        secret = client.channel("secret:xylophonics")
        await secret.publish_many([SECRET] * 60)
        await client.channel("gone").publish("x")
        await client.channel("gone").delete()


async def _talk(talk: outlast.Channel) -> None:
    for name in ("first", "second"):
        async with talk.message(name=name) as message:
            for word in ("one ", "two ", "three"):
                await message.append(word)
    unfinished = talk.message(name="unfinished")
    await unfinished.__aenter__()
    await unfinished.append("so far")


async def _change_state(channel: outlast.Channel) -> None:
    await channel.state.set("title", "a plan")
    await channel.state.set("over", True)
    await channel.state.delete("over")
    await channel.state.increment("steps", 3)


async def _young(url: str) -> None:
    async with outlast.connect(url, client_id="agent") as client:
        await client.channel("log").publish_many(["young", "younger"])
        await client.channel("state").state.increment("steps", 4)


def _set_cursors(broker: BrokerProcess) -> None:
    client = broker.client("reader")
    number = client.open("log").number
    for cursor, offset in (("phone", 20), ("tab", 82)):
        client.result(Ack(client.request(), number, cursor, offset))


def _publish_by_http(broker: BrokerProcess) -> None:
    web = WebClient(broker.path)
    answer = web.ask("POST", "/v1/channels/http/records", {"data": "once"}, **IDEMPOTENT)
    assert answer.status == 201, answer
    web.close()


def _publish_in_sequence(broker: BrokerProcess) -> None:
    client = broker.client("producer", producer=(7, 1))
    assert client.publish(client.open("sequence").number, "once", sequence=5) == (1, False)


def send_again(broker: Broker) -> None:
    """What was sent before is known as such."""
    client = broker.client("producer", producer=(7, 1))
    assert client.publish(client.open("sequence").number, "once", sequence=5) == (1, True)
    web = WebClient(broker.path)
    said = web.ask("POST", "/v1/channels/http/records", {"data": "once"}, **IDEMPOTENT).said
    web.close()
    assert (said["first_offset"], said["duplicate"]) == (1, True)


def _leave_a_lease(broker: BrokerProcess) -> None:
    """Held by a client that is gone, with a message open under it."""
    client = broker.client("writer")
    number = client.open("leased").number
    token = client.result(Lease(client.request(), number, "pen", 3_600_000))["token"]
    batch = encode_labelled("writer", [((1, "draft", (), Operation(Op.OPEN), 0), b"half a sen")])
    client.ask(Publish(client.request(), number, 0, UNCONDITIONAL, token, batch))


def _is_settled(view: View) -> bool:
    rows = [key[U64.size :] for key, _ in view.items("rows")]
    folded = sum(name.startswith(FOLDED_ROW) for name in rows)
    return folded == 2 and not list(view.items("journal")) and not list(view.items("doomed"))


def _await(folder: Path, holds: Any) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    with StoreFile(folder) as store:
        while True:
            with store.view() as view:
                if holds(view):
                    return
            assert time.monotonic() < deadline_s, "the store does not settle"
            time.sleep(0.01)


# --- what must be found -------------------------------------------------------------------------------------


async def contents(url: str) -> dict[str, Any]:
    """Everything that a client is told, but what time changes: epochs apart."""
    async with outlast.connect(url, client_id="auditor") as client:
        names = [row.name async for row in client.channels()]
        return {name: await _channel(client.channel(name)) for name in names}


async def _channel(channel: outlast.Channel) -> dict[str, Any]:
    found = await channel.info()
    snapshot = await channel.state.get()
    return {
        "info": [found.first, found.last, found.created_ms, found.last_ms, list(found.retention)],
        "records": await _all(_brief(each) async for each in channel.history(raw=True)),
        "folded": await _all(_brief(each) async for each in channel.history()),
        "cursors": await _all([each.name, each.offset] async for each in channel.cursors()),
        "claims": await _all([each.key, each.status, each.holder, each.attempt] async for each in channel.claims()),
        "leases": await _all([each.name, each.holder] async for each in channel.leases()),
        "state": {key: [entry.value, entry.version, entry.client_id] for key, entry in snapshot.entries.items()},
    }


def _brief(record: outlast.Record) -> list[Any]:
    text = record.data.hex() if isinstance(record.data, bytes) else json.dumps(record.data)
    data = text if len(text) < 100 else f"{len(text)} characters, {crc32(text.encode()):08x}"
    return [record.offset, record.time_ms, record.client_id, record.name, dict(record.headers), data]


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as workplace, home(Path(workplace)) as place:
        fill(place)
        made = back_up(place.data, Path(workplace) / "backups", 0, compact=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{FORMAT}.mdb.gz").write_bytes(gzip.compress(made.path.read_bytes(), mtime=0))
        place.start()
        known = asyncio.run(contents(place.url))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in known.items())
    (folder / f"{FORMAT}.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
