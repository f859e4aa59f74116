"""A proxy that breaks connections, in every way that a network knows.

It stands between clients and the server and passes bytes on, until it is told to trouble
one of the connections.
"""

import math
import random
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio
from attrs import define, field, frozen

CHUNK_BYTES = 16 * 1024

DRIPPED_BYTES = 1500
"""How much goes through byte by byte, once: some events."""

SLOW_SECONDS = 3.0
"""How long a connection stays slow."""

LONG_STALL = 30.0
"""The longest stall that a connection has to survive."""

HALF_CLOSED_SECONDS = 2.0
"""How long one direction goes on after the other has ended."""

_NAME = re.compile(rb'"name":"([^"]+)"')

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@define(eq=False)
class Way:
    """One direction of a connection, and what is done to its bytes. `cut`: the next chunk
    is sent up to the middle of a line, then this is called and it ends. `drips`: bytes
    that go one by one. `delay`: seconds for each chunk until `delayed_until`."""

    source: trio.SocketStream
    target: trio.SocketStream
    cut: Callable[[], None] | None = None
    drips: int = 0
    delay: float = 0.0
    delayed_until: float = 0.0

    async def pump(self, flows: Callable[[], Awaitable[None]]) -> None:
        """Pass everything on until the source ends."""
        while chunk := await self.source.receive_some(CHUNK_BYTES):
            await flows()
            if self.cut is not None:
                await self.target.send_all(_half_a_line(chunk))
                self.cut()
                raise trio.BrokenResourceError("cut")
            await self._pass_on(chunk)
        await self.target.send_eof()

    async def _pass_on(self, chunk: bytes | bytearray) -> None:
        if trio.current_time() < self.delayed_until:
            await trio.sleep(self.delay)
        dripped, self.drips = chunk[: self.drips], max(0, self.drips - len(chunk))
        for place in range(len(dripped)):
            await self.target.send_all(dripped[place : place + 1])
        await self.target.send_all(chunk[len(dripped) :])


def _half_a_line(chunk: bytes | bytearray) -> bytes:
    """Up to the middle of the last line that begins in the chunk."""
    start = chunk.rstrip(b"\n").rfind(b"\n") + 1
    return bytes(chunk[: start + max(1, (len(chunk) - start) // 2)])


@define(eq=False)
class Pipe:
    """One connection through the proxy. `name`: of the client that said hello over it."""

    client: trio.SocketStream
    server: trio.SocketStream
    name: str = ""
    up: Way = field(init=False)
    down: Way = field(init=False)
    _flows: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._flows.set()
        self.up = Way(self.client, self.server)
        self.down = Way(self.server, self.client)

    async def run(self) -> None:
        """Pass on until either side has had enough."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, self.down, nursery)
            nursery.start_soon(self._pass_on, self.up, nursery)
        self.finish()

    async def _pass_on(self, way: Way, nursery: trio.Nursery) -> None:
        try:
            if way is self.up:
                await self._hear_name()
            await way.pump(self._wait)
        except GONE:
            nursery.cancel_scope.cancel(reason="broken")
        else:
            nursery.cancel_scope.deadline = trio.current_time() + HALF_CLOSED_SECONDS

    async def _hear_name(self) -> None:
        """The first line is the hello, in one piece: it is short, and nobody has troubled
        this connection yet."""
        hello = await self.client.receive_some(CHUNK_BYTES)
        if found := _NAME.search(hello):
            self.name = found[1].decode()
        await self.server.send_all(hello)

    async def _wait(self) -> None:
        await self._flows.wait()

    def stall(self) -> None:
        """Let nothing through until it is told to flow."""
        if self._flows.is_set():
            self._flows = trio.Event()

    def flow(self) -> None:
        """Let everything through again."""
        self._flows.set()

    def reset(self) -> None:
        """End it with RST, both ways."""
        for stream in (self.client, self.server):
            with suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.finish()

    def finish(self) -> None:
        """End it with FIN, both ways."""
        self.client.socket.close()
        self.server.socket.close()


@frozen
class Break:
    """A connection of `client` was broken at that time."""

    at: float
    client: str


@define(eq=False)
class Proxy:
    """Listens on `port`, and passes on to `target`. `lag`: seconds that what comes from the
    server takes. `breaks`: what ended connections."""

    port: int
    target: int
    random: random.Random
    lag: float = 0.0
    pipes: list[Pipe] = field(factory=list, init=False)
    breaks: list[Break] = field(factory=list, init=False)
    _slams: int = field(default=0, init=False)

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled."""
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, client: trio.SocketStream) -> None:
        if self._slams:
            self._slams -= 1
            await trio.aclose_forcefully(client)
            return
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            await trio.aclose_forcefully(client)
            return
        pipe = Pipe(client, server)
        pipe.down.delay, pipe.down.delayed_until = self.lag, math.inf
        self.pipes.append(pipe)
        try:
            await pipe.run()
        finally:
            self.pipes.remove(pipe)

    # ------------------------------------------------------------ troubles

    async def trouble(self, kind: str) -> None:
        """Do that to a connection chosen at random; returns when it is over."""
        pipe = self.random.choice([pipe for pipe in self.pipes if pipe.name])
        seconds = TROUBLES[kind](self, pipe)
        if seconds != math.inf:
            await trio.sleep(seconds)
            pipe.flow()

    def reset_all(self) -> None:
        """End all connections with RST."""
        for pipe in list(self.pipes):
            _reset(self, pipe)

    def broken(self, pipe: Pipe) -> None:
        """Note that a client has to come back."""
        self.breaks.append(Break(time.monotonic(), pipe.name))

    def slam(self, times: int) -> None:
        """Accept the next connections and close them at once."""
        self._slams += times


Trouble = Callable[[Proxy, Pipe], float]
"""Troubles a connection, and says after how many seconds it may flow again."""


def _reset(proxy: Proxy, pipe: Pipe) -> float:
    proxy.broken(pipe)
    pipe.reset()
    return 0


def _finish(proxy: Proxy, pipe: Pipe) -> float:
    proxy.broken(pipe)
    pipe.finish()
    return 0


def _stall(proxy: Proxy, pipe: Pipe) -> float:
    pipe.stall()
    return proxy.random.uniform(0.5, 3)


def _stall_long(_: Proxy, pipe: Pipe) -> float:
    pipe.stall()
    return LONG_STALL


def _die(proxy: Proxy, pipe: Pipe) -> float:
    proxy.broken(pipe)
    pipe.name = ""  # nobody troubles it any more
    pipe.stall()
    return math.inf


def _cut(proxy: Proxy, pipe: Pipe, direction: str) -> float:
    getattr(pipe, direction).cut = partial(proxy.broken, pipe)
    return 0


def _drip(_: Proxy, pipe: Pipe) -> float:
    pipe.up.drips = pipe.down.drips = DRIPPED_BYTES
    return 0


def _delay(proxy: Proxy, pipe: Pipe) -> float:
    for way in (pipe.up, pipe.down):
        way.delay = proxy.random.uniform(0.05, 2)
        way.delayed_until = trio.current_time() + SLOW_SECONDS
    return 0


def _slam(proxy: Proxy, pipe: Pipe) -> float:
    proxy.slam(proxy.random.randint(1, 4))
    return _reset(proxy, pipe)


TROUBLES: dict[str, Trouble] = {
    "RST": _reset,
    "FIN": _finish,
    "stall": _stall,
    "cut in mid-line, from the client": partial(_cut, direction="up"),
    "cut in mid-line, from the server": partial(_cut, direction="down"),
    "one byte at a time": _drip,
    "delay": _delay,
    "accept, then close": _slam,
    "stall of 30 s": _stall_long,
    "dead line": _die,
}
"""What can be done to a connection."""

SHORT = tuple(TROUBLES)[:8]
"""Those that are over within seconds."""
