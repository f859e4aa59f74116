"""The one place where order is made: take what has piled up, decide, commit, tell.

Readers submit posts through a bounded channel. One task takes all that is there, makes
one batch of it, commits that in one transaction and then tells everybody, with no await
between. Nothing can overtake and nothing needs a lock; when the disk is slow the batches
grow, and when the channel is full the speakers wait, never the readers.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial

import trio
from attrs import define, field, frozen

from trio_chat.batch import Batch
from trio_chat.charter import Identity
from trio_chat.errors import NotStored, Refused
from trio_chat.history import (
    Banished,
    Change,
    HasRead,
    History,
    Key,
    Place,
    Probe,
    Record,
    Registered,
    Rehashed,
    Revoked,
)
from trio_chat.hub import Hub
from trio_chat.messages import Edit, Goodbye, Post, Say
from trio_chat.names import Name
from trio_chat.outbox import Outbox
from trio_chat.revisions import ABOUT_ANOTHER, edit_of
from trio_chat.roles import Verb
from trio_chat.rooms import Device

INBOX_SUBMISSIONS = 1024
"""The most submissions that wait; a connection has one at a time."""

BATCH_WEIGHT = 256 * 1024
"""About the most bytes that a batch makes. It is encoded and fanned out in one step, so this
bounds how long everything else waits, some 10 ms; and it may be held once for each reader
that has stopped, so this bounds the memory, too."""

POST_WEIGHT = 256
"""The bytes of an event besides its text."""

DEPART_AGAIN = 5.0
"""Seconds after which a leave that could not be stored is tried again."""

NOTE_WITHIN = 1.0
"""Seconds after which it is stored what somebody has read."""

COME_BACK_WITHIN = 20.0
"""Seconds in which somebody whose connection was lost keeps the name and the rooms: a
change of network, a restart of the server."""

OTHER_PASSWORD = "the password was changed by another device"  # noqa: S105 # is none
REVOKED = "revoked by another device"
"""Why devices are cut off."""

IN_DOUBT = Goodbye("what you said could not be stored; now it can, if it is said again")
"""Said to those who may not have heard of a refusal."""

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The wall clock, cut to milliseconds as the wire has them."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@define(eq=False, repr=False)
class Submission:
    """Posts of one device, to be decided together and in this order.

    `outbox`: that of the connection which asks; if it is not the device's any more, nothing
    is decided, for nobody could be told.
    `changes`: what is to be stored besides. `renews`: its token is to be kept, before it is
    told.
    `is_handled` is set once all of this is done, `is_stored` if it could be.
    """

    device: Device
    outbox: Outbox
    posts: Sequence[Post] = ()
    changes: Sequence[Change] = ()
    renews: bool = False
    is_handled: trio.Event = field(factory=trio.Event, init=False)
    is_drafted: bool = field(default=False, init=False)
    is_stored: bool = field(default=False, init=False)

    @property
    def is_current(self) -> bool:
        """Can whoever asks be told? It may have come back over another connection."""
        return self.outbox is self.device.connection.outbox

    @property
    def is_in_doubt(self) -> bool:
        """Does it say more, and nobody knows whether it has heard that nothing was stored?"""
        return self.outbox.is_in_doubt and bool(self.posts)

    @property
    def weight(self) -> int:
        """About the bytes of the events that it makes."""
        weight = POST_WEIGHT * len(self.posts)
        for post in self.posts:
            if isinstance(post, Say) or isinstance(post, Edit):  # noqa: SIM101 # 0.1 µs, not 0.4
                weight += len(post.text)
        return weight


@frozen
class _Turn:
    """What one batch is made of: what was asked for, who has gone, what was read meanwhile,
    and the events that posts are about."""

    submissions: Sequence[Submission]
    departed: Sequence[Device]
    read: Mapping[tuple[Identity, Name], HasRead]
    records: Mapping[Place, Record]


@define(eq=False, repr=False)
class Sequencer:
    """Makes the order of all rooms. `now`: the wall clock, in UTC."""

    hub: Hub
    history: History
    now: Callable[[], datetime] = utc_now
    _departed: list[Device] = field(factory=list, init=False)
    _read: dict[tuple[Identity, Name], HasRead] = field(factory=dict, init=False)
    _has_read: trio.Event = field(factory=trio.Event, init=False)
    _send: trio.MemorySendChannel[Submission | None] = field(init=False)
    _inbox: trio.MemoryReceiveChannel[Submission | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._inbox = trio.open_memory_channel(INBOX_SUBMISSIONS)

    async def submit(self, submission: Submission) -> None:
        """Queue posts; waits while the inbox is full."""
        try:
            self._send.send_nowait(submission)  # 10 µs cheaper than `send`, which always yields
        except trio.WouldBlock:
            await self._send.send(submission)

    def depart(self, device: Device) -> None:
        """Have the rooms told that somebody's connection is lost. Never waits."""
        if device.is_gone:
            return
        self.hub.exit(device)
        # Even if it is in no room: its join may be in the batch that is being committed.
        self._departed.append(device)
        self._wake()

    def put_out(self, device: Device, why: str) -> None:
        """Cut somebody off; it may come back as anybody may. Never waits."""
        log.info("put out", extra={"who": device.name, "why": why})
        device.connection.cut_off(why)
        self.depart(device)

    def revoke(self, device: Device, why: str) -> None:
        """Put out a device whose token is no way back any more. It may have been kept again
        before that was known, so it is forgotten once more. Never waits."""
        device.is_revoked = True
        self.put_out(device, why)

    def put_out_the_unwanted(self) -> None:
        """Put out those that are here and are banished. Never waits."""
        for device in self.hub.unwanted(self.now()):
            self.put_out(device, "banished")

    def note(self, read: HasRead) -> None:
        """Have it stored what somebody has read: with the next batch, or soon. Never waits."""
        self._read[read.identity, read.room] = read
        self._has_read.set()

    async def keep_what_is_read(self) -> None:
        """Store it also while nobody says anything, until cancelled."""
        while True:
            await self._has_read.wait()
            await trio.sleep(NOTE_WITHIN)
            self._has_read = trio.Event()
            self._wake()

    def _wake(self) -> None:
        with suppress(trio.WouldBlock):  # full: then it is awake
            self._send.send_nowait(None)

    async def see_off_the_lost(self) -> None:
        """Have those leave who have not come back in time, until cancelled."""
        while True:
            while not self.hub.lost:
                await self.hub.has_lost.park()
            device = next(iter(self.hub.lost))
            assert device.lost_at is not None, "who is lost has been lost at some time"
            await trio.sleep_until(device.lost_at + COME_BACK_WITHIN)
            if device in self.hub.lost and _is_overdue(device):
                self.depart(device)

    async def run(self) -> None:
        """Make order until cancelled."""
        while True:
            await self._carry_out(await self._take())

    async def _take(self) -> list[Submission]:
        """All that has piled up, or as much as makes one batch."""
        taken = []
        # A leave that could not be stored is tried again, also if nobody says anything.
        with trio.move_on_after(DEPART_AGAIN) if self._departed else nullcontext():
            taken.append(await self._inbox.receive())
        weight = _weight(taken)
        with suppress(trio.WouldBlock):
            while weight < BATCH_WEIGHT:
                taken.append(self._inbox.receive_nowait())
                weight += _weight(taken[-1:])
        return [submission for submission in taken if submission is not None]

    async def _carry_out(self, submissions: Sequence[Submission]) -> None:
        read, self._read = self._read, {}
        records = await self._look_up(submissions)
        turn = _Turn(submissions, list(self._departed), read, records)
        batch = await self._commit(partial(self._draft, turn), records)
        if batch.failure is None:
            del self._departed[: len(turn.departed)]
        else:
            self._read = read | self._read
        for submission in submissions if batch.failure is None else ():
            self._learn(submission)
        batch.deliver()
        for submission in submissions:
            self._note_doubt(submission, batch)
            submission.is_stored = submission.is_drafted and batch.failure is None
            submission.is_handled.set()

    async def _commit(
        self,
        draft: Callable[[Mapping[Key, Place], NotStored | None], Batch],
        records: dict[Place, Record],
    ) -> Batch:
        """Draft a batch and store it. If some of it turns out to be resent, nothing has
        been stored; draft it again, now that it is known: that is rare, and a look before
        each commit would cost a second hop to the store for every batch."""
        known: dict[Key, Place] = {}
        looked_for: set[Key] = set()
        while True:
            batch = draft(known, None)
            if doubtful := batch.doubtful - looked_for:
                looked_for |= doubtful
                if found := await self._find(doubtful):
                    known.update(found)
                    records.update(await self._records(found.values()))
                    continue
            if not batch.entries and not batch.changes:
                return batch
            began = trio.current_time()
            try:
                found = await self.history.append(batch.entries, batch.changes)
            except NotStored as failure:
                log.warning("not stored", extra={"error": str(failure)})
                keys = [entry.key for entry in batch.entries if entry.key]
                known.update(await self._find(keys))
                records.update(await self._records(known.values()))
                return draft(known, failure)
            tally = self.hub.tally
            tally.commit_seconds.add(trio.current_time() - began)
            tally.batch_events.add(len(batch.entries))
            if not found:
                return batch
            known.update(found)
            records.update(await self._records(found.values()))

    async def _find(self, keys: Collection[Key]) -> Mapping[Key, Place]:
        """Which of these stand in the log already, as far as it can be read."""
        try:
            return await self.history.find(list(keys))
        except NotStored as failure:
            log.warning("not found", extra={"error": str(failure)})
            return {}

    async def _look_up(self, submissions: Sequence[Submission]) -> dict[Place, Record]:
        """The events that these posts are about, and the edits that changed those last. As
        nobody else writes, they are still like that when the batch is stored."""
        meant = [target for submission in submissions for target in self._targets(submission)]
        if not meant:  # as nearly always: 5 µs less for each batch
            return {}
        records = await self._records({place for place, _ in meant})
        # Of what one may not see no more is read than of what is not there.
        seen = {place for place, sees in meant if sees} & set(records)
        edits = {edit for place in seen if (edit := edit_of(place, records[place]))}
        return records | await self._records(edits)

    async def _records(self, places: Collection[Place]) -> dict[Place, Record]:
        """The events at these places, as far as they can be read."""
        if not places:
            return {}
        try:
            return dict(await self.history.look_up(places))
        except NotStored as failure:
            log.warning("not looked up", extra={"error": str(failure)})
            return {}

    def _targets(self, submission: Submission) -> Iterator[tuple[Place, bool]]:
        """The events that are meant, and whether one may see them now."""
        member = submission.device.member
        for post in submission.posts:
            # A look at the three kinds takes 0.3 µs, and nearly all are none of them.
            if post.__class__ is not Say and isinstance(post, ABOUT_ANOTHER):
                with suppress(Refused):  # the batch will say so
                    place = Place(self.hub.find_name(member, post.room), post.seq)
                    room = self.hub.get(place.room)
                    yield place, room is not None and room.may(Verb.SEE, member, self.now())

    def _draft(
        self,
        turn: "_Turn",
        known: Mapping[Key, Place],
        failure: NotStored | None,
    ) -> Batch:
        batch = Batch(self.hub, self.now(), known, turn.records, failure)
        # First those who left: their names may have new owners who speak in this batch.
        for device in turn.departed if failure is None else ():
            batch.depart(device)
        for submission in turn.submissions:
            submission.is_drafted = False
            if not submission.is_current:
                continue
            if failure is None and submission.is_in_doubt:
                batch.changes.append(Probe())
            else:
                self._draft_one(batch, submission)
        batch.changes += turn.read.values()
        return batch

    def _note_doubt(self, submission: Submission, batch: Batch) -> None:
        """Once something could not be stored, nothing that comes over the same connection is.

        Its sender may have said more before hearing of the refusal. If the connection is lost
        then, what was refused is sent again, and would come to stand after what was said
        after it. So as long as nothing can be stored, all is refused; and when it can, the
        connection ends, and the next one begins with all that has had no answer, in order.
        """
        if batch.failure is not None:
            submission.outbox.is_in_doubt |= submission.is_drafted and bool(submission.posts)
        elif submission.is_current and submission.is_in_doubt:
            log.info("has to come back", extra={"who": submission.device.name})
            submission.device.connection.say_goodbye(IN_DOUBT)

    def _learn(self, submission: Submission) -> None:
        """What is stored of accounts, is known and done, whoever asked for it may be gone."""
        changes = submission.changes if submission.is_drafted else ()
        if not changes:
            return
        banished = {one.what: one.sanction for one in changes if isinstance(one, Banished)}
        if banished:
            self.hub.banished.change(banished)
            self.put_out_the_unwanted()
        for change in changes:
            match change:
                case Registered(account):
                    self.hub.know_accounts([account])
                    # Those that are here by now: some may have come with the old password.
                    for device in self.hub.devices_of(account.identity):
                        if device.id != submission.device.id:
                            self.revoke(device, OTHER_PASSWORD)
                case Revoked(id):
                    for device in self.hub.devices_of(submission.device.member.identity):
                        if device.id == id:
                            self.revoke(device, REVOKED)
                case Rehashed():
                    self.hub.know_rehashed(change)
                case _:
                    pass

    def _draft_one(self, batch: Batch, submission: Submission) -> None:
        submission.is_drafted = True
        if submission.renews:
            batch.renew(submission.device)
        batch.changes += submission.changes
        for post in submission.posts:
            batch.post(submission.device, post)


def _weight(submissions: Sequence[Submission | None]) -> int:
    return sum(submission.weight for submission in submissions if submission is not None)


def _is_overdue(device: Device) -> bool:
    return (
        device.lost_at is not None and device.lost_at + COME_BACK_WITHIN <= trio.current_time()
    )
