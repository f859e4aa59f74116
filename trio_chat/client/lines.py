"""A terminal on which nothing is ever drawn again: for screen readers, and for terminals
that know no more than lines. The terminal itself edits what is typed."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

import trio
from attrs import define, field

from trio_chat.client.lifeline import State
from trio_chat.client.lineview import LineView
from trio_chat.client.notices import notice
from trio_chat.client.notify import notification
from trio_chat.client.plain import Lines
from trio_chat.client.surface import complete_nothing, state_text, take_nothing
from trio_chat.client.wrap import Fragments, plain
from trio_chat.secret import Secret

TOLD = 100
"""The most texts that wait to be written. Beyond that the terminal takes nothing, and
nobody reads what it is told."""

UNBOUND = 1_000_000
"""Cells of a line that is never broken: the terminal breaks it, a voice does not."""


@define(eq=False)
class _Text:
    """A text on its way to the terminal."""

    data: bytes
    is_done: trio.Event = field(factory=trio.Event, init=False)
    was_written: bool = field(default=False, init=False)


@define(eq=False)
class _Question:
    """Something that is to be typed unseen."""

    text: str = field(default="", init=False, repr=False)
    is_answered: trio.Event = field(factory=trio.Event, init=False)


@contextmanager
def _unseen(stream: BinaryIO) -> Iterator[None]:
    """Have a terminal not show what is typed; other streams show nothing."""
    if not stream.isatty():
        yield
        return
    import termios  # noqa: PLC0415 # there is none on Windows

    before = termios.tcgetattr(stream.fileno())
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(stream.fileno(), termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(stream.fileno(), termios.TCSADRAIN, before)


@define(eq=False)
class LineScreen:
    """A `Surface` of lines that come and lines that go.

    The streams, raw ones, are those of the process by default.
    """

    stdin: BinaryIO | None = None
    stdout: BinaryIO | None = None
    take: Callable[[str], bool] = take_nothing
    press: Callable[[str], bool] = take_nothing
    complete: Callable[[str], Sequence[str]] = complete_nothing
    typed: Sequence[str] = ()
    columns: int = UNBOUND
    _unread: set[str] = field(factory=set, init=False)
    _is_over: bool = field(default=False, init=False)
    _question: "_Question | None" = field(default=None, init=False)
    _send: trio.MemorySendChannel[_Text] = field(init=False)
    _receive: trio.MemoryReceiveChannel[_Text] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(TOLD)

    def make_view(self, me: str) -> LineView:
        """One line an event."""
        return LineView(me, columns=self.columns)

    async def run(self) -> None:
        """Read and write until cancelled, or until the terminal is gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            await self._write_all()
            nursery.cancel_scope.cancel(reason="the terminal is gone")

    async def show(self, fragments: Fragments) -> bool:
        """Write a text; returns when it is there: False if it never will be."""
        text = _Text(f"{plain(fragments)}\n".encode("utf-8", "replace"))
        if not self._is_over:
            await self._send.send(text)
            await text.is_done.wait()
        return text.was_written

    def tell(self, fragments: Fragments) -> None:
        """Write a text, soon."""
        self._put(f"{plain(fragments)}\n")

    def alert(self, title: str, text: str) -> None:
        """Ring the bell, and notify a person who does not look."""
        self._put(f"\a{notification(os.environ, title, text)}")

    def set_room(self, room: str | None) -> None:
        """Another room is the current one: what follows says so."""

    def set_rooms(self, rooms: Fragments) -> None:
        """Tell where something has become unread."""
        unread = {text.partition("(")[0] for style, text in rooms if style == "unread"}
        new = sorted(unread - self._unread)
        self._unread = unread
        if new:
            self.tell(notice(f"unread in {', '.join(new)}"))

    def set_lag(self, lag: float | None) -> None:
        """There is no place for it."""

    def set_state(self, state: State) -> None:
        """Tell how the connection is."""
        text = state_text(state)
        if text:
            self.tell(notice(text))

    def hold(self, id: str, text: str) -> None:
        """What is under way stands where it was typed."""

    def release(self, id: str) -> None:
        """What has been said is shown as everything is."""

    def give_back(self, text: str) -> None:
        """It stands where it was typed; the terminal can't take it back."""

    def offer(self, text: str) -> None:
        """Show what could be typed."""
        self.tell(notice(text))

    async def ask_unseen(self, what: str) -> Secret | None:
        """Have the next line typed without its being shown; None if it is empty."""
        question = self._question = _Question()
        with _unseen(self._input()):
            await self.show(notice(f"{what}; nobody sees it, an empty line gives up"))
            await question.is_answered.wait()
        self._question = None
        return Secret(question.text) if question.text else None

    def edit(self, text: str) -> None:  # noqa: ARG002 # as every surface
        """Say that it can't be."""
        self.tell(notice("there is no editor in a terminal of lines"))

    # ------------------------------------------------------------ the two directions

    async def _read(self) -> None:
        lines = Lines(self._input())
        while (texts := await lines.read()) is not None:
            for text in texts:
                self._hear(text)
        self.press("/quit")

    def _input(self) -> BinaryIO:
        self.stdin = self.stdin or _raw(sys.stdin.fileno(), "rb")
        return self.stdin

    def _hear(self, text: str) -> None:
        if self._question is None or self._question.is_answered.is_set():
            self.take(text)
        else:
            self._question.text = text
            self._question.is_answered.set()

    async def _write_all(self) -> None:
        stdout = self.stdout or _raw(sys.stdout.fileno(), "wb")
        try:
            async for text in self._receive:
                await trio.to_thread.run_sync(_write, stdout, text.data, abandon_on_cancel=True)
                text.was_written = True
                text.is_done.set()
        except OSError:  # the terminal is gone
            text.is_done.set()
        finally:
            self._is_over = True

    def _put(self, text: str) -> None:
        with suppress(trio.WouldBlock):
            self._send.send_nowait(_Text(text.encode("utf-8", "replace")))


def _write(stream: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]
    stream.flush()


def _raw(descriptor: int, mode: str) -> BinaryIO:
    """Without a buffer, whose lock an abandoned thread would keep at the end."""
    return io.FileIO(descriptor, mode, closefd=False)
