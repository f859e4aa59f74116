"""Order, commit, and what happens when the commit fails."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
import trio
from attrs import define, evolve, field
from trio.testing import wait_all_tasks_blocked

from tests.conftest import Line
from trio_chat.errors import StorageFailed
from trio_chat.history import Account, Change, Entry, Key, Place, Registered
from trio_chat.history.memory import MemoryHistory
from trio_chat.hub import Hub, Proof
from trio_chat.messages import (
    Ack,
    Ban,
    Delete,
    Edit,
    Error,
    Event,
    Invite,
    Join,
    Kick,
    Leave,
    Post,
    React,
    Reply,
    Restrict,
    Say,
    Topic,
)
from trio_chat.names import Name, skeleton
from trio_chat.roles import Access
from trio_chat.rooms import Device
from trio_chat.rules import ROOMS_EACH
from trio_chat.sequencer import BATCH_WEIGHT, DEPART_AGAIN, IN_DOUBT, Sequencer, Submission
from trio_chat.wire import CLIENT

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LOBBY = Name("lobby")


@define(eq=False)
class FailingHistory(MemoryHistory):
    """A disk that can be full."""

    is_full: bool = False
    commits: list[int] = field(factory=list)

    async def append(
        self, entries: Sequence[Entry], changes: Sequence[Change] = ()
    ) -> Mapping[Key, Place]:
        if self.is_full:
            await trio.lowlevel.checkpoint()
            raise StorageFailed("the disk is full")
        found = await super().append(entries, changes)
        self.commits.append(len(entries))
        return found


@define(eq=False)
class House:
    """A hub and a sequencer, and devices whose replies can be looked at."""

    history: FailingHistory
    hub: Hub
    sequencer: Sequencer
    clock: list[datetime]

    def enter(self, name: str) -> Device:
        device, _ = self.hub.enter(Name(name), Line(), Proof())
        return device

    def members(self) -> list[str]:
        """Those in the lobby."""
        return sorted(member.name for member in self.hub.rooms[LOBBY].members)

    async def post(self, device: Device, *posts: Post) -> Submission:
        submission = Submission(device, device.connection.outbox, posts)
        await self.sequencer.submit(submission)
        return submission

    async def heard(self, device: Device) -> list[Reply]:
        """All that has been put into the device's outbox, and what it has to catch up."""
        await wait_all_tasks_blocked()
        outbox = device.connection.outbox
        data = b""
        while outbox.has_queued:
            data += await outbox.take() or b""
            outbox.sent(len(data))
        while outbox.behind:
            page, more = await outbox.behind[0].next_page()
            data += page
            if not more:
                outbox.behind.pop(0)
        return [CLIENT.decode(line) for line in data.splitlines()]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    history = FailingHistory()
    hub = Hub(history)
    clock = [NOON]
    house = House(history, hub, Sequencer(hub, history, lambda: clock[0]), clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.sequencer.run)
        yield house
        nursery.cancel_scope.cancel()


def seqs(replies: list[Reply]) -> list[int]:
    return [reply.seq for reply in replies if isinstance(reply, Event)]


async def test_what_has_piled_up_is_one_commit(house: House) -> None:
    members = [house.enter(f"m{number}") for number in range(5)]
    submissions = [
        await house.post(member, Join("lobby"), Say("lobby", "hi")) for member in members
    ]
    for submission in submissions:
        await submission.is_handled.wait()
    assert house.history.commits == [10]


async def test_every_member_sees_the_same_order_without_a_hole(house: House) -> None:
    members = [house.enter(f"m{number}") for number in range(5)]
    for member in members:
        await house.post(member, Join("lobby", after=0))
    for number in range(20):
        for member in members:
            await house.post(member, Say("lobby", str(number)))
    seen = [
        [reply for reply in await house.heard(member) if isinstance(reply, Event)]
        for member in members
    ]
    assert seqs(list(seen[0])) == list(range(1, 106))
    assert all(events == seen[0] for events in seen)


async def test_a_batch_that_can_not_be_stored_leaves_no_trace(house: House) -> None:
    alice, bob = house.enter("alice"), house.enter("bob")
    await house.post(alice, Join("lobby"))
    assert seqs(await house.heard(alice)) == [1]
    house.history.is_full = True

    await house.post(bob, Join("lobby", id="j"), Join("attic", id="a"), Say("lobby", "hi", "s"))
    await house.post(alice, Leave("lobby", id="l"))

    refusals = [*await house.heard(bob), *await house.heard(alice)]
    assert [(e.code, e.id) for e in refusals if isinstance(e, Error)] == [
        ("storage_failed", id) for id in "jasl"
    ]
    assert list(house.hub.rooms) == ["lobby"]
    assert house.members() == ["alice"]
    assert (list(alice.rooms), list(bob.rooms)) == (["lobby"], [])


async def test_what_needs_no_commit_is_done_while_nothing_can_be_stored(house: House) -> None:
    alice = house.enter("alice")
    await house.post(alice, Join("lobby"), Say("lobby", "stored", "s"))
    await house.heard(alice)
    alice.connection = Line()  # another one: she has come back
    house.history.is_full = True

    await house.post(alice, Join("lobby", after=1, id="j"))
    await house.post(alice, Say("lobby", "stored", "s"), Say("lobby", "new", "n"))

    replies = await house.heard(alice)
    assert replies[:2] == [
        Ack("j", "lobby", 2, again=True),
        Ack("s", "lobby", 2, again=True),
    ]
    assert isinstance(replies[2], Error)
    assert (replies[2].code, replies[2].id) == ("storage_failed", "n")
    assert seqs(replies) == [2]


async def test_it_recovers_when_the_store_does(house: House) -> None:
    alice = house.enter("alice")
    await house.post(alice, Join("lobby"))
    await house.heard(alice)
    house.history.is_full = True
    await house.post(alice, Say("lobby", "lost?", "s"))
    await house.heard(alice)
    house.history.is_full = False
    alice.connection = Line()

    await house.post(alice, Join("lobby", after=1), Say("lobby", "lost?", "s"))

    replies = await house.heard(alice)
    assert replies[0] == Ack("s", "lobby", 2)
    assert seqs(replies) == [2]


async def test_what_may_have_been_said_before_a_refusal_was_heard_is_not_stored(
    house: House,
) -> None:
    """Or it would stand before what was refused, if that is sent again."""
    alice, bob = house.enter("alice"), house.enter("bob")
    await house.post(alice, Join("lobby"))
    await house.post(bob, Join("lobby"))
    await house.heard(alice)
    house.history.is_full = True
    await house.post(alice, Say("lobby", "first", "1"))
    await house.post(alice, Say("lobby", "second", "2"))
    refused = [reply for reply in await house.heard(alice) if isinstance(reply, Error)]
    assert [error.id for error in refused] == ["1", "2"]
    house.history.is_full = False

    await house.post(alice, Say("lobby", "third", "3"))
    await house.post(bob, Say("lobby", "in between", "b"))

    event, farewell = await house.heard(alice)
    assert event == (await house.heard(bob))[-1]
    assert farewell == IN_DOUBT
    says: list[Post] = [Say("lobby", text, text) for text in ("first", "second", "third")]
    alice.connection = Line()
    await house.post(alice, Join("lobby", after=3), *says)
    told = [reply.message for reply in await house.heard(bob) if isinstance(reply, Event)]
    assert told == says


async def test_nobody_is_sent_away_while_nothing_can_be_stored(house: House) -> None:
    alice = house.enter("alice")
    await house.post(alice, Join("lobby"))
    await house.heard(alice)
    house.history.is_full = True
    for number in range(5):
        await house.post(alice, Say("lobby", "?", f"{number}"))
        (reply,) = await house.heard(alice)
        assert isinstance(reply, Error)
    house.history.is_full = False
    await house.post(alice)  # it pings, and asks; but it says nothing
    assert await house.heard(alice) == []


async def test_a_leave_that_could_not_be_stored_is_told_later(house: House) -> None:
    alice, bob = house.enter("alice"), house.enter("bob")
    await house.post(alice, Join("lobby"))
    await house.post(bob, Join("lobby"))
    await house.heard(alice)
    house.history.is_full = True
    house.sequencer.depart(bob)
    await wait_all_tasks_blocked()
    house.history.is_full = False

    await house.post(alice, Say("lobby", "anybody there?", "s"))

    _, left, said = await house.heard(alice)
    assert isinstance(left, Event)
    assert isinstance(said, Event)
    assert (left.by, left.message) == ("bob", Leave("lobby", lost=True))
    assert said.seq == left.seq + 1


async def test_who_is_gone_posts_nothing_any_more(house: House) -> None:
    alice, bob = house.enter("alice"), house.enter("bob")
    await house.post(alice, Join("lobby"))
    await house.heard(alice)
    await house.post(bob, Join("lobby"), Say("lobby", "ghost"))
    house.sequencer.depart(bob)
    assert seqs(await house.heard(alice)) == []


async def test_who_is_lost_while_the_join_is_committed_does_not_stay(house: House) -> None:
    alice, ghost = house.enter("alice"), house.enter("ghost")
    await house.post(alice, Join("lobby"))
    await house.heard(alice)
    await house.post(ghost, Join("lobby"))
    await trio.lowlevel.checkpoint()  # the batch is drafted, and on its way to the store
    house.sequencer.depart(ghost)

    await house.heard(alice)

    assert house.members() == ["alice"]


async def test_what_the_connection_before_asked_is_not_answered_to_the_new_one(
    house: House,
) -> None:
    alice = house.enter("alice")
    await house.post(alice, Join("lobby"), Say("lobby", "old", "old"))
    alice.connection = Line()
    assert await house.heard(alice) == []


async def test_a_leave_that_could_not_be_stored_is_tried_again_by_itself(
    house: House, virtual_time: None
) -> None:
    alice, bob = house.enter("alice"), house.enter("bob")
    await house.post(alice, Join("lobby"))
    await house.post(bob, Join("lobby"))
    await house.heard(alice)
    house.history.is_full = True
    house.sequencer.depart(bob)
    await wait_all_tasks_blocked()
    house.history.is_full = False
    await trio.sleep(DEPART_AGAIN + 1)
    assert house.members() == ["alice"]


async def test_a_batch_is_bounded_in_bytes(house: House) -> None:
    members = [house.enter(f"m{number}") for number in range(100)]
    for member in members:
        await house.post(member, Join("lobby"), *(Say("lobby", "x" * 15_000) for _ in range(4)))
    await wait_all_tasks_blocked()
    assert max(house.history.commits) * 15_000 <= 2 * BATCH_WEIGHT


async def test_the_next_owner_of_a_name_is_not_the_one_who_leaves(house: House) -> None:
    watcher, old = house.enter("watcher"), house.enter("alice")
    await house.post(watcher, Join("lobby"))
    await house.post(old, Join("lobby"))
    await house.heard(watcher)
    house.sequencer.depart(old)
    new = house.enter("alice")
    await house.post(new, Join("lobby"))

    events = [reply for reply in await house.heard(watcher) if isinstance(reply, Event)]

    assert [event.message for event in events] == [Leave("lobby", lost=True), Join("lobby")]
    assert set(house.hub.rooms[LOBBY].followers) == {watcher, new}


async def test_time_never_goes_back_within_a_room(house: House) -> None:
    alice = house.enter("alice")
    await house.post(alice, Join("lobby"))
    await house.heard(alice)
    house.clock[0] -= timedelta(hours=1)
    await house.post(alice, Say("lobby", "earlier?"))

    (event,) = (reply for reply in await house.heard(alice) if isinstance(reply, Event))

    assert event.at == NOON


async def test_joining_and_leaving_within_one_batch(house: House) -> None:
    alice, bob = house.enter("alice"), house.enter("bob")
    await house.post(alice, Join("lobby"), Say("lobby", "1"), Leave("lobby"), Join("lobby", 3))
    await house.post(bob, Join("lobby"), Say("lobby", "2"))

    assert seqs(await house.heard(alice)) == [1, 2, 3, 4, 5, 6]
    assert house.members() == ["alice", "bob"]


async def test_rooms_of_one_connection_are_limited(house: House) -> None:
    alice = house.enter("alice")
    await house.post(alice, *(Join(f"room{number}", id=f"{number}") for number in range(101)))
    await house.post(alice, Leave("room0", id="l"), Join("another", id="a"))
    replies = await house.heard(alice)
    refused = [reply for reply in replies if isinstance(reply, Error)]
    assert [(error.code, error.id) for error in refused] == [("too_many_rooms", "100")]


async def test_who_is_gone_can_not_go_again(house: House) -> None:
    alice, bob = house.enter("alice"), house.enter("bob")
    await house.post(alice, Join("lobby"))
    await house.post(bob, Join("lobby"))
    await house.heard(alice)
    for _ in range(2):
        house.sequencer.depart(bob)
    assert seqs(await house.heard(alice)) == [3]


async def test_what_is_edited_and_deleted_in_one_batch_leaves_no_text(house: House) -> None:
    alice = house.enter("alice")
    await house.post(alice, Join("lobby"), Say("lobby", "first", "s"))
    await house.heard(alice)
    await house.post(alice, Edit("lobby", 2, "second"), Edit("lobby", 2, "third"))
    await house.post(alice, Edit("lobby", 2, "fourth"), Delete("lobby", 2))
    await wait_all_tasks_blocked()
    lines = b"".join((await house.history.after(LOBBY, 0, 100)).lines)
    assert not any(word in lines for word in (b"first", b"second", b"third", b"fourth"))


async def test_a_say_right_after_another_is_looked_at_as_closely(house: House) -> None:
    """It takes a shorter way, if there is nothing about it to be looked at."""
    alice = house.enter("alice")
    await house.post(alice, Join("lobby"), Say("lobby", "zero", "0"))
    await house.heard(alice)
    await house.post(
        alice,
        Say("lobby", "one", "1"),
        Say("lobby", "two", "2"),
        Say("lobby", "two", "2"),
        Say("lobby", "zero", "0"),
        Say("lobby", "well", "3", reply_to=99),
        Say("lobby", "x" * 16_385, "4"),
        Say("lobby", "no id"),
        Leave("lobby"),
        Say("lobby", "gone", "5"),
    )
    replies = await house.heard(alice)
    acks = [(a.id, a.seq, a.again) for a in replies if isinstance(a, Ack)]
    assert acks[:2] == [("1", 3, False), ("2", 4, False)]
    assert acks[2:4] == [("2", 4, True), ("0", 2, True)]
    assert [(e.id, e.code) for e in replies if isinstance(e, Error)] == [
        ("3", "no_such_event"),
        ("4", "text_too_long"),
        ("5", "not_in_room"),
    ]
    assert seqs(replies) == [3, 4, 5, 6]


async def test_an_id_of_another_one_of_the_same_name_is_no_resend(house: House) -> None:
    alice, bob = house.enter("alice"), house.enter("bob")
    await house.post(alice, Join("lobby"), Say("@bob", "secret", "1"), Say("lobby", "hi", "2"))
    await house.heard(bob)
    house.sequencer.depart(alice)
    again = house.enter("alice")
    await house.post(again, Join("lobby", after=99))
    await house.heard(again)
    await house.post(again, Say("lobby", "new", "1"), Say("lobby", "hi", "2"))
    replies = [reply for reply in await house.heard(again) if not isinstance(reply, Event)]
    assert [type(reply) for reply in replies] == [Error, Ack]
    assert "@alice" not in str(replies[0])
    assert replies[1] == Ack("2", "lobby", 2, again=True), "whoever resends a text may be back"


async def test_private_rooms_do_not_count_as_rooms(house: House) -> None:
    alice = house.enter("alice")
    for number in range(ROOMS_EACH + 1):
        other = house.enter(f"m{number}")
        await house.post(other, Say("@alice", "hi"))
        await house.heard(alice)
        await house.post(alice, Join(f"@m{number}", after=0, id="j"))
        await house.heard(alice)
    await house.post(alice, Join("lobby", id="l"))
    assert not [reply for reply in await house.heard(alice) if isinstance(reply, Error)]


async def test_a_room_that_one_may_not_see_is_answered_like_none(house: House) -> None:
    alice, eve = house.enter("alice"), house.enter("eve")
    await house.post(alice, Join("attic"))
    await house.heard(alice)
    room = house.hub.rooms[Name("attic")]
    room.charter = room.charter.with_access(Access.INVITATION, None)
    told = []
    for name in ("attic", "cellar"):
        posts: list[Post] = [
            Say(name, "x", "1"),
            Leave(name, id="2"),
            Kick(name, "alice", id="3"),
            Ban(name, "alice", id="4"),
            Restrict(name, "public", id="5"),
            Topic(name, "x", "6"),
            Edit(name, 1, "x", "7"),
            Invite(name, "eve", "8"),
        ]
        await house.post(eve, *posts)
        errors = [reply for reply in await house.heard(eve) if isinstance(reply, Error)]
        told.append([(error.code, error.text.replace(name, "ROOM")) for error in errors])
    assert told[0] == told[1]
    assert {code for code, _ in told[0]} == {"no_such_room"}


async def test_a_resend_is_acked_also_when_the_rules_would_refuse_it(house: House) -> None:
    alice, bob = house.enter("alice"), house.enter("bob")
    posts: list[Post] = [Say("lobby", "hi", "1"), Say("@bob", "hi", "2")]
    await house.post(alice, Join("lobby"), *posts)
    heard = await house.heard(alice)
    posts.append(Delete("lobby", 2, "3"))
    await house.post(alice, posts[-1], Leave("lobby"))
    heard += await house.heard(alice)
    first = [reply for reply in heard if isinstance(reply, Ack)]
    house.sequencer.depart(bob)
    await house.post(alice, *posts)
    again = [reply for reply in await house.heard(alice) if isinstance(reply, Ack)]
    assert again == [evolve(ack, again=True) for ack in first]
    assert len(again) == 3


async def test_an_edit_that_is_resent_takes_nothing_back(house: House) -> None:
    alice = house.enter("alice")
    edits: list[Post] = [Edit("lobby", 2, "one", "e1"), Edit("lobby", 2, "two", "e2")]
    await house.post(alice, Join("lobby"), Say("lobby", "zero"))
    await house.heard(alice)
    await house.post(alice, *edits, React("lobby", 2, "x", id="r"), Topic("lobby", "y", "t"))
    await house.heard(alice)
    await house.post(alice, edits[0], React("lobby", 2, "x", id="r"), Topic("lobby", "y", "t"))
    assert all(isinstance(r, Ack) and r.again for r in await house.heard(alice))
    (line,) = (await house.history.after(LOBBY, 1, 1)).lines
    assert b"two" in line


async def test_nobody_shows_the_whole_house(house: House) -> None:
    alice = house.enter("alice")
    await house.post(alice, Join("lobby"))
    await house.heard(alice)
    room = house.hub.rooms[LOBBY]
    shown = [repr(one) for one in (alice, alice.member, room, house.hub, house.sequencer)]
    assert max(map(len, shown)) < 100


async def test_who_is_here_when_the_password_changes_is_forgotten_for_good(
    house: House,
) -> None:
    """Also a device that was not known when the change was asked for."""

    async def submit(device: Device, *changes: Change) -> None:
        outbox = device.connection.outbox
        await house.sequencer.submit(Submission(device, outbox, (), changes, renews=True))

    one, name = house.enter("alice"), Name("alice")
    account = Account(one.member.identity, name, skeleton(name), "old")
    await submit(one, Registered(account))
    await wait_all_tasks_blocked()
    thief, _ = house.hub.enter(name, Line(), Proof(has_password=True))
    await submit(one, Registered(evolve(account, password="new")))  # noqa: S106 # is none
    await submit(thief)  # in the same batch
    await wait_all_tasks_blocked()
    assert (one.is_gone, thief.is_gone) == (False, True)
    await submit(thief)  # as if it had waited in the inbox
    await wait_all_tasks_blocked()
    kept = await house.history.devices(account.identity)
    assert [stay.device for stay in kept] == [one.id]
