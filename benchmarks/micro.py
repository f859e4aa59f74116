"""`python -m benchmarks.micro`: single parts of the hot path, each by itself.

What counts is CPU time, and the best of many batches, so that what else the machine does
hardly shows: if one has grown, that part has become slower. From *a say is ordered* on, the
event and the ack are encoded, too.
"""

import os
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import trio
from attrs import define, field

from trio_chat.charter import Identity
from trio_chat.doors.stream import TcpStream
from trio_chat.framing import LineBuffer
from trio_chat.history import DeviceId, History, Token
from trio_chat.history.memory import MemoryHistory
from trio_chat.history.sqlite import open_sqlite
from trio_chat.history.thread import one_thread
from trio_chat.hub import Hub, Proof
from trio_chat.messages import Goodbye, Join, Say
from trio_chat.names import Name
from trio_chat.outbox import Outbox
from trio_chat.rooms import Device, Follower, Member, Room
from trio_chat.sequencer import Sequencer, Submission
from trio_chat.wire import CLIENT, read_say, said_line, stored_line

SECONDS = 0.5
"""How long each part is tried."""

BATCH_SECONDS = 0.01
"""About how long one batch takes; the best of them counts."""

FOLLOWERS = 1000

SYNCS = 50
"""How often the disk is asked to keep something."""

TOGETHER = (1, 64)
"""How many says come at once."""

LOBBY, ALICE = Name("lobby"), Name("alice")
AT = datetime(2026, 11, 24, tzinfo=UTC)
SAY = Say(LOBBY, "x" * 64, "c1")

Times = dict[str, float]
"""What each part takes, in µs of CPU."""


def best_of(call: Callable[[], object], count: int = 1) -> float:
    """What one of `count` takes in a call, when nothing is in its way."""
    repeat = 1
    while _time(call, repeat) < BATCH_SECONDS:
        repeat *= 2
    best, end = _time(call, repeat), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        best = min(best, _time(call, repeat))
    return best / repeat / count * 1e6


def _time(call: Callable[[], object], repeat: int) -> float:
    began = time.process_time()
    for _ in range(repeat):
        call()
    return time.process_time() - began


async def best_await(call: Callable[[], Awaitable[object]], count: int = 1) -> float:
    """The same of something that waits. Both threads count, and so does the kernel."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        began = time.process_time()
        await call()
        best = min(best, time.process_time() - began)
    return best / count * 1e6


# ---------------------------------------------------------------- in and out of bytes


def codec_and_framing() -> Times:
    """What is done once for each message, in memory."""
    line = CLIENT.encode(SAY)
    chunk, buffer = line * 64, LineBuffer()

    def feed() -> None:
        for _ in buffer.feed(chunk):
            pass

    return {
        "a line is cut": best_of(feed, 64),
        "a say is decoded": best_of(lambda: read_say(line)),
        "an event is encoded": best_of(lambda: said_line(42, AT, ALICE, SAY)),
        "an ack is encoded": best_of(lambda: stored_line("c1", LOBBY, 42)),
    }


# ---------------------------------------------------------------- to each member


def fan_out() -> Times:
    """What is done for each member: in Python, and by the kernel."""
    line = said_line(42, AT, ALICE, SAY)
    room, times = told_room(), {}
    for count in TOGETHER:
        lines = [line] * count

        def tell(lines: list[bytes] = lines) -> None:
            room.tell(room.head + 1, lines)

        times[f"a member is told {count}"] = best_of(tell, FOLLOWERS)
    with pair() as (near, far):

        def write() -> None:
            os.write(near.fileno(), line)
            far.recv(1000)

        times["the kernel takes and gives a line"] = best_of(write)
    return times


def told_room() -> Room:
    """A room whose followers' connections take everything at once."""
    room = Room(LOBBY, MemoryHistory())
    for number in range(FOLLOWERS):
        outbox = Outbox(len)
        member = Member(Name(f"m{number}"), Identity(number))
        device = Device(DeviceId(number), member, Nobody(outbox), Token(b""))
        room.live[Follower(device, room, outbox)] = None
    return room


class Nobody:
    """The connection of somebody who is not there."""

    address: str | None = None

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    def cut_off(self, why: str, ending: str = "") -> None:
        """Nobody is cut off."""

    def say_goodbye(self, farewell: Goodbye) -> None:
        """Nobody leaves."""


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        for end in (near, far):
            end.settimeout(0)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield near, far


# ---------------------------------------------------------------- waking and waiting


async def switches() -> Times:
    """What it takes to wait for something, and to go on."""
    with one_thread("micro") as thread, pair() as (near, far):
        stream = TcpStream(near)

        async def receive() -> None:
            far.send(b"x")
            await stream.receive_some(1000)

        return {
            "a chunk is waited for": await best_await(receive),
            "a job goes to the thread and back": await best_await(lambda: thread.run(int)),
        }


# ---------------------------------------------------------------- through the sequencer


async def order() -> Times:
    """From a submission to its acks, with one member in the room."""
    times = {}
    for count in TOGETHER:
        micros = await sequenced(MemoryHistory(), count)
        times[f"a say is ordered, {count} at once"] = micros
    for count in TOGETHER:
        # /tmp is memory on some machines.
        with tempfile.TemporaryDirectory(prefix="micro-", dir=Path.cwd()) as folder:
            async with open_sqlite(Path(folder) / "chat.db") as history:
                micros = await sequenced(history, count)
        times[f"a say is ordered and stored, {count} at once"] = micros
    return times


async def sequenced(history: History, count: int) -> float:
    """What a say takes where so many come at once."""
    speaker = Speaker(Hub(history), count)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speaker.sequencer.run)
        await speaker.submit(Join(LOBBY))
        micros = await best_await(speaker.speak, count)
        nursery.cancel_scope.cancel()
    assert speaker.is_stored, "what could not be stored says nothing"
    return micros


@define(eq=False)
class Speaker:
    """Somebody who says `count` things at once."""

    hub: Hub
    count: int
    sequencer: Sequencer = field(init=False)
    device: Device = field(init=False)
    is_stored: bool = field(default=True, init=False)
    _said: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.sequencer = Sequencer(self.hub, self.hub.history)
        name = Name(f"alice{self.count}")
        self.device, _ = self.hub.enter(name, Nobody(Outbox(len)), Proof())

    async def speak(self) -> None:
        """Say them, and wait until they are acked."""
        numbers = range(self._said, self._said + self.count)
        self._said += self.count
        await self.submit(*(Say(LOBBY, "x" * 64, str(number)) for number in numbers))

    async def submit(self, *posts: Join | Say) -> None:
        """Post something, and wait until it is handled."""
        submission = Submission(self.device, self.device.connection.outbox, posts)
        await self.sequencer.submit(submission)
        await submission.is_handled.wait()
        self.is_stored &= submission.is_stored


# ---------------------------------------------------------------- the disk


def sync_seconds() -> float:
    """How long the disk takes for a commit, as a median: no CPU time, but waiting."""
    seconds = []
    with tempfile.TemporaryFile(dir=Path.cwd()) as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


# ---------------------------------------------------------------- all of them


async def measure() -> Times:
    """What each part takes."""
    times = codec_and_framing() | fan_out()
    for part in (switches, order):
        times |= await part()
    return times


def main() -> None:
    """Print it."""
    for part, micros in trio.run(measure).items():
        print(f"{part:40} {micros:9.3f} µs")


if __name__ == "__main__":
    main()
