"""TCP: how it is listened on, and how its sockets are set up."""

import socket
import sys
from collections.abc import Awaitable, Callable

import trio
from attrs import define, field

from trio_chat.doors.stream import TcpStream, lean
from trio_chat.errors import SetupError
from trio_chat.gate import IN_ONE_PASS

Answer = Callable[[TcpStream], Awaitable[None]]
"""What is done with a connection; must not raise."""

Wait = Callable[[], Awaitable[None]]
"""Waits until another connection may be accepted."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES = 15, 10, 3
"""Seconds, seconds, and how often: together 45 s until a peer whose cable was pulled is
gone, whether it pings or not."""

SEND_BUFFER_BYTES = 128 * 1024
"""What the kernel may hold for one peer (it takes twice that for its own accounts). Left
alone it grows to 4 MB for each reader that has stopped."""


async def listen(host: str, port: int) -> list[trio.SocketListener]:
    """Begin to listen. Raises `SetupError`."""
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as exc:
        raise SetupError(f"can't listen on {host}:{port}: {exc.strerror or exc}") from exc


async def serve(
    listeners: list[trio.SocketListener],
    answer: Answer,
    sessions: trio.Nursery,
    wait: Wait = trio.lowlevel.checkpoint,
) -> None:
    """Serve until cancelled; connections are answered in `sessions` and may last longer."""
    doors = [_Door(listener, wait) for listener in listeners]
    await trio.serve_listeners(answer, doors, handler_nursery=sessions)


@define(eq=False)
class _Door(trio.abc.Listener[TcpStream]):
    """A listener that waits before it accepts, and sets up what it has accepted.

    It accepts as many in one pass of the loop as may go in one: if it were fewer, an honest
    one would wait behind a crowd for as many passes as there are others, and long ones,
    while others go.
    """

    listener: trio.SocketListener
    wait: Wait
    _plain: socket.socket = field(init=False)  # the same, to be asked without waiting
    _more: int = field(default=0, init=False)  # that may be accepted in this pass

    def __attrs_post_init__(self) -> None:
        made = self.listener.socket
        self._plain = socket.fromfd(made.fileno(), made.family, made.type, made.proto)
        self._plain.settimeout(0)

    async def accept(self) -> TcpStream:
        while True:
            await self.wait()
            stream = lean(self._accept_nowait() or await self._accept())
            try:
                _set_options(stream.socket)
            except OSError:
                stream.close()  # gone before it was let in
            else:
                return stream

    async def _accept(self) -> trio.SocketStream:
        stream = await self.listener.accept()
        self._more = IN_ONE_PASS - 1
        return stream

    def _accept_nowait(self) -> trio.SocketStream | None:
        if not self._more:
            return None
        self._more -= 1
        try:
            made, _ = self._plain.accept()
        except OSError:  # nobody has come; or who waits for the next one will hear what it is
            return None
        return trio.SocketStream(trio.socket.from_stdlib_socket(made))

    async def aclose(self) -> None:
        self._plain.close()
        await self.listener.aclose()


def _set_options(made: socket.socket) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        tcp = socket.IPPROTO_TCP
        made.setsockopt(tcp, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        made.setsockopt(tcp, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
        made.setsockopt(tcp, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        # Keepalive rests while data is unacknowledged; this does not.
        patience = KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES
        made.setsockopt(tcp, socket.TCP_USER_TIMEOUT, patience * 1000)
