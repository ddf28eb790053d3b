"""The Python client behind the conformance cases: a request a line on stdin, its answer on stdout (README.md)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import outlast
from outlast import members
from outlast.attachment import MessageChanged
from outlast.inbox import Request
from outlast.records import Record
from outlast.replica import StateChanged

Said = dict[str, Any]
Verb = Callable[["Adapter", Any, Said], Awaitable[Any]]

_EVENTS = {
    members.PresenceSnapshot: "members",
    members.MemberChanged: "member",
    members.PresenceCounts: "counts",
    members.Occupied: "occupied",
    members.Vacated: "vacated",
}


# --- what the client gives, as the cases say it -----------------------------------------------------------------


def plain(value: Any) -> Any:
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def data(value: Any) -> Any:
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) and value.keys() == {"bytes"} else value


def _fields(thing: Any, *names: str) -> Said:
    return {name: plain(getattr(thing, name)) for name in names}


def record_of(record: Any) -> Said:
    said = _fields(record, "data", "name", "client_id") | {"headers": dict(record.headers)}
    if isinstance(record, Record):
        operation = record.operation and record.operation.op.name.lower()
        said |= {"offset": record.offset, "position": str(record.position), "operation": operation}
    return said


def ack_of(ack: outlast.Ack) -> Said:
    place = {"offsets": list(ack.offsets), "position": str(ack.position), "epoch": f"{ack.epoch:016x}"}
    return _fields(ack, "offset", "last", "duplicate") | place


def message_of(message: Any) -> Said:
    said = _fields(message, "id", "content", "reason", "name", "client_id", "whole")
    return said | {"state": str(message.state), "headers": dict(message.headers)}


def member_of(member: members.Member) -> Said:
    return _fields(member, "client_id", "data", "reason") | {"status": str(member.status)}


def outcome_of(outcome: Any) -> Said:
    return _fields(outcome, "id", "accepted", "reason", "data", "client_id")


def request_of(request: Request) -> Said:
    return _fields(request, "id", "kind", "text", "message", "client_id")


def change_of(change: StateChanged) -> Said:
    return _fields(change, "key", "value", "version", "deleted")


def presence_of(event: members.PresenceEvent) -> Said:
    said: Said = {"event": _EVENTS[type(event)], "present": event.present, "away": event.away}
    if isinstance(event, members.PresenceSnapshot):
        said["members"] = [member_of(member) for member in event.members]
    if isinstance(event, members.MemberChanged):
        said["member"] = member_of(event.member)
    return said


def item_of(item: Any) -> Said:
    """Whatever a stream gives."""
    if isinstance(item, MessageChanged):
        return {"type": "message", "delta": plain(item.delta)} | message_of(item.message)
    if isinstance(item, StateChanged):
        return {"type": "state"} | change_of(item)
    if isinstance(item, members.PresenceEvent):
        return {"type": "presence"} | presence_of(item)
    if isinstance(item, Request):
        return request_of(item)
    return {"type": "record"} | record_of(item)


def error_of(error: Exception) -> Said:
    """What went wrong: the code, and all that the broker said beside it."""
    if not isinstance(error, outlast.OutlastError):
        return {"error": "wrong_argument", "message": f"{type(error).__name__}: {error}"}
    said: Said = {**error.detail, "error": error.code, "retryable": error.retryable}
    if isinstance(error, outlast.Resync):
        said |= {"reason": error.reason, "position": error.position and str(error.position)}
    return said


async def _list(items: AsyncIterator[Any], form: Callable[[Any], Said]) -> list[Said]:
    return [form(item) async for item in items]


def _seconds(milliseconds: int | None, default: float) -> float:
    return default if milliseconds is None else milliseconds / 1000


# --- the verbs --------------------------------------------------------------------------------------------------


class Adapter:
    """`things` are what steps have made, by the names that they were given."""

    def __init__(self) -> None:
        self.things: dict[str, Any] = {}

    async def keep(self, name: str, thing: Any) -> Any:
        """Enters it, if it can be entered, until it is let go."""
        self.things[name] = thing
        return await thing.__aenter__()

    async def answer(self, verb: str, said: Said) -> Any:
        try:
            client = self.things.get(said["client"])
            channel = client.channel(said["channel"]) if client is not None and "channel" in said else None
            gives = await VERBS[verb](self, channel, said)
            return {} if gives is None else gives
        except StopAsyncIteration:
            return {"error": "wrong_argument", "message": "it has ended"}
        except Exception as error:
            return error_of(error)

    async def connect(self, _: Any, said: Said) -> None:
        client = outlast.connect(
            said["url"], client_id=said.get("client_id", said["client"]),
            producer=tuple(said["producer"]) if "producer" in said else None,
            backoff_base_ms=5, backoff_cap_ms=20,
        )  # fmt: skip
        await self.keep(said["client"], client)

    async def close(self, _: Any, said: Said) -> None:
        await self.things[said["client"]].close()

    # --- publishing and reading ---------------------------------------------------------------------------------

    def options(self, said: Said) -> Said:
        options = {key: said[key] for key in ("name", "headers", "if_offset") if key in said}
        if "ttl_ms" in said:
            options["ttl"] = said["ttl_ms"] / 1000
        return options | self.lease_of(said)

    def lease_of(self, said: Said) -> Said:
        return {"lease": self.things[said["under"]]} if "under" in said else {}

    async def publish(self, channel: Any, said: Said) -> Said:
        return ack_of(await channel.publish(data(said["data"]), **self.options(said)))

    async def publish_many(self, channel: Any, said: Said) -> Said:
        return ack_of(await channel.publish_many([data(each) for each in said["datas"]], **self.options(said)))

    async def history(self, channel: Any, said: Said) -> list[Said]:
        return await _list(channel.history(**_without(said)), record_of)

    async def subscribe(self, channel: Any, said: Said) -> None:
        await self.keep(said["as"], channel.subscribe(**_without(said)))

    async def attach(self, channel: Any, said: Said) -> Said:
        session = await self.keep(said["as"], channel.attach(**{"presence": False, **_without(said)}))
        return {
            "through": str(session.through),
            "state": dict(session.state),
            "messages": [message_of(message) for message in session.messages.values()],
            "members": [member_of(member) for member in session.members],
        }

    async def next(self, _: Any, said: Said) -> Said:
        item = await anext(self.things[said["of"]])
        self.things[f"{said['of']}.item"] = item
        return item_of(item)

    async def position(self, _: Any, said: Said) -> Said:
        position = self.things[said["of"]].position
        return {"position": position and str(position)}

    async def leave(self, _: Any, said: Said) -> None:
        await self.things[said["of"]].close()

    async def ack(self, _: Any, said: Said) -> None:
        self.things[f"{said['of']}.item"].ack()
        await self.things[said["of"]].acked()

    # --- messages that grow ------------------------------------------------------------------------------------

    async def open(self, channel: Any, said: Said) -> Said:
        options = {key: said[key] for key in ("name", "headers") if key in said} | self.lease_of(said)
        message = channel.message(data=data(said.get("data", "")), **options)
        self.things[said["as"]] = message
        await message.flush()
        return {"id": message.id}

    async def append(self, _: Any, said: Said) -> Said:
        return ack_of(await self.things[said["to"]].append(data(said["data"])))

    async def complete(self, _: Any, said: Said) -> Said:
        return ack_of(await self.things[said["of"]].complete())

    async def stop(self, _: Any, said: Said) -> Said:
        return ack_of(await self.things[said["of"]].cancel(said["reason"]))

    async def fail(self, _: Any, said: Said) -> Said:
        return ack_of(await self.things[said["of"]].fail(said["reason"]))

    async def adopt(self, channel: Any, said: Said) -> Said:
        writer = await channel.adopt(said["message"], **self.lease_of(said))
        self.things[said["as"]] = writer
        return _fields(writer, "id", "content")

    async def message(self, channel: Any, said: Said) -> Said:
        return message_of(await channel.get_message(said["message"]))

    async def replace(self, channel: Any, said: Said) -> Said:
        return ack_of(await channel.replace(said["message"], data(said["data"])))

    async def remove(self, channel: Any, said: Said) -> Said:
        return ack_of(await channel.remove(said["message"]))

    # --- state -------------------------------------------------------------------------------------------------

    async def state(self, channel: Any, said: Said) -> list[Said]:
        return [{"key": key, "value": value} for key, value in sorted((await channel.state.get()).items())]

    async def set(self, channel: Any, said: Said) -> Said:
        return ack_of(await channel.state.set(said["key"], said["value"], said.get("version")))

    async def unset(self, channel: Any, said: Said) -> Said:
        return ack_of(await channel.state.delete(said["key"], said.get("version")))

    async def increment(self, channel: Any, said: Said) -> Said:
        return ack_of(await channel.state.increment(said["key"], said["by"]))

    async def update(self, channel: Any, said: Said) -> Said:
        return ack_of(await channel.state.update([_change(change) for change in said["changes"]]))

    async def watch(self, channel: Any, said: Said) -> Said:
        return dict(await self.keep(said["as"], channel.state.watch()))

    async def reached(self, _: Any, said: Said) -> Said:
        watch = self.things[said["of"]]
        await watch.reached(said["position"])
        return dict(watch)

    # --- presence ----------------------------------------------------------------------------------------------

    async def enter(self, channel: Any, said: Said) -> None:
        await self.keep(said["as"], channel.presence.enter(said["data"], grace=_seconds(said.get("grace_ms"), 10.0)))

    async def update_member(self, _: Any, said: Said) -> None:
        await self.things[said["of"]].update(said["data"])

    async def leave_presence(self, _: Any, said: Said) -> None:
        await self.things[said["of"]].leave()

    async def members(self, channel: Any, said: Said) -> list[Said]:
        return [member_of(member) for member in await channel.presence.members()]

    async def occupied(self, channel: Any, said: Said) -> Said:
        return {"occupied": await channel.presence.occupied()}

    async def watch_presence(self, channel: Any, said: Said) -> None:
        await self.keep(said["as"], channel.presence.watch(members=said.get("members", True)))

    # --- cursors -----------------------------------------------------------------------------------------------

    async def cursors(self, channel: Any, said: Said) -> list[Said]:
        return await _list(channel.cursors(), lambda cursor: _fields(cursor, "name", "offset", "lag"))

    async def forget_cursor(self, channel: Any, said: Said) -> Said:
        return {"offset": await channel.forget_cursor(said["cursor"])}

    async def delivered(self, channel: Any, said: Said) -> None:
        timeout = _seconds(said.get("timeout_ms"), 30.0)
        await channel.delivered(said["offset"], cursor=said["cursor"], timeout=timeout)

    # --- rights ------------------------------------------------------------------------------------------------

    async def lease(self, channel: Any, said: Said) -> Said:
        options = {"take_over": said.get("take_over", False), "wait": said.get("wait", False)}
        lease = channel.lease(said["lease"], ttl=_seconds(said.get("ttl_ms"), 10.0), **options)
        await self.keep(said["as"], lease)
        return {"token": lease.token}

    async def holds(self, _: Any, said: Said) -> Said:
        return {"held": self.things[said["of"]].is_held}

    async def release(self, _: Any, said: Said) -> None:
        await self.things[said["of"]].release()

    async def leases(self, channel: Any, said: Said) -> list[Said]:
        return await _list(channel.leases(), lambda lease: _fields(lease, "name", "holder"))

    async def claim(self, channel: Any, said: Said) -> Said:
        claim = channel.claim(said["key"], ttl=_seconds(said.get("ttl_ms"), 30.0))
        await self.keep(said["as"], claim)
        return _fields(claim, "granted", "done", "result", "attempt")

    async def settle(self, _: Any, said: Said) -> None:
        await self.things[said["of"]].settle(said["result"])

    async def abandon(self, _: Any, said: Said) -> None:
        await self.things[said["of"]].__aexit__(None, None, None)

    async def claims(self, channel: Any, said: Said) -> list[Said]:
        return await _list(channel.claims(), lambda claim: _fields(claim, "key", "status", "attempt"))

    # --- two ways ----------------------------------------------------------------------------------------------

    async def inbox(self, channel: Any, said: Said) -> None:
        await self.keep(said["as"], channel.inbox(**_without(said)))

    async def accept(self, _: Any, said: Said) -> Said:
        return {"counts": await self.things[f"{said['of']}.item"].accept(said.get("data"))}

    async def refuse(self, _: Any, said: Said) -> Said:
        return {"counts": await self.things[f"{said['of']}.item"].refuse(said["reason"])}

    async def cancelled(self, _: Any, said: Said) -> None:
        self.things[said["as"]] = self.things[said["inbox"]].cancelled(said["message"])

    async def is_cancelled(self, _: Any, said: Said) -> Said:
        cancellation = self.things[said["of"]]
        return {"cancelled": cancellation.is_set(), "text": cancellation.text}

    async def prompt(self, channel: Any, said: Said) -> Said:
        return outcome_of(await channel.prompt(said["text"], timeout=_seconds(said.get("timeout_ms"), 30.0)))

    async def cancel(self, channel: Any, said: Said) -> Said:
        return outcome_of(await channel.cancel(said["message"], said.get("text")))

    async def ask_approval(self, channel: Any, said: Said) -> Said:
        return outcome_of(await channel.ask_approval(said["text"], timeout=None))

    async def approve(self, channel: Any, said: Said) -> Said:
        return outcome_of(await channel.approve(said["request"], said.get("data")))

    async def reject(self, channel: Any, said: Said) -> Said:
        return outcome_of(await channel.reject(said["request"], said.get("reason", "")))

    async def outcome(self, channel: Any, said: Said) -> Said:
        return outcome_of(await channel.outcome(said["request"]))

    async def hear(self, channel: Any, said: Said) -> None:
        await self.keep(said["as"], channel.ephemeral())

    async def tell(self, channel: Any, said: Said) -> Said:
        return {"sent": channel.send_ephemeral(said["data"], name=said.get("name"))}

    # --- the channel itself ------------------------------------------------------------------------------------

    async def info(self, channel: Any, said: Said) -> Said:
        info = await channel.info()
        return _fields(info, "first", "last") | {"epoch": f"{info.epoch:016x}", "position": str(info.position)}

    async def truncate(self, channel: Any, said: Said) -> Said:
        return {"first": await channel.truncate(before=said["before"])}

    async def revoke(self, channel: Any, said: Said) -> Said:
        return {
            "cut": await self.things[said["client"]].revoke(subject=said.get("subject"), token_id=said.get("token_id"))
        }

    async def revocations(self, channel: Any, said: Said) -> list[Said]:
        return [dict(row) async for row in self.things[said["client"]].revocations()]

    async def delete(self, channel: Any, said: Said) -> None:
        await channel.delete()


_OTHERS = ("answer", "keep")
VERBS: dict[str, Verb] = {
    name: verb for name, verb in vars(Adapter).items() if asyncio.iscoroutinefunction(verb) and name not in _OTHERS
}


def _without(said: Said) -> Said:
    return {key: value for key, value in said.items() if key not in ("client", "channel", "as")}


def _change(change: Said) -> outlast.Change:
    if "set" in change:
        return outlast.Set(change["set"], change["value"], change.get("version"))
    if "delete" in change:
        return outlast.Delete(change["delete"], change.get("version"))
    return outlast.Increment(change["increment"], change.get("by", 1))


# --- lines ------------------------------------------------------------------------------------------------------


async def serve(adapter: Adapter) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 22)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.create_task(_answer(adapter, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _answer(adapter: Adapter, asked: Said) -> None:
    gives = await adapter.answer(asked["verb"], asked["with"])
    print(json.dumps({"id": asked["id"], "gives": gives}), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Adapter()))
