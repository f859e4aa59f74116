"""The client library: against a server, against no server, and against bad ones."""

import itertools
import math
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

from tests.conftest import Dial as DialPeer
from trio_chat import Chat, State, connect, errors
from trio_chat.client import lifeline
from trio_chat.client.calls import IN_FLIGHT
from trio_chat.client.chat import ASKED_TO, LEAVE_WITHIN, open_chat
from trio_chat.client.feed import MOST_ROOMS, QUEUED_ITEMS, Item
from trio_chat.client.link import Dial
from trio_chat.errors import ChatError, LinkLost, StorageFull
from trio_chat.history import Change, Entry, Key, Place
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import (
    Ack,
    Called,
    Error,
    Event,
    Gap,
    Goodbye,
    Hello,
    Leave,
    Pong,
    Reply,
    RoomInfo,
    Rooms,
    Say,
    Welcome,
)
from trio_chat.server import RETRY
from trio_chat.session import Settings
from trio_chat.testing import RunningServer, running_server
from trio_chat.wire import SERVER

Stream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]

PIN = "Gh-f4kdiQgUN4LtQmuUcBmreqPZmaX9X3MuH7ySwdUA"


async def texts(chat: Chat, count: int) -> list[str]:
    """The next so many texts that are said, whatever happens between them."""
    found: list[str] = []
    while len(found) < count:
        item = await anext(chat)
        if isinstance(item, Event) and isinstance(item.message, Say):
            found.append(item.message.text)
    return found


async def items_until(chat: Chat, seq: int) -> list[Item]:
    """All that a program sees up to event `seq`."""
    items = [await anext(chat)]
    while not (isinstance(items[-1], Event) and items[-1].seq >= seq):
        items.append(await anext(chat))
    return items


def seqs(items: Sequence[Item]) -> list[int]:
    return [item.seq for item in items if isinstance(item, Event)]


# ---------------------------------------------------------------- a conversation


async def test_the_ten_lines_of_the_readme_work(server: RunningServer) -> None:
    async with server.connect(name="alice") as chat:
        await chat.join("lobby")
        assert await chat.say("lobby", "hello") == 2
        async for event in chat:
            assert isinstance(event, Event)
            if isinstance(event.message, Say):
                assert (event.seq, event.by, event.message.text) == (2, "alice", "hello")
                break


async def test_two_programs_talk(server: RunningServer) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="bob") as bob:
        await alice.join("lobby")
        await bob.join("lobby")
        await alice.say("lobby", "hi bob")
        assert await texts(bob, 1) == ["hi bob"]
        await bob.say("lobby", "hi alice")
        assert await texts(alice, 2) == ["hi bob", "hi alice"]


async def test_every_call_returns_what_it_says(server: RunningServer) -> None:
    async with server.connect(name="Alice") as chat, server.connect(name="bob") as bob:
        assert chat.name == chat.welcome.name == "alice"
        assert await chat.join("lobby") == 1
        assert await bob.join("lobby") == 2
        assert await chat.say("lobby", "one") == 3
        assert await chat.say("lobby", "two", id="mine") == 4
        assert await chat.say("lobby", "two", id="mine") == 4, "a resend"
        receipts = [await chat.submit("lobby", text) for text in ("three", "four")]
        acks = [ack for receipt in receipts for ack in await receipt.wait()]
        assert [ack.seq for ack in acks if isinstance(ack, Ack)] == [5, 6]
        assert await chat.who("lobby") == ("alice", "bob")
        assert await chat.rooms() == (RoomInfo("lobby", 2, 6),)
        assert await chat.ping() == 0
        newest = await chat.history("lobby", limit=2)
        assert (seqs(newest.events), newest.more) == ([5, 6], True)
        assert seqs((await chat.history("lobby", before=3)).events) == [1, 2]
        assert seqs((await chat.history("lobby", after=4)).events) == [5, 6]
        assert await chat.leave("lobby") == 7
        assert seqs(await items_until(chat, 7)) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_long_list_comes_in_parts_and_is_returned_whole(server: RunningServer) -> None:
    names = [f"room{number:0>27}" for number in range(700)]
    for start in range(0, 700, 100):
        async with server.connect(name="founder") as founder:
            for name in names[start : start + 100]:
                await founder.join(name)
    async with server.connect(name="alice") as chat:
        assert [room.room for room in await chat.rooms()] == names


async def test_joining_with_a_cursor_shows_what_came_after_it(server: RunningServer) -> None:
    async with server.connect(name="alice") as alice:
        await alice.join("lobby")
        for number in range(5):
            await alice.say("lobby", str(number))
        async with server.connect(name="bob") as bob:
            await bob.join("lobby", after=4)
            assert seqs(await items_until(bob, 7)) == [5, 6, 7]


async def test_a_cursor_beyond_the_head_counts_as_the_head(server: RunningServer) -> None:
    """As a program has that kept its cursor while the server lost its history."""
    async with server.connect(name="alice") as chat:
        await chat.join("lobby", after=1000)
        await chat.say("lobby", "hello")
        assert await texts(chat, 1) == ["hello"]


async def test_a_room_is_the_same_in_capitals(server: RunningServer) -> None:
    async with server.connect(name="alice") as chat:
        await chat.join("Lobby")
        await chat.say("LOBBY", "hello")
        assert await texts(chat, 1) == ["hello"]
        await chat.leave("loBBy")
        assert await chat.who("lobby") == ()


async def test_a_room_can_be_joined_again_after_it_was_left(server: RunningServer) -> None:
    async with server.connect(name="alice") as chat:
        for number in range(3):
            await chat.join("lobby", after=number * 3)
            await chat.say("lobby", str(number))
            await chat.leave("lobby")
        assert await texts(chat, 3) == ["0", "1", "2"]


async def test_a_room_that_was_left_while_behind_can_be_joined_again(
    server: RunningServer,
) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="bob") as bob:
        await alice.join("lobby")
        await bob.join("lobby")
        await say_many(alice, QUEUED_ITEMS + 100)
        await bob.leave("lobby")
        await alice.say("lobby", "bob is out")
        await bob.join("lobby")
        await alice.say("lobby", "bob is back")
        with trio.fail_after(10):
            while "bob is back" not in await texts(bob, 1):
                pass


REFUSED: list[tuple[str, Callable[[Chat], Awaitable[object]], type[ChatError]]] = [
    ("say outside", lambda chat: chat.say("attic", "hi"), errors.NoSuchRoom),
    ("leave outside", lambda chat: chat.leave("attic"), errors.NoSuchRoom),
    ("join twice", lambda chat: chat.join("lobby"), errors.AlreadyInRoom),
    ("join no name", lambda chat: chat.join("/attic"), errors.BadName),
    ("join no name from 0", lambda chat: chat.join("/attic", after=0), errors.BadName),
    ("join at no number", lambda chat: chat.join("attic", after=-1), errors.BadFields),
    ("say too much", lambda chat: chat.say("lobby", "x" * 20_000), errors.TextTooLong),
    ("say far too much", lambda chat: chat.say("lobby", "x" * 70_000), errors.TextTooLong),
    ("say no Unicode", lambda chat: chat.say("lobby", "\ud800"), errors.BadFields),
    ("say NUL", lambda chat: chat.say("lobby", "a\0b"), errors.BadFields),
    ("too long an id", lambda chat: chat.say("lobby", "hi", id="x" * 65), errors.BadFields),
    ("NUL in an id", lambda chat: chat.say("lobby", "hi", id="\0"), errors.BadFields),
    ("who of nowhere", lambda chat: chat.who("attic"), errors.NoSuchRoom),
    ("history of nowhere", lambda chat: chat.history("attic"), errors.NoSuchRoom),
    ("both ways", lambda chat: chat.history("lobby", before=2, after=1), errors.BadFields),
]


@pytest.mark.parametrize(
    ("call", "error"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
async def test_a_refusal_is_raised_where_the_call_was_made(
    server: RunningServer, call: Callable[[Chat], Awaitable[object]], error: type[ChatError]
) -> None:
    async with server.connect(name="alice") as chat:
        await chat.join("lobby")
        with pytest.raises(error), trio.fail_after(5):
            await call(chat)
        assert await chat.say("lobby", "and the conversation goes on") == 2


async def test_a_refused_join_does_not_keep_the_leave_from_being_seen(
    server: RunningServer, dial: DialPeer
) -> None:
    watcher = await dial()
    await watcher.enter("watcher", "lobby")
    async with server.connect(name="alice") as chat:
        with pytest.raises(errors.BadName):
            await chat.join("/attic", after=0)
        await chat.join("lobby")
        await watcher.hear(Event)
    left = (await watcher.hear(Event)).message
    assert isinstance(left, Leave)
    assert not left.lost


async def test_a_second_join_that_is_refused_does_not_end_the_first(
    server: RunningServer,
) -> None:
    async with server.connect(name="bob") as bob, server.connect(name="alice") as alice:
        await bob.join("lobby")
        refused: list[bool] = []

        async def join() -> None:
            try:
                await alice.join("lobby")
            except errors.AlreadyInRoom:
                refused.append(True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(join)
            nursery.start_soon(join)
        assert refused == [True]
        await bob.say("lobby", "hello")
        assert await texts(alice, 1) == ["hello"]


async def test_a_room_that_one_was_refused_is_not_entered_by_a_reconnect(
    server: RunningServer, cords: "Cords"
) -> None:
    async with open_chat(cords.dial, ALICE) as chat:
        for number in range(LIMITS.rooms):
            await chat.join(f"room{number}")
        with pytest.raises(errors.TooManyRooms):
            await chat.join("attic", after=0)
        await chat.leave("room0")
        cords.newest.cut()
        await trio.sleep(5)
        assert "attic" not in {room.room for room in await chat.rooms()}


# ---------------------------------------------------------------- the block


async def test_an_exception_of_the_block_comes_out_bare(server: RunningServer) -> None:
    bug = ValueError("mine")

    async def run() -> None:
        async with server.connect(name="alice") as chat:
            await chat.join("lobby")
            raise bug

    with pytest.raises(ValueError, match="mine") as caught:
        await run()
    assert caught.value is bug


async def fail_when_cancelled(block: AbstractAsyncContextManager[object]) -> None:
    with trio.move_on_after(1):
        async with block:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("while being cancelled")


async def test_an_exception_of_a_block_that_is_cancelled_comes_out_bare(
    server: RunningServer,
) -> None:
    with pytest.raises(ValueError, match="while being cancelled"):
        await fail_when_cancelled(server.connect(name="alice"))


async def test_an_exception_of_a_server_block_that_is_cancelled_comes_out_bare(
    virtual_time: None,
) -> None:
    with pytest.raises(ValueError, match="while being cancelled"):
        await fail_when_cancelled(running_server())


async def test_a_block_that_is_cancelled_ends_as_cancelled(server: RunningServer) -> None:
    with trio.move_on_after(1) as scope:
        async with server.connect(name="alice") as chat:
            await chat.join("lobby")
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(1)


@pytest.mark.parametrize("how", ["ends", "raises", "is cancelled"])
async def test_who_leaves_the_block_is_seen_to_leave_and_is_not_lost(
    server: RunningServer, dial: DialPeer, how: str
) -> None:
    watcher = await dial()
    await watcher.enter("watcher", "lobby", "attic")
    with pytest.raises(KeyError) if how == "raises" else trio.move_on_after(1):
        async with server.connect(name="alice") as chat:
            await chat.join("lobby")
            await chat.join("attic")
            await watcher.hear_all(2)
            if how == "raises":
                raise KeyError
            if how == "is cancelled":
                await trio.sleep_forever()

    left = [await watcher.hear(Event), await watcher.hear(Event)]

    assert [type(event.message) for event in left] == [Leave, Leave]
    assert not any(isinstance(event.message, Leave) and event.message.lost for event in left)
    assert sorted(event.message.room for event in left) == ["attic", "lobby"]


async def test_after_the_block_there_is_nothing_any_more(server: RunningServer) -> None:
    async with server.connect(name="alice") as chat:
        await chat.join("lobby")
        await chat.say("lobby", "last")
    with pytest.raises(LinkLost):
        await chat.say("lobby", "too late")
    assert await texts(chat, 1) == ["last"], "what was queued can still be taken"
    with pytest.raises(LinkLost):
        await texts(chat, 1)


async def test_a_name_is_free_when_the_block_has_ended(server: RunningServer) -> None:
    for _ in range(3):
        async with server.connect(name="alice") as chat:
            await chat.join("lobby")


# ---------------------------------------------------------------- who does not listen


async def say_many(chat: Chat, count: int) -> None:
    """Say "0", "1", "2" …, not one after the other but as fast as it goes."""
    receipts = [await chat.submit("lobby", str(number)) for number in range(count)]
    for receipt in receipts:
        await receipt.wait()


async def test_who_only_speaks_is_not_blocked_by_what_it_does_not_take(
    server: RunningServer,
) -> None:
    async with server.connect(name="alice") as chat:
        await chat.join("lobby")
        await say_many(chat, 5000)
        assert await chat.say("lobby", "done") == 5002
        assert trio.current_time() == 0


async def test_a_slow_program_gets_every_event_once_and_in_order(
    server: RunningServer,
) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="slow") as slow:
        await alice.join("lobby")
        await slow.join("lobby")
        await say_many(alice, QUEUED_ITEMS * 2)
        heard = await texts(slow, QUEUED_ITEMS // 2)
        await say_many(alice, QUEUED_ITEMS)
        heard += await texts(slow, QUEUED_ITEMS * 5 // 2)
        assert heard == [str(n) for n in [*range(QUEUED_ITEMS * 2), *range(QUEUED_ITEMS)]]
        await alice.say("lobby", "live again")
        assert await texts(slow, 1) == ["live again"]


async def test_a_slow_program_gets_what_others_say_while_it_catches_up(
    server: RunningServer,
) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="slow") as slow:
        await alice.join("lobby")
        await slow.join("lobby")
        await say_many(alice, QUEUED_ITEMS + 300)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say_many, alice, QUEUED_ITEMS)
            items = await items_until(slow, 2 + QUEUED_ITEMS * 2 + 300)
        assert seqs(items) == list(range(1, 3 + QUEUED_ITEMS * 2 + 300))
        assert len(items) == len(seqs(items)), "no gap"


async def test_a_slow_program_is_told_what_is_not_kept_any_more(virtual_time: None) -> None:
    async with (
        running_server(history=MemoryHistory(kept_events=100)) as server,
        server.connect(name="alice") as alice,
        server.connect(name="slow") as slow,
    ):
        await alice.join("lobby")
        await slow.join("lobby")
        await say_many(alice, QUEUED_ITEMS * 2)
        head = QUEUED_ITEMS * 2 + 2
        items = await items_until(slow, head)
        (gap,) = (item for item in items if isinstance(item, Gap))
        assert gap.last == head - 100
        assert [*seqs(items), *range(gap.first, gap.last + 1)] == [
            *range(1, gap.first),
            *range(gap.last + 1, head + 1),
            *range(gap.first, gap.last + 1),
        ]


async def test_a_program_that_leaves_while_it_is_behind_sees_all_up_to_its_leave(
    server: RunningServer,
) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="slow") as slow:
        await alice.join("lobby")
        await slow.join("lobby")
        await say_many(alice, QUEUED_ITEMS + 50)
        left = await slow.leave("lobby")
        await alice.say("lobby", "not for those who have left")
        items = await items_until(slow, left)
        assert seqs(items) == list(range(1, left + 1))
        with trio.move_on_after(1):
            raise AssertionError(await anext(slow))


async def test_waiting_for_an_event_can_be_given_up_at_any_time(server: RunningServer) -> None:
    async with server.connect(name="alice") as alice, server.connect(name="slow") as slow:
        await alice.join("lobby")
        await slow.join("lobby")
        await say_many(alice, QUEUED_ITEMS + 300)
        heard: list[int] = []
        while len(heard) < QUEUED_ITEMS + 302:
            with trio.move_on_after(0):
                await anext(slow)
                raise AssertionError("a checkpoint")
            heard += seqs([await anext(slow)])
        assert heard == list(range(1, QUEUED_ITEMS + 303))


# ---------------------------------------------------------------- bad servers

Converse = Callable[[Stream], Coroutine[Any, Any, None]]

LIMITS = Settings(rate=0).limits
WELCOME = Welcome(1, "bad", "alice", "t" * 43, "epoch", LIMITS)


def lines(*replies: Reply) -> bytes:
    return b"".join(map(SERVER.encode, replies))


@define(eq=False)
class Fake:
    """A server that answers the nth connection with the nth of `conversations`, and is not
    there for any other. `dialled`: when it was tried."""

    nursery: trio.Nursery
    conversations: list[Converse]
    dialled: list[float] = field(factory=list)

    async def dial(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dialled.append(trio.current_time())
        if not self.conversations:
            raise LinkLost("no server answers")
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self.conversations.pop(0), theirs)
        return ours


def saying(*chunks: bytes, then_close: bool = False) -> Converse:
    """Say each of `chunks` after something was heard, then read on and say nothing."""

    async def converse(stream: Stream) -> None:
        for chunk in chunks:
            await stream.receive_some()
            await stream.send_all(chunk)
        if then_close:
            await stream.aclose()
        else:
            async for _ in stream:
                pass

    return converse


@asynccontextmanager
async def faking(*conversations: Converse) -> AsyncIterator[Fake]:
    async with trio.open_nursery() as nursery:
        yield Fake(nursery, list(conversations))
        nursery.cancel_scope.cancel()


ALICE = Hello("alice")


async def test_a_taken_name_is_raised_where_one_connects(server: RunningServer) -> None:
    async with server.connect(name="alice"):
        with pytest.raises(errors.NameTaken):
            async with server.connect(name="ALICE"):
                raise AssertionError


@pytest.mark.parametrize(
    ("host", "port", "meant"),
    [
        ("localhost", 1, ("localhost", 1, False)),
        ("localhost:2", 1, ("localhost", 2, False)),
        ("::1", 1, ("::1", 1, False)),
        ("[::1]:2", 1, ("::1", 2, False)),
        ("[::1]", 2, ("::1", 2, False)),
        ("chat.lan:2", 1, ("chat.lan", 2, True)),
        ("plain://chat.lan:2", 1, ("chat.lan", 2, False)),
        (f"trio-chat://chat.lan:2/lobby#{PIN}", 1, ("chat.lan", 2, PIN)),
    ],
)
async def test_an_address_may_be_written_in_one(
    monkeypatch: pytest.MonkeyPatch, host: str, port: int, meant: tuple[str, int, bool | str]
) -> None:
    called: list[object] = []

    async def dial(*whom: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        called.append(whom)
        raise LinkLost("nobody there")

    monkeypatch.setattr("trio_chat.client.chat.dial", dial)
    with pytest.raises(LinkLost):
        async with connect(host, port, name="bot"):
            raise AssertionError
    assert called == [meant]


@pytest.mark.parametrize(
    ("host", "port", "tls", "why"),
    [
        ("http://localhost:1", 1, None, "an address is HOST:PORT, trio-chat://… or plain://…"),
        ("localhost:http", 1, None, "a port is a number from 1 to 65535, 'http' is not"),
        ("localhost", 65536, None, "a port is a number from 1 to 65535, '65536' is not"),
        ("localhost", -1, None, "'-1' is not"),
        ("chat room", 1, None, "'chat room' can't be the name of a host"),
        ("", 1, None, "'' can't be the name of a host"),
        ("trio-chat://a#x", 1, None, "a pin has 43"),
        ("localhost", 1, "x", "the pin of a certificate has 43 characters, 'x' is none"),
    ],
)
async def test_what_is_no_address_is_told_where_one_connects(
    host: str, port: int, tls: str | None, why: str
) -> None:
    with pytest.raises(errors.SetupError, match=re.escape(why)):
        async with connect(host, port, name="bot", tls=tls):
            raise AssertionError


async def test_a_bad_name_is_raised_where_one_connects(server: RunningServer) -> None:
    with pytest.raises(errors.BadName):
        async with server.connect(name="/quit"):
            raise AssertionError


FAULTS = [
    ("silence", saying()),
    ("the end", saying(b"", then_close=True)),
    ("nonsense", saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    ("binary", saying(bytes(range(256)))),
    ("no end of line", saying(b'{"type":"welcome"' + b" " * 70_000)),
    ("half a welcome", saying(lines(WELCOME)[:-1], then_close=True)),
    ("not a welcome", saying(lines(Pong()))),
    ("a welcome without its fields", saying(b'{"type":"welcome"}\n')),
    ("a goodbye", saying(lines(Goodbye("no")))),
]


@pytest.mark.parametrize(
    "fault", [case[1] for case in FAULTS], ids=[case[0] for case in FAULTS]
)
async def test_who_is_no_server_is_a_lost_link(virtual_time: None, fault: Converse) -> None:
    async with faking(fault) as fake:
        with pytest.raises(LinkLost):
            async with open_chat(fake.dial, ALICE):
                raise AssertionError
        assert trio.current_time() <= lifeline.CONNECT_WITHIN


async def test_nobody_there_is_a_lost_link(virtual_time: None) -> None:
    async with faking() as fake:
        with pytest.raises(LinkLost):
            async with open_chat(fake.dial, ALICE, patience=math.inf):
                raise AssertionError
        assert len(fake.dialled) == 1


LATE_FAULTS = [
    ("silence", saying(lines(WELCOME)), lifeline.SILENCE),
    ("the end", saying(lines(WELCOME), then_close=True), 0),
    ("nonsense", saying(lines(WELCOME), b"nonsense\n"), 0),
    ("no end of line", saying(lines(WELCOME), b'"' * 70_000), 0),
    ("wrong fields", saying(lines(WELCOME), b'{"type":"ack","id":5}\n'), 0),
    ("half a line", saying(lines(WELCOME), lines(Pong())[:-2], then_close=True), 0),
    ("a goodbye", saying(lines(WELCOME), lines(Goodbye("bye"))), 0),
]


@pytest.mark.parametrize(
    ("fault", "after"),
    [case[1:] for case in LATE_FAULTS],
    ids=[case[0] for case in LATE_FAULTS],
)
async def test_a_server_that_fails_later_is_left_and_dialled_again(
    virtual_time: None, fault: Converse, after: float
) -> None:
    states: list[State] = []
    async with faking(fault, saying(lines(WELCOME))) as fake:
        async with open_chat(fake.dial, ALICE, states.append):
            await trio.sleep(after + lifeline.BACKOFF_FROM + 1)
        first, second = fake.dialled
    assert states == [State.CONNECTED, State.RECONNECTING, State.RESUMED]
    assert 0 <= second - first - after <= lifeline.BACKOFF_FROM


async def test_what_a_newer_server_says_besides_is_not_minded(virtual_time: None) -> None:
    news = b'{"type":"weather","sky":"blue"}\n'
    strange = [
        lines(Error("weird", "out of the blue")),
        lines(WELCOME),
        lines(Ack("x", "y", 1)),
    ]
    async with (
        faking(saying(lines(WELCOME) + news, news, *strange)) as fake,
        open_chat(fake.dial, ALICE),
    ):
        await trio.sleep(lifeline.PING_EVERY * 5)
        assert len(fake.dialled) == 1


@pytest.mark.parametrize("_", range(10))  # whose turn it is in a pass is chance
async def test_nobody_is_kept_from_leaving_by_being_called_into_ever_more_rooms(
    virtual_time: None, _: int
) -> None:
    calls = (Called(f"@alice,x{number}:k", "x", 1) for number in range(2 * MOST_ROOMS))
    async with (
        faking(saying(lines(WELCOME), lines(*calls))) as fake,
        open_chat(fake.dial, ALICE) as chat,
    ):
        await trio.sleep(lifeline.PING_EVERY)  # when the next of them are answered
        assert len(chat._feed.cursors) <= MOST_ROOMS  # noqa: SLF001 # nobody shows them


# ---------------------------------------------------------------- coming back


@define(eq=False)
class Cord(trio.abc.Stream):
    """A client's end of a connection that can be cut at any moment.

    `is_deaf`, `is_dumb`: what the server, or the client, says gets lost from now on.
    """

    stream: trio.StapledStream[Any, Any]
    is_deaf: bool = False
    is_dumb: bool = False
    _is_cut: bool = field(default=False, init=False)
    _receiving: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    def cut(self) -> None:
        self._is_cut = True
        self._receiving.cancel()
        self.stream.send_stream.close()
        self.stream.receive_stream.close()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._is_cut:
            raise trio.BrokenResourceError
        if not self.is_dumb:
            await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        with trio.CancelScope() as self._receiving:
            while not self._is_cut:
                data = await self.stream.receive_some(max_bytes)
                if not (data and self.is_deaf):
                    return data
        raise trio.BrokenResourceError

    async def aclose(self) -> None:
        await self.stream.aclose()


@define(eq=False)
class Cords:
    """A `dial` whose connections can be cut; while it `is_down` there are no new ones."""

    server: RunningServer
    all: list[Cord] = field(factory=list)
    dialled: list[float] = field(factory=list)
    is_down: bool = False

    @property
    def newest(self) -> Cord:
        return self.all[-1]

    async def dial(self) -> trio.abc.Stream:
        self.dialled.append(trio.current_time())
        if self.is_down:
            await trio.lowlevel.checkpoint()
            raise LinkLost("no server answers")
        stream = await self.server.dial()
        assert isinstance(stream, trio.StapledStream)
        self.all.append(Cord(stream))
        return self.newest


@pytest.fixture
def cords(server: RunningServer) -> Cords:
    return Cords(server)


@pytest.mark.parametrize("lost", ["the say", "its ack", "neither"])
async def test_what_was_not_answered_is_asked_again_and_stands_once(
    server: RunningServer, cords: Cords, lost: str
) -> None:
    async with server.connect(name="watcher") as watcher:
        await watcher.join("lobby")
        async with open_chat(cords.dial, ALICE) as chat, trio.open_nursery() as nursery:
            await chat.join("lobby")
            cords.newest.is_dumb = lost == "the say"
            cords.newest.is_deaf = lost == "its ack"
            nursery.start_soon(chat.say, "lobby", "once")
            await trio.sleep(1)
            cords.newest.cut()
            await trio.sleep(1)
            nursery.cancel_scope.deadline = trio.current_time() + 5
            await chat.say("lobby", "and on")
        assert not nursery.cancel_scope.cancelled_caught
        assert await texts(watcher, 2) == ["once", "and on"]
    assert len(cords.all) == 2


async def test_a_call_made_without_a_connection_is_answered_once_there_is_one(
    cords: Cords,
) -> None:
    async with open_chat(cords.dial, ALICE) as chat:
        await chat.join("lobby")
        cords.is_down = True
        cords.newest.cut()
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(chat.say, "lobby", f"offline {number}")
            nursery.start_soon(chat.join, "attic")
            await trio.sleep(30)
            cords.is_down = False
        assert sorted(await texts(chat, 10)) == [f"offline {number}" for number in range(10)]
        assert await chat.who("attic") == ("alice",)


async def test_what_is_submitted_keeps_its_order_over_a_cut(cords: Cords) -> None:
    async with open_chat(cords.dial, ALICE) as chat:
        await chat.join("lobby")
        cords.newest.is_dumb = True
        receipts = [await chat.submit("lobby", str(number)) for number in range(IN_FLIGHT)]
        cords.newest.cut()
        for receipt in receipts:
            await receipt.wait()
        assert await texts(chat, IN_FLIGHT) == [str(number) for number in range(IN_FLIGHT)]


@define(eq=False)
class FullHistory(MemoryHistory):
    """A disk that may be full."""

    is_full: bool = False

    async def append(
        self, entries: Sequence[Entry], changes: Sequence[Change] = ()
    ) -> Mapping[Key, Place]:
        if self.is_full:
            await trio.lowlevel.checkpoint()
            raise StorageFull("the disk is full")
        return await super().append(entries, changes)


async def test_what_is_submitted_keeps_its_order_if_a_refusal_was_not_heard(
    virtual_time: None,
) -> None:
    history = FullHistory()
    async with running_server(history=history) as server:
        cords = Cords(server)
        async with open_chat(cords.dial, ALICE) as chat:
            await chat.join("lobby")
            cord = cords.newest
            cord.is_deaf = history.is_full = True
            receipts = [await chat.submit("lobby", "first")]
            await trio.sleep(1)
            history.is_full = False
            receipts.append(await chat.submit("lobby", "second"))
            await trio.sleep(1)
            cord.cut()
            for receipt in receipts:
                await receipt.wait()
            assert await texts(chat, 2) == ["first", "second"]


async def test_a_refusal_that_was_heard_does_not_come_in_the_way(virtual_time: None) -> None:
    history, states = FullHistory(), list[State]()
    async with (
        running_server(history=history) as server,
        server.connect(name="alice", on_state=states.append) as chat,
    ):
        await chat.join("lobby")
        history.is_full = True
        for text in ("refused", "refused, too"):
            with pytest.raises(StorageFull):
                await chat.say("lobby", text)
        assert states == [State.CONNECTED]
        history.is_full = False
        for text in ("stored", "stored, too"):
            await chat.say("lobby", text)
        assert await texts(chat, 2) == ["stored", "stored, too"]
        assert states == [State.CONNECTED, State.RECONNECTING, State.RESUMED]


async def test_what_was_missed_is_seen_after_coming_back(
    server: RunningServer, cords: Cords
) -> None:
    async with server.connect(name="bob") as bob, open_chat(cords.dial, ALICE) as chat:
        for room in ("lobby", "attic"):
            await bob.join(room)
            await chat.join(room)
        await bob.say("lobby", "before")
        cords.is_down = True
        cords.newest.cut()
        for number in range(200):
            await bob.say("lobby", f"missed {number}")
            await bob.say("attic", f"up {number}")
        cords.is_down = False
        heard = await texts(chat, 401)
        assert heard[0] == "before"
        assert [text for text in heard if "missed" in text] == [
            f"missed {n}" for n in range(200)
        ]
        assert [text for text in heard if "up" in text] == [f"up {n}" for n in range(200)]
        await bob.say("lobby", "live")
        assert await texts(chat, 1) == ["live"]


async def test_who_is_quiet_misses_nothing_and_comes_back_quietly(
    server: RunningServer, cords: Cords
) -> None:
    async with server.connect(name="bob") as bob, open_chat(cords.dial, ALICE) as chat:
        await bob.join("lobby")
        assert await chat.join("lobby", after=2**53, quiet=True) == 1
        await bob.say("lobby", "before")
        cords.is_down = True
        cords.newest.cut()
        await bob.say("lobby", "missed")
        cords.is_down = False
        assert await chat.say("lobby", "and on") == 4
        assert seqs(await items_until(chat, 4)) == [2, 3, 4]
        assert await bob.who("lobby") == ("alice", "bob")
        assert await chat.leave("lobby") == 4
        await bob.say("lobby", "alone")
        assert seqs(await items_until(bob, 5)) == [1, 2, 3, 4, 5]


async def test_a_room_that_was_left_while_behind_is_not_entered_again_by_a_reconnect(
    server: RunningServer, cords: Cords
) -> None:
    async with server.connect(name="bob") as bob, open_chat(cords.dial, ALICE) as chat:
        await bob.join("lobby")
        await chat.join("lobby")
        await say_many(bob, QUEUED_ITEMS + 10)
        await chat.leave("lobby")
        cords.newest.cut()
        await trio.sleep(30)
        assert await bob.who("lobby") == ("bob",)


async def test_a_cut_while_it_catches_up_loses_nothing(
    server: RunningServer, cords: Cords
) -> None:
    async with server.connect(name="bob") as bob, open_chat(cords.dial, ALICE) as chat:
        await bob.join("lobby")
        await chat.join("lobby")
        await say_many(bob, QUEUED_ITEMS + 300)
        heard = await texts(chat, QUEUED_ITEMS - 10)
        cords.newest.is_deaf = True

        async def cut_later() -> None:
            await trio.sleep(1)
            cords.newest.cut()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut_later)
            heard += await texts(chat, 310)
        assert heard == [str(number) for number in range(QUEUED_ITEMS + 300)]


@pytest.mark.parametrize("seed", range(6))
async def test_through_many_cuts_every_text_is_heard_once_and_in_order(
    server: RunningServer, seed: int
) -> None:
    chance = random.Random(seed)
    speaking, hearing = Cords(server), Cords(server)
    count = 150

    async def cut_now_and_then(cords: Cords) -> None:
        while True:
            await trio.sleep(chance.expovariate(1))
            cord = cords.newest
            cord.is_deaf, cord.is_dumb = chance.random() < 0.5, chance.random() < 0.5
            await trio.sleep(chance.choice([0, 0.05]))
            cord.cut()

    async def speak(chat: Chat) -> None:
        for number in range(count):
            await chat.say("lobby", str(number))
            await trio.sleep(chance.expovariate(10))

    async with (
        open_chat(hearing.dial, Hello("bob")) as bob,
        open_chat(speaking.dial, ALICE) as alice,
    ):
        await bob.join("lobby")
        await alice.join("lobby")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut_now_and_then, speaking)
            nursery.start_soon(cut_now_and_then, hearing)
            nursery.start_soon(speak, alice)
            heard = await texts(bob, count)
            nursery.cancel_scope.cancel()
        assert heard == [str(number) for number in range(count)]
        assert len(speaking.all) + len(hearing.all) > 10


async def test_states_are_told_in_order(cords: Cords) -> None:
    states: list[State] = []
    async with open_chat(cords.dial, ALICE, states.append):
        assert states == [State.CONNECTED]
        for _ in range(2):
            cords.newest.cut()
            await trio.sleep(5)
    assert states == [State.CONNECTED, *[State.RECONNECTING, State.RESUMED] * 2]


async def test_a_client_comes_back_when_the_server_said_it_should(virtual_time: None) -> None:
    farewell = lines(Goodbye("closing", retry=30))
    async with faking(saying(lines(WELCOME), farewell), saying(lines(WELCOME))) as fake:
        async with open_chat(fake.dial, ALICE):
            await trio.sleep(40)
        first, second = fake.dialled
    assert 30 <= second - first <= 30 + lifeline.BACKOFF_FROM


@pytest.mark.parametrize(("retry", "pause"), [(-5.0, 0), (1e308, lifeline.RETRY_TO), (0.0, 0)])
async def test_a_server_that_says_nonsense_is_not_waited_for_for_ever(
    virtual_time: None, retry: float, pause: float
) -> None:
    farewell = lines(Goodbye("closing", retry))
    async with faking(saying(lines(WELCOME), farewell), saying(lines(WELCOME))) as fake:
        async with open_chat(fake.dial, ALICE):
            await trio.sleep(pause + 10)
        first, second = fake.dialled
    assert pause <= second - first <= pause + lifeline.BACKOFF_FROM


@pytest.mark.parametrize("retry", [-1.0, 0.0, 1.0])
async def test_a_server_that_always_says_later_is_not_asked_for_ever(
    virtual_time: None, retry: float
) -> None:
    asked: list[type] = []

    async def put_off(stream: Stream) -> None:
        await stream.receive_some()
        await stream.send_all(lines(WELCOME))
        async for chunk in stream:
            for line in chunk.splitlines():
                request = SERVER.decode(bytes(line))
                asked.append(type(request))
                await stream.send_all(lines(Error("try_later", "later", request.id, retry)))

    async with faking(put_off) as fake, open_chat(fake.dial, ALICE) as chat:
        with pytest.raises(errors.TryLater):
            await chat.rooms()
        assert asked.count(Rooms) == ASKED_TO


@pytest.mark.parametrize("code", ["server_full", "too_many_connections"])
async def test_a_server_that_is_full_is_tried_again_when_it_says(
    virtual_time: None, code: str
) -> None:
    full = saying(lines(Error(code, "full", retry=30)), then_close=True)
    cut_off = saying(lines(WELCOME), then_close=True)
    async with faking(cut_off, full, saying(lines(WELCOME))) as fake:
        async with open_chat(fake.dial, ALICE) as chat:
            await trio.sleep(40)
            assert chat.failure is None
        _, second, third = fake.dialled
    assert 30 <= third - second <= 30 + 2 * lifeline.BACKOFF_FROM


async def test_a_server_that_closes_says_when_to_come_back(virtual_time: None) -> None:
    async with running_server() as server:
        cords = Cords(server)
        async with open_chat(cords.dial, ALICE, patience=1) as chat:
            server.close()
            with pytest.raises(LinkLost):
                await anext(chat)
    assert cords.dialled[1] >= RETRY


async def test_attempts_are_spread_over_a_bounded_and_growing_time(virtual_time: None) -> None:
    attempts = 60
    async with faking(saying(lines(WELCOME), then_close=True)) as fake:
        async with open_chat(fake.dial, ALICE):
            await trio.sleep(lifeline.BACKOFF_TO * attempts)
        starts = fake.dialled[:attempts]
    assert len(starts) == attempts
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    ceilings = [
        min(lifeline.BACKOFF_TO, lifeline.BACKOFF_FROM * 2**n) for n in range(len(pauses))
    ]
    shares = [pause / ceiling for pause, ceiling in zip(pauses, ceilings, strict=True)]
    assert all(0 <= share <= 1.0001 for share in shares)
    assert max(shares) - min(shares) > 0.5, "jitter"


async def test_patience_ends_and_whoever_waits_is_told(cords: Cords) -> None:
    told: list[str] = []

    async def expect_the_end(what: str, call: Awaitable[object]) -> None:
        with pytest.raises(LinkLost):
            await call
        told.append(what)

    async with open_chat(cords.dial, ALICE, patience=60) as chat:
        await chat.join("lobby")
        await texts_of_queue(chat)
        cords.is_down = True
        cords.newest.cut()
        cut_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_the_end, "say", chat.say("lobby", "hello?"))
            nursery.start_soon(expect_the_end, "who", chat.who("lobby"))
            nursery.start_soon(expect_the_end, "iteration", anext(chat))
        assert 60 <= trio.current_time() - cut_at <= 60 + lifeline.BACKOFF_TO
        with pytest.raises(LinkLost):
            await chat.say("lobby", "anybody?")
    assert sorted(told) == ["iteration", "say", "who"]


async def texts_of_queue(chat: Chat) -> None:
    with trio.move_on_after(0.1):
        while True:
            await anext(chat)


async def test_patience_ends_for_those_who_wait_for_their_turn_too(cords: Cords) -> None:
    async with open_chat(cords.dial, ALICE, patience=60) as chat:
        await chat.join("lobby")
        cords.is_down = True
        cords.newest.cut()
        with pytest.raises(LinkLost), trio.fail_after(600):
            await say_many(chat, IN_FLIGHT + 1)


async def test_a_name_that_is_taken_for_good_meanwhile_is_raised(
    server: RunningServer, cords: Cords
) -> None:
    async with open_chat(cords.dial, ALICE) as chat:  # in no room: its name is not kept
        cords.is_down = True
        cords.newest.cut()
        await trio.sleep(30)
        async with server.connect(name="alice"):
            cords.is_down = False
            with pytest.raises(errors.NameTaken):
                await chat.say("lobby", "it is me")
    assert lifeline.NAME_PATIENCE <= trio.current_time() <= 30 + lifeline.NAME_PATIENCE + 20


async def test_who_ends_the_block_without_a_connection_is_not_kept_waiting(
    cords: Cords,
) -> None:
    async with open_chat(cords.dial, ALICE) as chat:
        await chat.join("lobby")
        cords.is_down = True
        cords.newest.cut()
        await trio.sleep(1)
        ended_at = trio.current_time()
    assert trio.current_time() == ended_at


async def test_a_server_that_is_stuck_keeps_nobody_long_in_the_block(cords: Cords) -> None:
    async with open_chat(cords.dial, ALICE) as chat:
        await chat.join("lobby")
        cords.newest.is_deaf = True
        ended_at = trio.current_time()
    assert trio.current_time() == pytest.approx(ended_at + LEAVE_WITHIN)


# ---------------------------------------------------------------- another history


async def test_another_history_is_begun_afresh(virtual_time: None) -> None:
    states: list[State] = []
    async with running_server() as old, running_server() as new:
        here, there = Cords(old), Cords(new)
        dials: list[Dial] = [here.dial, there.dial]

        async def dial() -> trio.abc.Stream:
            return await dials[0]()

        async with open_chat(dial, ALICE, states.append) as chat:
            await chat.join("lobby")
            for number in range(20):
                await chat.say("lobby", f"old {number}")
            assert len(await texts(chat, 20)) == 20
            del dials[0]
            here.newest.cut()
            await trio.sleep(5)
            await chat.say("lobby", "new")
            events = await items_until(chat, 2)
    assert states == [State.CONNECTED, State.RECONNECTING, State.AFRESH]
    assert seqs(events) == [1, 2]
