"""Who joins quietly: no event of its coming and going, and all else as for everybody."""

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import wait_all_tasks_blocked

from tests.conftest import Dial, Peer, dialler
from trio_chat.history.memory import MemoryHistory
from trio_chat.history.sqlite import open_sqlite
from trio_chat.messages import (
    Ack,
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
from trio_chat.testing import running_server

BEYOND = 2**53

QUIETLY = Join("lobby", quiet=True, id="j")


@pytest.fixture
async def alice(dial: Dial) -> Peer:
    """Somebody who is in the lobby, and has seen her own join."""
    alice = await dial()
    await alice.enter("alice", "lobby")
    return alice


async def enter_quietly(dial: Dial, name: str, *, after: int = BEYOND) -> tuple[Peer, Welcome]:
    """Enter the lobby as a program that means to stay: one that pings."""
    peer = await dial()
    await peer.tell(Hello(name), Ping())
    welcome = await peer.hear(Welcome)
    await peer.hear(Pong)
    await peer.tell(Join("lobby", after, quiet=True, id="j"))
    assert (await peer.hear(Ack)).again
    return peer, welcome


async def cut(peer: Peer) -> None:
    await trio.aclose_forcefully(peer.link.stream)
    await wait_all_tasks_blocked()


async def members(peer: Peer) -> tuple[str, ...]:
    await peer.tell(Who("lobby"))
    return (await peer.hear(Members)).names


async def test_who_is_lost_quietly_is_not_waited_for(dial: Dial, alice: Peer) -> None:
    bot, _ = await enter_quietly(dial, "bot")
    assert await members(alice) == ("alice", "bot")
    await cut(bot)
    assert await members(alice) == ("alice",), "no event came before the answer"
    bot, _ = await enter_quietly(dial, "bot", after=1)
    await alice.tell(Say("lobby", "hi", "s"))
    assert (await bot.hear(Event)).seq == 2


async def test_a_ghost_that_was_quiet_is_cut_off_when_its_owner_comes_back(
    dial: Dial, alice: Peer
) -> None:
    _, welcome = await enter_quietly(dial, "bot")
    await alice.tell(Say("lobby", "missed", "s"))
    await alice.hear_all(2)
    bot = await dial()
    await bot.tell(Hello("bot", token=welcome.token))
    assert (await bot.hear(Welcome)).rooms == (RoomState("lobby", 2),)
    await bot.tell(Join("lobby", 1, quiet=True, id="j"))
    assert await bot.hear(Ack) == Ack("j", "lobby", 2, again=True)
    assert (await bot.hear(Event)).seq == 2
    await cut(bot)
    assert await members(alice) == ("alice",)


async def test_who_is_seen_in_one_room_is_waited_for_in_all(dial: Dial, alice: Peer) -> None:
    bot, welcome = await enter_quietly(dial, "bot")
    await bot.tell(Join("attic"))
    await bot.hear(Event)
    await cut(bot)
    assert await members(alice) == ("alice", "bot")
    bot = await dial()
    await bot.tell(Hello("bot", token=welcome.token))
    assert len((await bot.hear(Welcome)).rooms) == 2


async def test_who_came_quietly_stays_so_until_it_leaves(dial: Dial, alice: Peer) -> None:
    bot, welcome = await enter_quietly(dial, "bot")
    bot = await dial()
    await bot.tell(Hello("bot", token=welcome.token), Join("lobby", 1), Leave("lobby", id="l"))
    await bot.hear(Welcome)
    assert await bot.hear(Ack) == Ack("l", "lobby", 1, again=True)
    await bot.tell(Join("lobby"), Leave("lobby"), QUIETLY)
    seen = [event.message for event in await alice.hear_all(2) if isinstance(event, Event)]
    assert seen == [Join("lobby"), Leave("lobby")]
    assert await members(alice) == ("alice", "bot")


async def test_a_room_that_begins_in_the_same_breath_can_be_joined_quietly(dial: Dial) -> None:
    alice, bot = await dial(), await dial()
    await bot.tell(Hello("bot"))
    await bot.hear(Welcome)
    await alice.tell(Hello("alice"), Join("lobby"), Say("lobby", "hi", "s"))
    await bot.tell(QUIETLY)
    assert (await bot.hear(Ack)).again
    assert [reply.seq for reply in await bot.hear_all(2) if isinstance(reply, Event)] == [1, 2]


@define(eq=False)
class CountedHistory(MemoryHistory):
    """Counts the commits."""

    commits: int = field(default=0, init=False)

    def append(self, *batch: Any) -> Any:
        self.commits += 1
        return super().append(*batch)


async def test_to_come_and_go_and_come_back_costs_no_commit(virtual_time: None) -> None:
    history = CountedHistory()
    async with running_server(history=history) as server:
        alice = await dialler(server)()
        await alice.enter("alice", "lobby")
        _, welcome = await enter_quietly(dialler(server), "bot")
        bot = await dialler(server)()
        await bot.tell(Hello("bot", token=welcome.token), QUIETLY, Leave("lobby"), QUIETLY)
        await bot.hear(Welcome)
        assert (await bot.hear(Ack)).again
        await cut(bot)
        assert await members(alice) == ("alice",)
        assert history.commits == 1, "alice's join"


async def test_a_restart_of_the_server_knows_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    for visit in range(2):
        async with open_sqlite(path) as history, running_server(history=history) as server:
            dial = dialler(server)
            alice = await dial()
            await alice.enter(f"alice{visit}", "lobby")
            assert "bot" not in await members(alice)
            await enter_quietly(dial, "bot")
            assert "bot" in await members(alice)
