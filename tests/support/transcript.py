"""Connections in any state, and both ends of one talking without a socket."""

from __future__ import annotations

from outlast_protocol import Connection, Frame, Malformed, Role, State
from outlast_protocol.frames import encode

from .samples import GOAWAY, HELLO, WELCOME

# What has been said when a connection is in a state: (who said it, what).
_SAID_BEFORE: dict[State, tuple[tuple[Role, Frame], ...]] = {
    State.CONNECTING: (),
    State.GREETED: ((Role.CLIENT, HELLO),),
    State.OPEN: ((Role.CLIENT, HELLO), (Role.BROKER, WELCOME)),
    State.LEAVING: ((Role.CLIENT, HELLO), (Role.BROKER, WELCOME), (Role.BROKER, GOAWAY)),
    State.CLOSED: (),
}


def peer_of(role: Role) -> Role:
    return Role.BROKER if role is Role.CLIENT else Role.CLIENT


def connection_in(state: State, role: Role) -> Connection:
    """The end `role` of a connection that came to `state` the usual way."""
    connection = Connection(role)
    for speaker, frame in _SAID_BEFORE[state]:
        if speaker is role:
            connection.send(frame)
        else:
            connection.receive(encode(frame))
    if state is State.CLOSED:
        connection.close()
    assert connection.state is state and connection.failure is None
    return connection


class Pair:
    """A client and a broker. `say` carries a frame across; both ends then have the same state."""

    def __init__(self) -> None:
        self.ends = {Role.CLIENT: Connection(Role.CLIENT), Role.BROKER: Connection(Role.BROKER)}

    def say(self, speaker: Role, frame: Frame) -> list[Frame | Malformed]:
        """What the other end made of `frame`."""
        return self.ends[peer_of(speaker)].receive(self.ends[speaker].send(frame))

    @property
    def states(self) -> set[State]:
        return {connection.state for connection in self.ends.values()}
