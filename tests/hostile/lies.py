"""A hostile server, against everything of ours that may meet one: the library, a command for
scripts, and a person at a real terminal."""

import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio
from attrs import define, field

from tests.hostile.figures import at_most, exactly, mib, s
from tests.hostile.honest import HOST
from tests.hostile.liar import LIES
from tests.hostile.stage import Stage
from tests.proof.processes import ROOT, environment, free_port
from tests.test_clean import TRICKS
from trio_chat.client.chat import Chat, open_chat
from trio_chat.client.link import dial_tcp
from trio_chat.errors import ChatError
from trio_chat.messages import Event, Gap, Hello

PROGRAM = [sys.executable, "-m", "trio_chat"]

SHORT = ("endless_line", "controls")
"""The lies of the short form."""

PATIENCE = 3.0
"""Seconds that a victim tries again, and that a person looks on."""

END_WITHIN = 20.0
"""Seconds for a victim to give up: one try to connect may take ten."""


@define
class Harm:
    """What has happened to the victims of all lies, that should not."""

    untyped: list[str] = field(factory=list)
    disorder: list[str] = field(factory=list)
    tracebacks: list[str] = field(factory=list)
    controls: list[str] = field(factory=list)
    modes: list[str] = field(factory=list)
    statuses: set[int | None] = field(factory=set)
    slowest: float = 0.0
    memory: int = 0


async def lies(stage: Stage, size: float) -> str:
    """Every lie, to every kind of victim."""
    await stage.serve()  # which is not what they talk to
    harm = Harm()
    chosen = SHORT if size < 1 else tuple(LIES)
    for lie in chosen:
        stage.progress(lie)
        port = free_port(stage.port % 10_000 + 1)
        async with stage.attack("lie", lies_at=port, trick=lie), trio.open_nursery() as nursery:
            nursery.start_soon(_use_library, port, lie, harm)
            nursery.start_soon(_run_script, stage, port, lie, harm)
            nursery.start_soon(_sit_at_terminal, stage, port, lie, harm)
    stage.expect(
        exactly("the library raises what is no ChatError", harm.untyped, []),
        exactly("it shows what is out of order", harm.disorder, []),
        at_most("a victim gives up after", harm.slowest, END_WITHIN, s),
        exactly("tracebacks", harm.tracebacks, []),
        exactly("a terminal is sent what it might obey", harm.controls, []),
        exactly("a terminal is not as before", harm.modes, []),
        at_most("memory of a client", harm.memory, 100 * 2**20, mib),
    )
    return f"{len(chosen)} lies ({', '.join(chosen)}) to the library, to say, and to connect"


async def _use_library(port: int, lie: str, harm: Harm) -> None:
    start = trio.current_time()
    try:
        dial = partial(dial_tcp, HOST, port)
        async with open_chat(dial, Hello("victim"), patience=PATIENCE) as chat:
            with trio.move_on_after(PATIENCE):
                await chat.rooms()
            with trio.move_on_after(PATIENCE):
                await chat.join("lobby")
            with trio.move_on_after(PATIENCE):
                await _listen(chat, lie, harm)
    except ChatError:
        pass
    except Exception as exc:  # it is what is looked for
        harm.untyped.append(f"{lie}: {exc!r}")
    harm.slowest = max(harm.slowest, trio.current_time() - start)


async def _listen(chat: Chat, lie: str, harm: Harm) -> None:
    """What is shown of each room has to have numbers that rise."""
    newest: dict[str, int] = {}
    async for item in chat:
        match item:
            case Event(seq=seq, message=post):
                room, first, last = post.room, seq, seq
            case Gap(room, first, last):
                pass
            case _:
                continue
        if first <= newest.get(room, 0):
            harm.disorder.append(f"{lie}: {first} in {room}")
        newest[room] = last


async def _run_script(stage: Stage, port: int, lie: str, harm: Harm) -> None:
    start = trio.current_time()
    command = [*PROGRAM, "say", "lobby", "hi", "--name", "victim", "--wait", str(PATIENCE)]
    with trio.move_on_after(END_WITHIN + PATIENCE):
        done = await trio.run_process(
            [*command, "--server", f"{HOST}:{port}"],
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            cwd=ROOT,
            env=environment(stage.folder, {}),
        )
        harm.statuses.add(done.returncode)
        _look_at(done.stdout + done.stderr, lie, harm)
    harm.slowest = max(harm.slowest, trio.current_time() - start)


async def _sit_at_terminal(stage: Stage, port: int, lie: str, harm: Harm) -> None:
    async with _terminal(stage, port, lie, harm) as process:
        with trio.move_on_after(PATIENCE):
            await process.wait()
        if process.returncode is None:
            harm.memory = max(harm.memory, _peak_of(process.pid))
            process.send_signal(signal.SIGTERM)
        start = trio.current_time()
        with trio.move_on_after(END_WITHIN):
            await process.wait()
        harm.slowest = max(harm.slowest, trio.current_time() - start)


@asynccontextmanager
async def _terminal(
    stage: Stage, port: int, lie: str, harm: Harm
) -> AsyncIterator[trio.Process]:
    master, tty = pty.openpty()
    before = termios.tcgetattr(tty)
    process = await trio.lowlevel.open_process(
        [*PROGRAM, "connect", "victim", "--server", f"{HOST}:{port}"],
        stdin=tty,
        stdout=tty,
        stderr=tty,
        start_new_session=True,
        cwd=ROOT,
        env=environment(stage.folder, {"TERM": "xterm-256color"}),
    )
    shown = bytearray()

    async def read() -> None:
        async with trio.lowlevel.FdStream(master) as stream:
            with suppress(trio.BrokenResourceError):
                while chunk := await stream.receive_some():
                    shown.extend(chunk)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            yield process
        finally:
            process.kill()
            with trio.CancelScope(shield=True):  # it has been killed
                await process.wait()
            if termios.tcgetattr(tty) != before:
                harm.modes.append(lie)
            os.close(tty)
    _look_at(bytes(shown), lie, harm)


def _look_at(shown: bytes, lie: str, harm: Harm) -> None:
    if b"Traceback" in shown:
        harm.tracebacks.append(lie)
    found = [
        name for name, trick in TRICKS.items() if _obeys(trick) and trick.encode() in shown
    ]
    harm.controls += [f"{lie}: {name}" for name in found]


def _obeys(trick: str) -> bool:
    """Is it long enough not to be what our own screen is made of?"""
    return trick.isascii() and len(trick) > 6


def _peak_of(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        (peak,) = (line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(peak) * 1024
