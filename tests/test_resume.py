"""Coming back after a lost connection: the name, the rooms, and exactly what was missed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.conftest import Dial, Peer, dialler
from trio_chat.history.sqlite import open_sqlite
from trio_chat.messages import (
    Ack,
    Error,
    Event,
    Hello,
    Join,
    Leave,
    Members,
    Ping,
    Pong,
    RoomState,
    Say,
    Welcome,
    Who,
)
from trio_chat.sequencer import COME_BACK_WITHIN
from trio_chat.testing import RunningServer, running_server


async def enter(peer: Peer, name: str, *rooms: str) -> Welcome:
    """Enter as a client that means to stay: one that pings."""
    welcome = await peer.enter(name, *rooms)
    await peer.tell(Ping())
    await peer.hear(Pong)
    return welcome


async def cut(peer: Peer) -> None:
    await trio.aclose_forcefully(peer.link.stream)
    await trio.testing.wait_all_tasks_blocked()


async def come_back(dial: Dial, name: str, token: str) -> tuple[Peer, Welcome]:
    peer = await dial()
    await peer.tell(Hello(name, token=token))
    return peer, await peer.hear(Welcome)


async def test_who_comes_back_in_time_is_neither_seen_to_leave_nor_to_join(dial: Dial) -> None:
    watcher, alice = await dial(), await dial()
    await watcher.enter("watcher", "lobby")
    welcome = await enter(alice, "alice", "lobby")
    await watcher.hear(Event)
    await cut(alice)
    await watcher.tell(Say("lobby", "missed"))
    await watcher.hear_all(2)
    await trio.sleep(COME_BACK_WITHIN - 1)

    alice, again = await come_back(dial, "alice", welcome.token)
    await alice.tell(Join("lobby", after=2, id="j"))

    assert again.rooms == (RoomState("lobby", 3),)
    assert await alice.hear(Ack) == Ack("j", "lobby", 3, again=True)
    assert (await alice.hear(Event)).seq == 3
    await trio.sleep(COME_BACK_WITHIN * 2)
    await alice.tell(Say("lobby", "live again", "s"))
    assert await alice.hear(Ack) == Ack("s", "lobby", 4)
    assert (await watcher.hear(Event)).message == Say("lobby", "live again", "s")


async def test_who_comes_back_too_late_has_left(dial: Dial) -> None:
    watcher, alice = await dial(), await dial()
    await watcher.enter("watcher", "lobby")
    welcome = await enter(alice, "alice", "lobby")
    await watcher.hear(Event)
    await cut(alice)
    cut_at = trio.current_time()

    assert (await watcher.hear(Event)).message == Leave("lobby", lost=True)
    assert trio.current_time() == cut_at + COME_BACK_WITHIN

    _, again = await come_back(dial, "alice", welcome.token)
    assert again.rooms == ()


async def test_a_ghost_is_cut_off_when_its_owner_comes_back(dial: Dial) -> None:
    ghost = await dial()
    welcome = await enter(ghost, "alice", "lobby")

    alice, _ = await come_back(dial, "alice", welcome.token)
    await alice.tell(Join("lobby", after=1), Say("lobby", "me", "s"))

    assert await alice.hear(Ack) == Ack("s", "lobby", 2)
    assert (await alice.hear(Event)).seq == 2
    assert (await ghost.let_go()).code == "taken_over"


async def test_a_name_that_is_held_is_given_to_nobody_else(dial: Dial) -> None:
    alice = await dial()
    await enter(alice, "alice", "lobby")
    await cut(alice)
    for token in (None, "guessed"):
        thief = await dial()
        await thief.tell(Hello("alice", token=token))
        assert (await thief.hear(Error)).code == "name_taken"


async def test_a_token_is_good_once_and_the_one_before_until_then(dial: Dial) -> None:
    first = await dial()
    one = (await enter(first, "alice", "lobby")).token
    _, welcome = await come_back(dial, "alice", one)
    # The welcome may have been lost on its way: the token before it still opens.
    _, third = await come_back(dial, "alice", one)
    assert len({one, welcome.token, third.token}) == 3
    _, fourth = await come_back(dial, "alice", third.token)

    late = await dial()
    await late.tell(Hello("alice", token=one))
    assert (await late.hear(Error)).code == "name_taken"
    assert fourth.rooms == (RoomState("lobby", 1),)


async def test_who_never_pinged_has_hung_up(dial: Dial) -> None:
    watcher, nc = await dial(), await dial()
    await watcher.enter("watcher", "lobby")
    await nc.enter("nc", "lobby")
    await watcher.hear(Event)
    await cut(nc)
    assert (await watcher.hear(Event)).message == Leave("lobby", lost=True)
    assert trio.current_time() < COME_BACK_WITHIN


async def test_a_room_that_was_left_before_the_cut_is_not_resumed(dial: Dial) -> None:
    alice = await dial()
    welcome = await enter(alice, "alice", "lobby", "attic")
    await alice.tell(Leave("attic"))
    await alice.hear(Event)
    await cut(alice)
    _, again = await come_back(dial, "alice", welcome.token)
    assert again.rooms == (RoomState("lobby", 1),)


async def test_leaving_after_coming_back_without_resuming_the_room(dial: Dial) -> None:
    alice = await dial()
    welcome = await enter(alice, "alice", "lobby")
    await cut(alice)
    alice, _ = await come_back(dial, "alice", welcome.token)
    await alice.tell(Leave("lobby", id="l"), Who("lobby"))
    assert await alice.hear(Ack) == Ack("l", "lobby", 2)
    assert (await alice.hear(Members)).names == ()


async def test_resuming_saying_and_leaving_in_one_breath(dial: Dial) -> None:
    alice = await dial()
    welcome = await enter(alice, "alice", "lobby")
    await cut(alice)
    alice = await dial()
    await alice.tell(
        Hello("alice", token=welcome.token),
        Join("lobby", after=1),
        Say("lobby", "bye", "s"),
        Leave("lobby"),
        Ping("end"),
    )
    heard = await alice.hear_all(5)
    events = [reply.seq for reply in heard if isinstance(reply, Event)]
    assert events == [2, 3]


@asynccontextmanager
async def server_on(path: Path) -> AsyncIterator[RunningServer]:
    async with open_sqlite(path) as history, running_server(history=history) as server:
        yield server


async def test_a_restart_of_the_server_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with server_on(path) as server:
        alice = await dialler(server)()
        welcome = await enter(alice, "alice", "lobby")
        await alice.tell(Say("lobby", "before", "s"))
        await alice.hear_all(2)
        await cut(alice)

    async with server_on(path) as server:
        alice, again = await come_back(dialler(server), "alice", welcome.token)
        assert again.rooms == (RoomState("lobby", 2),)
        assert again.epoch == welcome.epoch
        await alice.tell(Join("lobby", after=1), Say("lobby", "before", "s"))
        assert await alice.hear(Ack) == Ack("s", "lobby", 2, again=True)
        assert (await alice.hear(Event)).message == Say("lobby", "before", "s")
        await cut(alice)
