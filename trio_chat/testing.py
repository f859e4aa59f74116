"""A whole server inside your test: no process, and if you like no port and no real time."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio
from attrs import define

from trio_chat.client.chat import Chat, open_chat
from trio_chat.client.lifeline import State
from trio_chat.doors.tls import Tls
from trio_chat.errors import LinkLost
from trio_chat.history import History
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import Hello
from trio_chat.server import Doorstep, Server
from trio_chat.session import Settings


@define(eq=False)
class RunningServer:
    """A server that runs in this process, at `host` and `port`, for as long as its block."""

    _server: Server
    _doorstep: Doorstep

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._doorstep.addresses[0][0]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._doorstep.addresses[0][1]

    def connect(
        self, *, name: str, on_state: Callable[[State], None] = lambda _: None
    ) -> AbstractAsyncContextManager[Chat]:
        """As `trio_chat.connect`, over memory: nothing but trio's clock makes it wait."""
        return open_chat(self.dial, Hello(name), on_state)

    async def dial(self) -> trio.abc.Stream:
        """The client's end of a new connection over memory."""
        await trio.lowlevel.checkpoint()  # first: cancelled later it would leave a stream
        # Not at the top: it brings pytest along, and who only connects imports this too.
        from trio.testing import memory_stream_pair  # noqa: PLC0415

        ours, theirs = memory_stream_pair()
        try:
            self.serve(theirs)
        except RuntimeError as exc:  # so trio says that the nursery is closed
            raise LinkLost("the server is closed") from exc
        return ours

    def serve(self, stream: trio.abc.Stream) -> None:
        """Let the server answer `stream` as what comes through its port: one that is slow,
        or cuts, or lies."""
        self._doorstep.nursery.start_soon(self._server.answer, stream)

    def close(self) -> None:
        """Close the server, as a signal would: everybody hears a goodbye."""
        self._server.close()


@asynccontextmanager
async def running_server(
    *,
    settings: Settings | None = None,
    history: History | None = None,
    tls: Tls | None = None,
    port: int = 0,
) -> AsyncIterator[RunningServer]:
    """Start a server on loopback and close it at the end of the block.

    By default its history is in memory, its port one that is free, and nobody is slowed
    down. Under trio's `autojump_clock` use `server.connect` rather than the port: the clock
    would jump while bytes are on their way through the kernel.
    """
    server = Server(history or MemoryHistory(), settings or Settings(rate=0), tls=tls)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                doorstep = await nursery.start(server.run, "127.0.0.1", port)
                yield RunningServer(server, doorstep)
            except Exception as exc:  # raised below, bare, outside of the nursery
                failure = exc
            finally:
                server.close()
    finally:
        if failure is not None:
            raise failure
