"""A terminal of lines: what is typed, and what is written."""

import errno
import io
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from attrs import define, field

from trio_chat.client.lifeline import State
from trio_chat.client.lines import TOLD, LineScreen
from trio_chat.client.notices import notice
from trio_chat.client.terminal import run_terminal
from trio_chat.messages import Kick
from trio_chat.testing import running_server


@define
class Terminal:
    """The other end of two pipes."""

    screen: LineScreen
    keys: int
    shown: int
    text: str = field(default="", init=False)

    def type(self, text: str) -> None:
        os.write(self.keys, text.encode())

    async def see(self, wanted: str) -> None:
        while wanted not in self.text:
            data = await trio.to_thread.run_sync(
                os.read, self.shown, 4096, abandon_on_cancel=True
            )
            assert data, f"not seen: {wanted!r}"
            self.text += data.decode()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    typed, keys = os.pipe()
    shown, written = os.pipe()
    with (
        open(typed, "rb", buffering=0) as stdin,
        open(written, "wb", buffering=0) as stdout,
        open(keys, "wb", buffering=0),
        open(shown, "rb", buffering=0),
    ):
        yield Terminal(LineScreen(stdin, stdout), keys, shown)


@asynccontextmanager
async def running(screen: LineScreen) -> AsyncIterator[None]:
    async def be_there() -> None:
        await screen.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_there)
        yield
        nursery.cancel_scope.cancel()


async def test_a_conversation(terminal: Terminal) -> None:
    async with running_server() as server, server.connect(name="bob") as bob:
        await bob.join("garden")
        async with server.connect(name="alice") as alice, trio.open_nursery() as nursery:
            ended = trio.Event()

            async def talk() -> None:
                await run_terminal(alice, "lobby", screen=terminal.screen)
                ended.set()

            nursery.start_soon(talk)
            await terminal.see("* you joined lobby\n")
            terminal.type("hello\n")
            await terminal.see("you: hello\n")  # else it may wait in the room that one leaves
            terminal.type("/join garden\n")
            await terminal.see("--- garden ---\n")
            await terminal.see("* you joined garden\n")
            terminal.type("/go lobby\n")
            await terminal.see("--- lobby ---\n")
            await bob.say("garden", "anybody?\nalice?")
            await terminal.see("\ain garden: bob: anybody? ⏎ alice?\n")
            await bob.say("garden", "well")
            terminal.type("/unread\n")
            await terminal.see("--- new ---\n")
            await terminal.see("bob: well\n")
            terminal.type("/edit x\n")
            await terminal.see("no editor")
            terminal.type("/quit\n")
            await ended.wait()


async def test_who_is_put_out_hears_so(terminal: Terminal) -> None:
    async with running_server() as server, server.connect(name="bob") as bob:
        await bob.register("a password of bob")
        await bob.join("den")
        async with server.connect(name="alice") as alice, trio.open_nursery() as nursery:
            nursery.start_soon(partial(run_terminal, alice, "den", screen=terminal.screen))
            await terminal.see("* you joined den\n")
            await bob.moderate(Kick("den", "alice", "too loud"))
            await terminal.see("* bob put you out of the room: too loud\n")
            await terminal.see("you are in no room now; /join ROOM enters one\n")
            nursery.cancel_scope.cancel()


async def test_what_is_typed_behind_a_slip_in_a_query_is_not_said_to_all(
    terminal: Terminal,
) -> None:
    async with (
        running_server() as server,
        server.connect(name="alice") as alice,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(partial(run_terminal, alice, "lobby", screen=terminal.screen))
        await terminal.see("* you joined lobby\n")
        terminal.type("/query bad!name\npsst\n")
        await terminal.see("'bad!name' is not one\n")
        await terminal.see("not done: you did not get to where this may be meant for")
        terminal.type("hello\n")
        await terminal.see("you: hello\n")
        nursery.cancel_scope.cancel()
    assert "you: psst" not in terminal.text


async def test_what_is_unread_is_told_once(terminal: Terminal) -> None:
    async with running(terminal.screen):
        terminal.screen.set_rooms([("here", "1:lobby"), ("unread", "2:den(1)")])
        terminal.screen.set_rooms([("here", "1:lobby"), ("unread", "2:den(2)")])
        await terminal.screen.show(notice("end"))
        await terminal.see("end\n")
    assert terminal.text == "unread in 2:den\nend\n"


async def test_the_state_is_told(terminal: Terminal) -> None:
    async with running(terminal.screen):
        terminal.screen.set_state(State.RECONNECTING)
        await terminal.see("the connection is lost")
        terminal.screen.set_state(State.RESUMED)
        await terminal.see("connected again")


async def test_the_end_of_the_input_is_a_quit(terminal: Terminal) -> None:
    pressed = trio.Event()

    def press(line: str) -> bool:
        assert line == "/quit"
        pressed.set()
        return True

    terminal.screen.press = press
    terminal.screen.stdin = io.BytesIO(b"")
    async with running(terminal.screen):
        await pressed.wait()


async def test_a_terminal_that_takes_nothing_costs_a_bounded_memory(terminal: Terminal) -> None:
    for number in range(TOLD + 10):
        terminal.screen.tell(notice(f"{number}."))
    async with running(terminal.screen):
        await terminal.see(f"{TOLD - 1}.")
        await terminal.screen.show(notice("end"))
        await terminal.see("end")
    assert f"{TOLD}." not in terminal.text


class Gone(io.BytesIO):
    """A terminal whose window was closed."""

    def write(self, _: object) -> int:
        raise OSError(errno.EIO, "gone")


async def test_a_terminal_that_is_gone_ends_it(terminal: Terminal) -> None:
    terminal.screen.stdout = Gone()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.screen.run)
        assert not await terminal.screen.show(notice("x"))
    assert not await terminal.screen.show(notice("y"))
    terminal.screen.tell(notice("z"))
