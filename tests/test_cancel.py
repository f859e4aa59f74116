"""Cancelled anywhere, a conversation leaves nothing behind.

One conversation is run again and again and cancelled one step later each time, until it
runs through.
"""

import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.conftest import Peer
from trio_chat.client.chat import open_chat
from trio_chat.client.link import Link
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import Ack, Event, Hello, Join, Leave, RoomInfo, Say, Welcome
from trio_chat.sequencer import COME_BACK_WITHIN
from trio_chat.server import GRACE, Server
from trio_chat.session import Settings
from trio_chat.testing import RunningServer

MOST_STEPS = 1000


@define(eq=False)
class CancelAtStep(trio.abc.Instrument):
    """Cancels `scope` just before the run loop's nth step from when it is set."""

    left: int
    scope: trio.CancelScope | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.scope is not None:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel(reason="at that step")


@define(eq=False)
class House:
    """A server whose sessions run where it is said, so that they can be cancelled alone."""

    server: Server
    sessions: trio.Nursery
    streams: list[trio.abc.Stream] = field(factory=list)

    async def dial(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self.streams += [ours, theirs]
        self.sessions.start_soon(self.server.answer, theirs)
        return ours


Conversation = Callable[[House], Coroutine[Any, Any, None]]


async def by_hand(house: House) -> None:
    """Two members: hello, join, say, leave, and the end without a leave."""
    async with await house.dial() as one, await house.dial() as two:
        alice, bob = Peer(Link(one, patience=10)), Peer(Link(two, patience=10))
        await alice.tell(Hello("alice"), Join("lobby"), Say("lobby", "alone", "a"))
        await alice.hear(Welcome)
        assert await alice.hear(Ack) == Ack("a", "lobby", 2)
        await alice.hear_all(2)
        await bob.enter("bob", "lobby")
        await alice.hear(Event)
        await bob.tell(Say("lobby", "hi", "b"), Leave("lobby"))
        await bob.hear_all(3)
        await alice.hear_all(2)


async def by_the_library(house: House) -> None:
    async with (
        open_chat(house.dial, Hello("alice")) as alice,
        open_chat(house.dial, Hello("bob")) as bob,
    ):
        await alice.join("lobby")
        await bob.join("lobby")
        await alice.say("lobby", "hi")
        async for event in bob:
            if isinstance(event, Event) and isinstance(event.message, Say):
                break
        await bob.leave("lobby")


async def converse_and_look(
    conversation: Conversation, who: str, cancelling: CancelAtStep
) -> bool:
    """Run a conversation; see that it leaves nothing. Was it cancelled?

    `who` is cancelled: if that is the client, the server has to find out for itself.
    """
    server = Server(MemoryHistory(), Settings(rate=0))
    async with trio.open_nursery() as nursery:
        doorstep = await nursery.start(server.run, "127.0.0.1", 0)
        await wait_all_tasks_blocked()  # the listeners have been started
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as sessions:
            house = House(server, sessions)
            with trio.CancelScope() as client:
                scope = client if who == "the client" else sessions.cancel_scope
                cancelling.scope = scope
                await conversation(house)
        cancelling.scope = None
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        for stream in house.streams:
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")
        await trio.sleep(COME_BACK_WITHIN + 1)
        await see_that_nobody_is_there(RunningServer(server, doorstep))
        closed_at = trio.current_time()
        server.close()
    assert trio.current_time() - closed_at < GRACE, "nobody was waited for"
    return scope.cancelled_caught


async def see_that_nobody_is_there(server: RunningServer) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="bob") as bob:
        for room in await alice.rooms():
            assert room == RoomInfo("lobby", 0, room.head)
            assert await bob.who("lobby") == ()
            seen = (await bob.history("lobby")).events
            assert [event.seq for event in seen] == list(range(1, room.head + 1))


@pytest.mark.parametrize(
    ("conversation", "who"),
    [(by_hand, "both sides"), (by_hand, "the client"), (by_the_library, "the client")],
)
def test_cancelled_at_any_step_nothing_is_left(
    conversation: Conversation, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    for step in itertools.count(1):
        # The same order in each run, so that they are cancelled at one step after another.
        monkeypatch.setattr("trio._core._run._r", random.Random(1))
        cancelling = CancelAtStep(step)
        was_cancelled = trio.run(
            converse_and_look,
            conversation,
            who,
            cancelling,
            clock=MockClock(autojump_threshold=0),
            instruments=[cancelling],
        )
        if not was_cancelled:
            break
        assert step < MOST_STEPS
    assert step > 50, "it was cancelled at many places"
