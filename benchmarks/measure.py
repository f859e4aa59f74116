"""One run: start a server on a core of its own, load it from another, and end it."""

import compileall
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import trio
from attrs import evolve

import trio_chat
from benchmarks.rivals import Rival
from trio_chat.bench.load import Load
from trio_chat.bench.plan import Plan
from trio_chat.bench.report import Report
from trio_chat.errors import ChatError

START_WITHIN = 20.0
"""Seconds for a server to come up."""

END_WITHIN = 10.0
"""Seconds for a server to end, once it is asked to."""

LOOK_EVERY = 0.02
"""Seconds between two looks whether it is up."""


class Failed(Exception):
    """A run came to nothing; the text says why."""


def compile_as_pip_does() -> None:
    """Have the program compiled to bytecode, as whoever has installed it has it.

    In a checkout Python does so when it first starts, and where PYTHONDONTWRITEBYTECODE is
    set, at every start: a third of its CPU.
    """
    compileall.compile_dir(Path(trio_chat.__file__).parent, quiet=1)


def run(rival: Rival, plan: Plan) -> Report:
    """Start a server, load it, and end it. Raises `Failed`."""
    # /tmp is memory on some machines, on which a durable history would look too good.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        with started(rival.command(port, folder), port, folder / "output"):
            plan = evolve(plan, entering=rival.entering)
            load = Load(plan, rival.speak(rival.title, plan), "127.0.0.1", port)
            report = _perform(load)
    if report.fault is not None:
        raise Failed(str(report.fault))
    return report


def _perform(load: Load) -> Report:
    with on_core(-1):
        try:
            return trio.run(load.run)
        except (ChatError, ValueError) as exc:
            raise Failed(f"{type(exc).__name__}: {exc}") from exc


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(command: Sequence[str], port: int, output: Path) -> Iterator[int]:
    """A server that can be reached, as its process id; at the end nothing of it is left."""
    ours = {key: value for key, value in os.environ.items() if "TRIO_CHAT" not in key}
    with output.open("wb") as file, on_core(0):  # which the child inherits
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=ours, start_new_session=True
        )
    try:
        _wait_for(process, port, output)
        yield process.pid
    finally:
        _end(process)


def _wait_for(process: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(LOOK_EVERY)
    raise Failed(f"it did not start: {output.read_text(errors='replace')[-400:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(END_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with suppress(ProcessLookupError):  # what it started itself
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def on_core(place: int) -> Iterator[None]:
    """Keep to one of the cores that may be used: the first for servers, the last for the
    load."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[place]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
