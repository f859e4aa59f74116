"""TCP: how it is listened on, and how its sockets are set up."""

import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from attrs import define

from trio_chat.doors.stream import TcpStream, lean
from trio_chat.errors import SetupError

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
    await trio.serve_listeners(
        partial(_answer_door, answer),
        [_Unhurried(listener, wait) for listener in listeners],
        handler_nursery=sessions,
    )


@define(eq=False)
class _Unhurried(trio.abc.Listener[trio.SocketStream]):
    """A listener that waits before it accepts."""

    listener: trio.SocketListener
    wait: Wait

    async def accept(self) -> trio.SocketStream:
        await self.wait()
        return await self.listener.accept()

    async def aclose(self) -> None:
        await self.listener.aclose()


async def _answer_door(answer: Answer, stream: trio.SocketStream) -> None:
    try:
        _set_options(stream)
    except OSError:
        await trio.aclose_forcefully(stream)  # gone before it was let in
        return
    plain = lean(stream)
    try:
        await answer(plain)
    finally:
        plain.close()


def _set_options(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        tcp = socket.IPPROTO_TCP
        stream.setsockopt(tcp, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        stream.setsockopt(tcp, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
        stream.setsockopt(tcp, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        # Keepalive rests while data is unacknowledged; this does not.
        patience = KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES
        stream.setsockopt(tcp, socket.TCP_USER_TIMEOUT, patience * 1000)
