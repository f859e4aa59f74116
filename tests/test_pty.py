"""The real program at a real pseudo-terminal, looked at through a terminal's eyes."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pyte
import pytest
import trio
from attrs import define, field

import trio_chat
from tests.test_cli import free_port, serving_at
from trio_chat.client.chat import Chat
from trio_chat.client.feed import Item
from trio_chat.client.journal import open_journal
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import Event, Join, Leave, Say
from trio_chat.testing import RunningServer, running_server

REAL_SECONDS = 120
"""Most tests start a few processes, one after the other."""

WITHIN = 30.0
"""Seconds for a process to do what it is told, on a machine that is busy with the rest."""

ROWS, COLUMNS = 60, 100

PROGRAM = [sys.executable, "-m", "trio_chat"]

CTRL_C = "\x03"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings and no journals but those of the test."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PYTHONUTF8", "1")
    return tmp_path


class _Emulator(pyte.Screen):
    """A terminal that does not answer when it is asked where its cursor is."""

    was_asked = False

    def write_process_input(self, _: str) -> None:
        self.was_asked = True


@define(eq=False)
class Window:
    """A terminal with a program in it. `modes_before`: its modes when the program began.
    `patience`: seconds for the program to do what it is told."""

    process: trio.Process
    stream: trio.lowlevel.FdStream
    tty: int
    modes_before: list[object]
    patience: float = WITHIN
    _emulator: _Emulator = field(factory=lambda: _Emulator(COLUMNS, ROWS), init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    @property
    def screen(self) -> list[str]:
        """The lines that a person sees."""
        lines = (line.rstrip() for line in self._emulator.display)
        return [line for line in lines if line]

    @property
    def was_asked(self) -> bool:
        """Did the program want an answer from the terminal? One that comes late has made it
        push everything off the screen."""
        return self._emulator.was_asked

    @property
    def prompt(self) -> str:
        """The lowest line."""
        return self.screen[-1] if self.screen else ""

    @property
    def modes(self) -> list[object]:
        """How the terminal is set: whether it echoes, and so on."""
        return termios.tcgetattr(self.tty)

    @property
    def echoes(self) -> bool:
        """Does the terminal itself show what is typed, line by line?"""
        return bool(termios.tcgetattr(self.tty)[3] & (termios.ECHO | termios.ICANON))

    def type(self, keys: str) -> None:
        """Press keys: so few that they always fit."""
        os.write(self.stream.fileno(), keys.encode())

    async def see(self, wanted: str | Callable[[], bool]) -> None:
        """Wait until something is on the screen."""
        with trio.move_on_after(self.patience):
            while not (wanted() if callable(wanted) else wanted in "\n".join(self.screen)):
                await self._news.wait()
            return
        pytest.fail("\n".join(["not seen:", str(wanted), "what is:", *self.screen]))

    def resize(self, columns: int) -> None:
        """Make it wider or narrower."""
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self._emulator.resize(ROWS, columns)
        self.process.send_signal(signal.SIGWINCH)  # it has no controlling terminal

    async def ends(self) -> int:
        """Its exit status."""
        with trio.fail_after(self.patience):
            return await self.process.wait()

    async def look(self) -> None:
        """Show what the program draws, until cancelled."""
        eyes = pyte.ByteStream(self._emulator)
        while chunk := await self.stream.receive_some():
            eyes.feed(bytes(chunk))
            self._news.set()
            self._news = trio.Event()


@asynccontextmanager
async def window(*words: str) -> AsyncIterator[Window]:
    """A terminal in which a command runs; killed at the end if need be."""
    master, tty = pty.openpty()
    before = termios.tcgetattr(tty)
    fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = await trio.lowlevel.open_process(
        [*PROGRAM, *words], stdin=tty, stdout=tty, stderr=tty, start_new_session=True
    )
    async with trio.lowlevel.FdStream(master) as stream, trio.open_nursery() as nursery:
        window = Window(process, stream, tty, before)
        try:
            nursery.start_soon(window.look)
            yield window
        finally:
            process.kill()
            with trio.CancelScope(shield=True):  # it has been killed
                await process.wait()
            nursery.cancel_scope.cancel()
            os.close(tty)


def sitting(server: RunningServer) -> AbstractAsyncContextManager[Window]:
    """Alice at a terminal."""
    return sitting_at(server.port)


def sitting_at(port: int) -> AbstractAsyncContextManager[Window]:
    """Likewise, wherever the server is."""
    return window("connect", "alice", "--server", f"127.0.0.1:{port}")


async def heard(chat: Chat, is_it: Callable[[Item], bool]) -> list[Item]:
    """What is heard, up to something."""
    items: list[Item] = []
    with trio.fail_after(WITHIN):
        while not items or not is_it(items[-1]):
            items.append(await anext(chat))
    return items


def moves(items: list[Item], name: str) -> list[Join | Leave]:
    events = [item for item in items if isinstance(item, Event) and item.by == name]
    return [event.message for event in events if isinstance(event.message, Join | Leave)]


async def next_move(chat: Chat, name: str) -> Join | Leave:
    return moves(await heard(chat, lambda item: bool(moves([item], name))), name)[0]


def says(item: Item, by: str, text: str) -> bool:
    match item:
        case Event(by=speaker, message=Say(text=said)):
            return (speaker, said) == (by, text)
        case _:
            return False


async def test_half_a_line_survives_what_arrives_and_the_terminal_is_as_it_was(
    home: Path,
) -> None:
    async with running_server() as server, server.connect(name="bob") as bob:
        await bob.join("lobby")
        async with sitting(server) as alice:
            await alice.see(lambda: alice.prompt == "lobby>")
            assert not alice.echoes
            alice.type("half a li")
            await alice.see(lambda: alice.prompt == "lobby> half a li")

            for number in range(25):
                await bob.say("lobby", f"message {number}.")
            await alice.see("message 24.")
            await alice.see(lambda: alice.prompt == "lobby> half a li")
            shown = [line for line in alice.screen if "bob" in line and "message" in line]
            assert [line.split("│ ")[1] for line in shown] == [
                f"message {n}." for n in range(25)
            ]
            assert sum("half" in line for line in alice.screen) == 1
            assert not alice.was_asked

            alice.type("ne\r")
            await heard(bob, lambda item: says(item, "alice", "half a line"))
            await alice.see("alice » half a line")
            alice.type("rather not")
            await alice.see(lambda: alice.prompt == "lobby> rather not")
            alice.type(CTRL_C)
            await alice.see(lambda: alice.prompt == "lobby>")
            alice.type(CTRL_C)  # where nothing is typed it is the end
            assert await alice.ends() == 0
            assert alice.modes == alice.modes_before
        left = await next_move(bob, "alice")
        assert left == Leave("lobby", id=left.id)

        await bob.say("lobby", "while you were away")
        async with sitting(server) as alice:
            await alice.see("while you were away")
            await alice.see(lambda: alice.prompt == "lobby>")
            news = alice.screen.index("── new ──")
            assert "while you were away" in alice.screen[news + 1]
            assert "half a line" in "\n".join(alice.screen[:news])


async def test_what_was_typed_without_a_connection_survives_kill_9(home: Path) -> None:
    history, port = MemoryHistory(), int(free_port())
    async with running_server(history=history, port=port) as server:
        path = home / "trio_chat" / f"alice@127.0.0.1-{port}.db"
        async with sitting(server) as alice:
            await alice.see(lambda: alice.prompt == "lobby>")
            server.close()
            await alice.see("lobby (reconnecting)>")
            alice.type("said to nobody\r")
            await is_written(path, b"said to nobody")
            alice.process.kill()
            await alice.ends()

    async with running_server(history=history, port=port) as server:
        async with sitting(server) as alice:
            await alice.see("1 message from last time is sent now")
            await alice.see("alice » said to nobody")
            alice.type("/quit\r")
            assert await alice.ends() == 0
        async with server.connect(name="eve") as eve:
            page = await eve.history("lobby", after=0, limit=100)
    texts = [event.message.text for event in page.events if isinstance(event.message, Say)]
    assert texts == ["said to nobody"]
    async with open_journal(path) as journal:
        assert journal.survives
        assert journal.unsent == {}


async def test_what_is_said_in_private_outlives_a_server_that_is_killed(home: Path) -> None:
    port, data = int(free_port()), home / "data"
    async with AsyncExitStack() as servers:
        killed = await servers.enter_async_context(serving_at(port, data))
        async with sitting_at(port) as alice, trio_chat.connect(port=port, name="bob") as bob:
            await alice.see(lambda: alice.prompt == "lobby>")
            await bob.say("@alice", "before it")
            await alice.see("@bob │ before it")
            alice.type("/query bob\r")
            await alice.see(lambda: alice.prompt == "@bob>")
            alice.type("half a li")
            await alice.see(lambda: alice.prompt == "@bob> half a li")

            killed.kill()
            await alice.see(lambda: alice.prompt == "@bob (reconnecting)> half a li")
            await servers.enter_async_context(serving_at(port, data))
            await bob.say("@alice", "after it")
            await alice.see("bob │ after it")
            await alice.see(lambda: alice.prompt == "@bob> half a li")
            alice.type("ne\r")
            await heard(bob, lambda item: says(item, "alice", "half a line"))
            await alice.see("alice » half a line")
            for text in ("bob │ before it", "bob │ after it", "alice » half a line"):
                assert sum(line.endswith(f" {text}") for line in alice.screen) == 1
            alice.type("/quit\r")
            assert await alice.ends() == 0


async def is_written(path: Path, data: bytes) -> None:
    """Wait until something is in the file of a journal: nothing else tells of it."""
    files = [path, path.with_name(f"{path.name}-wal")]
    with trio.fail_after(WITHIN):
        # Another process can't set an event.
        while not any(file.exists() and data in file.read_bytes() for file in files):  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_after_kill_9_one_has_ones_name_back_at_once_and_sigterm_is_a_leave() -> None:
    async with running_server() as server, server.connect(name="bob") as bob:
        await bob.join("lobby")
        async with sitting(server) as alice:
            await alice.see(lambda: alice.prompt == "lobby>")
            command = [*PROGRAM, "connect", "alice", "--server", f"{server.host}:{server.port}"]
            twin = await trio.run_process(command, capture_stderr=True, check=False)
            assert twin.returncode == 1
            assert b"choose another name" in twin.stderr
            alice.process.kill()
            await alice.ends()

        async with sitting(server) as alice:
            await alice.see(lambda: alice.prompt == "lobby>")
            alice.type("me again\r")
            items = await heard(bob, lambda item: says(item, "alice", "me again"))
            assert len(moves(items, "alice")) == 1  # the first time

            alice.type("half a li")
            await alice.see(lambda: alice.prompt == "lobby> half a li")
            assert not alice.echoes
            alice.process.send_signal(signal.SIGTERM)
            assert await alice.ends() == 143
            assert alice.modes == alice.modes_before
        left = await next_move(bob, "alice")
        assert left == Leave("lobby", id=left.id)


async def test_sigterm_is_a_leave_in_a_pipe_too() -> None:
    async with running_server() as server, server.connect(name="bob") as bob:
        await bob.join("lobby")
        where = f"{server.host}:{server.port}"
        process = await trio.lowlevel.open_process(
            [*PROGRAM, "connect", "bot", "--server", where],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        async with process.stdin:
            await next_move(bob, "bot")
            process.send_signal(signal.SIGTERM)
            with trio.fail_after(WITHIN):
                assert await process.wait() == 143
        left = await next_move(bob, "bot")
        assert left == Leave("lobby", id=left.id)


async def test_half_a_line_survives_another_width() -> None:
    async with running_server() as server, sitting(server) as alice:
        await alice.see(lambda: alice.prompt == "lobby>")
        alice.type("half of a line that is long")
        await alice.see(lambda: alice.prompt.endswith("long"))
        alice.resize(20)
        typed = ["lobby> half of a lin", "       e that is lon", "       g"]
        await alice.see(lambda: alice.screen[-3:] == typed)
