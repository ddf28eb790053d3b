from __future__ import annotations

from outlast_broker.doors.lobby import RETRY_MS, Lobby
from outlast_protocol import ErrorCode, ProtocolError


class Waiting:
    def __init__(self, lobby: Lobby) -> None:
        self.lobby = lobby
        self.told: ProtocolError | None = None
        self.closed = False
        lobby.enter(self)

    def tick(self, now_ms: int) -> None:
        self.close()

    def turn_away(self, error: ProtocolError) -> None:
        self.told = error

    def close(self) -> None:
        self.closed = True
        self.lobby.leave(self)


def test_the_one_that_has_waited_longest_makes_room() -> None:
    crowded_out: list[None] = []
    lobby = Lobby(2, lambda: crowded_out.append(None))
    first, second, third = Waiting(lobby), Waiting(lobby), Waiting(lobby)
    assert list(lobby) == [second, third] and first.closed and len(crowded_out) == 1
    assert first.told is not None and first.told.code is ErrorCode.OVERLOADED
    assert first.told.detail == {"limit": "arrivals", "retry_after_ms": RETRY_MS}


def test_those_who_are_through_take_no_room() -> None:
    lobby = Lobby(1, lambda: None)
    for _ in range(5):
        lobby.leave(Waiting(lobby))
    lobby.leave(Waiting(lobby))
    assert len(lobby) == 0


def test_it_may_empty_while_it_is_walked() -> None:
    lobby = Lobby(5, lambda: None)
    for _ in range(5):
        Waiting(lobby)
    for each in lobby:
        each.tick(0)
    assert len(lobby) == 0
