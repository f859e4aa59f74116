"""The client in a pipe: lines that come in are said, what happens comes out as lines."""

import errno
import io
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, TextIO

import trio
from attrs import define, field

from trio_chat.client.clean import clean, clean_json
from trio_chat.client.commands import sayable
from trio_chat.client.feed import Item
from trio_chat.client.view import View
from trio_chat.errors import ChatError, LinkLost, Refused, SetupError, WireError
from trio_chat.messages import Event, Gap
from trio_chat.names import parse_name
from trio_chat.wire import SERVER

if TYPE_CHECKING:
    from trio_chat.client.calls import Receipt
    from trio_chat.client.chat import Chat

IN_FLIGHT = 64
"""Says that are under way at once: hides a round trip, and is no burden for a server."""

CHUNK_BYTES = 64 * 1024
"""The most bytes read at once: a thousand lines for one thread hop."""

LONGEST_LINE = 1024 * 1024
"""The most bytes kept of a line: far more than any server takes, so that one which is cut
here is refused as a whole."""

BATCH = 500
"""The most items shown at once: each batch costs a thread hop, or a redrawn prompt."""

Printed = Event | Gap
"""What has a line of its own."""


# ---------------------------------------------------------------- shared with the terminal


async def race(*tasks: Callable[[], Awaitable[None]]) -> None:
    """Run `tasks`; the first that ends, ends the others.

    A `ChatError` is one way to end, and is raised as itself, outside of any group.
    """
    ended: list[ChatError] = []

    async def run(task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except ChatError as error:
            ended.append(error)
        nursery.cancel_scope.cancel(reason="one of the tasks has ended")

    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(run, task)
    if ended:
        raise ended[0]


async def show_all(chat: "Chat", show: Callable[[list[Item]], Awaitable[None]]) -> None:
    """Show what happens, all that is there in one go, until the chat ends.

    Raises what the chat ended with, after the last item was shown.
    """
    send, receive = trio.open_memory_channel[Item](BATCH)
    failures: list[ChatError] = []

    async def fill() -> None:
        with send:
            try:
                async for item in chat:
                    await send.send(item)
            except ChatError as failure:
                failures.append(failure)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        while batch := await _take(receive):
            await show(batch)
    if failures:
        raise failures[0]


async def _take(
    receive: trio.MemoryReceiveChannel[Item],
) -> list[Item]:
    try:
        batch = [await receive.receive()]
    except trio.EndOfChannel:
        return []
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while len(batch) < BATCH:
            batch.append(receive.receive_nowait())
    return batch


# ---------------------------------------------------------------- lines in, lines out


@define(eq=False)
class Lines:
    """The lines of a stream that blocks, many for each hop into a thread."""

    stream: BinaryIO
    _rest: bytes = field(default=b"", init=False)

    async def read(self) -> list[str] | None:
        """The lines that have come; None at the end."""
        # Abandoned when cancelled: nobody can tell a thread to stop reading.
        chunk = await trio.to_thread.run_sync(
            self.stream.read, CHUNK_BYTES, abandon_on_cancel=True
        )
        if not chunk and not self._rest:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[:LONGEST_LINE]
        if not chunk:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "replace").removesuffix("\r") for line in lines]


@define(eq=False)
class Printer:
    """Prints what happens. `is_closed`: nobody reads it any more, as after `| head`."""

    stream: BinaryIO
    format: Callable[[Printed], bytes]
    room: str
    is_closed: trio.Event = field(factory=trio.Event, init=False)
    _shown: int = field(default=0, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    async def show(self, batch: list[Item]) -> None:
        """Print a batch, and see that it gets out."""
        items = [item for item in batch if isinstance(item, Printed)]
        data = b"".join(map(self.format, items))
        # In a thread: a reader that takes its time must not keep us from our pings.
        try:
            await trio.to_thread.run_sync(self._write, data, abandon_on_cancel=True)
        except BrokenPipeError:
            self.is_closed.set()
            return
        except OSError as exc:
            raise SetupError(f"can't print what happens: {exc.strerror}") from exc
        self._shown = max([self._shown, *map(self._seq, items)])
        self._news.set()

    async def wait_for(self, seq: int) -> None:
        """Wait until event `seq` has been printed."""
        while self._shown < seq:
            self._news = trio.Event()
            await self._news.wait()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.stream.write(view) :]
        self.stream.flush()

    def _seq(self, item: Printed) -> int:
        match item:
            case Event(message=post) if post.room == self.room:
                return item.seq
            case Gap(room=self.room):
                return item.last
            case _:
                return 0


@define(eq=False)
class Speaker:
    """Says lines in a room, many under way at once, in order."""

    chat: "Chat"
    room: str
    complaints: TextIO
    refused: int = field(default=0, init=False)
    _under_way: "deque[Receipt]" = field(factory=deque, init=False)

    async def say_all(self, lines: Lines, *, ends_at_quit: bool) -> None:
        """Say all lines, and wait until each of them is acked or refused."""
        while (texts := await lines.read()) is not None:
            for text in texts:
                if ends_at_quit and text.strip() in {"quit", "/quit"}:
                    return await self._settle(0)
                if text.strip():
                    await self._say(text)
            # What was refused is told before the next wait for input.
            await self._settle(0)
        return None

    async def _say(self, text: str) -> None:
        await self._settle(IN_FLIGHT - 1)
        try:
            text = sayable(text, self.chat.welcome.limits.text)
            self._under_way.append(await self.chat.submit(self.room, text))
        except (Refused, WireError) as error:
            self._complain(error)

    async def _settle(self, most: int) -> None:
        while len(self._under_way) > most:
            try:
                await self._under_way.popleft().wait()
            except (Refused, WireError) as error:
                self._complain(error)

    def _complain(self, error: ChatError) -> None:
        self.refused += 1
        self.complaints.write(f"not said: {clean(str(error))}\n")
        self.complaints.flush()


# ---------------------------------------------------------------- the whole


async def run_plain(
    chat: "Chat",
    room: str,
    *,
    json: bool = False,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    stderr: TextIO | None = None,
) -> None:
    """Join `room`, say each line of `stdin`, print what happens as lines; leave at the end
    of `stdin`, once all of it is acked and everything up to the leave is printed.

    `json`: print the lines of the wire. The streams, raw ones, are those of the process
    by default; on a terminal a line `quit` ends too.

    Raises what the join is refused with; `LinkLost`; `BrokenPipeError` if nobody reads what
    is printed any more, `SetupError` if it can't be printed; and `Refused`, at the end, if
    some of the lines were, each of which was told on `stderr`.
    """
    room = parse_name(room)
    lines = Lines(stdin or _raw(sys.stdin, "rb"))
    printer = make_printer(chat, room, json=json, stdout=stdout)
    speaker = Speaker(chat, room, stderr or sys.stderr)

    async def speak() -> None:
        try:
            await speaker.say_all(lines, ends_at_quit=lines.stream.isatty())
            await printer.wait_for(await chat.leave(room))
        except LinkLost:  # raised by `show_all` too, after all that came has been printed
            await trio.sleep_forever()

    await chat.join(room)
    await print_until(speak, chat, printer)
    if speaker.refused:
        raise Refused(f"{speaker.refused} of the lines were not said")


def make_printer(
    chat: "Chat", room: str, *, json: bool = False, stdout: BinaryIO | None = None
) -> Printer:
    """What prints the events of a room as lines for people, or as those of the wire."""
    return Printer(stdout or _raw(sys.stdout, "wb"), _format(chat.name, json=json), room)


async def print_until(
    task: Callable[[], Awaitable[None]], chat: "Chat", printer: Printer
) -> None:
    """Print what happens until `task` has ended.

    Raises what that ended with, or the chat; `BrokenPipeError` if nobody reads what is
    printed any more, `SetupError` if it can't be printed.
    """
    await race(task, lambda: show_all(chat, printer.show), printer.is_closed.wait)
    if printer.is_closed.is_set():
        raise BrokenPipeError(errno.EPIPE, "nobody reads what happens any more")


def _raw(stream: TextIO, mode: str) -> BinaryIO:
    """The stream without its buffer, whose lock a thread that is abandoned would keep when
    the interpreter wants to close it."""
    raw = io.FileIO(stream.fileno(), mode, closefd=False)
    # Whoever shares it with us may have made it so; a read would look like the end.
    os.set_blocking(raw.fileno(), True)
    return raw


def _format(me: str, *, json: bool) -> Callable[[Printed], bytes]:
    if json:
        return lambda item: clean_json(SERVER.encode(item))
    view = View(me)
    return lambda item: f"{view.line(item)}\n".encode("utf-8", "replace")
