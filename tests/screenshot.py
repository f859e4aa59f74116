"""The picture of the README: two people at real terminals, drawn as SVG.

python -m tests.screenshot docs/screenshot.svg
"""

import fcntl
import os
import pty
import struct
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from html import escape
from itertools import dropwhile, groupby
from pathlib import Path

import pyte
import trio
from attrs import define, field

from trio_chat.testing import RunningServer, running_server

ROWS, COLUMNS = 14, 62

WITHIN = 10.0
"""Seconds for something to be on a screen."""

WIDTH, HEIGHT, GAP, BAR = 8.43, 18, 16, 30
"""Pixels: a cell of DejaVu Sans Mono at 14, what lies between the windows, their bars."""

NO_BREAK = "\xa0"
"""A space that stays beside another one."""

PAPER, INK, FRAME, FAINT = "#1c1c22", "#d8d8d8", "#33333d", "#8a8a94"

COLOURS = {
    "black": "#000000", "red": "#d75f5f", "green": "#87af5f", "brown": "#d7af5f",
    "blue": "#5f87d7", "magenta": "#af87d7", "cyan": "#5fafaf", "white": "#d8d8d8",
}  # fmt: skip
"""Those that have a name for pyte; others have six hexadecimal digits."""


@define(eq=False)
class Terminal:
    """A terminal with somebody at it."""

    stream: trio.lowlevel.FdStream
    screen: pyte.Screen = field(factory=lambda: pyte.Screen(COLUMNS, ROWS), init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    async def look(self) -> None:
        """Show what the program draws, until cancelled."""
        eyes = pyte.ByteStream(self.screen)
        while chunk := await self.stream.receive_some():
            eyes.feed(bytes(chunk))
            self._news.set()
            self._news = trio.Event()

    async def see(self, text: str) -> None:
        """Wait until something is on the screen."""
        with trio.fail_after(WITHIN):
            while not any(text in line for line in self.screen.display):
                await self._news.wait()

    async def type(self, text: str) -> None:
        await self.stream.send_all(text.encode())


@asynccontextmanager
async def sitting(server: RunningServer, name: str) -> AsyncIterator[Terminal]:
    """A terminal at which somebody talks."""
    master, tty = pty.openpty()
    fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    words = [sys.executable, "-m", "trio_chat", "connect", name]
    words += ["--server", f"{server.host}:{server.port}"]
    async with trio.lowlevel.FdStream(master) as stream, trio.open_nursery() as nursery:
        start = partial(trio.run_process, words, stdin=tty, stdout=tty, stderr=tty)
        terminal = Terminal(stream)
        terminal.screen.set_title(f"trio-chat connect {name}")
        nursery.start_soon(start)
        nursery.start_soon(terminal.look)
        try:
            yield terminal
        finally:
            nursery.cancel_scope.cancel()
            os.close(tty)


async def play(server: RunningServer, alice: Terminal, bob: Terminal) -> None:
    """A short scene."""
    await bob.see("alice joined")
    await say(bob, "the build is grene again", alice)
    await do(bob, "/edit-last the build is green again", "green again", alice)
    await do(alice, "/react 🎉", "alice put 🎉", bob)
    await say(alice, "shall we ship it?", bob)
    async with server.connect(name="backup") as program:
        await program.join("lobby", quiet=True)
        await program.say("lobby", "3.2 GB in 41 s, and it can be read")
    await alice.see("3.2 GB")
    await do(bob, "/reply >alice in five minutes (coffee first)", "coffee first", alice)
    await do(bob, "/msg alice I owe you one", "I owe you one", alice)
    await alice.type("take your time, I am still writ")
    await alice.see("still writ")


async def do(terminal: Terminal, command: str, seen: str, other: Terminal) -> None:
    await terminal.type(command + "\r")
    await other.see(seen)
    await trio.sleep(0.3)  # as people do


async def say(terminal: Terminal, text: str, other: Terminal) -> None:
    await do(terminal, text, text, other)


# ---------------------------------------------------------------- drawing


def draw(screens: list[pyte.Screen]) -> str:
    """The screens side by side, as SVG."""
    width, height = COLUMNS * WIDTH + 2 * GAP, ROWS * HEIGHT + BAR + GAP
    total = len(screens) * (width + GAP) - GAP
    body = "".join(
        f'<g transform="translate({number * (width + GAP):.1f} 0)">{window}</g>\n'
        for number, window in enumerate(
            draw_window(screen, width, height) for screen in screens
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total:.0f} {height}"'
        ' font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">'
        f"\n{body}</svg>\n"
    )


def draw_window(screen: pyte.Screen, width: float, height: float) -> str:
    dots = "".join(
        f'<circle cx="{16 + 16 * number}" cy="{BAR / 2}" r="5" fill="{FRAME}"/>'
        for number in range(3)
    )
    return (
        f'<rect width="{width:.1f}" height="{height}" rx="8" fill="{PAPER}" stroke="{FRAME}"/>'
        f'{dots}<text x="{width / 2:.1f}" y="{BAR / 2 + 5}" text-anchor="middle"'
        f' fill="{FAINT}">{escape(screen.title)}</text>\n'
        f'<g transform="translate({GAP} {BAR})">\n{"".join(draw_rows(screen))}</g>'
    )


def draw_rows(screen: pyte.Screen) -> Iterator[str]:
    for row in range(ROWS):
        cells = [(column, screen.buffer[row][column]) for column in range(COLUMNS)]
        for look, run in groupby(cells, key=lambda cell: look_of(cell[1])):
            yield draw_run(row, list(run), *look)
    x, y = screen.cursor.x * WIDTH, screen.cursor.y * HEIGHT
    yield f'<rect x="{x:.1f}" y="{y}" width="{WIDTH}" height="{HEIGHT}" fill="{INK}"/>\n'


def look_of(cell: pyte.screens.Char) -> tuple[str, str, str]:
    """Its colour, the one behind it, and its style."""
    ink, paper = colour(cell.fg, INK), colour(cell.bg, "")
    if cell.reverse:
        ink, paper = paper or PAPER, ink
    style = ' font-weight="bold"' * cell.bold + ' font-style="italic"' * cell.italics
    return ink, paper, style


def colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return COLOURS.get(name.removeprefix("bright"), f"#{name}")


def draw_run(
    row: int, run: list[tuple[int, pyte.screens.Char]], ink: str, paper: str, style: str
) -> str:
    y = row * HEIGHT
    back = f'<rect {place(run)} y="{y}" height="{HEIGHT}" fill="{paper}"/>\n' if paper else ""
    # Browsers leave out spaces at both ends, and stretch the rest to the length.
    while run and run[-1][1].data == " ":
        run.pop()
    run = list(dropwhile(lambda cell: cell[1].data == " ", run))
    if not run:
        return back
    text = escape("".join(cell.data for _, cell in run)).replace(" ", NO_BREAK)
    # Its length is given, so that another font moves nothing.
    where = place(run).replace("width", "textLength")
    return f'{back}<text {where} y="{y + 14}" fill="{ink}"{style}>{text}</text>\n'


def place(run: list[tuple[int, pyte.screens.Char]]) -> str:
    return f'x="{run[0][0] * WIDTH:.1f}" width="{len(run) * WIDTH:.1f}"'


async def main(path: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {f"XDG_{kind}_HOME": home for kind in ("CONFIG", "DATA", "STATE")}
        os.environ |= {"TERM": "xterm-256color", "PYTHONUTF8": "1", "TZ": "UTC"}
        async with running_server() as server, sitting(server, "bob") as bob:
            await bob.see("you joined")
            async with sitting(server, "alice") as alice:
                await play(server, alice, bob)
                path.write_text(draw([alice.screen, bob.screen]), encoding="utf-8")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
