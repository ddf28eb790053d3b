"""Who published what, so that a publish that is sent again is stored once (PROTOCOL.md 6.3). Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.limits import PRODUCERS_REMEMBERED, PUBLISHES_REMEMBERED

Packed = list[tuple[int, int, int, list[int]]]


class Producer:
    """The first offsets of the last publishes; the newest, at `sequence`, is at the right end."""

    __slots__ = ("epoch", "offsets", "sequence")

    def __init__(self, epoch: int, sequence: int, offsets: Iterable[int]) -> None:
        self.epoch = epoch
        self.sequence = sequence
        self.offsets = deque(offsets, PUBLISHES_REMEMBERED)


class Producers:
    """The producers of one channel: the PRODUCERS_REMEMBERED that published last."""

    __slots__ = ("_by_id",)

    def __init__(self, packed: Packed | None = None) -> None:
        self._by_id = {id_: Producer(epoch, seq, offsets) for id_, epoch, seq, offsets in packed or ()}

    def pack(self) -> Packed:
        """For the channel's head: (id, epoch, sequence, offsets)."""
        return [(id_, p.epoch, p.sequence, list(p.offsets)) for id_, p in self._by_id.items()]

    def admit(self, id_: int, epoch: int, sequence: int) -> int | None:
        """None for a new publish, the first offset of a duplicate (0: forgotten).

        Raises ProtocolError `fenced` and `sequence_gap`.
        """
        producer = self._by_id.get(id_)
        if producer is None or epoch > producer.epoch:
            return None
        if epoch < producer.epoch:
            text = f"producer epoch {epoch} was replaced by {producer.epoch}"
            raise ProtocolError(ErrorCode.FENCED, text, epoch=producer.epoch)
        back = producer.sequence - sequence
        if back == -1:
            return None
        if back < 0:
            expected = producer.sequence + 1
            raise ProtocolError(ErrorCode.SEQUENCE_GAP, f"sequence {sequence} is too early", expected=expected)
        return producer.offsets[-1 - back] if back < len(producer.offsets) else 0

    def note(self, id_: int, epoch: int, sequence: int, offset: int) -> None:
        """Remembers an admitted publish and the first offset that it got."""
        producer = self._by_id.get(id_)
        if producer is not None and producer.epoch == epoch:
            producer.sequence = sequence
            producer.offsets.append(offset)
            return
        self._by_id.pop(id_, None)
        self._by_id[id_] = Producer(epoch, sequence, (offset,))
        if len(self._by_id) > PRODUCERS_REMEMBERED:
            self._forget_quietest()

    def _forget_quietest(self) -> None:
        del self._by_id[min(self._by_id, key=lambda id_: self._by_id[id_].offsets[-1])]

    def recover(self, id_: int, epoch: int, sequence: int, offset: int) -> None:
        """As `note`, for a journal entry that the stored table may already know."""
        producer = self._by_id.get(id_)
        if producer is None or (epoch, sequence) > (producer.epoch, producer.sequence):
            self.note(id_, epoch, sequence, offset)
