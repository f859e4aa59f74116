"""What it costs to start a server, with an empty history and with a long one."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import psutil
import trio

from benchmarks.cases import START, START_LONG
from benchmarks.measure import compile_as_pip_does, free_port, started
from benchmarks.results import Results
from benchmarks.rivals import Rival
from trio_chat.config import HISTORY_FILE
from trio_chat.history import Entry, Place
from trio_chat.history.sqlite import open_sqlite
from trio_chat.messages import Say
from trio_chat.names import Name
from trio_chat.wire import said_line

EVENTS = 1_000_000

BATCH = 1000

AT = datetime(2026, 11, 24, tzinfo=UTC)

ROOM, WHO = Name("lobby"), Name("alice")


def measure_starts(rival: Rival, rounds: int, results: Results) -> None:
    """Start it so often with no events, and with a million."""
    compile_as_pip_does()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        trio.run(_fill, folder / "long" / HISTORY_FILE)
        for _ in range(rounds):
            results.add(rival, START, _start(rival, folder / "empty"))
            results.add(rival, START_LONG, _start(rival, folder / "long"))


def _start(rival: Rival, data: Path) -> float:
    """CPU seconds until it can be reached."""
    data.mkdir(exist_ok=True)
    port = free_port()
    with started(rival.command(port, data), port, data / "output") as pid:
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)


async def _fill(path: Path) -> None:
    path.parent.mkdir()
    async with open_sqlite(path, sync="normal") as history:
        for first in range(1, EVENTS, BATCH):
            await history.append([_entry(first + place) for place in range(BATCH)])


def _entry(seq: int) -> Entry:
    say = Say(ROOM, f"{seq} ".ljust(64, "x"), f"{seq}")
    line = said_line(seq, AT, WHO, say)
    return Entry(Place(ROOM, seq), AT, WHO, line, say.id, say.text)
