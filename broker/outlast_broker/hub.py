"""The channels that are in memory: loaded on first use, let go when nobody uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from outlast_protocol.batch import spans

from .channel import Channel
from .head import Head
from .journal import Entry
from .log import Creation, Deletion, Log

EVICT_SLICE = 2_000


class Hub:
    """Channels by name and by number. What is not here may still be in the log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._by_name: dict[str, Channel] = {}
        self._by_number: dict[int, Channel] = {}
        # Names whose deletion is not on disk yet: the log would still find them.
        self._dying: dict[int, str] = {}
        self._round: list[Channel] = []

    def __len__(self) -> int:
        return len(self._by_number)

    def by_name(self, name: str) -> Channel | None:
        channel = self._by_name.get(name)
        if channel is None and name not in self._dying.values():
            number = self._log.find(name)
            channel = self.by_number(number) if number is not None else None
        return channel

    def loaded(self, number: int) -> Channel | None:
        """The channel if it is in memory."""
        return self._by_number.get(number)

    def heads(self, numbers: Iterable[int]) -> dict[int, Head]:
        """What the log knows of those of these channels that are not in memory; of one that is deleted, nothing."""
        return self._log.heads([each for each in numbers if each not in self._by_number and each not in self._dying])

    def by_number(self, number: int) -> Channel | None:
        channel = self._by_number.get(number)
        if channel is None and number not in self._dying:
            head = self._log.head(number)
            channel = self._keep(Channel(number, head)) if head is not None else None
        return channel

    def add(self, number: int, head: Head) -> Channel:
        """A channel that comes to be with the next commit."""
        channel = self._keep(Channel(number, head))
        channel.durable = False
        return channel

    def _keep(self, channel: Channel) -> Channel:
        self._by_name[channel.name] = channel
        self._by_number[channel.number] = channel
        return channel

    def remove(self, channel: Channel) -> None:
        channel.dead = True
        del self._by_name[channel.name], self._by_number[channel.number]
        self._dying[channel.number] = channel.name
        channel.let_go()

    def born(self, birth: Creation | Deletion) -> None:
        """This creation or deletion is on disk."""
        if isinstance(birth, Deletion):
            del self._dying[birth.number]
        elif birth.number in self._by_number:
            self._by_number[birth.number].durable = True

    def recover_producer(self, channel: Channel, entry: Entry) -> None:
        if entry.sequence:
            offset = next(spans(entry.batch)).offset
            channel.producers.recover(entry.producer, entry.producer_epoch, entry.sequence, offset)

    def evict(self, needed: Callable[[Channel], bool]) -> None:
        """Lets go of channels that nobody has opened and the log knows all about; looks at some of them."""
        if not self._round:
            self._round = list(self._by_number.values())
        for channel in self._round[-EVICT_SLICE:]:
            if channel.idle and not channel.dead and not needed(channel):
                del self._by_name[channel.name], self._by_number[channel.number]
                channel.let_go()
        del self._round[-EVICT_SLICE:]
