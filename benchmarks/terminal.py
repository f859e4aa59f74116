"""`python -m benchmarks.terminal`: what a person at a terminal waits for.

How much CPU `connect` takes to its first prompt, and how long a key takes to appear while
ten thousand events are drawn that were missed. The latter by a clock, and by what the client
itself computes until then, which is what is left of it on a machine that does nothing else.
"""

import codecs
import fcntl
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import trio
from attrs import define, field

import trio_chat
from benchmarks.measure import compile_as_pip_does, free_port, started

MISSED = 10_000

STARTS = 5

FLOODS = 3
"""The best of them counts: what freezes the prompt does so in each of them, and what else
the machine does is in the way of one or two."""

SECONDS_TO_PROMPT = 0.6
"""What the first prompt may cost, of CPU."""

SECONDS_TO_ECHO = 0.05
"""What a key may take."""

WITHIN = 30.0
"""Seconds for something to appear."""

BETWEEN_KEYS = 0.02
"""Seconds: a fast typist."""

PIECES = 1000
"""How often the same piece of work is done, to see what the machine makes of it."""

ROWS, COLUMNS = 50, 100

KEYS = [chr(code) for code in range(0x0400, 0x0530)]
"""Letters that nothing else on the screen has."""

MESSAGE = re.compile(r"message (\d+)\.")

LINE = 40
"""The most characters of such a number, and what is around it."""

DECODER = partial(codecs.getincrementaldecoder("utf-8"), "replace")
"""A key may come in two pieces."""

CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

PROGRAM = [sys.executable, "-m", "trio_chat"]


class Echo(NamedTuple):
    """Seconds from a key to its sight: by a clock, and how much of it the client computed."""

    clock: float
    computed: float


@define(eq=False)
class Terminal:
    """A terminal with `connect` in it. `text`: the end of what was written; `newest`: the
    number of the last message there was."""

    process: "subprocess.Popen[bytes]"
    descriptor: int
    text: str = field(default="", init=False)
    newest: int = field(default=-1, init=False)
    _decoder: codecs.IncrementalDecoder = field(factory=DECODER, init=False)

    def see(self, wanted: str) -> None:
        """Wait until something has been written."""
        deadline = time.monotonic() + WITHIN
        while wanted not in self.text:
            self._read(deadline - time.monotonic())

    def echo(self, key: str) -> Echo:
        """Press a key, and wait until it is seen."""
        self.text, start, computed = "", time.perf_counter(), self.computed()
        os.write(self.descriptor, key.encode())
        self.see(key)
        return Echo(time.perf_counter() - start, self.computed() - computed)

    def computed(self) -> float:
        """The seconds that the client has computed up to now, in all its threads."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def look(self, seconds: float) -> None:
        """Read what is written meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.descriptor], [], [], left)[0]:
                self._read(left)

    def _read(self, seconds: float) -> None:
        if not select.select([self.descriptor], [], [], max(0.0, seconds))[0]:
            raise TimeoutError(f"nothing is written any more; the last was {self.text[-300:]}")
        data = CONTROLS.sub("", self._decoder.decode(os.read(self.descriptor, 65536)))
        self.text += data
        # No more than is new: what is computed here keeps a processor from the client.
        numbers = [int(number) for number in MESSAGE.findall(self.text[-len(data) - LINE :])]
        self.newest = max(numbers, default=self.newest)


@contextmanager
def connected(port: int, home: Path) -> Iterator[Terminal]:
    """Alice at a terminal; she leaves at the end."""
    kinds = ("CONFIG", "DATA", "STATE")
    environ = os.environ | {f"XDG_{kind}_HOME": str(home) for kind in kinds}
    master, tty = pty.openpty()
    fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = [*PROGRAM, "connect", "alice", "--server", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        command,
        stdin=tty,
        stdout=tty,
        stderr=tty,
        env=environ | {"TERM": "xterm-256color", "PYTHONUTF8": "1"},
        start_new_session=True,
    )
    try:
        terminal = Terminal(process, master)
        yield terminal
        os.write(master, b"\x15/quit\r")
        while process.poll() is None:  # it ends once all that it writes is read
            terminal.look(BETWEEN_KEYS)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(tty)


def to_prompt(port: int, home: Path) -> tuple[float, float]:
    """The seconds of CPU, and of a clock, that the first prompt took."""
    start = time.perf_counter()
    with connected(port, home) as terminal:
        terminal.see("lobby>")
        seconds = time.perf_counter() - start
        times = psutil.Process(terminal.process.pid).cpu_times()
        return times.user + times.system, seconds


async def talk(port: int, numbers: range) -> None:
    """Say what alice will have missed."""
    async with trio_chat.connect("127.0.0.1", port, name="bob") as bob:
        await bob.join("lobby", quiet=True)
        for number in numbers:
            receipt = await bob.submit("lobby", f"message {number}. " + "word " * 12)
        await receipt.wait()


def type_in_a_flood(port: int, home: Path, last: int) -> list[Echo]:
    """What each key took, until message `last` is drawn."""
    echoes: list[Echo] = []
    with connected(port, home) as terminal:
        terminal.see("lobby>")
        for key in KEYS:
            echoes.append(terminal.echo(key))
            if terminal.newest == last:
                break
            terminal.look(BETWEEN_KEYS)
        assert terminal.newest == last, "more keys are needed"
    return echoes


def main() -> int:
    """Measure, print, and say whether it is good enough."""
    compile_as_pip_does()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as name:
        folder, port = Path(name), free_port()
        serve = [*PROGRAM, "serve", "--port", str(port), "--rate", "0", "--data", name]
        with started(serve, port, folder / "output"):
            starts = [to_prompt(port, folder) for _ in range(STARTS)]
            floods = list(flood(port, folder))
    cpu, clock = (statistics.median(times) for times in zip(*starts, strict=True))
    print(f"to the first prompt: {cpu:.2f} s of CPU, {clock:.2f} s")
    print(f"a key while {MISSED} events are drawn, and the slowest one:")
    slowest = min(_tell(echoes) for echoes in floods)
    usual, longest = (f"{each * 1e3:.1f}" for each in yardstick())
    print(f"and the same piece of work, {PIECES} times: {usual} ms of CPU, {longest} ms")
    return int(cpu > SECONDS_TO_PROMPT or slowest > SECONDS_TO_ECHO)


def yardstick() -> tuple[float, float]:
    """The seconds of CPU that a piece of work takes, and at most: where a core is shared with
    other machines, or its clock changes, some take ten times as long as others."""
    pieces = []
    for _ in range(PIECES):
        start = time.thread_time()
        sum(number * number for number in range(20_000))
        pieces.append(time.thread_time() - start)
    return statistics.median(pieces), max(pieces)


def _tell(echoes: list[Echo]) -> float:
    """Print what keys took; returns what was computed for the slowest."""
    clock, computed = (sorted(times) for times in zip(*echoes, strict=True))
    shown = [statistics.median(clock), clock[-1], statistics.median(computed), computed[-1]]
    usual, slowest, usual_computed, slowest_computed = (f"{each * 1e3:.1f}" for each in shown)
    print(f"  {usual} ms, {slowest} ms; computed: {usual_computed} ms, {slowest_computed} ms")
    return float(computed[-1])


def flood(port: int, home: Path) -> Iterator[list[Echo]]:
    """What keys take, once for each time that alice comes back."""
    for start in range(0, FLOODS * MISSED, MISSED):
        numbers = range(start, start + MISSED)  # some of the last flood are shown again
        trio.run(talk, port, numbers)
        yield type_in_a_flood(port, home, numbers[-1])


if __name__ == "__main__":
    sys.exit(main())
