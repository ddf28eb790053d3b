"""The frames, one class each, and the table that ties them to their numbers (PROTOCOL.md section 5).

A frame is `u32 length | u8 type | u8 flags | u16 zero | body`, little-endian; length counts the whole frame.
Hot frames have fixed bodies; the others carry `u32 request` and one msgpack map (map_body.py).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from .batch import HEAD_BYTES as BATCH_HEAD_BYTES
from .broker_frames import Connections as Connections, Status as Status
from .errors import ErrorCode, ProtocolError
from .limits import CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX, HELLO_BYTES_MAX, PAGE_RECORDS_MAX
from .map_body import Malformed as Malformed, bad_body, decoder, encode_map, with_request
from .session_frames import (
    Abandon as Abandon,
    Attach as Attach,
    Attached as Attached,
    Claim as Claim,
    Claims as Claims,
    Enter as Enter,
    Ephemeral as Ephemeral,
    Extend as Extend,
    Lease as Lease,
    Leases as Leases,
    Leave as Leave,
    Members as Members,
    Message as Message,
    Presence as Presence,
    Release as Release,
    Renew as Renew,
    Settle as Settle,
    State as State,
    Unwatch as Unwatch,
    Watch as Watch,
)
from .words import pack_words, read_words

HEADER = Struct("<IBBH")
HEADER_BYTES = HEADER.size
MAGIC = b"OUTL"
VERSION = 1


class Role(IntFlag):
    """Which end of a connection; as a set, who may send a frame."""

    CLIENT = 1
    BROKER = 2


class Hello(NamedTuple):
    """The first frame. `producer` is [id, epoch]: in whose name this connection publishes."""

    versions: list[int]
    client_id: str | None = None
    producer: list[int] | None = None
    heartbeat_ms: int = 15_000
    features: list[str] = []
    agent: str = ""
    token: str | None = None


class Welcome(NamedTuple):
    """The answer to HELLO: what both ends may rely on from here on."""

    version: int
    client_id: str
    heartbeat_ms: int
    time_ms: int
    features: list[str]
    limits: dict[str, int]
    server: str
    expires_in_ms: int | None = None


class Auth(NamedTuple):
    """A newer token for this connection, in place of the one that it came with."""

    request: int
    token: str


class Ping(NamedTuple):
    token: int


class Pong(NamedTuple):
    token: int


class GoAway(NamedTuple):
    """The broker is leaving: come back after `retry_after_ms`."""

    reason: str
    retry_after_ms: int


class Error(NamedTuple):
    """Request 0 means that no request is to blame, or none could be read."""

    request: int
    code: int
    message: str
    detail: dict[str, int | str] = {}


class Open(NamedTuple):
    """Names a channel once; from then on this connection uses its number."""

    request: int
    channel: str
    create: bool = True


class Opened(NamedTuple):
    """`number` is the broker's, the same for everyone; `first` and `last` are 1 and 0 in an empty channel."""

    request: int
    number: int
    epoch: int
    first: int
    last: int


class Publish(NamedTuple):
    """`sequence` 0 asks for no deduplication, `if_offset` UNCONDITIONAL for no condition, `fence` 0 for no lease."""

    request: int
    number: int
    sequence: int
    if_offset: int
    fence: int
    batch: bytes


class Published(NamedTuple):
    """Acknowledgements, as many as one commit released: (request, first offset, duplicate)."""

    acks: list[tuple[int, int, bool]]


class Subscribe(NamedTuple):
    """Where to start: exactly one of `after`, `start`, `last`, `since_ms`. `epoch` goes with `after`.

    With `cursor` it starts behind what that cursor has acknowledged, and elsewhere only if there is none yet.
    """

    request: int
    number: int
    credit: int
    after: int | None = None
    epoch: int | None = None
    start: str | None = None
    last: int | None = None
    since_ms: int | None = None
    cursor: str | None = None


class Subscribed(NamedTuple):
    """DELIVER goes on after offset `after`. `resync` says why that is not what was asked, if it is not."""

    request: int
    after: int
    epoch: int
    first: int
    last: int
    resync: str | None = None


class Unsubscribe(NamedTuple):
    request: int
    number: int


class Credit(NamedTuple):
    """Lets the broker send `credit` more bytes of DELIVER frames for this channel."""

    number: int
    credit: int


class Deliver(NamedTuple):
    """One or more stamped batches, end to end: the same bytes for every subscriber."""

    number: int
    batches: bytes


class Resync(NamedTuple):
    """The subscription could not go on seamlessly: `deleted` ended it, else it goes on after `after`."""

    number: int
    reason: str
    after: int
    epoch: int


class History(NamedTuple):
    """One page. Forwards: the records after `after`. Backwards: the last ones before `before`."""

    request: int
    number: int
    limit: int = 500
    after: int | None = None
    before: int | None = None
    epoch: int | None = None
    start: str | None = None
    last: int | None = None
    since_ms: int | None = None
    backwards: bool = False
    fold: bool = False


class Page(NamedTuple):
    """Batches that hold records `low` to `high`, and perhaps a few around them; empty if `low` > `high`.

    `first` and `last` are the channel's, so whether more follows is plain.
    """

    request: int
    low: int
    high: int
    first: int
    last: int
    batches: bytes


class Info(NamedTuple):
    request: int
    channel: str


class List(NamedTuple):
    """Channels whose names start with `prefix`, in byte order, from the one after `after`."""

    request: int
    prefix: str = ""
    after: str | None = None
    limit: int = 100


class Delete(NamedTuple):
    """`hard`: answered when nothing of it can be read in the broker's file any more."""

    request: int
    channel: str
    hard: bool = False


class Compact(NamedTuple):
    """The broker's file is written anew, without free space and what was erased."""

    request: int


class Truncate(NamedTuple):
    """Forget every record before `before`."""

    request: int
    channel: str
    before: int


class Configure(NamedTuple):
    """Retention of one channel; a None key goes back to the broker's rule, 0 means without bound."""

    request: int
    channel: str
    retention: dict[str, int | None]


class Ack(NamedTuple):
    """The reader that `cursor` names has done with everything up to `offset`."""

    request: int
    number: int
    cursor: str
    offset: int


class Await(NamedTuple):
    """Answered when `cursor` has acknowledged `offset`, or after `timeout_ms` with `cursor_behind`."""

    request: int
    number: int
    cursor: str
    offset: int
    timeout_ms: int


class Cursors(NamedTuple):
    """A channel's cursors in byte order of their names, from the one after `after`."""

    request: int
    channel: str
    after: str | None = None
    limit: int = 100


class Forget(NamedTuple):
    request: int
    channel: str
    cursor: str


class Revoke(NamedTuple):
    """What is not to be believed any more: tokens of `subject` issued before a time, or the one with `token_id`."""

    request: int
    subject: str | None = None
    token_id: str | None = None
    issued_before_ms: int | None = None


class Revocations(NamedTuple):
    """What is revoked, in byte order of its names, from the one after `after`."""

    request: int
    after: str | None = None
    limit: int = 100


class Reply(NamedTuple):
    """The answer to every request that has no answer of its own kind."""

    request: int
    result: dict[str, Any]


Frame: TypeAlias = (
    Hello | Welcome | Auth | Ping | Pong | GoAway | Error | Open | Opened | Publish | Published
    | Subscribe | Subscribed | Unsubscribe | Credit | Deliver | Resync
    | History | Page | Info | List | Delete | Truncate | Configure | Compact | Reply
    | Ack | Await | Cursors | Forget
    | Attach | Attached | Ephemeral | Message | State
    | Enter | Leave | Members | Watch | Unwatch | Presence
    | Lease | Renew | Release | Leases
    | Claim | Settle | Extend | Abandon | Claims
    | Status | Connections
    | Revoke | Revocations
)  # fmt: skip
UNCONDITIONAL = 2**64 - 1


class FrameSpec(NamedTuple):
    """One row of the frame table. `encode` gives the body; `decode` reads the frame at data[start:end]."""

    number: int
    cls: type[Any]
    sender: Role
    bytes_max: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, int, int], Any]


# --- fixed bodies -----------------------------------------------------------------------------------------

_TOKEN = Struct("<8xQ")
_PUBLISH = Struct("<8xIQQQQ")
_CREDIT = Struct("<8xQI")
_DELIVER = Struct("<8xQ")
_PAGE = Struct("<8xIQQQQ")
_EPHEMERAL = Struct("<8xIQ")
_DUPLICATE = 1 << 32
# Makes a NamedTuple from a tuple without a call into Python: PUBLISH is what most frames are.
_new_tuple = tuple.__new__


def _decode_publish(data: bytes, start: int, end: int) -> Publish:
    return _new_tuple(Publish, (*_PUBLISH.unpack_from(data, start), data[start + 44 : end]))


def _decode_published(data: bytes, start: int, end: int) -> Published:
    """Entries of two u64: request with the duplicate bit above it, and the first offset."""
    if (end - start - HEADER_BYTES) % 16:
        raise ProtocolError(ErrorCode.BAD_FRAME, "PUBLISHED is not a whole number of acknowledgements")
    words = read_words("Q", data, start + HEADER_BYTES, end)
    pairs = zip(words[::2], words[1::2], strict=True)
    return Published([(word & 0xFFFFFFFF, offset, word >= _DUPLICATE) for word, offset in pairs])


def encode_acks(words: list[int]) -> bytes:
    """A PUBLISHED frame from its flat list of `ack_word`, offset, `ack_word`, offset, ..."""
    body = pack_words("Q", words)
    return HEADER.pack(HEADER_BYTES + len(body), PUBLISHED, 0, 0) + body


def ack_word(request: int, duplicate: bool) -> int:
    return request | _DUPLICATE if duplicate else request


def _encode_published(frame: Published) -> bytes:
    flat = [word for request, offset, dup in frame.acks for word in (ack_word(request, dup), offset)]
    return encode_acks(flat)[HEADER_BYTES:]


def _decode_deliver(data: bytes, start: int, end: int) -> Deliver:
    return Deliver(_DELIVER.unpack_from(data, start)[0], data[start + 16 : end])


def _decode_page(data: bytes, start: int, end: int) -> Page:
    request, low, high, first, last = _PAGE.unpack_from(data, start)
    return Page(request, low, high, first, last, data[start + 44 : end])


def _decode_ephemeral(data: bytes, start: int, end: int) -> Ephemeral:
    request, number = _EPHEMERAL.unpack_from(data, start)
    return Ephemeral(request, number, data[start + 20 : end])


def deliver_head(number: int, batches_bytes: int) -> bytes:
    """What goes before batches on the wire; the same for every subscriber."""
    return _DELIVER_HEAD.pack(16 + batches_bytes, DELIVER, 0, 0, number)


_DELIVER_HEAD = Struct("<IBBHQ")

# --- beginnings: nothing goes on without them --------------------------------------------------------------


def _encode_hello(frame: Hello) -> bytes:
    return MAGIC + encode_map(frame)


_decode_hello_map = decoder(Hello)


def _decode_hello(data: bytes, start: int, end: int) -> Any:
    """HELLO has the magic word where others have their request number, and nothing before it to answer to."""
    if data[start + 8 : start + 12] != MAGIC:
        raise ProtocolError(ErrorCode.BAD_MAGIC, "this port speaks the Outlast protocol, the peer does not")
    hello = _decode_hello_map(data, start + 4, end)
    if isinstance(hello, Malformed):
        raise hello.error
    if hello.producer is not None and len(hello.producer) != 2:
        raise bad_body(f"HELLO: producer is [id, epoch], not {len(hello.producer)} numbers")
    return hello


_decode_welcome_map = decoder(Welcome)


def _decode_welcome(data: bytes, start: int, end: int) -> Any:
    """Nothing after a WELCOME makes sense without it (PROTOCOL.md 3.2)."""
    welcome = _decode_welcome_map(data, start, end)
    if isinstance(welcome, Malformed):
        raise welcome.error
    return welcome


# --- the table --------------------------------------------------------------------------------------------


def _map(number: int, cls: type[Any], sender: Role) -> FrameSpec:
    return FrameSpec(number, cls, sender, CONTROL_FRAME_BYTES_MAX, encode_map, decoder(cls))


_BOTH = Role.CLIENT | Role.BROKER
PUBLISH, PUBLISHED, DELIVER = 0x12, 0x13, 0x19

SPECS = (
    FrameSpec(0x01, Hello, Role.CLIENT, HELLO_BYTES_MAX, _encode_hello, _decode_hello),
    FrameSpec(0x02, Welcome, Role.BROKER, CONTROL_FRAME_BYTES_MAX, encode_map, _decode_welcome),
    FrameSpec(0x03, Ping, _BOTH, 16, lambda f: f.token.to_bytes(8, "little"),
              lambda data, start, end: Ping(_TOKEN.unpack_from(data, start)[0])),
    FrameSpec(0x04, Pong, _BOTH, 16, lambda f: f.token.to_bytes(8, "little"),
              lambda data, start, end: Pong(_TOKEN.unpack_from(data, start)[0])),
    _map(0x05, GoAway, Role.BROKER),
    _map(0x06, Error, Role.BROKER),
    FrameSpec(0x07, Auth, Role.CLIENT, HELLO_BYTES_MAX, encode_map, decoder(Auth)),
    _map(0x10, Open, Role.CLIENT),
    _map(0x11, Opened, Role.BROKER),
    FrameSpec(PUBLISH, Publish, Role.CLIENT, FRAME_BYTES_MAX,
              lambda f: _PUBLISH.pack(*f[:5])[8:] + f.batch, _decode_publish),
    FrameSpec(PUBLISHED, Published, Role.BROKER, FRAME_BYTES_MAX, _encode_published, _decode_published),
    _map(0x14, Subscribe, Role.CLIENT),
    _map(0x15, Subscribed, Role.BROKER),
    _map(0x16, Unsubscribe, Role.CLIENT),
    _map(0x17, Attach, Role.CLIENT),
    FrameSpec(0x18, Credit, Role.CLIENT, 20, lambda f: _CREDIT.pack(*f)[8:],
              lambda data, start, end: Credit(*_CREDIT.unpack_from(data, start))),
    FrameSpec(DELIVER, Deliver, Role.BROKER, FRAME_BYTES_MAX,
              lambda f: _DELIVER.pack(f.number)[8:] + f.batches, _decode_deliver),
    _map(0x1A, Resync, Role.BROKER),
    FrameSpec(0x1B, Attached, Role.BROKER, FRAME_BYTES_MAX, encode_map, decoder(Attached)),
    FrameSpec(0x1C, Ephemeral, _BOTH, CONTROL_FRAME_BYTES_MAX,
              lambda f: _EPHEMERAL.pack(f.request, f.number)[8:] + f.batch, _decode_ephemeral),
    _map(0x20, History, Role.CLIENT),
    FrameSpec(0x21, Page, Role.BROKER, FRAME_BYTES_MAX,
              lambda f: _PAGE.pack(*f[:5])[8:] + f.batches, _decode_page),
    _map(0x22, Info, Role.CLIENT),
    _map(0x23, List, Role.CLIENT),
    _map(0x24, Delete, Role.CLIENT),
    _map(0x25, Truncate, Role.CLIENT),
    _map(0x26, Configure, Role.CLIENT),
    _map(0x27, Message, Role.CLIENT),
    _map(0x28, State, Role.CLIENT),
    _map(0x29, Compact, Role.CLIENT),
    FrameSpec(0x2F, Reply, Role.BROKER, FRAME_BYTES_MAX, encode_map, decoder(Reply, PAGE_RECORDS_MAX)),
    _map(0x30, Ack, Role.CLIENT),
    _map(0x31, Await, Role.CLIENT),
    _map(0x32, Cursors, Role.CLIENT),
    _map(0x33, Forget, Role.CLIENT),
    _map(0x40, Enter, Role.CLIENT),
    _map(0x41, Leave, Role.CLIENT),
    _map(0x42, Members, Role.CLIENT),
    _map(0x43, Watch, Role.CLIENT),
    _map(0x44, Unwatch, Role.CLIENT),
    FrameSpec(0x45, Presence, Role.BROKER, FRAME_BYTES_MAX, encode_map, decoder(Presence)),
    _map(0x50, Lease, Role.CLIENT),
    _map(0x51, Renew, Role.CLIENT),
    _map(0x52, Release, Role.CLIENT),
    _map(0x53, Leases, Role.CLIENT),
    _map(0x58, Claim, Role.CLIENT),
    _map(0x59, Settle, Role.CLIENT),
    _map(0x5A, Extend, Role.CLIENT),
    _map(0x5B, Abandon, Role.CLIENT),
    _map(0x5C, Claims, Role.CLIENT),
    _map(0x60, Status, Role.CLIENT),
    _map(0x61, Connections, Role.CLIENT),
    _map(0x62, Revoke, Role.CLIENT),
    _map(0x63, Revocations, Role.CLIENT),
)  # fmt: skip
BY_NUMBER: dict[int, FrameSpec] = {spec.number: spec for spec in SPECS}
BY_CLASS: dict[type[Any], FrameSpec] = {spec.cls: spec for spec in SPECS}
BYTES_MIN: dict[int, int] = {
    spec.number: {
        "Hello": 12, "Ping": 16, "Pong": 16, "Publish": 44 + BATCH_HEAD_BYTES, "Published": 24,
        "Credit": 20, "Deliver": 16 + BATCH_HEAD_BYTES, "Page": 44, "Ephemeral": 20 + BATCH_HEAD_BYTES,
    }.get(spec.cls.__name__, 12 if with_request(spec.cls) else 8)
    for spec in SPECS
}  # fmt: skip


def encode(frame: Frame) -> bytes:
    """The frame's bytes. Raises ProtocolError when they would be longer than allowed."""
    spec = BY_CLASS[type(frame)]
    body = spec.encode(frame)
    length = HEADER_BYTES + len(body)
    if length > spec.bytes_max:
        text = f"{spec.cls.__name__.upper()} would have {length} bytes of {spec.bytes_max}"
        raise ProtocolError(ErrorCode.FRAME_TOO_LARGE, text, limit=spec.bytes_max)
    return HEADER.pack(length, spec.number, 0, 0) + body
