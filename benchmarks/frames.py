"""`python -m benchmarks.frames`: what a delivery over a WebSocket costs, beside a line.

A hundred members, of whom one speaks, all over lines or all over frames. Two servers are up
at once, one for each, and are talked to in turn, a quarter of a second at a time: so each ratio
is of what was measured side by side, whatever else the machine does meanwhile. Servers are
started several times, too, for each process lies differently in memory; the median counts. The
load tester compares what members are sent as lines; so this one only counts: the members of a
crowd have to be sent equally many bytes, and every say has to be acked.
"""

import selectors
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import define, field

from benchmarks.dialects import frame
from benchmarks.measure import free_port, on_core, started
from benchmarks.rivals import serve
from trio_chat.bench.process import LocalProcess

MEMBERS = 100

SECONDS = 0.25
"""How long a crowd talks before it is the other's turn: less than what else the machine does
takes to begin or to end."""

STARTS, ROUNDS = 7, 14
"""How often the servers are started, and how often each is talked to then: an even number.
All of one start has to be over before a server pings those that are silent, after 15 s."""

IN_FLIGHT = (64, 1)

GOAL = 1.3
"""How much a frame may cost, if a line costs 1."""

ACK = b'{"type":"ack"'

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

Wrap = Callable[[bytes], bytes]


@define(eq=False)
class Member:
    """A connection, and how many bytes came over it since it was in."""

    socket: socket.socket
    received: int = field(default=0, init=False)


@define(eq=False)
class Crowd:
    """All members of a run. `wrap` makes of a message what is sent."""

    port: int
    wrap: Wrap
    members: list[Member] = field(factory=list, init=False)
    said: int = field(default=0, init=False)
    acked: int = field(default=0, init=False)
    own_bytes: int = field(default=0, init=False)
    _rest: bytes = field(default=b"", init=False)
    _selector: selectors.DefaultSelector = field(factory=selectors.DefaultSelector, init=False)
    _buffer: bytearray = field(factory=lambda: bytearray(2**18), init=False)

    def enter(self, greeting: bytes) -> None:
        """Have everybody join; what comes after that is the same for all."""
        for number in range(MEMBERS):
            one = socket.create_connection(("127.0.0.1", self.port))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            hello = b'{"type":"hello","name":"n%d"}' % number
            quiet = b',"quiet":true' if number else b""
            join = (
                b'{"type":"join","room":"lobby","id":"in","after":9007199254740992%b}' % quiet
            )
            one.sendall(greeting + self.wrap(hello) + self.wrap(join))
            heard = b""
            while ACK not in heard:
                heard += one.recv(2**16)
            one.settimeout(0)
            self.members.append(Member(one))
            self._selector.register(one, selectors.EVENT_READ, self.members[-1])
        self._until(lambda: False, 0.3)
        for member in self.members:
            member.received = 0

    def talk(self, seconds: float, in_flight: int) -> None:
        """Speak, and hear, so long; then hear what is left."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._say(in_flight - self.said + self.acked)
            self._hear(0.1)
        self._until(lambda: self.acked == self.said and len(self._received()) == 1, 10)

    def check(self) -> None:
        """Raises `ValueError` if somebody was sent less."""
        if self.acked != self.said or len(self._received()) != 1:
            raise ValueError(f"{self.said} said, {self.acked} acked: {self._received()}")

    def _received(self) -> set[int]:
        """How many bytes of events the members have got."""
        speaker, *others = self.members
        return {speaker.received - self.own_bytes, *(member.received for member in others)}

    def close(self) -> None:
        """Hang up."""
        for member in self.members:
            member.socket.close()
        self._selector.close()

    def _say(self, count: int) -> None:
        numbers = range(self.said, self.said + max(0, count))
        says = [
            b'{"type":"say","room":"lobby","text":"%064d","id":"%d"}' % (number, number)
            for number in numbers
        ]
        self.said += len(says)
        self.members[0].socket.sendall(b"".join(map(self.wrap, says)))

    def _until(self, is_done: Callable[[], bool], seconds: float) -> None:
        end = time.perf_counter() + seconds
        while not is_done() and time.perf_counter() < end:
            self._hear(0.05)

    def _hear(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            member: Member = key.data
            size = member.socket.recv_into(self._buffer)
            member.received += size
            if member is self.members[0]:
                self._count_acks(bytes(self._buffer[:size]))

    def _count_acks(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        acks = [line for line in lines if ACK in line[:20]]
        self.acked += len(acks)
        self.own_bytes += sum(len(ack) + 1 for ack in acks)


def line(message: bytes) -> bytes:
    """A message as the line door takes it."""
    return message + b"\n"


KINDS: Sequence[tuple[bytes, Wrap]] = [(b"", line), (UPGRADE, frame)]


@define(eq=False)
class Side:
    """A crowd and its server, and what it has cost so far."""

    crowd: Crowd
    server: LocalProcess
    cpu: float = field(default=0.0, init=False)
    said: int = field(default=0, init=False)

    def talk(self, in_flight: int) -> None:
        """Have the crowd talk, until it is the other's turn."""
        said, cpu = self.crowd.said, self.server.usage().cpu
        self.crowd.talk(SECONDS, in_flight)
        self.said += self.crowd.said - said
        self.cpu += self.server.usage().cpu - cpu

    @property
    def cost(self) -> float:
        """The server's CPU for one delivery, in µs."""
        return self.cpu / (self.said * MEMBERS) * 1e6


@contextmanager
def talking(greeting: bytes, wrap: Wrap, in_flight: int) -> Iterator[Side]:
    """A server of its own, and a crowd that is in and has begun to talk."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as name:
        folder, port = Path(name), free_port()
        command = serve("--no-history")(port, folder)
        with started(command, port, folder / "output") as pid:
            crowd = Crowd(port, wrap)
            crowd.enter(greeting)
            crowd.talk(0.5, in_flight)
            yield Side(crowd, LocalProcess(pid))
            crowd.check()
            crowd.close()


def compare(in_flight: int) -> tuple[float, float]:
    """What a line cost and a frame, side by side."""
    with ExitStack() as stack:
        sides = [stack.enter_context(talking(*kind, in_flight)) for kind in KINDS]
        stack.enter_context(on_core(-1))
        for _ in range(ROUNDS):
            for side in sides:
                side.talk(in_flight)
            sides.reverse()  # neither is always the second
        line, frame = sides
        return line.cost, frame.cost


def summary(costs: Sequence[tuple[float, float]]) -> str:
    """The medians, and how far apart the ratios are."""
    ratios = sorted(frame / line for line, frame in costs)
    line, frame = (statistics.median(kind) for kind in zip(*costs, strict=True))
    ratio = statistics.median(ratios)
    verdict = "met" if ratio <= GOAL else "missed"
    spread = ", ".join(f"{one:.2f}" for one in ratios)
    return (
        f"a line {line:.2f} µs, a frame {frame:.2f} µs, ratio {ratio:.2f} (of {spread}),"
        f" {verdict}: at most {GOAL}"
    )


def main() -> None:
    """Compare, and print the figures."""
    for in_flight in IN_FLIGHT:
        costs = [compare(in_flight) for _ in range(STARTS)]
        print(f"{MEMBERS} members, {in_flight} in flight: {summary(costs)}", flush=True)


if __name__ == "__main__":
    main()
