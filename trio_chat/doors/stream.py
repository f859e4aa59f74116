"""A connection as a stream over a plain socket, no more than the line door needs.

`trio.SocketStream` first tries to receive, and waits only if there is nothing, which is
nearly always so: two calls of the kernel and an exception more for each chunk, 12 µs. And
with what it is made of it takes 3 KiB more.
"""

import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from operator import index

import trio
from attrs import define

CHUNK_BYTES = 64 * 1024
"""The most that is received at once, if nobody says how much."""


@define(eq=False)
class TcpStream(trio.abc.HalfCloseableStream):
    """A connection that is made, over a socket of TCP that nobody else uses. One task sends
    and one receives."""

    socket: socket.socket

    @property
    def address(self) -> str | None:
        """The address of the other end; None if it is gone."""
        try:
            return str(self.socket.getpeername()[0])
        except OSError:
            return None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has arrived; nothing at the end."""
        most = CHUNK_BYTES if max_bytes is None else index(max_bytes)
        if most < 1:
            raise ValueError("nothing can't be received")
        while True:
            self._require_open()
            await trio.lowlevel.wait_readable(self.socket)
            try:
                return self.socket.recv(most)
            except BlockingIOError:
                pass  # somebody else was woken for it; or it was dropped, being damaged
            except OSError as exc:
                raise trio.BrokenResourceError(str(exc)) from exc

    def receive_nowait(self) -> bytes:
        """What has arrived; nothing if that is nothing yet, or it is over."""
        try:
            return self.socket.recv(CHUNK_BYTES)
        except OSError:
            return b""  # who waits for more will hear of it

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it; if cancelled, a part."""
        self._require_open()
        await trio.lowlevel.checkpoint()
        left = memoryview(data)
        while left:
            try:
                left = left[self.socket.send(left) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.socket)
            except OSError as exc:
                raise trio.BrokenResourceError(str(exc)) from exc

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until something can be sent."""
        self._require_open()
        await trio.lowlevel.wait_writable(self.socket)

    async def send_eof(self) -> None:
        """Say that nothing more is sent."""
        self._require_open()
        await trio.lowlevel.checkpoint()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    def close(self) -> None:
        """Close it; who waits for it hears of that."""
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    async def aclose(self) -> None:
        """The same, as every stream has it."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _require_open(self) -> None:
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError


def direct_write(stream: trio.abc.Stream) -> Callable[[bytes], int] | None:
    """What an outbox writes with at once; None where that is not possible."""
    if sys.platform == "win32" or not isinstance(stream, TcpStream):
        return None  # os.write takes no sockets there
    return partial(os.write, stream.socket.fileno())


def direct_read(stream: trio.abc.Stream) -> Callable[[], bytes]:
    """What a session looks with for what has arrived meanwhile."""
    return stream.receive_nowait if isinstance(stream, TcpStream) else bytes


def lean(stream: trio.SocketStream) -> TcpStream:
    """The same connection; the other stream is not to be used any more."""
    old = stream.socket
    return TcpStream(socket.socket(old.family, old.type, old.proto, old.detach()))
