from __future__ import annotations

import asyncio
import json
from typing import Any

import outlast

from . import shell


def lines_of(*arguments: str, url: str) -> list[dict[str, Any]]:
    done = shell.run("export", *arguments, url=url)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.lines]


def test_every_kind_of_record_is_a_line(url: str) -> None:
    async def publish() -> None:
        async with outlast.connect(url, client_id="agent") as client:
            channel = client.channel("exported:a")
            await channel.publish(b"\x00\xff", name="raw", headers={"k": "v"})
            await channel.publish({"a": [1, None]})
            async with channel.message(name="answer") as message:
                await message.append("one ")
                await message.append("two")
            await channel.state.set("title", "a plan")

    asyncio.run(publish())
    raw, value, message, change, end = lines_of("exported:a", url=url)
    assert raw["channel"] == "exported:a" and raw["client_id"] == "agent" and raw["time_ms"] > 0
    assert (raw["offset"], raw["name"], raw["headers"], raw["encoding"], raw["data"]) == (
        1, "raw", {"k": "v"}, "base64", "AP8=",
    )  # fmt: skip
    assert (value["encoding"], value["data"]) == ("json", {"a": [1, None]})
    assert (message["encoding"], message["data"], message["name"]) == ("text", "one two", "answer")
    assert message["operation"]["state"] == "complete"
    assert change["operation"] == {"op": "set", "key": "title"}
    assert end == {
        "channel": "exported:a", "records": 4, "last": change["offset"],
        "state": {"title": {"encoding": "text", "data": "a plan"}},
    }  # fmt: skip


def test_by_prefix_and_by_name(url: str) -> None:
    for name in ("exported:b:1", "exported:b:2", "exported:c"):
        shell.fill(url, name, 2)
    assert {line["channel"] for line in lines_of("--prefix", "exported:b:", url=url)} == {
        "exported:b:1", "exported:b:2",
    }  # fmt: skip
    assert [line.get("data") for line in lines_of("exported:c", url=url)] == ["1", "2", None]
    assert "exported:c" in {line["channel"] for line in lines_of(url=url)}
    assert shell.run("export", "a", "--prefix", "b", url=url).code == 2
    assert shell.run("export", "exported:nowhere", url=url).code == 1
