"""What each frame needs, checked frame by frame against a broker; and that tenants are walls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outlast_broker.connection import GUARDED_HANDLERS, HANDLERS
from outlast_broker.rights import RIGHTS
from outlast_protocol import ErrorCode
from outlast_protocol.batch import encode_labelled
from outlast_protocol.frames import (
    UNCONDITIONAL,
    Attach,
    Auth,
    Error,
    Hello,
    Info,
    List,
    Open,
    Publish,
    Reply,
    Revoke,
    Subscribe,
    Subscribed,
    encode,
)
from outlast_protocol.operations import Op, Operation

from tests.broker.stage import Actor, Stage
from tests.support.credentials import ALL, OPERATOR, Credentials
from tests.support.samples import SAMPLES

ROOM = "session:42"
# What the sample of each frame needs; "any": whatever right, "*": to manage every channel, "#": that, or metrics.
NEEDED: dict[str, set[str]] = {
    "OPEN": {"any"}, "INFO": {"any"}, "PUBLISH": {"publish"}, "EPHEMERAL": {"publish"},
    "SUBSCRIBE": {"subscribe", "history"}, "ATTACH": {"subscribe", "history", "presence"},
    "HISTORY": {"history"}, "MESSAGE": {"history"}, "STATE": {"history"},
    "DELETE": {"manage"}, "TRUNCATE": {"manage"}, "CONFIGURE": {"manage"},
    "ACK": {"cursor"}, "AWAIT": {"cursor"}, "CURSORS": {"cursor"}, "FORGET": {"cursor"},
    "ENTER": {"presence"}, "LEAVE": {"presence"}, "MEMBERS": {"presence"}, "WATCH": {"presence"},
    "LEASE": {"lease"}, "RENEW": {"lease"}, "RELEASE": {"lease"}, "LEASES": {"lease"},
    "CLAIM": {"claim"}, "SETTLE": {"claim"}, "EXTEND": {"claim"}, "ABANDON": {"claim"}, "CLAIMS": {"claim"},
    "COMPACT": {"*"}, "REVOKE": {"*"}, "REVOCATIONS": {"*"}, "STATUS": {"#"}, "CONNECTIONS": {"*"},
    "LIST": set(), "HELLO": set(), "AUTH": set(), "PING": set(), "PONG": set(), "UNSUBSCRIBE": set(), "CREDIT": set(),
    "UNWATCH": set(), "MALFORMED": set(),
}  # fmt: skip
SAMPLE = {type(frame).__name__.upper(): frame for frame in SAMPLES}


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path)


@pytest.fixture
def guarded(credentials: Credentials) -> Iterator[Stage]:
    stage = Stage(auth=credentials.settings())
    yield stage
    stage.close()


@pytest.fixture
def knock(guarded: Stage, credentials: Credentials) -> Any:
    """Somebody who has come with these rights."""

    def come(client_id: str, grants: dict[str, tuple[str, ...]]) -> Actor:
        actor = guarded.stranger(client_id)
        actor.send(Hello([1], client_id, token=credentials.token(client_id, grants)))
        guarded.until(lambda: not actor.silent)
        actor.came.pop()
        return actor

    return come


def refusal_of(stage: Stage, actor: Actor, frame: Any) -> str | None:
    """The verb for the lack of which it is refused; None if it is not."""
    actor.send(frame)
    stage.idle()
    came = [each for each in actor.came if isinstance(each, Error) and each.code == ErrorCode.FORBIDDEN]
    actor.came.clear()
    return str(came[0].detail["verb"]) if came else None


# --- the table --------------------------------------------------------------------------------------------


def test_every_frame_that_is_handled_says_what_it_needs() -> None:
    """A frame that is new joins RIGHTS, and NEEDED above."""
    assert set(RIGHTS) == set(HANDLERS) == set(GUARDED_HANDLERS)
    assert {frame.__name__.upper() for frame in RIGHTS} == set(NEEDED)


def sample_for(name: str, actor: Actor, number: int) -> Any:
    frame = SAMPLE[name]
    given = {"request": actor.request()} if "request" in frame._fields else {}
    if "number" in frame._fields:
        given["number"] = number
    if "batch" in frame._fields:
        given["batch"] = encode_labelled(actor.id, [((1, None, ()), b"hello")])
    if name == "PUBLISH":
        given["sequence"] = 0
    return frame._replace(**given)


@pytest.mark.parametrize("name", sorted(name for name, needed in NEEDED.items() if needed - {"any", "*", "#"}))
def test_a_frame_needs_its_verbs_and_no_other(guarded: Stage, knock: Any, name: str) -> None:
    needed = NEEDED[name]
    for verb in sorted(needed):
        actor = knock("alice", {ROOM: tuple(each for each in ALL if each != verb)})
        number = actor.open(ROOM).number
        assert refusal_of(guarded, actor, sample_for(name, actor, number)) == verb
    actor = knock("alice", {ROOM: tuple(needed)})
    number = actor.open(ROOM).number
    assert refusal_of(guarded, actor, sample_for(name, actor, number)) is None


@pytest.mark.parametrize("name", sorted(name for name, needed in NEEDED.items() if needed == {"*"}))
def test_what_is_about_the_broker_needs_manage_everywhere(guarded: Stage, knock: Any, name: str) -> None:
    for grants in ({"session:*": ALL}, {"*": tuple(each for each in ALL if each != "manage")}):
        actor = knock("alice", grants)
        assert refusal_of(guarded, actor, sample_for(name, actor, 0)) == "manage"
    monitor = knock("monitor", {"*": ("metrics",)})
    assert refusal_of(guarded, monitor, sample_for(name, monitor, 0)) == "manage"
    operator = knock("operator", {"*": ("manage",)})
    assert refusal_of(guarded, operator, sample_for(name, operator, 0)) is None


@pytest.mark.parametrize("name", sorted(name for name, needed in NEEDED.items() if needed == {"#"}))
def test_what_tells_how_the_broker_is_needs_metrics(guarded: Stage, knock: Any, name: str) -> None:
    for grants in ({"session:*": ALL}, {"*": tuple(each for each in ALL if each != "manage")}):
        actor = knock("alice", grants)
        assert refusal_of(guarded, actor, sample_for(name, actor, 0)) == "metrics"
    for verb in ("metrics", "manage"):
        actor = knock("somebody", {"*": (verb,)})
        assert refusal_of(guarded, actor, sample_for(name, actor, 0)) is None


def test_metrics_alone_is_no_right_on_any_channel(guarded: Stage, knock: Any) -> None:
    operator, monitor = knock("operator", OPERATOR), knock("monitor", {"*": ("metrics",)})
    operator.open(ROOM)
    for name in (each for each, needed in NEEDED.items() if needed and needed != {"#"}):
        frame = sample_for(name, monitor, 0)
        if "channel" in frame._fields:
            for channel in (ROOM, "none"):
                assert refusal_of(guarded, monitor, frame._replace(channel=channel)) is not None, name
    assert monitor.result(List(monitor.request()))["channels"] == []
    assert [row["channel"] for row in operator.result(List(operator.request()))["channels"]] == [ROOM]


@pytest.mark.parametrize("verb", ALL)
def test_any_right_opens_a_channel(guarded: Stage, knock: Any, verb: str) -> None:
    actor = knock("alice", {ROOM: (verb,)})
    assert actor.open(ROOM).last == 0 and actor.info(ROOM)["channel"] == ROOM
    for frame in (Open(actor.request(), "session:43"), Info(actor.request(), "session:4")):
        assert refusal_of(guarded, actor, frame) == "any verb"


# --- what a frame holds -----------------------------------------------------------------------------------


def publishing(actor: Actor, number: int, *operations: Operation | None, fence: int = 0) -> Publish:
    rows = [((1, None, (), operation, 0), b"x") for operation in operations]
    return Publish(actor.request(), number, 0, UNCONDITIONAL, fence, encode_labelled(actor.id, rows))


SET, OPENS = Operation(Op.SET, key="mode"), Operation(Op.OPEN)


@pytest.mark.parametrize(
    ("verbs", "operations", "fence", "refused"),
    [
        (("publish",), (None, OPENS), 0, None),
        (("publish",), (SET,), 0, "state"),
        (("publish",), (OPENS, SET), 0, "state"),
        (("state",), (SET,), 0, None),
        (("state",), (SET, OPENS), 0, "publish"),
        (("state",), (None,), 0, "publish"),
        (("publish", "state"), (SET, OPENS, None), 0, None),
        (("publish",), (None,), 7, "lease"),
        (("state",), (SET,), 7, "lease"),
        (("publish", "lease"), (SET,), 7, "state"),
    ],
)
def test_a_batch_needs_what_its_records_do(
    guarded: Stage, knock: Any, verbs: tuple[str, ...], operations: Any, fence: int, refused: str | None
) -> None:
    actor = knock("alice", {ROOM: verbs})
    frame = publishing(actor, actor.open(ROOM).number, *operations, fence=fence)
    assert refusal_of(guarded, actor, frame) == refused
    assert actor.info(ROOM)["last"] == (0 if refused else len(operations))


def test_a_batch_whose_labels_are_no_labels_is_refused_as_ever(guarded: Stage, knock: Any) -> None:
    actor = knock("alice", {ROOM: ("publish",)})
    frame = publishing(actor, actor.open(ROOM).number, OPENS)
    actor.refused(frame._replace(batch=frame.batch.replace(b"\x91\x94", b"\xc1\x94")), ErrorCode.BAD_CHECKSUM)


@pytest.mark.parametrize(
    ("verbs", "start", "refused"),
    [
        (("subscribe",), {"start": "latest"}, None),
        (("subscribe",), {"start": "earliest"}, "history"),
        (("subscribe",), {"after": 0}, "history"),
        (("subscribe",), {"last": 0}, "history"),
        (("subscribe",), {"since_ms": 2**52}, "history"),
        (("subscribe",), {"start": "latest", "cursor": "phone"}, "history"),
        (("subscribe", "history"), {"start": "latest", "cursor": "phone"}, "cursor"),
        (("history",), {"start": "latest"}, "subscribe"),
        (("subscribe", "history", "cursor"), {"start": "earliest", "cursor": "phone"}, None),
    ],
)
def test_what_is_there_already_is_history(
    guarded: Stage, knock: Any, verbs: tuple[str, ...], start: dict[str, Any], refused: str | None
) -> None:
    actor = knock("alice", {ROOM: verbs})
    frame = Subscribe(actor.request(), actor.open(ROOM).number, 65_536, **start)
    assert refusal_of(guarded, actor, frame) == refused


def test_attaching_without_presence_needs_no_presence(guarded: Stage, knock: Any) -> None:
    actor = knock("alice", {ROOM: ("subscribe", "history")})
    number = actor.open(ROOM).number
    assert refusal_of(guarded, actor, Attach(actor.request(), number, 1, start="latest")) == "presence"
    assert refusal_of(guarded, actor, Attach(actor.request(), number, 1, start="latest", presence=False)) is None


# --- tenants ----------------------------------------------------------------------------------------------


def test_one_tenant_learns_nothing_of_another(guarded: Stage, knock: Any) -> None:
    """Whatever is asked by name is answered alike, whether there is such a channel or not."""
    mine, theirs = knock("me", {"me:*": ALL}), knock("them", {"them:*": ALL})
    number = theirs.open("them:secret").number
    theirs.publish(number, "secret")
    mine.open("me:own")
    for name in (each for each in SAMPLE if "channel" in SAMPLE[each]._fields and "request" in SAMPLE[each]._fields):
        if name not in NEEDED:
            continue
        answers = []
        for channel in ("them:secret", "them:none"):
            mine.send(sample_for(name, mine, 0)._replace(channel=channel))
            answers.append(mine.expect(Error)[1:])
        assert answers[0] == answers[1] and answers[0][0] == ErrorCode.FORBIDDEN, name
    for name in (each for each in SAMPLE if "number" in SAMPLE[each]._fields and each in NEEDED):
        mine.send(sample_for(name, mine, number))
        guarded.idle()
        assert all(isinstance(each, Error | Reply) for each in mine.came), name
        mine.came.clear()
    assert [row["channel"] for row in mine.result(List(mine.request()))["channels"]] == ["me:own"]


def test_a_list_shows_what_may_be_seen_page_by_page(guarded: Stage, knock: Any) -> None:
    operator = knock("operator", OPERATOR)
    names = ["a", "a:1", "a:2", "a:b:1", "ab:1", "b:1", "b:2", "ä:1"]
    for name in names:
        operator.open(name)
    guarded.idle()
    actor = knock(
        "alice", {"a:*": ("history",), "a:b:*": ("publish",), "b:2": ("claim",), "zz": ALL, "ä:*": ("state",)}
    )
    visible = ["a:1", "a:2", "a:b:1", "b:2", "ä:1"]

    def listed(asker: Actor, limit: int, prefix: str = "") -> list[str]:
        found: list[str] = []
        more = True
        while more:
            after = found[-1] if found else None
            said = asker.result(List(asker.request(), prefix, after, limit))
            found += [row["channel"] for row in said["channels"]]
            more = said["more"]
        return found

    for limit in (1, 2, 3, 100):
        assert listed(actor, limit) == visible
        assert listed(operator, limit) == sorted(names, key=str.encode)
        assert listed(actor, limit, "a") == visible[:3]
    assert listed(actor, 100, "b:") == ["b:2"] and listed(actor, 100, "a:b:1") == ["a:b:1"]


# --- a newer token ----------------------------------------------------------------------------------------


def test_a_newer_token_takes_the_place_of_the_one_before(guarded: Stage, credentials: Credentials, knock: Any) -> None:
    actor = knock("alice", {ROOM: ("publish",)})
    number = actor.open(ROOM).number
    assert refusal_of(guarded, actor, Subscribe(actor.request(), number, 65_536, start="latest")) == "subscribe"
    newer = credentials.token("alice", {ROOM: ("publish", "subscribe")})
    assert 3_600_000 < actor.result(Auth(actor.request(), newer))["expires_in_ms"] <= 3_630_000
    actor.send(Subscribe(actor.request(), number, 65_536, start="latest"))
    actor.expect(Subscribed)


def test_a_newer_token_that_grants_less_ends_the_connection(
    guarded: Stage, credentials: Credentials, knock: Any
) -> None:
    actor = knock("alice", {ROOM: ("publish", "subscribe"), "other": ALL})
    actor.open(ROOM)
    assert "expires_in_ms" in actor.result(Auth(actor.request(), credentials.token("alice", {ROOM: ALL})))
    actor.refused(Auth(actor.request(), credentials.token("alice", {"other": ALL})), ErrorCode.TOKEN_EXPIRED)
    assert actor.wire.closed


def test_a_newer_token_is_of_the_same_client(guarded: Stage, credentials: Credentials, knock: Any) -> None:
    actor = knock("alice", {ROOM: ALL})
    actor.refused(Auth(actor.request(), credentials.token("bob")), ErrorCode.FORBIDDEN)
    actor.refused(Auth(actor.request(), credentials.token("bob", client_id="alice")), ErrorCode.FORBIDDEN)
    actor.open(ROOM)
    actor.refused(Auth(actor.request(), "x"), ErrorCode.UNAUTHORIZED)
    assert actor.wire.closed


def test_where_nobody_is_asked_a_newer_token_is_no_matter(stage: Stage) -> None:
    actor = stage.client()
    assert actor.result(Auth(actor.request(), "whatever")) == {}


# --- the hot path -----------------------------------------------------------------------------------------


def test_patterns_are_looked_at_once_for_each_channel_that_is_opened(
    guarded: Stage, knock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = knock("alice", {ROOM: ("publish",)})
    number = actor.open(ROOM).number

    def look(self: object, name: str) -> int:
        raise AssertionError("a publish looks a pattern up")

    monkeypatch.setattr("outlast_broker.auth.capabilities.Capabilities.verbs", look)
    actor.publish_many(number, 50)


def test_who_is_cut_off_hears_nothing_more(guarded: Stage, knock: Any) -> None:
    reader, writer = knock("reader", {ROOM: ALL}), knock("writer", OPERATOR)
    reader.subscribe(reader.open(ROOM).number)
    number = writer.open(ROOM).number
    assert writer.result(Revoke(writer.request(), subject="reader")) == {"cut": 1}
    writer.publish(number, "after")
    assert reader.expect(Error).code == ErrorCode.UNAUTHORIZED
    reader.send_bytes(encode(Open(9, ROOM)))
    guarded.idle()
    assert reader.silent
