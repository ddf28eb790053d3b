"""Claims: something is done once, whoever tries, and all learn what came of it (PROTOCOL.md 6.13).

A claim outlives connections: what was asked is asked again under the same nonce or token, and answered alike.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from random import random
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from outlast_protocol import Data, Encoding, frames
from outlast_protocol.batch import encode_data
from outlast_protocol.limits import CLAIM_KEY_BYTES_MAX, CLAIM_MS_MAX, CLAIM_RESULT_BYTES_MAX

from .backoff import Pace, delay_ms
from .errors import ClaimHeld, ConnectionLost, Fenced, OutlastError, ReadOnly, TooLarge, UnknownChannel
from .link import Answer, Life, Link
from .records import decoded, moment

TTL_MS_MIN = 1_000
# A claim that others hold is asked for again at this pace: nobody is told when it is done.
PACE = Pace(base_ms=100, cap_ms=1_000)
# Who leaves its block waits no longer than this to give the claim back; then it lapses.
ABANDON_TIMEOUT_S = 2.0
NONCE_BITS = 64

_log = logging.getLogger("outlast")


class ClaimSummary(NamedTuple):
    """A claim as lists show it. `time` is since when it has this status, in UTC; `holder` who was granted it last.

    "free" means that somebody has tried, and the next may: it was abandoned, or not extended in time.
    """

    key: str
    status: Literal["in_progress", "done", "free"]
    holder: str
    attempt: int
    time: datetime


class Wanted(NamedTuple):
    """What is claimed, for how long, and for how many seconds it may be waited for: 0 not at all, None for ever."""

    channel: str
    key: str
    ttl_ms: int
    timeout: float | None


class Claim:
    """Made by `channel.claim`, for `async with`: inside, it is either granted to this one, or done.

    `attempt` counts how often it was granted, `result` is what it was settled with once it is `done`. `lost`: somebody
    else was granted it meanwhile, or the channel was deleted.
    """

    def __init__(self, link: Link, wanted: Wanted) -> None:
        self.key = wanted.key
        self.granted = False
        self.done = False
        self.lost = False
        self.attempt = 0
        self.result: Data = None
        self._link = link
        self._wanted = wanted
        self._nonce = secrets.randbits(NONCE_BITS) or 1
        self._entered = False
        self._settling = False
        self._epoch = 0
        self._token = 0
        self._renewing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<outlast.Claim {self.key!r} granted={self.granted} done={self.done} lost={self.lost}>"

    async def settle(self, result: Data = None) -> None:
        """Returns when the claim is done and `result` is on disk, over as many connections as that takes.

        `result` is bytes, text or a JSON value of 32,768 bytes at most, and what every later claim of this key gets.
        Raises Fenced when somebody else was granted it meanwhile, TooLarge, and UnknownChannel when the channel was
        deleted. Cancelling this call leaves open whether the claim is done.
        """
        if not self.granted or self.done:
            raise RuntimeError(f"claim {self.key!r} is not there to be settled: look at `granted` and `done` first")
        encoding, data = _encode(result)
        self._settling = True
        self._stop_renewing()
        await self._ask_under_token(
            lambda request, number: frames.Settle(request, number, self.key, self._token, encoding, data)
        )
        self.done, self.result = True, decoded(encoding, data)

    # --- the block ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a claim can be entered once: call channel.claim() again for another one")
        self._entered = True
        result = await self._waited()
        self.attempt = result["attempt"]
        if result["status"] == "done":
            self.done, self.result = True, decoded(result["encoding"], result["data"])
        else:
            self.granted, self._token = True, result["token"]
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A claim whose settling was begun is not given back: what it is for has been done."""
        self._stop_renewing()
        if self.granted and not self._settling and not self.lost:
            await self._abandon()

    async def _abandon(self) -> None:
        try:
            async with asyncio.timeout(ABANDON_TIMEOUT_S):
                await self._ask_under_token(
                    lambda request, number: frames.Abandon(request, number, self.key, self._token)
                )
        except (TimeoutError, OutlastError) as error:
            _log.info("claim %r is not given back and will lapse: %r", self.key, error)

    # --- being granted ------------------------------------------------------------------------------------

    async def _waited(self) -> Mapping[str, Any]:
        """What CLAIM is answered with once it is granted or done. Raises ClaimHeld when the time is up."""
        held: OutlastError | None = None
        try:
            async with asyncio.timeout(self._wanted.timeout or None):
                attempt = 0
                while True:
                    try:
                        return await self._asked()
                    except (ClaimHeld, ReadOnly) as error:
                        if self._wanted.timeout == 0:
                            raise
                        held = error
                    await asyncio.sleep(_pause_s(attempt, held))
                    attempt += 1
        except TimeoutError:
            text = f"nobody said within {self._wanted.timeout:g} s how claim {self.key!r} stands"
            raise held or ConnectionLost(text) from None

    async def _asked(self) -> Mapping[str, Any]:
        """The answer to CLAIM, over as many connections as that takes. Raises ClaimHeld."""
        while True:
            life = await self._link.find_channel(self._wanted.channel, create=True)
            try:
                reply = await self._link.call(partial(self._frame, life), frames.Reply, partial(self._give_back, life))
            except ConnectionLost:
                continue
            except UnknownChannel:
                self._forget(life)
                continue
            if reply.result["status"] == "in_progress":
                raise _held(self.key, reply.result)
            self._epoch = life.epoch
            return reply.result

    def _frame(self, life: Life, request: int) -> frames.Claim:
        return frames.Claim(request, life.number, self.key, self._wanted.ttl_ms, self._nonce)

    def _give_back(self, life: Life, answer: Answer) -> None:
        """Nobody waits for this grant any more."""
        if isinstance(answer, frames.Reply) and answer.result["status"] == "granted":
            token: int = answer.result["token"]
            self._link.request(
                lambda request: frames.Abandon(request, life.number, self.key, token), lambda answer: None
            )

    # --- under its token ----------------------------------------------------------------------------------

    async def _renew(self) -> None:
        while not self.lost:
            await asyncio.sleep(self._wanted.ttl_ms / 3_000)
            try:
                await self._ask_under_token(
                    lambda request, number: frames.Extend(request, number, self.key, self._token)
                )
            except OutlastError as error:
                _log.warning("claim %r is not extended: %s", self.key, error)

    def _stop_renewing(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    async def _ask_under_token(self, make: Callable[[int, int], frames.Frame]) -> None:
        """Over as many connections as that takes. Raises Fenced and UnknownChannel, and then the claim is lost."""
        try:
            while not await self._answered(make):
                pass
        except (Fenced, UnknownChannel):
            self.lost = True
            raise

    async def _answered(self, make: Callable[[int, int], frames.Frame]) -> bool:
        """Of a channel's next life these tokens are not: they would be somebody else's."""
        life = await self._link.find_channel(self._wanted.channel)
        if life.epoch != self._epoch:
            raise UnknownChannel("the channel was deleted, and its claims with it")
        try:
            await self._link.call(lambda request: make(request, life.number), frames.Reply)
            return True
        except ConnectionLost:
            return False
        except UnknownChannel:
            self._forget(life)
            return False

    def _forget(self, life: Life) -> None:
        if self._link.life(self._wanted.channel) is life:
            self._link.forget(self._wanted.channel)


# --- small help -------------------------------------------------------------------------------------------


def wanted(channel: str, key: str, ttl: float, wait: bool, timeout: float | None) -> Wanted:
    """Raises TypeError or ValueError that says what is allowed. `ttl` and `timeout` are in seconds."""
    ttl_ms = round(ttl * 1000)
    if not TTL_MS_MIN <= ttl_ms <= CLAIM_MS_MAX:
        raise ValueError(f"ttl is {ttl} s, expected {TTL_MS_MIN // 1000} to {CLAIM_MS_MAX // 1000}")
    if timeout is not None and timeout <= 0:
        raise ValueError(f"timeout is {timeout} s, expected more than 0; leave it out to wait for ever, or not at all")
    waits = wait or timeout is not None
    return Wanted(channel, check_claim_key(key), ttl_ms, timeout if waits else 0)


def check_claim_key(key: object) -> str:
    """`key` if it is 1 to 255 bytes of UTF-8 without control characters (PROTOCOL.md 6.13)."""
    if not isinstance(key, str):
        raise TypeError(f"a claim's key is text, not {type(key).__name__}")
    size = len(key.encode(errors="surrogatepass"))
    if not 1 <= size <= CLAIM_KEY_BYTES_MAX:
        raise ValueError(f"the claim's key has {size} bytes, expected 1 to {CLAIM_KEY_BYTES_MAX}")
    if any(letter < "\x20" or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in key):
        raise ValueError(f"the claim's key {key!r} has a control character or a lone surrogate: leave it out")
    return key


def claim_from(row: Mapping[str, Any]) -> ClaimSummary:
    return ClaimSummary(row["key"], row["status"], row["holder"], row["attempt"], moment(row["time_ms"]))


def _encode(result: Data) -> tuple[Encoding, bytes]:
    try:
        encoding, data = encode_data(result)
    except TypeError as error:
        raise TypeError(f"the result is not bytes, text or a JSON value: {error}") from None
    except ValueError as error:
        raise ValueError(f"the result cannot be stored: {error}") from None
    if len(data) > CLAIM_RESULT_BYTES_MAX:
        text = f"the result has {len(data)} bytes, allowed are {CLAIM_RESULT_BYTES_MAX}"
        raise TooLarge(text, detail={"limit": "claim_result_bytes", "value": CLAIM_RESULT_BYTES_MAX})
    return encoding, data


def _held(key: str, result: Mapping[str, Any]) -> ClaimHeld:
    detail = {name: result[name] for name in ("holder", "attempt", "retry_after_ms")}
    return ClaimHeld(f"claim {key!r} is in progress at {result['holder']!r}", detail=detail)


def _pause_s(attempt: int, held: OutlastError) -> float:
    """Not longer than the claim can be held, but a broker that takes no changes is asked when it said."""
    if isinstance(held, ReadOnly):
        return delay_ms(attempt, PACE, random(), held.retry_after_ms) / 1000
    return min(PACE.base_ms + delay_ms(attempt, PACE, random()), max(held.retry_after_ms, 1)) / 1000
