"""Real processes: servers, which may be killed, and loads."""

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

import trio
from attrs import define, field

from tests.proof.load import DRAIN_WITHIN, READY, SAID, Plan

ROOT = Path(__file__).parents[2]
"""Where `python -m tests.proof` is started from."""

LISTENING = b"listens on"
"""What a server prints once it can be reached."""

START_WITHIN = 30.0
"""Seconds for a process to come up on a busy machine."""

HISTORY_FILE = "chat.db"

PORTS = range(20_000, 30_000)
"""Below those that the system gives to clients: one that dials while the server is down
could be given the server's own port, connect to itself, and keep the server out."""

_given: set[int] = set()


class Failed(Exception):
    """A process did not do what it was started for; the text says which and how."""


def free_port(start: int) -> int:
    """A port that nobody listens on now, looked for from `start` on; and one that nobody in
    this process was given before, who may be about to."""
    for step in range(len(PORTS)):
        port = PORTS[(start + step) % len(PORTS)]
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise Failed("there is no free port")


def environment(folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """That of this process, but with none of its user's settings."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("TRIO_CHAT_")}
    return {**ours, "XDG_CONFIG_HOME": str(folder), **extra}


def _command(process: trio.Process) -> str:
    assert isinstance(process.args, list)
    return " ".join(process.args)


async def wait_for(process: trio.Process, word: bytes, within: float = START_WITHIN) -> None:
    """Read what a process prints until `word` is in it."""
    assert process.stdout is not None
    heard = b""
    with trio.move_on_after(within):
        while chunk := await process.stdout.receive_some():
            heard += chunk
            if word in heard:
                return
    raise Failed(f"{_command(process)} did not say {word!r}: {heard.decode(errors='replace')}")


async def end(process: trio.Process, signal_number: int) -> int:
    """Send a signal and wait for the end; returns the exit status."""
    if process.returncode is None:
        process.send_signal(signal_number)
    with trio.move_on_after(START_WITHIN):
        return await process.wait()
    process.kill()
    raise Failed(f"{_command(process)} did not end by signal {signal_number}")


@define(eq=False)
class ServerProcess:
    """A server on a fixed port and folder, which can be ended and started again.

    `module`: what is run. `wrap`: a command to run it under, such as strace. `rate`: says a
    second of one connection; 0 is no limit.
    """

    data: Path
    log: Path
    port: int
    module: str = "trio_chat"
    wrap: Sequence[str] = ()
    extra: Mapping[str, str] = field(factory=dict)
    options: Sequence[str] = ()
    rate: float = 0
    _process: trio.Process | None = field(default=None, init=False)

    async def start(self) -> None:
        """Start it; returns once it can be reached."""
        serve = ["serve", "--data", str(self.data), "--port", str(self.port)]
        serve += ["--rate", str(self.rate), *self.options]
        command = [*self.wrap, sys.executable, "-m", self.module, *serve]
        with self.log.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                command,
                stdout=PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment(self.log.parent, self.extra),
            )
        await wait_for(self._process, LISTENING)

    async def kill(self) -> None:
        """kill -9."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> None:
        """SIGTERM, to which a server says goodbye. Raises `Failed` if it ends badly."""
        status = await self._end(signal.SIGTERM)
        if status != 0:
            raise Failed(f"the server ended with {status}")

    async def _end(self, number: int) -> int:
        assert self._process is not None, "started before"
        status = await end(self._process, number)
        assert self._process.stdout is not None
        await self._process.stdout.aclose()
        return status

    @property
    def pid(self) -> int:
        """The process, or what it runs under."""
        assert self._process is not None, "started before"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Has it been started, and not ended?"""
        return self._process is not None and self._process.poll() is None

    def bugs(self) -> int:
        """How often its log speaks of a bug."""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        return log.count("Traceback (most recent call last)") + log.count('"bug: ')


@define(eq=False)
class LoadProcess:
    """A process of clients."""

    plan: Plan
    log: Path
    _process: trio.Process | None = field(default=None, init=False)

    async def start(self) -> None:
        """Start it; returns once all its clients are in."""
        with self.log.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "tests.proof.load", self.plan.encode()],
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment(self.log.parent, {}),
            )
        await wait_for(self._process, READY)

    async def fall_silent(self) -> None:
        """Have it stop speaking; returns once all it said is answered, or given up."""
        process = self._started()
        assert process.stdin is not None
        await process.stdin.send_all(b"stop\n")
        await wait_for(process, SAID, DRAIN_WITHIN + START_WITHIN)

    async def finish(self) -> None:
        """Have it read to the end, once it is silent. Raises `Failed` if it can't."""
        process = self._started()
        assert process.stdin is not None
        await process.stdin.aclose()
        with trio.move_on_after(DRAIN_WITHIN + START_WITHIN):
            if await process.wait() == 0:
                return
        raise Failed(f"clients died: {self.log.read_text(errors='replace')[-2000:]}")

    async def kill(self) -> None:
        """kill -9, if it is there."""
        if self._process is not None:
            await end(self._process, signal.SIGKILL)
            for end_of_pipe in (self._process.stdin, self._process.stdout):
                assert end_of_pipe is not None
                await end_of_pipe.aclose()

    def send_signal(self, number: int) -> None:
        """Stop it, or let it go on."""
        self._started().send_signal(number)

    def _started(self) -> trio.Process:
        assert self._process is not None, "started before"
        return self._process
