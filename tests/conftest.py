"""A server, peers that speak the wire to it by hand, and a deadline for every test."""

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import pytest
import trio
from attrs import define, field
from hypothesis import settings
from trio.testing import MockClock

from trio_chat.client.link import Link
from trio_chat.errors import LinkLost
from trio_chat.messages import Error, Event, Goodbye, Hello, Join, Reply, Request, Welcome
from trio_chat.outbox import Outbox
from trio_chat.testing import RunningServer, running_server
from trio_chat.wire import CLIENT, SERVER

T = TypeVar("T")

# A fifth of a second for an example is too little on a busy machine, where the first one of
# a class has its codec made.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

REAL_SECONDS = 30
"""A hang is a failure: no test takes nearly as long, or its module says how long."""

VIRTUAL_SECONDS = 3600
"""Under the virtual clock a limit costs nothing, but has to be beyond what is tested."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            is_virtual = {"virtual_time", "autojump_clock"} & set(item.fixturenames)
            real = getattr(item.module, "REAL_SECONDS", REAL_SECONDS)
            item.obj = bounded(item.obj, VIRTUAL_SECONDS if is_virtual else real)
            if "virtual_time" in item.fixturenames:
                item.add_marker(pytest.mark.trio(run=run_in_virtual_time))


def run_in_virtual_time(
    test: Callable[[], Awaitable[None]],
    *,
    clock: trio.abc.Clock | None,
    instruments: Sequence[trio.abc.Instrument],
) -> None:
    trio.run(test, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


@pytest.fixture
def virtual_time() -> None:
    """Time jumps whenever everybody waits. pytest-trio's `autojump_clock` does the same, but
    only for a test that asks for it itself, not through another fixture."""


def bounded(
    test: Callable[..., Awaitable[None]], seconds: float
) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def within(**kwargs: object) -> None:
        with trio.fail_after(seconds):
            await test(**kwargs)

    return within


@define(eq=False)
class Line:
    """A connection that nobody reads but the test: of the server it has the outbox only."""

    outbox: Outbox = field(factory=Outbox)
    address: str | None = None

    def cut_off(self, why: str, ending: str = "") -> None:
        self.outbox.cut()

    def say_goodbye(self, farewell: Goodbye) -> None:
        self.outbox.close(SERVER.encode(farewell))


@define(eq=False)
class Peer:
    """A client by hand: what it sends and hears are whole messages, and nothing else."""

    link: Link

    async def tell(self, *requests: Request) -> None:
        await self.link.send(map(CLIENT.encode, requests))

    async def tell_bytes(self, data: bytes) -> None:
        await self.link.send([data])

    async def hear(self, kind: type[T]) -> T:
        """The next reply, which has to be of that class."""
        reply = await self.link.receive()
        assert isinstance(reply, kind), reply
        return reply

    async def let_go(self) -> Error:
        """The last line, which says why the server closes the connection."""
        error = await self.hear(Error)
        with pytest.raises(LinkLost):
            await self.link.receive()
        return error

    async def hear_all(self, count: int) -> list[Reply]:
        return [await self.link.receive() for _ in range(count)]

    async def enter(self, name: str, *rooms: str) -> Welcome:
        """Say hello and join rooms that are new, or whose replay is of no interest."""
        await self.tell(Hello(name))
        welcome = await self.hear(Welcome)
        for room in rooms:
            await self.tell(Join(room))
            while not is_join(await self.hear(Event), welcome.name):
                pass
        return welcome


def is_join(event: Event, name: str) -> bool:
    return event.by == name and isinstance(event.message, Join)


Dial = Callable[[], Awaitable[Peer]]


def dialler(server: RunningServer) -> Dial:
    """What makes peers of a server, over memory."""

    async def dial() -> Peer:
        return Peer(Link(await server.dial(), patience=VIRTUAL_SECONDS))

    return dial


@pytest.fixture
async def server(virtual_time: None) -> AsyncIterator[RunningServer]:
    """A server on the virtual clock."""
    async with running_server() as server:
        yield server


@pytest.fixture
def dial(server: RunningServer) -> Dial:
    return dialler(server)
