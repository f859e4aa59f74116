"""The commands for scripts, in this process beside a server in this process."""

import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import pytest
import trio
import trio.testing
from attrs import define, field

from tests.test_cli import PROGRAM, finish, free_port, home, only_line, run_in_thread
from trio_chat import programs
from trio_chat.client.chat import Chat
from trio_chat.client.feed import Item
from trio_chat.errors import StorageFull
from trio_chat.framing import LineBuffer
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import Event, Found, Gap, Members, Reply, RoomInfo, RoomList, Say
from trio_chat.pairs import partner
from trio_chat.rules import TEXT_BYTES
from trio_chat.testing import RunningServer, running_server
from trio_chat.wire import CLIENT

T = TypeVar("T")

__all__ = ["home"]  # a fixture: no settings but those of the test

REAL_SECONDS = 120
"""Some tests start processes, one of them three at once."""

Capture = pytest.CaptureFixture[str]


@pytest.fixture
async def ops() -> AsyncIterator[RunningServer]:
    """A server with a room `ops`, in which alice has been: events 1 and 2."""
    async with running_server() as server:
        async with server.connect(name="alice") as alice:
            await alice.join("ops")
        yield server


def at(server: RunningServer) -> list[str]:
    return ["--server", f"{server.host}:{server.port}"]


async def say(server: RunningServer, *words: str, data: bytes | None = None) -> int:
    """Say something in `ops` as cron."""
    with pytest.MonkeyPatch.context() as patch:
        if data is not None:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return await run_in_thread("say", "ops", *words, "--name", "cron", *at(server))


async def logged(server: RunningServer) -> list[Event]:
    async with server.connect(name="reader") as reader:
        return list((await reader.history("ops", after=2)).events)


async def said(server: RunningServer) -> list[str]:
    events = await logged(server)
    assert {(type(event.message), event.by) for event in events} <= {(Say, "cron")}
    return [event.message.text for event in events if isinstance(event.message, Say)]


# ---------------------------------------------------------------- say


async def test_what_is_said_stands_there_without_a_join_or_a_leave(
    ops: RunningServer, capfd: Capture
) -> None:
    assert await say(ops, "the backup is done") == 0
    assert await say(ops, "again", "--json") == 0
    assert await said(ops) == ["the backup is done", "again"]
    out, err = capfd.readouterr()
    assert json.loads(out)["seq"] == 4
    assert not err


@pytest.mark.parametrize(
    ("words", "data", "text"),
    [
        (["-"], b"two\nlines\n\n", "two\nlines"),
        ([], "ü\r\n".encode(), "ü"),
        ([], b"\xff\0", "\ufffd\ufffd"),
        (["-5 degrees"], None, "-5 degrees"),
        ([], b"x" * TEXT_BYTES + b"\n", "x" * TEXT_BYTES),
    ],
    ids=["lines", "not ASCII", "no text", "hyphen", "longest"],
)
async def test_whatever_comes_is_one_message(
    ops: RunningServer, words: list[str], data: bytes | None, text: str
) -> None:
    assert await say(ops, *words, data=data) == 0
    assert await said(ops) == [text]


@pytest.mark.parametrize(
    ("words", "data", "told"),
    [
        ([], b"x" * (TEXT_BYTES + 1), f"{TEXT_BYTES} bytes"),
        ([], b"x" * 1_000_000, f"{TEXT_BYTES} bytes"),
    ],
    ids=["too long", "huge"],
)
async def test_what_can_not_be_said_is_status_1(
    ops: RunningServer, capfd: Capture, words: list[str], data: bytes | None, told: str
) -> None:
    assert await say(ops, *words, data=data) == 1
    assert told in only_line(capfd.readouterr().err)
    assert await said(ops) == []


@pytest.mark.parametrize(("words", "data"), [([""], None), ([" "], None), ([], b" \n\n")])
async def test_nothing_to_say_is_status_2(
    ops: RunningServer, capfd: Capture, words: list[str], data: bytes | None
) -> None:
    assert await say(ops, *words, data=data) == 2
    assert "nothing to say" in only_line(capfd.readouterr().err)
    assert await said(ops) == []


@pytest.mark.parametrize(("id", "told"), [("", "can't be empty"), ("x" * 65, "64 characters")])
async def test_an_id_that_would_not_do_is_status_2(
    ops: RunningServer, capfd: Capture, id: str, told: str
) -> None:
    assert await say(ops, "hi", "--id", id) == 2
    assert told in only_line(capfd.readouterr().err)
    assert await said(ops) == []


async def test_a_room_where_nobody_has_been_is_status_1(
    ops: RunningServer, capfd: Capture
) -> None:
    assert await run_in_thread("say", "opps", "hi", "--name", "cron", *at(ops)) == 1
    assert "no room opps" in only_line(capfd.readouterr().err)


async def test_the_same_name_and_id_is_one_message_from_many_processes(
    ops: RunningServer,
) -> None:
    words = ["say", "ops", "good morning", "--name", "cron", "--id", "today", *at(ops)]
    statuses = []

    async def run() -> None:
        statuses.append((await finish([*PROGRAM, *words])).returncode)

    async with trio.open_nursery() as nursery:  # all at once: they want the same name
        for _ in range(3):
            nursery.start_soon(run)
    assert statuses == [0, 0, 0]
    assert await said(ops) == ["good morning"]


async def test_closed_input_is_status_2(
    ops: RunningServer, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert await say(ops) == 2
    assert "has to be open" in only_line(capfd.readouterr().err)


@pytest.mark.parametrize(
    "command",
    ["say ops hi --name cron --wait 0.3", "tail ops", "tail ops -f", "rooms", "who ops"],
)
async def test_nobody_there_is_status_3(capfd: Capture, command: str) -> None:
    words = command.replace("-f", "--follow").split()
    assert await run_in_thread(*words, "--server", f"127.0.0.1:{free_port()}") == 3
    assert "no server answers" in only_line(capfd.readouterr().err)


async def test_a_server_that_starts_in_time_is_waited_for() -> None:
    history, port = MemoryHistory(), int(free_port())
    async with running_server(history=history) as server, server.connect(name="alice") as alice:
        await alice.join("ops")
    words = ["say", "ops", "at last", "--name", "cron", "--server", f"127.0.0.1:{port}"]
    process = await trio.lowlevel.open_process([*PROGRAM, *words], stderr=subprocess.PIPE)
    assert process.stderr is not None
    await trio.sleep(1)  # a real one: nobody listens on a real port
    async with running_server(history=history, port=port) as again, process.stderr:
        assert await process.wait() == 0
        async with again.connect(name="reader") as reader:
            page = await reader.history("ops", after=2)
    assert [event.by for event in page.events] == ["cron"]


async def test_a_name_that_somebody_has_is_waited_for(
    ops: RunningServer, capfd: Capture
) -> None:
    async with ops.connect(name="cron"):
        assert await say(ops, "hi", "--wait", "0.5") == 1
    assert "called cron" in only_line(capfd.readouterr().err)


async def test_a_name_that_becomes_free_in_time_is_had(ops: RunningServer) -> None:
    async def have_it() -> None:
        async with ops.connect(name="cron"):
            await trio.sleep(0.5)  # a real one: the other is in a thread

    async with trio.open_nursery() as nursery:
        nursery.start_soon(have_it)
        await trio.testing.wait_all_tasks_blocked()
        assert await say(ops, "hi") == 0
    assert await said(ops) == ["hi"]


@define(eq=False)
class StuckHistory(MemoryHistory):
    """A disk that takes what is said as soon as it `is_well`."""

    is_well: trio.Event = field(factory=trio.Event)

    async def append(self, *batch: Any) -> Any:
        if any(entry.key for entry in batch[0]):
            await self.is_well.wait()
        return await super().append(*batch)


async def test_what_is_not_answered_may_have_been_said(capfd: Capture) -> None:
    history = StuckHistory()
    async with running_server(history=history) as server:
        async with server.connect(name="alice") as alice:
            await alice.join("ops")
        assert await say(server, "hi", "--id", "x7", "--wait", "0.5") == 3
        assert "--id x7" in only_line(capfd.readouterr().err)
        history.is_well.set()
        assert await say(server, "hi", "--id", "x7") == 0
        assert await said(server) == ["hi"]


async def test_a_disk_that_is_full_is_waited_for_and_then_status_1(
    ops: RunningServer, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def append(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StorageFull("the disk is full")

    tried: list[None] = []
    monkeypatch.setattr(MemoryHistory, "append", append)
    monkeypatch.setattr(programs, "PAUSE_FROM", 0.01)
    monkeypatch.setattr(programs, "PAUSE_TO", 0.1)
    monkeypatch.setattr(programs.Speech, "_give", counting(programs.Speech._give, tried))  # noqa: SLF001
    assert await say(ops, "hi", "--wait", "1") == 1
    assert "full" in only_line(capfd.readouterr().err)
    assert len(tried) > 1


def counting(function: Callable[..., T], calls: list[None]) -> Callable[..., T]:
    def counted(*args: object) -> T:
        calls.append(None)
        return function(*args)

    return counted


# ---------------------------------------------------------------- tail


async def tail(server: RunningServer, *words: str) -> int:
    return await run_in_thread("tail", "ops", *words, *at(server))


def seqs(out: str) -> list[int]:
    return [item.seq for item in map(decode, out.splitlines()) if isinstance(item, Event)]


def decode(line: str) -> Reply:
    return CLIENT.decode(line.encode())


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], range(5, 15)),
        (["--lines", "2"], range(13, 15)),
        (["--lines", "1000"], range(1, 15)),
        (["--lines", "0"], range(0)),
        (["--after", "0"], range(1, 15)),
        (["--after", "12"], range(13, 15)),
        (["--after", "14"], range(0)),
        (["--after", "99"], range(0)),
    ],
    ids=lambda value: " ".join(value) or "the default" if isinstance(value, list) else "",
)
async def test_the_newest_events_are_shown_the_oldest_of_them_first(
    ops: RunningServer, capfd: Capture, words: list[str], shown: range
) -> None:
    async with ops.connect(name="bob") as bob:
        await bob.join("ops", after=2)
        for number in range(11):
            await bob.say("ops", str(number))
        assert await tail(ops, *words, "--json") == 0
        assert seqs(capfd.readouterr().out) == list(shown)
        assert len(await items(bob, 14)) == 12, "and tail has made none"


async def items(chat: Chat, last: int) -> list[Item]:
    heard: list[Item] = []
    async for item in chat:
        heard.append(item)
        if isinstance(item, Event) and item.seq == last:
            break
    return heard


async def test_for_people_a_line_is_a_line_and_harmless(
    ops: RunningServer, capfd: Capture
) -> None:
    assert await say(ops, "two\nlines \x1b[2J") == 0
    assert await tail(ops, "--lines", "1") == 0
    (line,) = capfd.readouterr().out.splitlines()
    assert "cron: two" in line
    assert line.isprintable()


async def test_there_is_no_such_room(ops: RunningServer, capfd: Capture) -> None:
    for command in ("tail", "who"):
        assert await run_in_thread(command, "opps", *at(ops)) == 1
        assert "no room opps" in only_line(capfd.readouterr().err)


async def test_what_is_not_kept_any_more_is_named(capfd: Capture) -> None:
    history = MemoryHistory(kept_events=5)
    async with running_server(history=history) as server:
        async with server.connect(name="alice") as alice:
            await alice.join("ops")
            for number in range(10):
                await alice.say("ops", str(number))
        assert await tail(server, "--after", "1", "--json") == 0
    assert decode(capfd.readouterr().out.splitlines()[0]) == Gap("ops", 2, 7)


@define(eq=False)
class Follower:
    """`tail --follow` in a process of its own."""

    process: trio.Process
    _lines: LineBuffer = field(factory=LineBuffer, init=False)
    seen: list[Event] = field(factory=list, init=False)

    async def see(self, seq: int) -> None:
        """Wait until it has printed event `seq`."""
        assert self.process.stdout is not None
        while not self.seen or self.seen[-1].seq < seq:
            chunk = await self.process.stdout.receive_some()
            assert chunk, "it has ended"
            events = [CLIENT.decode(line) for line in self._lines.feed(bytes(chunk))]
            self.seen += [event for event in events if isinstance(event, Event)]


@asynccontextmanager
async def following(server: RunningServer, *words: str) -> AsyncIterator[Follower]:
    command = [*PROGRAM, "tail", "ops", "--follow", "--json", *words, *at(server)]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        yield Follower(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # it has been killed
            await process.stdout.aclose()
            await process.wait()


async def test_it_follows_over_a_restart_and_shows_each_event_once() -> None:
    history, held, port = MemoryHistory(), AsyncExitStack(), int(free_port())
    async with running_server(history=history, port=port) as old:
        async with old.connect(name="alice") as alice:
            await alice.join("ops")
            await alice.say("ops", "before")
        follower = await held.enter_async_context(following(old, "--after", "0"))
        await follower.see(3)
        async with old.connect(name="bob") as bob:
            (name,) = await bob.who("ops")
        assert name.startswith("tail-"), "nobody listens unseen"
    restarted = running_server(history=history, port=port)
    async with held, restarted as new, new.connect(name="bob") as bob:
        await bob.join("ops", quiet=True)
        for number in range(50):
            await bob.say("ops", str(number))
        await follower.see(53)
    assert [event.seq for event in follower.seen] == list(range(1, 54))
    assert not any(event.by.startswith("tail") for event in follower.seen)


async def test_a_room_that_another_history_does_not_have_is_not_followed_for_ever() -> None:
    held, port = AsyncExitStack(), int(free_port())
    async with running_server(port=port) as server:
        async with server.connect(name="alice") as alice:
            await alice.join("ops")
        follower = await held.enter_async_context(following(server))
        await follower.see(2)
    async with held, running_server(port=port):
        assert await follower.process.wait() == 1


# ---------------------------------------------------------------- rooms, who


async def test_rooms_and_who_say_what_there_is(ops: RunningServer, capfd: Capture) -> None:
    async with ops.connect(name="bob") as bob:
        await bob.join("ops")
        assert await run_in_thread("rooms", *at(ops)) == 0
        assert capfd.readouterr().out.split() == ["ops", "1", "here", "3", "events"]
        assert await run_in_thread("rooms", "--json", *at(ops)) == 0
        assert decode(capfd.readouterr().out) == RoomList((RoomInfo("ops", 1, 3),))
        assert await run_in_thread("who", "Ops", *at(ops)) == 0
        assert capfd.readouterr().out == "bob\n"
        assert await run_in_thread("who", "ops", "--json", *at(ops)) == 0
        assert decode(capfd.readouterr().out) == Members("ops", ("bob",))


async def test_no_name_that_a_server_sends_steers_the_terminal(
    ops: RunningServer, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    nasty = "\x1b]0;PWN\x07\x1b[31m\x9b2J\u202e"

    async def rooms(_: Chat) -> list[RoomInfo]:
        await trio.lowlevel.checkpoint()
        return [RoomInfo(nasty, 1, 2)]

    async def who(_: Chat, _room: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [nasty]

    monkeypatch.setattr(Chat, "rooms", rooms)
    monkeypatch.setattr(Chat, "who", who)
    for command in ("rooms", "who ops"):
        assert await run_in_thread(*command.split(), *at(ops)) == 0
        assert capfd.readouterr().out.removesuffix("\n").isprintable()


async def test_say_is_heard_by_one_person_alone(ops: RunningServer, capfd: Capture) -> None:
    async with ops.connect(name="bob") as bob:
        await bob.ping()
        words = ("say", "@Bob", "psst", "--name", "cron", *at(ops))
        assert await run_in_thread(*words) == 0
        event = await anext(bob)
        assert isinstance(event, Event)
        assert (event.by, partner(event.message.room, "bob")) == ("cron", "cron")
    assert await run_in_thread("say", "@nobody", "hi", "--name", "cron", *at(ops)) == 1
    assert "nobody" in only_line(capfd.readouterr().err)


async def test_search_prints_where_words_were_said(
    ops: RunningServer, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "HITS", 2)  # so many are asked for at once
    async with ops.connect(name="bob") as bob:
        for room in ("ops", "den"):
            await bob.join(room)
            for number in range(2):
                await bob.say(room, f"green\nsoup {number}")
        await bob.say("ops", "soup")
    assert await run_in_thread("search", "SOU", "green", *at(ops)) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line[20:] for line in lines] == [
        *("ops 4 bob: green soup 0", "ops 5 bob: green soup 1"),
        *("den 2 bob: green soup 0", "den 3 bob: green soup 1"),
    ]
    assert await run_in_thread("search", "soup", "--room", "Ops", "--limit", "2", *at(ops)) == 0
    assert [line[20:] for line in capfd.readouterr().out.splitlines()] == [
        "ops 5 bob: green soup 1",
        "ops 6 bob: soup",
    ]
    assert await run_in_thread("search", "green", "--limit", "3", "--json", *at(ops)) == 0
    parts = [decode(line) for line in capfd.readouterr().out.splitlines()]
    assert [len(part.hits) for part in parts if isinstance(part, Found)] == [2, 1]
    assert await run_in_thread("search", "nothing", *at(ops)) == 0
    assert not capfd.readouterr().out
    assert await run_in_thread("search", "soup", "--room", "nowhere", *at(ops)) == 1


@pytest.mark.parametrize("command", ["tail ops", "rooms", "who ops", "search soup"])
async def test_closed_output_is_status_2(
    ops: RunningServer, monkeypatch: pytest.MonkeyPatch, capfd: Capture, command: str
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert await run_in_thread(*command.split(), *at(ops)) == 2
    assert "has to be open" in only_line(capfd.readouterr().err)
