"""Rooms that are governed: who is what there, and what moderators do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from attrs import define
from trio.testing import wait_all_tasks_blocked

from tests.conftest import Line
from trio_chat import charter
from trio_chat.charter import Identity
from trio_chat.errors import Banned, NoSuchRoom, Refused
from trio_chat.framing import LineBuffer
from trio_chat.history import Account, History
from trio_chat.history.memory import MemoryHistory
from trio_chat.history.sqlite import open_sqlite
from trio_chat.hub import Hub, Proof
from trio_chat.messages import (
    Appoint,
    Ban,
    Called,
    Delete,
    Error,
    Event,
    Found,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Post,
    Reply,
    Restrict,
    Rooms,
    Say,
    Search,
    Who,
)
from trio_chat.messages import History as Ask
from trio_chat.names import Name
from trio_chat.questions import Asker, Question, answer
from trio_chat.roles import Verb
from trio_chat.rooms import Device
from trio_chat.sequencer import Sequencer, Submission
from trio_chat.tokens import Scope
from trio_chat.wire import CLIENT

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@define(eq=False)
class House:
    """A hub and a sequencer; whoever has an account is told by its name."""

    history: History
    hub: Hub
    sequencer: Sequencer
    clock: list[datetime]

    def enter(
        self, name: str, *, has_account: bool = False, is_operator: bool = False
    ) -> Device:
        device, _ = self.hub.enter(Name(name), Line(), Proof())
        if has_account or is_operator:
            identity = device.member.identity
            device.member.account = Account(identity, Name(name), name, None, is_operator)
        return device

    async def post(self, device: Device, *posts: Post) -> list[Reply]:
        """What the device hears until all of it is done."""
        submission = Submission(device, device.connection.outbox, posts)
        await self.sequencer.submit(submission)
        await submission.is_handled.wait()
        return await self.heard(device)

    async def heard(self, device: Device) -> list[Reply]:
        await wait_all_tasks_blocked()
        outbox = device.connection.outbox
        data = b""
        while outbox.has_queued:
            taken = await outbox.take()
            assert taken is not None
            data += taken
            outbox.sent(len(taken))
        while outbox.behind:
            page, more = await outbox.behind[0].next_page()
            outbox.pass_on(is_done=not more)
            data += page
        return [CLIENT.decode(line) for line in LineBuffer().feed(data)]

    async def refused(self, device: Device, post: Post) -> str | None:
        replies = await self.post(device, post)
        codes = [reply.code for reply in replies if isinstance(reply, Error)]
        return codes[0] if codes else None

    def members(self, room: str) -> list[str]:
        return sorted(member.name for member in self.hub.rooms[Name(room)].members)


@asynccontextmanager
async def running(history: History) -> AsyncIterator[House]:
    clock = [NOON]
    hub = Hub(history)
    await hub.open(trio.current_time())
    sequencer = Sequencer(hub, history, lambda: clock[0])
    decide = sequencer.run  # may start late: what is submitted before waits in the inbox
    async with trio.open_nursery() as nursery:
        nursery.start_soon(decide)
        yield House(history, hub, sequencer, clock)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with running(MemoryHistory()) as house:
        yield house


async def test_who_makes_a_room_with_an_account_owns_it(house: House) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    await house.post(owner, Join("tea"))
    await house.post(guest, Join("tea"))
    assert await house.refused(guest, Kick("tea", "olga")) == "not_allowed"
    assert await house.refused(owner, Kick("tea", "guest")) is None
    assert house.members("tea") == ["olga"]


async def test_who_is_put_out_hears_why_and_then_nothing_more(house: House) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    await house.post(owner, Join("tea"))
    await house.post(guest, Join("tea"))
    await house.post(owner, Kick("tea", "Guest", "too loud"), Say("tea", "quiet now"))
    events = [reply for reply in await house.heard(guest) if isinstance(reply, Event)]
    assert [event.message for event in events] == [Kick("tea", "guest", "too loud")]
    assert await house.refused(guest, Say("tea", "why?")) == "not_in_room"
    assert await house.refused(guest, Join("tea")) is None, "a kick is no ban"


async def test_a_ban_ends_by_itself_or_when_it_is_ended(house: House) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    await house.post(owner, Join("tea"))
    await house.post(guest, Join("tea"))
    await house.post(owner, Ban("tea", "guest", NOON + timedelta(hours=1)))
    assert house.members("tea") == ["olga"]
    assert await house.refused(guest, Join("tea")) == "banned"
    with pytest.raises(Banned):
        await ask(house, guest, Ask("tea"))
    house.clock[0] += timedelta(hours=1)
    assert await house.refused(guest, Join("tea")) is None
    await house.post(owner, Ban("tea", "guest"))
    assert await house.refused(guest, Join("tea")) == "banned"
    await house.post(owner, Ban("tea", "guest", off=True))
    assert await house.refused(guest, Join("tea")) is None


async def test_who_is_banned_is_neither_asked_in_nor_appointed(house: House) -> None:
    owner = house.enter("olga", has_account=True)
    rude = house.enter("rude", has_account=True)
    await house.post(owner, Join("tea"), Ban("tea", "rude"))
    assert await house.refused(owner, Invite("tea", "rude")) == "not_allowed"
    assert await house.refused(owner, Appoint("tea", "rude", "moderator")) == "not_allowed"
    await house.post(owner, Ban("tea", "rude", off=True))
    assert await house.refused(owner, Appoint("tea", "rude", "moderator")) is None
    assert await house.refused(rude, Join("tea")) is None


async def test_a_name_that_nobody_has_can_be_banned(house: House) -> None:
    owner = house.enter("olga", has_account=True)
    await house.post(owner, Join("tea"), Ban("tea", "eve"))
    assert await house.refused(house.enter("eve"), Join("tea")) == "banned"


@pytest.mark.parametrize("id", [None, "c1"], ids=["without an id", "with an id"])
async def test_who_may_not_speak_may_not_speak_at_once_either(
    house: House, id: str | None
) -> None:
    """What has an id takes a shorter way, if there is nothing about it to be looked at."""
    owner = house.enter("olga", has_account=True)
    guests = [house.enter(name) for name in ("away", "muted", "banned", "bot")]
    away, muted, banned, bot = guests
    await house.post(owner, Join("tea"))
    for guest in guests[1:]:
        await house.post(guest, Join("tea"))
    await house.post(owner, Mute("tea", "muted"), Ban("tea", "banned"))
    bot.scope = Scope(frozenset({Verb.SEE}), None)
    assert await house.refused(owner, Say("nowhere", "hi", id)) == "no_such_room"
    for guest, code in (
        (away, "not_in_room"),
        (muted, "muted"),
        (banned, "banned"),
        (bot, "not_allowed"),
        (owner, None),
    ):
        assert await house.refused(guest, Say("tea", "hi", id)) == code


async def test_who_is_muted_may_listen_leave_and_come_back(house: House) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    await house.post(owner, Join("tea"))
    await house.post(guest, Join("tea"))
    await house.post(owner, Mute("tea", "guest"))
    assert await house.refused(guest, Say("tea", "hi")) == "muted"
    assert await house.refused(guest, Leave("tea")) is None
    assert await house.refused(guest, Join("tea")) is None
    assert await house.refused(guest, Say("tea", "hi")) == "muted"
    await house.post(owner, Mute("tea", "guest", off=True))
    assert await house.refused(guest, Say("tea", "hi")) is None


async def test_moderators_can_do_nothing_to_each_other_or_to_an_owner(house: House) -> None:
    owner, one, two = (house.enter(name, has_account=True) for name in ("olga", "one", "two"))
    for device in (owner, one, two):
        await house.post(device, Join("tea"))
    for name in ("one", "two"):
        assert await house.refused(owner, Appoint("tea", name, "moderator")) is None
    for name in ("two", "olga", "one"):
        for post in (Kick("tea", name), Ban("tea", name), Mute("tea", name)):
            assert await house.refused(one, post) == "not_allowed"
    assert await house.refused(one, Appoint("tea", "two", "member")) == "not_allowed"
    assert await house.refused(owner, Appoint("tea", "two", "member")) is None
    assert await house.refused(one, Kick("tea", "two")) is None


async def test_a_guest_can_not_be_appointed(house: House) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    await house.post(owner, Join("tea"))
    await house.post(guest, Join("tea"))
    assert await house.refused(owner, Appoint("tea", "guest", "moderator")) == "not_allowed"
    assert await house.refused(owner, Appoint("tea", "nobody", "owner")) == "no_such_name"


async def test_a_moderator_deletes_what_others_have_said_and_no_member_does(
    house: House,
) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    await house.post(owner, Join("tea"))
    await house.post(guest, Join("tea"), Say("tea", "rude", "c"))
    await house.post(owner, Say("tea", "mine", "d"))
    assert await house.refused(guest, Delete("tea", 4)) == "not_yours"
    assert await house.refused(owner, Delete("tea", 3)) is None


async def test_an_operator_may_do_everything_but_in_private(house: House) -> None:
    owner = house.enter("olga", has_account=True)
    guest, operator = house.enter("guest"), house.enter("op", is_operator=True)
    await house.post(owner, Join("tea"), Restrict("tea", "invitation"))
    assert await house.refused(operator, Kick("tea", "olga")) is None
    await house.post(owner, Say("@guest", "hi"))
    (room,) = guest.member.private
    assert await house.refused(operator, Join(room)) == "no_such_room"


# ---------------------------------------------------------------- who gets in


async def ask(house: House, device: Device, question: Question) -> list[Reply]:
    lines = await answer(question, Asker(house.hub, device, house.clock[0]))
    return [CLIENT.decode(line) for line in lines]


async def test_a_room_for_the_invited_is_no_room_to_others(house: House) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    await house.post(
        owner, Join("tea"), Say("tea", "secret", "c"), Restrict("tea", "invitation")
    )
    for post in (Join("tea"), Join("tea", key="x"), Say("tea", "hi"), Invite("tea", "guest")):
        assert await house.refused(guest, post) == "no_such_room"
    with pytest.raises(NoSuchRoom) as closed:
        await ask(house, guest, Ask("tea"))
    with pytest.raises(NoSuchRoom) as missing:
        await ask(house, guest, Ask("vat"))
    assert str(closed.value) == str(missing.value).replace("vat", "tea"), "not to be told apart"
    with pytest.raises(NoSuchRoom):
        await ask(house, guest, Who("tea"))
    for question in (Rooms(), Search("secret")):
        (reply,) = await ask(house, guest, question)
        assert "tea" not in str(reply)
    await house.post(owner, Invite("tea", "guest"))
    assert [r for r in await house.heard(guest) if isinstance(r, Called)] == [
        Called("tea", "olga", 4)
    ]
    assert await house.refused(guest, Join("tea")) is None
    assert await house.refused(guest, Invite("tea", "eve")) == "not_allowed"


async def test_where_a_search_goes_on_tells_nothing_of_what_others_say(house: House) -> None:
    one, two = house.enter("one"), house.enter("two")
    await house.post(one, Join("tea"), Say("tea", "hi", "a"), Say("tea", "hi", "b"))
    (before,) = await ask(house, one, Search("hi", limit=1))
    await house.post(two, Join("attic"), *(Say("attic", "x", f"{n}") for n in range(10)))
    await house.post(one, Say("tea", "hi", "c"))
    (after,) = await ask(house, one, Search("hi", limit=1))
    assert isinstance(before, Found)
    assert isinstance(after, Found)
    assert before.next is not None
    assert after.next is not None
    # Both are numbers of texts: without a veil one told how many there were in between.
    assert abs(after.next - before.next) > 1000
    (older,) = await ask(house, one, Search("hi", before=after.next))
    assert isinstance(older, Found)
    assert [hit.seq for hit in older.hits] == [3, 2]


async def test_a_key_opens_a_room_once_and_for_all(house: House) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    replies = await house.post(owner, Join("tea"), Restrict("tea", "key", "sesame", "r"))
    assert "sesame" not in str(replies)
    assert await house.refused(guest, Join("tea", key="open")) == "no_such_room"
    assert await house.refused(guest, Join("tea", key="sesame")) is None
    await house.post(guest, Leave("tea"))
    assert await house.refused(guest, Join("tea")) is None
    await house.post(owner, Ban("tea", "guest"))
    assert await house.refused(guest, Join("tea", key="sesame")) == "no_such_room"


async def test_who_is_in_a_room_stays_when_it_is_closed(house: House) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    await house.post(owner, Join("tea"))
    await house.post(guest, Join("tea"))
    await house.post(owner, Restrict("tea", "invitation"))
    assert await house.refused(guest, Say("tea", "still here")) is None
    await house.post(guest, Leave("tea"))
    assert await house.refused(guest, Join("tea")) is None


@pytest.mark.parametrize("is_one_batch", [False, True])
async def test_who_was_invited_may_come_after_it_is_closed(
    house: House, *, is_one_batch: bool
) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    stranger = house.enter("stranger")
    posts = Invite("tea", "guest"), Restrict("tea", "invitation")
    await house.post(owner, Join("tea"))
    for some in [posts] if is_one_batch else [posts[:1], posts[1:]]:
        await house.post(owner, *some)
    assert await house.refused(guest, Join("tea")) is None
    assert await house.refused(stranger, Join("tea")) == "no_such_room"


async def test_guests_who_are_gone_take_no_space_among_the_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charter, "RANKED", 4)
    async with open_sqlite(tmp_path / "chat.db") as history, running(history) as house:
        owner = house.enter("olga", has_account=True)
        await house.post(owner, Join("tea"), Restrict("tea", "invitation"))
        for number in range(10):
            guest = house.enter(f"guest{number}")
            assert await house.refused(owner, Invite("tea", f"guest{number}")) is None
            assert await house.refused(guest, Join("tea")) is None
            house.sequencer.depart(guest)
        stays = [house.enter(f"stay{number}") for number in range(3)]
        codes = [await house.refused(owner, Invite("tea", one.name)) for one in stays]
        assert codes == [None, None, None]
        eve = house.enter("eve")
        assert await house.refused(owner, Invite("tea", "eve")) == "too_many"
        assert await house.refused(eve, Join("tea")) == "no_such_room"
        ranks = house.hub.rooms[Name("tea")].charter.ranks
        assert set(ranks) == {one.member.identity for one in (owner, *stays)}
        stored = (await history.heads())[Name("tea")].charter.ranks
        assert stored == ranks


@pytest.mark.parametrize(
    "post",
    [
        Restrict("tea", "key"),
        Restrict("tea", "public", "sesame"),
        Restrict("tea", "key", "x" * 201),
        Kick("tea", "guest", "two\nlines"),
    ],
    ids=["no key", "a key for all", "a long key", "two lines"],
)
async def test_this_is_no_deed(house: House, post: Post) -> None:
    owner, guest = house.enter("olga", has_account=True), house.enter("guest")
    await house.post(owner, Join("tea"))
    await house.post(guest, Join("tea"))
    assert await house.refused(owner, post) == "bad_text"


async def test_what_was_decided_in_a_batch_that_could_not_be_stored_is_undone(
    tmp_path: Path,
) -> None:
    """A draft has a charter of its own."""
    async with open_sqlite(tmp_path / "chat.db") as history, running(history) as house:
        owner, guest = house.enter("olga", has_account=True), house.enter("guest")
        await house.post(owner, Join("tea"))
        history._db.execute("DROP TABLE sanctions")  # noqa: SLF001 # a disk that fails
        assert await house.refused(owner, Ban("tea", "guest")) == "storage_failed"
        assert await house.refused(guest, Join("tea")) is None


async def test_how_rooms_are_governed_outlasts_a_restart(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "chat.db") as history, running(history) as house:
        owner, one = (
            house.enter("olga", has_account=True),
            house.enter("one", has_account=True),
        )
        await house.post(owner, Join("tea"))
        await house.post(one, Join("tea"))
        await house.post(
            owner,
            Appoint("tea", "one", "moderator"),
            Ban("tea", "eve", NOON + timedelta(days=1), "loud"),
            Mute("tea", "bob"),
            Restrict("tea", "key", "sesame"),
        )
        known = house.hub.rooms[Name("tea")].charter
        (page,) = await ask(house, owner, Ask("tea", deeds=True))
    async with open_sqlite(tmp_path / "chat.db") as history, running(history) as house:
        assert house.hub.rooms[Name("tea")].charter == known
        identity: Identity = owner.member.identity
        assert identity in known.ranks
        again = house.enter("op", is_operator=True)
        assert await ask(house, again, Ask("tea", deeds=True)) == [page]


async def test_a_refusal_is_a_refusal(house: House) -> None:
    """Nothing of what moderators do ends a connection."""
    guest = house.enter("guest")
    for post in (Kick("x", "y"), Ban("x", "?"), Invite("@guest", "y"), Restrict("x", "public")):
        assert await house.refused(guest, post) is not None
    assert issubclass(Banned, Refused)
