"""The heart: takes what is published, has it committed in groups, and releases it when it is on disk.

A group gathers everything accepted while the previous one was being committed. One commit, one callback:
`_committed` hands the next group over, so that the disk is never idle, and then walks the finished one
once, releasing its records to readers and its acknowledgements to publishers.
"""

from __future__ import annotations

import secrets
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from outlast_protocol import ErrorCode, ProtocolError
from outlast_protocol.batch import KIND_AT, KIND_SESSION, check_batch, read_records
from outlast_protocol.frames import UNCONDITIONAL, Publish, Resync, ack_word, deliver_head, encode, encode_acks
from outlast_protocol.limits import FRAME_BYTES_MAX

from . import clock, logs, retention
from .auth.authority import Authority
from .channel import Channel
from .committer import Committer
from .compacting import Compacting
from .config import Config
from .cursor import Cursors
from .damage import Damaged
from .doors.admission import Admission
from .doors.crowd import Crowd
from .doors.debts import Debts
from .feeder import Feeder
from .fold import still
from .folding import Folding
from .group import Group
from .head import Head
from .hub import Hub
from .journal import entry_head
from .jumps import Jumps
from .leasing import Leasing
from .log import CUT_CHUNKS, Creation, Cut, Deletion, Due, Log, Outcome
from .metering.counters import Counters
from .metering.measures import Measures
from .outbox import Outbox
from .rules import Rules
from .session import LOADED_ROWS, MESSAGE_ROW, Author, Contents, Session, read_folded
from .settling import Settling
from .subscription import Subscription
from .sweep import sooner

if TYPE_CHECKING:
    from .connection import ClientConnection

logger = logs.logger("outlast.engine")

DUE_PER_TICK = 200
FEW_CHUNKS = 8
# Acknowledgements that fit one PUBLISHED frame, two words each.
ACK_WORDS_MAX = 2 * 65_000
# Beyond so many that wait to be written, those who acknowledge or claim are not read from: the disk's thread has to
# go through them one by one, and a loop that takes ever more in leaves it no time to.
ROWS_WAITING_MAX = 1_000
# Between commits that only tidy up, so that tidying never competes with publishers.
TIDY_PAUSE_S = 0.004
_NO_PRODUCER = (0, 0)


class Engine:
    """All channels of one broker. Lives on the loop; only the committer's thread writes the log."""

    def __init__(self, config: Config, log: Log, loop: AbstractEventLoop, failed: Callable[[Exception], None]) -> None:
        self.config = config
        self.log = log
        self.rules = Rules(config.retention, config.rules)
        self.counters = Counters()
        self.admission = Admission(config.limits, self.counters)
        self.debts: Debts[ClientConnection] = Debts(config.limits.outgoing_bytes, config.reader_buffer_bytes)
        self.measures = Measures()
        self.crowd = Crowd()
        # What the server saw when it last looked.
        self.disk_free_bytes = 0
        self.certificate_expires_ms = 0
        self.outbox = Outbox()
        self.hub = Hub(log)
        self.feeder = Feeder(log, loop, self.outbox, self.counters)
        self.leasing = Leasing(self, loop)
        self.compacting = Compacting(self, loop)
        self.group = Group()
        self.authority = Authority(self)
        self.refusal: ProtocolError | None = None
        self.leaving = False
        self.jumps = Jumps(clock.now_ms(), clock.steady_ms())
        self.loop = loop
        self._failed = failed
        self.settling = Settling(config.journal_bytes, config.journal_age_ms)
        self.folding = Folding(self, config.fold_after_ms)
        self._contents = Contents(config.contents_bytes)
        self._committer = Committer(log, loop, self._committed, self._fail)
        self.in_flight: Group | None = None
        self._waking = False
        self._tidying = False
        self._erasing = False
        self._journal_oldest = 0
        self._held: list[ClientConnection] = []
        self._idle: list[Callable[[], None]] = []
        self.started_ms = clock.now_ms()

    def recover(self) -> int:
        """Reads the journal back into tails; returns how many records it held. Raises Damaged."""
        records = newest = 0
        for journal_id, entries in self.log.recover():
            newest = journal_id
            for entry in entries:
                channel = self.hub.by_number(entry.number)
                if channel is None:
                    continue
                before = channel.last
                channel.recover(entry.batch)
                if entry.batch[KIND_AT] == KIND_SESSION:
                    perishes_ms = self.session(channel).recover(read_records(entry.batch), entry.lease)
                    channel.perishes_ms = max(channel.perishes_ms, perishes_ms)
                self.hub.recover_producer(channel, entry)
                self.settling.note(channel, len(entry.batch))
                records += channel.last - before
        self.started_ms = clock.now_ms()
        self.settling.released(newest, self.started_ms)
        self.leasing.recover()
        return records

    # --- channels -----------------------------------------------------------------------------------------

    def open(self, name: str, create: bool) -> Channel | None:
        """The channel of this name; a new one becomes durable with the next commit."""
        channel = self.hub.by_name(name)
        if channel is None and create:
            self.check_writable()
            channel = self._create(name)
        return channel

    def _create(self, name: str) -> Channel:
        now_ms = clock.now_ms()
        number = self.log.next_number()
        rule = self.rules.named(name)
        due_ms = now_ms + rule.idle_ttl_ms if rule.idle_ttl_ms else 0
        head = Head(name, secrets.randbits(64), now_ms, last_ms=now_ms, due_ms=due_ms)
        channel = self.hub.add(number, head)
        self.group.work.births.append(Creation(number, head))
        if due_ms:
            self.group.work.dues.append(Due(number, 0, due_ms))
        self.wake()
        return channel

    def delete(self, channel: Channel, hard: bool = False) -> None:
        """Ends this life of the channel: its readers are told, its number is dead. `hard`: a compaction is owed."""
        self.hub.remove(channel)
        resync = encode(Resync(channel.number, "deleted", channel.last, channel.epoch))
        if channel.attendance is not None:
            self.group.answers.append(channel.attendance.end())
        for reader in list(channel.readers):
            reader.end()
            reader.connection.ended(channel)
            # A crash may still take the deletion back: nobody learns of it before it is on disk.
            self.group.answers.append(partial(reader.connection.send, resync))
        for waiter in channel.cursors.waiters() if channel.cursors is not None else ():
            gone = ProtocolError(ErrorCode.UNKNOWN_CHANNEL, f"channel {channel.name!r} was deleted")
            self.group.answers.append(partial(waiter.miss, gone))
        group = self.group
        group.drop(channel)
        self.leasing.forget(channel)
        group.work.births.append(Deletion(channel.number, channel.name, hard))
        if channel.due_ms:
            group.work.dues.append(Due(channel.number, channel.due_ms, 0))
        self.wake()

    def truncate(self, channel: Channel, before: int) -> None:
        channel.keep_from(before)
        self.group.heads.add(channel)
        self.group.trims.add(channel)
        for reader in channel.readers:
            self.feeder.serve(reader.connection)
        self.wake()

    def configure(self, channel: Channel, own: dict[str, int]) -> None:
        channel.own_retention = own
        self.group.heads.add(channel)
        self.group.trims.add(channel)
        self.wake()

    # --- sessions -----------------------------------------------------------------------------------------

    def session(self, channel: Channel) -> Session:
        if channel.session is None:
            rows: dict[bytes, bytes] = {}
            for kind in LOADED_ROWS:
                rows |= self.log.rows(channel.number, kind)
            channel.session = Session(rows, partial(read_folded, self.log, channel.number), self._contents)
            self.folding.note(channel)
        return channel.session

    # --- cursors ------------------------------------------------------------------------------------------

    def cursors(self, channel: Channel) -> Cursors:
        if channel.cursors is None:
            channel.cursors = Cursors(self.log.cursors(channel.number))
        return channel.cursors

    def hold_back(self, connection: ClientConnection) -> None:
        """Stops reading from a connection that changes cursors or rows faster than they can be written."""
        if self._crowded and connection.hold():
            self._held.append(connection)

    @property
    def backlog_bytes(self) -> int:
        """Accepted, and not on disk."""
        return self.group.bytes + (self.in_flight.bytes if self.in_flight is not None else 0)

    @property
    def _crowded(self) -> bool:
        group = self.group
        waiting = len(group.work.cursors) + len(group.work.rows)
        return waiting > ROWS_WAITING_MAX or group.bytes > self.config.commit_backlog_bytes

    # --- rows ---------------------------------------------------------------------------------------------

    def put_row(self, channel: Channel, key: bytes, value: bytes | None) -> None:
        """Writes a row beside the channel's log with the next commit; None erases it. Keys: see `log.Work`."""
        self._put_row(channel, channel.number, key, value)

    def put_listed_row(self, channel: Channel, key: bytes, value: bytes | None) -> None:
        """As `put_row`, for what is looked for over all channels: the key says which it belongs to."""
        self._put_row(channel, 0, key, value)

    def _put_row(self, channel: Channel, number: int, key: bytes, value: bytes | None) -> None:
        self.group.work.rows[number, key] = value
        self.group.rows.add(channel)
        self.group.bytes += len(value or b"")
        self.wake()

    def check_writable(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    # --- publishing ---------------------------------------------------------------------------------------

    def publish(self, connection: ClientConnection, channel: Channel, frame: Publish) -> None:
        """Accepts a batch into the group that is gathering. Raises ProtocolError (PROTOCOL.md 6.2 to 6.4)."""
        if self.refusal is not None:
            raise self.refusal
        request, number, sequence, if_offset, fence, batch = frame
        records = check_batch(batch, connection.client)
        producer, epoch = connection.producer or _NO_PRODUCER
        if sequence:
            if connection.producer is None:
                raise ProtocolError(ErrorCode.BAD_BODY, "a sequence needs a producer, which HELLO did not name")
            duplicate = channel.producers.admit(producer, epoch, sequence)
            if duplicate is not None:
                self.counters.duplicates += 1
                self._acknowledge(connection, ack_word(request, True), duplicate)
                return
        lease_name = self.leasing.name_under(channel, fence) if fence else ""
        if if_offset != UNCONDITIONAL:
            channel.check_condition(if_offset)
        if batch[KIND_AT] == KIND_SESSION:
            self._accept_operations(channel, batch, Author(connection.client.decode(), lease_name), connection.heard_ms)
        head = entry_head(number, producer, epoch, sequence, lease_name)
        offset = self._gather(channel, head, batch, records, connection.heard_ms)
        if sequence:
            channel.producers.note(producer, epoch, sequence, offset)
        self._acknowledge(connection, request, offset)

    def publish_own(self, channel: Channel, batch: bytes) -> None:
        """Accepts a batch in the broker's own name: stored and delivered like any other, acknowledged to nobody.

        Raises ProtocolError, and then nothing has changed.
        """
        self.check_writable()
        records, now_ms = check_batch(batch, b""), clock.now_ms()
        self._accept_operations(channel, batch, Author(""), now_ms)
        self._gather(channel, entry_head(channel.number, *_NO_PRODUCER, 0, ""), batch, records, now_ms)
        self.wake()

    def _gather(self, channel: Channel, head: bytes, batch: bytes, records: int, now_ms: int) -> int:
        """Gives a batch its place, in the channel and in the group that gathers; returns its first offset."""
        stamped = channel.accept(batch, records, now_ms)
        offset = channel.assigned - records + 1
        group = self.group
        group.work.journal += (head, stamped)
        group.bytes += len(stamped)
        fresh = group.fresh.get(channel)
        if fresh is None:
            fresh = group.fresh[channel] = ([], [])
        firsts, batches = fresh
        firsts.append(offset)
        batches.append(stamped)
        group.records += records
        self.counters.records_in += records
        return offset

    def _accept_operations(self, channel: Channel, batch: bytes, author: Author, now_ms: int) -> None:
        """Raises ProtocolError, and then nothing has changed."""
        session = self.session(channel)
        time_ms = max(now_ms, channel.assigned_ms)
        changes = session.judge_batch(batch, author, channel.assigned + 1, time_ms, channel.first)
        session.accept(changes)
        channel.perishes_ms = max(channel.perishes_ms, changes.perishes_ms)
        self.folding.note(channel)

    def _acknowledge(self, connection: ClientConnection, word: int, offset: int) -> None:
        group = self.group
        words = group.acks.get(connection)
        if words is None:
            group.acks[connection] = [word, offset]
            group.heard_us.append(connection.heard_us)
        else:
            words += (word, offset)
        if not self._waking:
            self.wake()
        if group.bytes > self.config.commit_backlog_bytes and connection.hold():
            self._held.append(connection)

    def after_commit(self, answer: Callable[[], None]) -> None:
        """Runs `answer` when everything accepted so far is on disk."""
        self.group.answers.append(answer)
        self.wake()

    # --- committing ---------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The gathering group goes to disk after this turn of the loop, or when the disk is free."""
        if not self._waking:
            self._waking = True
            if self.in_flight is None:
                self.loop.call_soon(self._commit)

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Runs `callback` once nothing waits for the disk any more."""
        self._idle.append(callback)
        self.wake()

    def _commit(self) -> None:
        if self.in_flight is None:
            self._release(self._hand_over())
            self._tell_idle()

    def _hand_over(self) -> Group | None:
        """Sends the gathered group to disk; a group that has nothing to write is returned, to be released."""
        self._waking = False
        group, self.group = self.group, Group()
        self._plan(group)
        if not group.work:
            return group
        self.in_flight = group
        self._committer.submit(group.work)
        return None

    def _plan(self, group: Group) -> None:
        """Adds to a group what the engine itself wants written with it."""
        now_ms = clock.now_ms()
        for channel in self.settling.slice(group.bytes, now_ms):
            # Also when retention has left nothing to move: the journal is forgotten all the same.
            self._write_session(channel, group)
            move = channel.plan_move()
            if move is not None:
                group.work.moves.append(move)
                group.moving.append(channel)
                group.heads.add(channel)
        # What is where the chunks are cut can be said again once they are what the log says.
        for channel in group.trims.difference(group.moving, group.rewriting):
            self._trim(channel, group, self.jumps.present_ms(now_ms, clock.steady_ms()))
        group.work.heads = [(channel.number, channel.head()) for channel in group.heads if not channel.dead]
        group.work.forget_journal = self.settling.forget_through

    def _write_session(self, channel: Channel, group: Group) -> None:
        """What leaves the journal is in the rows from now on."""
        if channel.session is not None and not channel.dead:
            rows = channel.session.rows(channel.assigned)
            group.work.rows.update(((channel.number, key), value) for key, value in rows.items())

    def _trim(self, channel: Channel, group: Group, now_ms: int) -> None:
        """Applies retention, and erases what lies before `first`. Not for a channel whose chunks are moving."""
        if channel.dead:
            return
        rule = self.rules.of(channel)
        # Mostly one chunk or none has to go; only if all of a few do, more are looked at.
        for count in (FEW_CHUNKS, CUT_CHUNKS):
            oldest = self._oldest(channel, count) if rule.trims or channel.first > 1 else []
            keep = retention.first_kept(rule, channel.first, channel.last, channel.stored_bytes, oldest, now_ms)
            gone = [chunk for chunk in oldest if chunk.last < keep]
            if len(gone) < count:
                break
        if keep > channel.first:
            channel.keep_from(keep)
            group.heads.add(channel)
        if gone:
            channel.stored_bytes -= sum(chunk.bytes for chunk in gone)
            channel.chunks_version += 1
            group.heads.add(channel)
            group.work.cuts.append(Cut(channel.number, keep))
            if len(gone) == CUT_CHUNKS:
                self.group.trims.add(channel)
        kept = oldest[len(gone) :]
        due_ms = retention.due_ms(rule, kept[0].last_ms if kept else 0, self._active_ms(channel, now_ms))
        due_ms = sooner(due_ms, self.folding.due_ms(channel, now_ms))
        self._set_due(channel, group, due_ms, now_ms)

    def load(self, number: int) -> Channel | None:
        """With its session, if that waits for something. One that is damaged must not keep the others waiting."""
        try:
            channel = self.hub.by_number(number)
            if channel is not None and (channel.perishable or self.log.rows(number, MESSAGE_ROW, 1)):
                self.session(channel)
            return channel
        except Damaged as damage:
            logger.error("damaged", number=number, error=str(damage))
            self.counters.damaged += 1
            return None

    def _oldest(self, channel: Channel, count: int) -> list[retention.ChunkFacts]:
        """What is damaged is not trimmed either: erasing by a wrong head could take what is whole."""
        try:
            return self.log.oldest(channel.number, count)
        except Damaged as damage:
            logger.error("damaged", channel=channel.name, error=str(damage))
            self.counters.damaged += 1
            return []

    def _active_ms(self, channel: Channel, now_ms: int) -> int:
        """The last publish, the last reader, or the broker's own start: who was there before it nobody knows."""
        needed = channel.users or channel.leases
        return now_ms if needed else max(channel.assigned_ms, channel.active_ms, self.started_ms)

    def _set_due(self, channel: Channel, group: Group, due_ms: int, now_ms: int) -> None:
        """A due time that is still to come, and not too late, stays: `tick` asks again then."""
        if channel.due_ms != due_ms and not now_ms < channel.due_ms <= due_ms:
            new_ms = max(due_ms, now_ms + 1_000) if due_ms else 0
            group.work.dues.append(Due(channel.number, channel.due_ms, new_ms))
            channel.due_ms = new_ms
            group.heads.add(channel)

    def _committed(self, outcome: Outcome, commit_us: int, ended_us: int) -> None:
        group, self.in_flight = self.in_flight, None
        assert group is not None, "a commit ends that nobody began"
        self.counters.commits += 1
        self._journal_oldest = outcome.journal_oldest
        self._erasing = outcome.erasing
        for channel in group.moving:
            channel.moved()
        self.group.trims.update(group.moving, group.trims & group.rewriting)
        following = self._hand_over() if self._waking else None
        deliveries = self.counters.deliveries
        self._release(group)
        deliveries = self.counters.deliveries - deliveries
        self.measures.committed(group, commit_us, outcome.sync_us, clock.steady_us(), ended_us, deliveries)
        self.settling.released(outcome.journal_newest, clock.now_ms())
        self._release(following)
        self._tell_idle()
        self._resume_held()
        self.compacting.committed(outcome)
        self._tidy()

    def _release(self, group: Group | None) -> None:
        """Now it is durable: tell the readers, then the publishers, each connection in one write."""
        if group is None:
            return
        now_ms = clock.now_ms()
        for channel, (firsts, batches) in group.fresh.items():
            if channel.dead:
                continue
            channel.release(firsts, batches)
            self.settling.note(channel, sum(map(len, batches)))
            if not channel.live:
                continue
            if channel.perishable:
                batches = [still(b"".join(batches), now_ms)]
            size = sum(map(len, batches))
            if size <= FRAME_BYTES_MAX - 16:
                self._deliver(channel, batches, size)
            else:
                self._fall_behind(channel.live, firsts[0])
        for birth in group.work.births:
            self.hub.born(birth)
        for connection, words in group.acks.items():
            for start in range(0, len(words), ACK_WORDS_MAX):
                connection.send(encode_acks(words[start : start + ACK_WORDS_MAX]))
        for answer in group.answers:
            answer()
        self.outbox.flush()

    def _deliver(self, channel: Channel, batches: list[bytes], size: int) -> None:
        """The same bytes to every live reader; one that cannot take them now falls behind."""
        frame = deliver_head(channel.number, size) + b"".join(batches)
        size = len(frame)
        self.counters.deliveries += len(channel.live)
        lapsed = []
        for reader in channel.live:
            reader.connection.send(frame)
            reader.credit -= size
            if reader.credit <= 0 or reader.connection.clogged:
                lapsed.append(reader)
        self._fall_behind(lapsed, channel.last + 1)

    def _fall_behind(self, readers: Iterable[Subscription], offset: int) -> None:
        for reader in list(readers):
            reader.fall_behind(offset)
            self.feeder.serve(reader.connection)

    def _fail(self, error: Exception) -> None:
        """Fail-stop: whether the group reached the disk is unknown, and LMDB would let the next commit pass."""
        self.refusal = ProtocolError(ErrorCode.INTERNAL, "the store failed")
        self._failed(error)

    # --- looking after things -----------------------------------------------------------------------------

    def _resume_held(self) -> None:
        if self._held and not self._crowded:
            held, self._held = self._held, []
            for connection in held:
                connection.unhold()

    @property
    def _untidy(self) -> bool:
        forgetting = self._journal_oldest <= self.settling.forget_through
        return self.settling.busy or self._erasing or forgetting or bool(self.group.trims)

    def _tidy(self) -> None:
        """Keeps commits coming, slowly, while there is something to move or erase."""
        if self._untidy and self.in_flight is None and not self._tidying:
            self._tidying = True
            self.loop.call_later(TIDY_PAUSE_S, self._tidied)

    def _tidied(self) -> None:
        self._tidying = False
        if self.in_flight is None:
            self.group.work.tidy = True
            self._commit()

    def _tell_idle(self) -> None:
        if self.in_flight is not None or self.group:
            return
        idle, self._idle = self._idle, []
        for callback in idle:
            callback()

    def tick(self, now_ms: int) -> None:
        """Once a second: what time alone changes."""
        self.measures.tick(now_ms)
        now_ms = self.jumps.present_ms(now_ms, clock.steady_ms())
        for number in self.log.due(now_ms, DUE_PER_TICK):
            channel = self.load(number)
            if channel is None:
                continue
            rule = self.rules.of(channel)
            idle = rule.idle_ttl_ms and now_ms - self._active_ms(channel, now_ms) >= rule.idle_ttl_ms
            if idle and channel.settled:
                self.delete(channel)
            else:
                self.group.trims.add(channel)
        if self.group.trims or self.settling.ripe(now_ms):
            self.wake()
        self.folding.tick(now_ms)
        self.authority.tick(now_ms)
        self.hub.evict(self._needed)

    def _needed(self, channel: Channel) -> bool:
        """Whether something of this channel waits to be written, or is known here alone: leases, when it was read."""
        groups = (self.group, self.in_flight) if self.in_flight else (self.group,)
        waits = any(group.names(channel) for group in groups) or self.folding.waits(channel)
        idles = self.rules.of(channel).idle_ttl_ms > 0
        return waits or bool(channel.leases) or (idles and channel.active_ms > channel.last_ms)

    def close(self) -> None:
        """After `when_idle`: stops the threads and closes the log."""
        self.folding.stop()
        self.leasing.stop()
        self.compacting.stop()
        self._committer.stop()
        self.feeder.stop()
        self.log.close()
