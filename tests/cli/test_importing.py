from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import outlast
import pytest

from tests.support.chance import FACTOR

from . import shell
from .test_export import lines_of


def line(**fields: Any) -> str:
    plain = {"channel": "c", "offset": 1, "time_ms": 1, "client_id": "a", "name": None, "headers": {}}
    return json.dumps(plain | {"encoding": "text", "data": "x"} | fields)


def refused(url: str, *lines: str) -> str:
    done = shell.run("import", url=url, stdin="\n".join(lines).encode())
    assert done.code == 1, done
    return done.err


async def anything(channel: outlast.Channel, rng: random.Random, count: int) -> None:
    """Records, messages and changes of state, in any order."""
    for index in range(count):
        match rng.randrange(8):
            case 0:
                await channel.publish(rng.randbytes(rng.randrange(50)), name=rng.choice([None, "raw", "ü"]))
            case 1:
                await channel.publish({"n": index, "l": [None, 1.5, "ü"]}, headers={"k": str(index)})
            case 2 | 3:
                async with channel.message(name=rng.choice([None, "answer"]), headers={"m": "1"}) as message:
                    for _ in range(rng.randrange(5)):
                        await message.append("word " * rng.randrange(20))
                    if rng.random() < 0.3:
                        await message.cancel("enough")
                    elif rng.random() < 0.3:
                        await message.fail("broken")
            case 4:
                await channel.state.set(rng.choice("ab"), rng.choice(["text", {"a": 1}, None, True]))
            case 5:
                await channel.state.increment(rng.choice("xy"), rng.randrange(-5, 9))
            case 6:
                await channel.state.delete(rng.choice("abxy"))
            case 7:
                await channel.publish_many([f"text {n}" for n in range(rng.randrange(1, 40))])


def kept(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All but what the broker gives anew."""
    given = {"channel", "offset", "time_ms", "client_id", "last"}
    return [
        {key: value for key, value in each.items() if key not in given | {"operation"}}
        | {"operation": {key: each["operation"].get(key) for key in ("state", "reason", "key", "by")}
           if "operation" in each else None}
        for each in lines
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(FACTOR))
def test_there_and_back(url: str, seed: int) -> None:
    source, target = f"import:from:{seed}", f"import:to:{seed}"

    async def publish() -> None:
        async with outlast.connect(url, client_id="agent") as client:
            await anything(client.channel(source), random.Random(seed), 80)

    asyncio.run(publish())
    text = shell.run("export", source, url=url).out
    done = shell.run("import", "--into", target, url=url, stdin=text.encode())
    assert done.code == 0, done.err
    before, after = kept(lines_of(source, url=url)), kept(lines_of(target, url=url))
    assert after == before, f"seed {seed}"


def test_state_that_retention_took_is_made_up_for(url: str) -> None:
    async def publish() -> None:
        async with outlast.connect(url) as client:
            channel = client.channel("import:trimmed")
            await channel.state.set("old", 5)
            await channel.state.increment("old")
            await channel.state.set("bytes", b"\x00")
            await channel.publish("rest")
            await channel.state.increment("old")
            await channel.truncate(before=4)

    asyncio.run(publish())
    text = shell.run("export", "import:trimmed", url=url).out
    assert shell.run("import", "--into", "import:made-up", url=url, stdin=text.encode()).code == 0
    assert lines_of("import:made-up", url=url)[-1]["state"] == lines_of("import:trimmed", url=url)[-1]["state"]


def test_a_time_to_live_goes_on_where_it_was(url: str) -> None:
    async def publish() -> None:
        async with outlast.connect(url) as client:
            await client.channel("import:mortal").publish("soon over", ttl=3_600)

    asyncio.run(publish())
    text = shell.run("export", "import:mortal", url=url).out
    record, end = map(json.loads, text.splitlines())
    assert record["ttl_ms"] == 3_600_000
    earlier = [{**record, "time_ms": record["time_ms"] - age_ms} for age_ms in (3_000_000, 3_600_000)]
    lines = "\n".join(map(json.dumps, [*earlier, end]))
    done = shell.run("import", "--into", "import:left", url=url, stdin=lines.encode())
    assert done.code == 0 and "imported 1 records" in done.err and "1 skipped that are over" in done.err, done.err
    [left, _] = lines_of("import:left", url=url)
    assert 0 < left["ttl_ms"] <= 600_000


def test_stamps_say_where_records_come_from(url: str) -> None:
    end = json.dumps({"channel": "c", "state": {}})
    text = "\n".join([line(offset=7, time_ms=1_234, client_id="agent", headers={"k": "v"}), end])
    assert shell.run("import", "--into", "import:stamped", "--stamp", url=url, stdin=text.encode()).code == 0
    [record, _] = lines_of("import:stamped", url=url)
    assert record["headers"] == {
        "k": "v", "origin-offset": "7", "origin-time-ms": "1234", "origin-client-id": "agent",
    }  # fmt: skip


def test_what_is_left_of_a_message_is_kept_and_what_changes_nothing_is_counted(url: str) -> None:
    lines = [
        line(channel="import:rest", operation={"op": "append", "message": 3}, data="tail"),
        line(channel="import:rest", operation={"op": "close", "message": 3, "state": "complete"}, data=""),
        line(channel="import:rest", operation={"op": "lapsed", "lease": "pen", "token": 3}, data=""),
        line(channel="import:rest", operation={"op": "set", "key": "word"}, data="text"),
        line(channel="import:rest", operation={"op": "increment", "key": "word", "by": 1}, data=""),
        line(channel="import:rest", operation={"op": "open"}, data="unfinished"),
        line(channel="import:rest", operation={"op": "folded", "state": "interrupted"}, data="y" * 300_000),
        json.dumps({"channel": "import:rest", "state": {}}),
    ]
    done = shell.run("import", url=url, stdin="\n".join(lines).encode())
    assert done.code == 0 and "3 skipped" in done.err, done.err
    records = lines_of("import:rest", url=url)
    assert [each["data"] for each in records if each.get("encoding") == "text"][:1] == ["tail"]
    states = [each["operation"] for each in records if "operation" in each and "state" in each["operation"]]
    assert [each["state"] for each in states] == ["error", "error"]
    assert states[0]["reason"] == "open when it was exported" and records[-1]["state"] == {}
    assert any(each.get("data") == "y" * 300_000 for each in records)


def test_what_cannot_be_imported_is_said_by_its_line(url: str) -> None:
    assert "line 1 is not what `outlast export` writes" in refused(url, "{")
    assert "it names no channel" in refused(url, "[]")
    assert "line 2 is not" in refused(url, line(channel="import:x"), line(channel="import:x", encoding="base64"))
    assert "ends in the middle of channel 'import:y'" in refused(url, line(channel="import:y"))
    shell.fill(url, "import:full", 1)
    assert "has records already" in refused(url, line(channel="import:full"))
    assert "begins before the one before" in refused(url, line(channel="import:z"), line(channel="import:w"))
