"""Private rooms from a program's side, and what outlasts a connection."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from tests.conftest import VIRTUAL_SECONDS, Dial, Peer, dialler
from trio_chat.charter import Identity
from trio_chat.client.chat import Chat, open_chat
from trio_chat.client.feed import Feed
from trio_chat.client.link import Link
from trio_chat.errors import NoSuchName, NoSuchRoom
from trio_chat.history import Account, Entry, Paired, Place, Registered
from trio_chat.history.sqlite import SqliteHistory, open_sqlite
from trio_chat.hub import Hub
from trio_chat.messages import (
    Ack,
    Called,
    Error,
    Event,
    Hello,
    Join,
    Marked,
    Read,
    RoomState,
    Say,
    Welcome,
)
from trio_chat.names import Name
from trio_chat.outbox import SLOTS
from trio_chat.pairs import is_pair_name, is_private, make_pair_name, partner
from trio_chat.reception import ABANDONED_AFTER, Reception
from trio_chat.rooms import ROOMS_TOLD, Room
from trio_chat.sequencer import NOTE_WITHIN, Sequencer
from trio_chat.testing import RunningServer, running_server


def test_the_name_of_a_private_room_tells_who_is_in_it() -> None:
    name = make_pair_name(Name("bob"), Name("alice"))
    assert name.startswith("@alice,bob:")
    assert name != make_pair_name(Name("bob"), Name("alice")), "another two of that name"
    assert (partner(name, "alice"), partner(name, "bob")) == ("bob", "alice")
    assert is_private(name)
    assert is_pair_name(name)


@pytest.mark.parametrize("room", ["lobby", "@bob", "@alice,bob", "@a,b,c:x", "a,b:x", "@"])
def test_what_is_no_private_room_of_mine_has_no_partner(room: str) -> None:
    assert partner(room, "alice") is None
    assert partner("@bob,eve:x", "alice") is None


async def next_text(chat: Chat) -> tuple[str, str]:
    async for item in chat:
        if isinstance(item, Event) and isinstance(item.message, Say):
            return item.by, item.message.text
    raise AssertionError("the chat has ended")


async def test_a_program_gets_what_is_said_to_it_in_private(server: RunningServer) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="bob") as bob:
        assert await alice.say("@bob", "one") == 1
        assert await alice.say("@bob", "two") == 2
        assert [await next_text(bob) for _ in range(2)] == [("alice", "one"), ("alice", "two")]
        assert await bob.say("@alice", "three") == 3
        assert [await next_text(alice) for _ in range(3)][2] == ("bob", "three")
        assert set(await bob.who("@alice")) == {"alice", "bob"}


async def test_a_private_room_can_be_joined_and_left_by_who_it_is_with(
    server: RunningServer,
) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="bob") as bob:
        with pytest.raises(NoSuchRoom):
            await alice.join("@bob")
        with pytest.raises(NoSuchName):
            await alice.say("@nobody", "hi")
        await bob.say("@alice", "one")
        assert await next_text(bob) == ("bob", "one")
        assert await bob.leave("@alice") == 1
        assert await bob.join("@alice", after=0) == 1
        assert await next_text(bob) == ("bob", "one")


async def test_a_program_that_comes_back_misses_nothing_in_private(
    server: RunningServer,
) -> None:
    streams: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        streams.append(await server.dial())
        return streams[-1]

    async with open_chat(dial, Hello("alice")) as alice, server.connect(name="bob") as bob:
        await alice.join("lobby")
        await bob.say("@alice", "one")
        assert await next_text(alice) == ("bob", "one")
        await streams[0].aclose()
        await bob.say("@alice", "two")
        await bob.say("@alice", "three")
        assert [await next_text(alice) for _ in range(2)] == [("bob", "two"), ("bob", "three")]


async def test_a_program_gets_what_was_first_said_in_private_while_it_was_away(
    server: RunningServer,
) -> None:
    streams: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        streams.append(await server.dial())
        return streams[-1]

    async with (
        open_chat(dial, Hello("alice")) as alice,
        server.connect(name="bob") as bob,
        server.connect(name="carol") as carol,
    ):
        await alice.join("lobby")
        await carol.say("@alice", "one")
        assert await next_text(alice) == ("carol", "one")
        await alice.leave("@carol")
        await streams[0].aclose()
        await bob.say("@alice", "two")
        assert await next_text(alice) == ("bob", "two")
        await streams[1].aclose()
        await carol.say("@alice", "three")
        assert await next_text(alice) == ("carol", "three")


async def test_a_guest_comes_back_to_private_rooms_with_the_token_and_not_without(
    dial: Dial,
) -> None:
    alice, bob = await dial(), await dial()
    token = (await alice.enter("alice")).token
    await bob.enter("bob")
    await alice.tell(Say("@bob", "hi", "c"))
    room = (await alice.hear(Ack)).room
    await alice.hear(Called)
    await alice.link.stream.aclose()
    await wait_all_tasks_blocked()

    stranger = await dial()
    assert (await stranger.enter("alice")).rooms == ()
    await stranger.tell(Join(room, 0, id="j"))
    assert (await stranger.hear(Error)).code == "no_such_room"
    await stranger.link.stream.aclose()
    await wait_all_tasks_blocked()

    again = await dial()
    await again.tell(Hello("alice", token=token))
    assert (await again.hear(Welcome)).rooms == (RoomState(room, 1),)
    await again.tell(Join("@bob", 0, id="j"))
    assert await again.hear(Ack) == Ack("j", room, 1, again=True)
    assert (await again.hear(Event)).message == Say(room, "hi", "c")


async def test_what_guests_have_left_alone_for_long_is_forgotten(tmp_path: Path) -> None:
    clock = [datetime(2026, 11, 26, tzinfo=UTC)]
    async with open_sqlite(tmp_path / "chat.db") as history:
        hub = Hub(history)
        reception = Reception(hub, Sequencer(hub, history, lambda: clock[0]))
        add_room = partial(_add_private, hub, history, clock[0])
        one, two, three, holder = map(Identity, range(1, 5))
        account = Account(holder, Name("holder"), "holder", None)
        await history.append([], [Registered(account)])
        hub.know_accounts([account])
        left = await add_room((one, two), 1)
        kept = await add_room((one, holder), 2)
        here = await add_room((two, three), 3)
        hub._add_member(Name("guest"), three, {})  # noqa: SLF001 # who is here
        await reception.forget_the_abandoned()
        assert list(hub.private) == [left, kept, here], "they may come back yet"
        clock[0] += ABANDONED_AFTER + timedelta(seconds=1)
        await reception.forget_the_abandoned()
        assert list(hub.private) == [kept, here]
        assert [*await history.heads()] == [kept, here]
        assert hub.may_return(one), "there is the room with the holder of an account"


async def _add_private(
    hub: Hub, history: SqliteHistory, at: datetime, pair: tuple[Identity, Identity], number: int
) -> Name:
    name = Name(f"@a,b:{number}")
    entry = Entry(Place(name, 1), at, Name("a"), b"{}")
    await history.append([entry], [Paired(name, *pair)])
    hub.add_room(Room(name, history, 1, at, pair=pair))
    return name


async def test_private_rooms_and_what_was_read_outlast_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with open_sqlite(path) as history, running_server(history=history) as server:
        alice, bob = await dialler(server)(), await dialler(server)()
        token = (await alice.enter("alice")).token
        await bob.enter("bob")
        await bob.tell(Say("@alice", "one"))
        room = (await alice.hear(Called)).room
        await alice.tell(Read(room, 1, "r"))
        await alice.hear(Marked)
        await bob.tell(Say("@alice", "two"))  # with which it is stored what was read
        await alice.hear(Called)
    async with open_sqlite(path) as history, running_server(history=history) as server:
        alice, bob = await dialler(server)(), await dialler(server)()
        await alice.tell(Hello("alice", token=token))
        assert (await alice.hear(Welcome)).rooms == (RoomState(room, 2, 1),)
        assert (await bob.enter("bob")).rooms == ()


async def test_what_was_read_is_stored_also_if_nobody_says_anything(
    server: RunningServer, dial: Dial
) -> None:
    alice, bob = await dial(), await dial()
    token = (await alice.enter("alice")).token
    await bob.enter("bob")
    await bob.tell(Say("@alice", "one"))
    room = (await alice.hear(Called)).room
    await alice.tell(Read(room, 1, "r"))
    await alice.hear(Marked)
    await trio.sleep(NOTE_WITHIN + 1)
    await alice.link.stream.aclose()
    await wait_all_tasks_blocked()
    again = await dial()
    await again.tell(Hello("alice", token=token))
    assert (await again.hear(Welcome)).rooms == (RoomState(room, 1, 1),)


async def test_who_reads_nothing_is_called_when_it_does(
    server: RunningServer, dial: Dial
) -> None:
    ours, theirs = lockstep_stream_pair()  # nothing is taken before it is read
    server.serve(theirs)
    bob = Peer(Link(ours, VIRTUAL_SECONDS))
    await bob.enter("bob", "lobby")
    people = [await dial() for _ in range(SLOTS + 10)]
    rooms = set()
    for number, peer in enumerate(people):
        await peer.enter(f"m{number}")
        await peer.tell(Say("@bob", "one", "1"), Say("@bob", "two", "2"))
        rooms |= {(await peer.hear(Ack)).room, (await peer.hear(Ack)).room}
    calls: list[Called] = []
    while {call.room for call in calls} < rooms:
        calls.append(await bob.hear(Called))
    assert {call.room for call in calls} == rooms
    assert {call.seq for call in calls} <= {1, 2}


async def test_a_guest_has_the_newest_rooms_in_the_welcome(
    server: RunningServer, dial: Dial
) -> None:
    alice = await dial()
    token = (await alice.enter("alice")).token
    last = ""
    for number in range(ROOMS_TOLD + 5):
        peer = await dial()
        await peer.enter(f"m{number}")
        await peer.tell(Say("@alice", "hi", "c"))
        last = (await peer.hear(Ack)).room
        await alice.hear(Called)
        await peer.link.stream.aclose()
    await alice.link.stream.aclose()
    await wait_all_tasks_blocked()
    again = await dial()
    await again.tell(Hello("alice", token=token))
    rooms = (await again.hear(Welcome)).rooms
    assert len(rooms) == ROOMS_TOLD
    assert last in {state.room for state in rooms}


async def test_a_room_is_not_lost_that_is_joined_while_somebody_speaks_there(
    server: RunningServer,
) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="bob") as bob:
        await bob.say("@alice", "one")
        assert await next_text(alice) == ("bob", "one")
        await alice.leave("@bob")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(alice.join, "@bob", after=1))
            nursery.start_soon(bob.say, "@alice", "two")
        assert await next_text(alice) == ("bob", "two")
        await bob.say("@alice", "three")
        assert await next_text(alice) == ("bob", "three")


def test_an_old_kick_is_no_reason_to_go() -> None:
    """What is replayed has happened before one has come again."""
    feed = Feed()
    feed.follow("lobby", None)
    feed.begin("lobby", 7)
    feed.put_out("lobby", 5)
    assert feed.joined() == ["lobby"]
    feed.put_out("lobby", 9)
    assert feed.joined() == []
