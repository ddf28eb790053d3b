"""Tokens: which one is shown, when the next one is, and what a client says without (PROTOCOL.md 3.7)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import outlast
import pytest
from outlast import token as token_module
from outlast.token import choose, fetch
from outlast_broker import clock
from outlast_protocol import ErrorCode
from outlast_protocol.frames import Auth, Error, Hello, Publish, Reply

from tests.support.broker import running_broker
from tests.support.credentials import OPERATOR, Credentials

from .fake_broker import FakeBroker, play, scenario, welcome


class Issuer:
    """Gives one token after another; `broken` counts how often it fails first."""

    def __init__(self, broken: int = 0) -> None:
        self.given = 0
        self.broken = broken

    async def __call__(self) -> str:
        if self.broken:
            self.broken -= 1
            raise RuntimeError("no network")
        self.given += 1
        return f"token {self.given}"


# --- where it comes from ----------------------------------------------------------------------------------


def test_what_is_given_counts_before_the_environment(tmp_path: Path) -> None:
    async def run() -> None:
        file = tmp_path / "token"
        file.write_text(" from the file\n")
        both = {"OUTLAST_TOKEN": "from the variable", "OUTLAST_TOKEN_FILE": str(file)}
        assert await fetch(choose("given", both)) == "given"
        assert await fetch(choose(None, both)) == "from the variable"
        source = choose(None, {"OUTLAST_TOKEN_FILE": str(file)})
        assert await fetch(source) == "from the file"
        file.write_text("another")
        assert await fetch(source) == "another"
        assert await fetch(choose(None, {})) is None

    asyncio.run(run())


def test_what_is_no_source_of_tokens() -> None:
    async def run() -> None:
        with pytest.raises(TypeError, match="expected text or an async function"):
            choose(7, {})  # type: ignore[arg-type]

        async def number() -> str:
            return 7  # type: ignore[return-value]

        with pytest.raises(outlast.ConnectFailed, match="returned int"):
            await fetch(number)

    asyncio.run(run())


def test_what_keeps_a_token_from_coming_is_said() -> None:
    async def run() -> None:
        with pytest.raises(outlast.ConnectFailed, match="no token: RuntimeError: no network .mend the function"):
            await fetch(Issuer(broken=1))

        async def refuse() -> str:
            raise outlast.Unauthorized("the session has ended")

        with pytest.raises(outlast.Unauthorized):
            await fetch(refuse)

    asyncio.run(run())


def test_a_token_is_not_shown_with_the_options() -> None:
    assert "hush" not in repr(outlast.connect("outlast://h", token="hush")._options)


# --- one connection after another -------------------------------------------------------------------------


@scenario
async def test_each_connection_has_a_token_of_its_own(broker: FakeBroker) -> None:
    client = broker.connect(client_id=None, token=Issuer())
    entering = asyncio.create_task(client.__aenter__())
    line = await broker.accepted()
    hello = await line.greet(welcome(client_id="alice"))
    await entering
    assert (hello.token, hello.client_id, client.client_id) == ("token 1", None, "alice")
    line.cut()
    hello = await (await broker.accepted()).greet(welcome(client_id="alice"))
    assert (hello.token, hello.client_id) == ("token 2", "alice")
    await client.close()


@scenario
async def test_a_token_that_does_not_come_is_asked_for_again(broker: FakeBroker) -> None:
    client = broker.connect(token=Issuer(broken=2))
    entering = asyncio.create_task(client.__aenter__())
    assert (await (await broker.accepted()).greet()).token == "token 1"
    await entering
    await client.close()


@scenario
async def test_a_token_is_refreshed_before_it_ends_and_nothing_is_interrupted(broker: FakeBroker) -> None:
    async with broker.joined(welcome()._replace(expires_in_ms=30), token=Issuer()) as (client, line):
        for number in (2, 3):
            auth = await line.expect(Auth, token=f"token {number}")
            line.say(Reply(auth.request, {"expires_in_ms": 30}))
        auth = await line.expect(Auth)
        line.say(Reply(auth.request, {}))
        await line.expect_nothing()
        assert client.state == "open"


def test_a_refresh_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(token_module, "RETRY_MS_MIN", 1)

    async def run(broker: FakeBroker) -> None:
        issuer = Issuer()
        async with broker.joined(welcome()._replace(expires_in_ms=30), token=issuer) as (_, line):
            issuer.broken = 2
            await line.expect(Auth, token="token 2")

    play(run)
    assert "could not be refreshed" in caplog.text


@scenario
async def test_a_token_that_is_text_is_not_refreshed(broker: FakeBroker) -> None:
    async with broker.joined(welcome()._replace(expires_in_ms=1), token="text") as (_, line):
        await line.expect_nothing()


@scenario
async def test_one_that_ends_is_followed_by_another_connection(broker: FakeBroker) -> None:
    async with broker.joined(token=Issuer()) as (client, line):
        publishing = asyncio.create_task(client.channel("c").publish("kept"))
        await line.open()
        await line.expect(Publish)
        line.say_early(Error(0, ErrorCode.TOKEN_EXPIRED, "the token has expired"))
        line = await broker.accepted()
        assert (await line.greet()).token == "token 2"
        await line.open()
        await line.publish(1)
        assert (await publishing).offset == 1


REFUSALS = {
    ErrorCode.UNAUTHORIZED: outlast.Unauthorized,
    ErrorCode.TOKEN_EXPIRED: outlast.TokenExpired,
    ErrorCode.FORBIDDEN: outlast.Forbidden,
}


@scenario
async def test_a_first_connection_that_is_refused_says_so_by_its_type(broker: FakeBroker) -> None:
    for code, kind in REFUSALS.items():
        client = broker.connect(token="text")
        entering = asyncio.create_task(client.__aenter__())
        line = await broker.accepted()
        await line.expect(Hello)
        line.say_early(Error(0, code, "no"))
        with pytest.raises(kind):
            await entering


# --- against a broker -------------------------------------------------------------------------------------


def test_a_connection_lives_on_under_the_next_token(tmp_path: Path) -> None:
    """The first one has a second left, with what clocks may be apart."""

    async def run() -> None:
        credentials = Credentials(tmp_path)
        states: list[str] = []
        with running_broker(auth=credentials.settings()) as broker:
            given: list[str] = []
            second = asyncio.Event()

            async def issue() -> str:
                if given:
                    second.set()
                ends_s = clock.now_ms() // 1000 + (60 if given else -28)
                given.append(credentials.token("alice", iat=ends_s - 120, exp=ends_s))
                return given[-1]

            url = f"outlast+unix://{broker.path}"
            async with outlast.connect(url, token=issue, on_state=lambda state, _: states.append(state)) as client:
                await second.wait()
                expired_ms = clock.now_ms() + 2_000
                while clock.now_ms() < expired_ms:
                    await client.channel("room").publish("still here")
        assert states == ["connecting", "open", "closed"] and len(given) == 2

    asyncio.run(run())


def test_rights_are_what_the_token_says(tmp_path: Path) -> None:
    async def run() -> None:
        credentials = Credentials(tmp_path)
        with running_broker(auth=credentials.settings()) as broker:
            url = f"outlast+unix://{broker.path}"
            async with outlast.connect(url, token=credentials.token("alice", {"session:*": ["publish"]})) as alice:
                assert alice.client_id == "alice"
                channel = alice.channel("session:42")
                await channel.publish("hello")
                with pytest.raises(outlast.Forbidden) as refusal:
                    await channel.state.set("mode", "draft")
                assert refusal.value.verb == "state"
                with pytest.raises(outlast.Forbidden):
                    await alice.channel("other").publish("hello")
                with pytest.raises(outlast.Forbidden):
                    async for _ in channel.subscribe(start="earliest"):
                        """Nothing is delivered."""
            async with outlast.connect(url, token=credentials.token("bob", OPERATOR)) as bob:
                [record] = [record async for record in bob.channel("session:42").history()]
                assert (record.client_id, record.data) == ("alice", "hello")
            with pytest.raises(outlast.Unauthorized):
                async with outlast.connect(url, token="x"):
                    """Never reached."""

    asyncio.run(run())
