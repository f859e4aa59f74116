"""`python -m benchmarks.micro`: single parts of the hot path, each by itself.

The figures are the best of many batches, so what else the machine does hardly counts: if
one has grown, that part has become slower.
"""

import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.charter import Identity
from trio_chat.framing import LineBuffer
from trio_chat.history import DeviceId, Entry, History, Place, Token
from trio_chat.history.memory import MemoryHistory
from trio_chat.history.sqlite import open_sqlite
from trio_chat.messages import Event, Say
from trio_chat.names import Name
from trio_chat.outbox import Outbox
from trio_chat.rooms import Device, Follower, Member, Room
from trio_chat.wire import CLIENT, SERVER

SECONDS = 1.0
"""How long each part is tried."""

BATCH_SECONDS = 0.01
"""About how long one batch takes; the best of them counts."""

FOLLOWERS = 1000

ENTRIES = 64

LOBBY, ALICE = Name("lobby"), Name("alice")
AT = datetime(2026, 11, 24, tzinfo=UTC)
SAY = Say(LOBBY, "x" * 64, "c1")
EVENT = Event(42, AT, ALICE, SAY)


def show(part: str, seconds: float, unit: str, count: int = 1) -> None:
    """Print what one of `count` took."""
    print(f"{part:38} {seconds / count * 1e6:9.3f} µs for {unit}", flush=True)


def best_of(call: Callable[[], object]) -> float:
    """The seconds that one call takes when nothing is in its way."""
    repeat = 1
    while _time(call, repeat) < BATCH_SECONDS:
        repeat *= 2
    best, end = _time(call, repeat), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        best = min(best, _time(call, repeat))
    return best / repeat


def _time(call: Callable[[], object], repeat: int) -> float:
    began = time.perf_counter()
    for _ in range(repeat):
        call()
    return time.perf_counter() - began


# ---------------------------------------------------------------- the parts


def codec_and_framing() -> None:
    """What is done once for each message, in memory."""
    line = CLIENT.encode(SAY)
    show("SERVER.decode(Say)", best_of(lambda: SERVER.decode(line)), "a line")
    show("SERVER.encode(Event)", best_of(lambda: SERVER.encode(EVENT)), "an event")
    chunk, buffer = line * ENTRIES, LineBuffer()

    def feed() -> None:
        for _ in buffer.feed(chunk):
            pass

    show("LineBuffer.feed", best_of(feed), f"a line of {ENTRIES}", ENTRIES)


async def fan_out() -> None:
    """What is done for each member, apart from the call of the kernel."""
    line = SERVER.encode(EVENT)
    async with told_room() as room:
        for count in (1, ENTRIES):
            lines = [line] * count

            def tell(lines: list[bytes] = lines) -> None:
                room.tell(room.head + 1, lines)

            unit = f"a follower of {FOLLOWERS:,}"
            show(f"Room.tell, batches of {count}", best_of(tell), unit, FOLLOWERS)


@asynccontextmanager
async def told_room() -> AsyncIterator[Room]:
    """A room whose followers' connections take everything at once."""
    room = Room(LOBBY, MemoryHistory())
    async with trio.open_nursery() as nursery:
        for number in range(FOLLOWERS):
            outbox = Outbox(len)
            member = Member(Name(f"m{number}"), Identity(number))
            device = Device(DeviceId(number), member, Nobody(outbox), Token(b""))
            room.live[Follower(device, room, outbox)] = None
            nursery.start_soon(outbox.take)
        await wait_all_tasks_blocked()
        yield room
        nursery.cancel_scope.cancel()


class Nobody:
    """The connection of somebody who is not there."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    def cut_off(self, why: str) -> None:
        """Nobody is cut off."""


async def commits() -> None:
    """What is done for each batch: to and from the thread, and to the disk."""
    # /tmp is memory on some machines.
    with tempfile.TemporaryDirectory(prefix="micro-", dir=Path.cwd()) as folder:
        async with open_sqlite(Path(folder) / "chat.db") as history:
            batches = entries()
            for count in (1, ENTRIES):
                best = await best_append(history, batches, count)
                show(f"SqliteHistory.append, batches of {count}", best, "an entry", count)


def entries() -> Iterator[Entry]:
    """Events without end."""
    seq = 0
    while True:
        seq += 1
        line = SERVER.encode(Event(seq, AT, ALICE, Say(LOBBY, "x" * 64, f"{seq}")))
        yield Entry(Place(LOBBY, seq), AT, ALICE, line, f"{seq}", None)


async def best_append(history: History, some: Iterator[Entry], count: int) -> float:
    """The seconds of the quickest commit."""
    best, end = SECONDS, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        batch = [next(some) for _ in range(count)]
        began = time.perf_counter()
        await history.append(batch)
        best = min(best, time.perf_counter() - began)
    return best


async def main() -> None:
    """All of them."""
    codec_and_framing()
    await fan_out()
    await commits()


if __name__ == "__main__":
    trio.run(main)
