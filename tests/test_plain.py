"""The client in a pipe: everything is said in order, and everything is shown."""

import io
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import BinaryIO, cast

import pytest
import trio
import trio.testing
from attrs import define, field

from trio_chat.client.calls import Receipt
from trio_chat.client.chat import Chat
from trio_chat.client.feed import Item
from trio_chat.client.plain import (
    BATCH,
    CHUNK_BYTES,
    IN_FLIGHT,
    LONGEST_LINE,
    Lines,
    race,
    run_plain,
    show_all,
)
from trio_chat.errors import (
    AlreadyInRoom,
    BadName,
    ChatError,
    LinkLost,
    NameTaken,
    Refused,
    StorageFailed,
)
from trio_chat.messages import Event, Gap, Leave, Say
from trio_chat.session import Settings
from trio_chat.testing import RunningServer, running_server
from trio_chat.wire import CLIENT


@asynccontextmanager
async def people(*names: str) -> AsyncIterator[list[Chat]]:
    """A server and some who are connected to it. The real clock: threads are at work."""
    async with running_server() as server, _connected(server, names) as chats:
        yield chats


@asynccontextmanager
async def _connected(
    server: RunningServer, names: tuple[str, ...]
) -> AsyncIterator[list[Chat]]:
    if not names:
        yield []
        return
    async with server.connect(name=names[0]) as first, _connected(server, names[1:]) as rest:
        await first.ping()  # a join in the very first moment is a matter for the chat's tests
        yield [first, *rest]


@contextmanager
def pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The two ends of a pipe, as raw as those that the process has."""
    out, into = os.pipe()
    with open(out, "rb", buffering=0) as reader, open(into, "wb", buffering=0) as writer:
        yield cast("BinaryIO", reader), cast("BinaryIO", writer)


async def run_with(chat: Chat, text: str, *, json: bool = False) -> list[str]:
    """The lines that come out if `text` comes in."""
    out = io.BytesIO()
    await run_plain(
        chat,
        "lobby",
        json=json,
        stdin=io.BytesIO(text.encode()),
        stdout=out,
        stderr=io.StringIO(),
    )
    return out.getvalue().decode().splitlines()


def texts(lines: list[str]) -> list[str]:
    """What was said, without the time and the name."""
    return [line.split(": ", 1)[1] for line in lines if ": " in line]


# ---------------------------------------------------------------- with a server


async def test_lines_are_said_and_shown_up_to_ones_own_leave() -> None:
    async with people("alice", "bob") as (alice, bob):
        await bob.join("lobby")
        lines = await run_with(alice, "hello\n\n   \nthere")
        assert [line[20:] for line in lines] == [
            "* bob joined lobby",
            "* alice joined lobby",
            "alice: hello",
            "alice: there",
            "* alice left lobby",
        ]


async def test_many_lines_keep_their_order() -> None:
    said = [f"line {number}" for number in range(10 * IN_FLIGHT)]
    async with people("alice") as (alice,):
        assert texts(await run_with(alice, "\n".join(said))) == said


async def test_json_is_the_lines_of_the_wire() -> None:
    async with people("alice") as (alice,):
        lines = await run_with(alice, "hé\x9b\n", json=True)
    _, say, leave = [CLIENT.decode(line.encode()) for line in lines]
    assert isinstance(say, Event)
    assert isinstance(say.message, Say)
    assert say.message.text == "hé\x9b"
    assert isinstance(leave, Event)
    assert isinstance(leave.message, Leave)
    assert "\x9b" not in "".join(lines)
    assert json.loads(lines[0])["type"] == "event"


async def test_bytes_that_are_no_text_are_replaced() -> None:
    async with people("alice") as (alice,):
        out = io.BytesIO()
        stdin = io.BytesIO(b"a\xffb\r\nnul\0\r\n")
        await run_plain(alice, "lobby", stdin=stdin, stdout=out)
        assert texts(out.getvalue().decode().splitlines()) == ["a\ufffdb", "nul\ufffd"]


async def test_refused_lines_are_told_and_the_others_are_said() -> None:
    async with people("alice") as (alice,):
        much = "x" * (alice.welcome.limits.text + 1)
        out, errors = io.BytesIO(), io.StringIO()
        stdin = io.BytesIO(f"one\n{much}\n{much * 100}\ntwo\n".encode())
        with pytest.raises(Refused, match="2 of the lines were not said"):
            await run_plain(alice, "lobby", stdin=stdin, stdout=out, stderr=errors)
        assert texts(out.getvalue().decode().splitlines()) == ["one", "two"]
        told = f"not said: a text may have {alice.welcome.limits.text} bytes"
        assert errors.getvalue().splitlines() == [told, told]


async def test_of_a_line_without_end_no_more_is_kept_than_it_takes_to_refuse_it() -> None:
    lines = Lines(io.BytesIO(b"x" * (LONGEST_LINE + 5 * CHUNK_BYTES) + b"\ny"))
    read = []
    while (some := await lines.read()) is not None:
        read += some
    assert LONGEST_LINE <= len(read[0]) <= LONGEST_LINE + CHUNK_BYTES
    assert read[1:] == ["y"]


async def test_what_is_said_meanwhile_is_shown_while_nothing_comes_in() -> None:
    async with people("alice", "bob") as (alice, bob):
        await bob.join("lobby")
        with pipe() as (stdin, to_alice), pipe() as (from_alice, stdout):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    lambda: run_plain(alice, "lobby", stdin=stdin, stdout=stdout)
                )
                reader = Lines(from_alice)
                await read_until(reader, "alice joined")
                await bob.say("lobby", "psst")
                await read_until(reader, "bob: psst")
                to_alice.write(b"what?\n")
                await read_until(reader, "alice: what?")
                to_alice.close()
                await read_until(reader, "alice left")


async def read_until(reader: Lines, wanted: str) -> None:
    while True:
        lines = await reader.read()
        assert lines is not None
        if any(wanted in line for line in lines):
            return


async def test_a_reader_that_goes_away_ends_it_as_any_pipe() -> None:
    async with people("alice") as (alice,):
        with pipe() as (stdin, _), pipe() as (from_alice, stdout):
            from_alice.close()
            with pytest.raises(BrokenPipeError):
                await run_plain(alice, "lobby", stdin=stdin, stdout=stdout)


async def test_a_refused_join_is_raised() -> None:
    async with people("alice") as (alice,):
        await alice.join("lobby")
        with pytest.raises(AlreadyInRoom):
            await run_with(alice, "hello")
        with pytest.raises(BadName):
            await run_plain(alice, "no room", stdin=io.BytesIO(), stdout=io.BytesIO())


# ---------------------------------------------------------------- with a chat that misbehaves


@define(eq=False)
class Waits:
    """A receipt that says how many were waited for when it was."""

    chat: "FakeChat"

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()
        self.chat.open -= 1
        if self.chat.refuses:
            raise self.chat.refuses


@define(eq=False)
class FakeChat:
    items: list[Item | ChatError] = field(factory=list)
    refuses: ChatError | None = None
    name: str = "alice"
    open: int = 0
    most: int = 0

    class welcome:  # noqa: N801 # looks like the field
        limits = Settings(rate=0).limits

    async def join(self, _: str) -> int:
        return 1

    async def leave(self, _: str) -> int:
        return 2

    async def submit(self, _: str, __: str) -> Receipt:
        self.open += 1
        self.most = max(self.most, self.open)
        return cast("Receipt", Waits(self))

    async def __aiter__(self) -> AsyncIterator[Item]:
        for item in self.items:
            await trio.lowlevel.checkpoint()
            if isinstance(item, ChatError):
                raise item
            yield item
        await trio.sleep_forever()


def fake(*items: Item | ChatError, refuses: ChatError | None = None) -> tuple[Chat, FakeChat]:
    chat = FakeChat(list(items), refuses)
    return cast("Chat", chat), chat


async def test_says_under_way_are_bounded() -> None:
    chat, seen = fake(Gap("lobby", 1, 2))
    await run_with(chat, "x\n" * 1000)
    assert seen.most == IN_FLIGHT
    assert seen.open == 0


async def test_a_gap_may_hide_ones_own_leave() -> None:
    chat, _ = fake(Gap("lobby", 1, 5))
    assert await run_with(chat, "") == ["* 5 events of lobby can't be had any more (1 to 5)"]


async def test_what_came_is_shown_before_the_loss_is_raised() -> None:
    gaps = [Gap("lobby", 1, 1) for _ in range(2 * BATCH)]
    chat, _ = fake(*gaps, LinkLost("gone"), refuses=LinkLost("gone"))
    out = io.BytesIO()
    with pytest.raises(LinkLost):
        await run_plain(chat, "lobby", stdin=io.BytesIO(b"x\n"), stdout=out)
    assert out.getvalue().count(b"\n") == 2 * BATCH


async def test_refusals_are_counted() -> None:
    chat, _ = fake(Gap("lobby", 1, 5), refuses=StorageFailed("the disk is full"))
    with pytest.raises(Refused, match="3 of the lines"):
        await run_with(chat, "a\nb\nc\n")


class Terminal(io.BytesIO):
    """Input that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("word", ["quit", "/quit"])
async def test_quit_ends_it_on_a_terminal_only(word: str) -> None:
    stdin = f"a\n{word}\nb\n".encode()
    for stream, said in ((Terminal(stdin), 1), (io.BytesIO(stdin), 3)):
        chat, _ = fake(Gap("lobby", 1, 5), refuses=StorageFailed("count me"))
        with pytest.raises(Refused, match=f"{said} of"):
            await run_plain(
                chat, "lobby", stdin=stream, stdout=io.BytesIO(), stderr=io.StringIO()
            )


# ---------------------------------------------------------------- race, show_all


async def test_the_first_to_end_ends_the_others() -> None:
    async def end() -> None:
        await trio.lowlevel.checkpoint()

    with trio.fail_after(1):
        await race(trio.sleep_forever, end, trio.sleep_forever)


async def test_a_chat_error_comes_out_of_a_race_as_itself() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise NameTaken("alice")

    with pytest.raises(NameTaken):
        await race(trio.sleep_forever, fail)


async def test_a_bug_comes_out_of_a_race_too() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        await race(trio.sleep_forever, fail)


async def test_what_is_there_at_once_is_shown_at_once() -> None:
    gaps: list[Item] = [Gap("lobby", number, number) for number in range(5 * BATCH)]
    chat, _ = fake(*gaps, LinkLost("gone"))
    batches: list[list[Item]] = []

    async def show(batch: list[Item]) -> None:
        batches.append(batch)
        await trio.testing.wait_all_tasks_blocked()

    with pytest.raises(LinkLost):
        await show_all(chat, show)
    assert [item for batch in batches for item in batch] == gaps
    assert max(map(len, batches)) <= BATCH
    assert len(batches) < 20
