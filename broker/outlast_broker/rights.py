"""What each frame needs of its sender, in one table: RIGHTS. `guarded` looks before a handler of HANDLERS works.

What may be done to a channel is found once, at OPEN, and kept by its number (`ClientConnection.rights`); a frame that
names a channel is judged by the name. Who may do nothing to a channel is not told whether it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from outlast_protocol import ErrorCode, ProtocolError, frames as f
from outlast_protocol.batch import HEAD, HEAD_BYTES, KIND_AT, KIND_RECORDS, read_labels
from outlast_protocol.operations import STATE_OPS

from .auth.capabilities import CHANNEL_VERBS, Verb, names_of
from .auth.identity import Identity

if TYPE_CHECKING:
    from .connection import ClientConnection

Handler = Callable[["ClientConnection", Any], None]
Check = Callable[["ClientConnection", Any], None]

# Plain numbers: an enum's `&` takes ten times as long.
PUBLISH, SUBSCRIBE, HISTORY = int(Verb.PUBLISH), int(Verb.SUBSCRIBE), int(Verb.HISTORY)
PRESENCE, STATE, CURSOR = int(Verb.PRESENCE), int(Verb.STATE), int(Verb.CURSOR)
LEASE, CLAIM, MANAGE = int(Verb.LEASE), int(Verb.CLAIM), int(Verb.MANAGE)
METRICS = int(Verb.METRICS)


# --- what frames need -------------------------------------------------------------------------------------


def free(connection: ClientConnection, frame: Any) -> None:
    """It touches no channel, what the sender has begun itself alone, or tells only of what its sender may see."""


def numbered(needed: int | Callable[[Any], int]) -> Check:
    """On the channel with the frame's number. One that is not open here is its handler's to refuse."""
    find = needed if callable(needed) else lambda frame: needed

    def check(connection: ClientConnection, frame: Any) -> None:
        granted = connection.rights.get(frame.number)
        if granted is not None and granted != CHANNEL_VERBS:
            _check(find(frame), granted)

    return check


def named(needed: int) -> Check:
    """On the channel that the frame names."""

    def check(connection: ClientConnection, frame: Any) -> None:
        _check(needed, connection.identity.capabilities.verbs(frame.channel))

    return check


def seen(connection: ClientConnection, frame: Any) -> None:
    """Whoever has any right on the channel."""
    if not connection.identity.capabilities.verbs(frame.channel):
        raise _forbidden("this channel", "any verb")


def operator(connection: ClientConnection, frame: Any) -> None:
    """It changes the broker as a whole, or names who is there."""
    if not connection.identity.capabilities.everywhere & MANAGE:
        raise _forbidden("every channel (*)", Verb.MANAGE.name)


def monitor(connection: ClientConnection, frame: Any) -> None:
    """It says in numbers how the broker is."""
    check_monitor(connection.identity)


def check_monitor(identity: Identity) -> None:
    """Raises `forbidden` for one who may neither see metrics nor manage every channel."""
    if not identity.capabilities.everywhere & (METRICS | MANAGE):
        raise _forbidden("the whole broker (*)", Verb.METRICS.name)


def _check(needed: int, granted: int) -> None:
    if missing := needed & ~granted:
        raise _forbidden("this channel", names_of(missing)[0])


def _forbidden(where: str, verb: str | None) -> ProtocolError:
    verb = str(verb).lower()
    return ProtocolError(ErrorCode.FORBIDDEN, f"the token does not grant {verb} on {where}", verb=verb)


def of_batch(frame: f.Publish) -> int:
    """PUBLISH: `state` for what changes the state, `publish` for everything else, `lease` for a fence."""
    batch = frame.batch
    needed = LEASE if frame.fence else 0
    if batch[KIND_AT] == KIND_RECORDS:
        return needed | PUBLISH
    _, _, _, _, _, client_length, _, _, labels_length = HEAD.unpack_from(batch)
    labels_start = HEAD_BYTES + client_length
    try:
        labels = read_labels(batch[labels_start : labels_start + labels_length])
    except ProtocolError:
        return needed | PUBLISH  # nothing of it will be stored
    for label in labels:
        changes_state = label.operation is not None and label.operation.op in STATE_OPS
        needed |= STATE if changes_state else PUBLISH
    return needed


def of_start(frame: f.Subscribe) -> int:
    """SUBSCRIBE: what is there already is `history`; what comes from now on is not."""
    needed = SUBSCRIBE if frame.start == "latest" and frame.cursor is None else SUBSCRIBE | HISTORY
    return needed | (CURSOR if frame.cursor is not None else 0)


def of_attach(frame: f.Attach) -> int:
    """ATTACH: it always tells what the log has come to."""
    needed = SUBSCRIBE | HISTORY | (PRESENCE if frame.presence else 0)
    return needed | (CURSOR if frame.cursor is not None else 0)


RIGHTS: dict[type[Any], Check] = {
    f.Malformed: free,
    f.Hello: free,
    f.Auth: free,
    f.Ping: free,
    f.Pong: free,
    f.Open: seen,
    f.Publish: numbered(of_batch),
    f.Subscribe: numbered(of_start),
    f.Unsubscribe: free,
    f.Attach: numbered(of_attach),
    f.Message: numbered(HISTORY),
    f.State: named(HISTORY),
    f.Credit: free,
    f.Ephemeral: numbered(PUBLISH),
    f.History: numbered(HISTORY),
    f.Info: seen,
    f.List: free,
    f.Delete: named(MANAGE),
    f.Truncate: named(MANAGE),
    f.Configure: named(MANAGE),
    f.Compact: operator,
    f.Ack: numbered(CURSOR),
    f.Await: numbered(CURSOR),
    f.Cursors: named(CURSOR),
    f.Forget: named(CURSOR),
    f.Lease: numbered(LEASE),
    f.Renew: numbered(LEASE),
    f.Release: numbered(LEASE),
    f.Leases: named(LEASE),
    f.Claim: numbered(CLAIM),
    f.Settle: numbered(CLAIM),
    f.Extend: numbered(CLAIM),
    f.Abandon: numbered(CLAIM),
    f.Claims: named(CLAIM),
    f.Enter: numbered(PRESENCE),
    f.Leave: numbered(PRESENCE),
    f.Members: named(PRESENCE),
    f.Watch: numbered(PRESENCE),
    f.Unwatch: free,
    f.Status: monitor,
    f.Connections: operator,
    f.Revoke: operator,
    f.Revocations: operator,
}


def guarded(frame: type[Any], handler: Handler) -> Handler:
    """The handler, for those who may not do everything."""
    check = RIGHTS[frame]
    if check is free:
        return handler

    def guard(connection: ClientConnection, frame: Any) -> None:
        try:
            check(connection, frame)
        except ProtocolError:
            connection.engine.counters.forbidden += 1
            raise
        handler(connection, frame)

    return guard


def is_less(rights: Mapping[int, int], before: Mapping[int, int]) -> bool:
    """Whether something that was allowed before is not any more."""
    return any(verbs & ~rights.get(number, verbs) for number, verbs in before.items())
