"""Whole messages over a stream, and `LinkLost` for every way in which it can end."""

import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any

import trio
from attrs import define, field
from trio.abc import HalfCloseableStream

from trio_chat.errors import LinkLost, UnknownType, WireError
from trio_chat.framing import LineBuffer
from trio_chat.messages import Reply
from trio_chat.wire import CLIENT

CHUNK_BYTES = 64 * 1024
"""The most bytes read at once."""

Dial = Callable[[], Coroutine[Any, Any, trio.abc.Stream]]
"""Makes a new connection to the same server. Raises `LinkLost`."""


async def dial_tcp(host: str, port: int) -> trio.SocketStream:
    """A connection to a server. Raises `LinkLost`."""
    try:
        stream = await trio.open_tcp_stream(host, port)
    except (OSError, UnicodeError) as exc:  # the latter for what can't be a host's name
        where = f"[{host}]" if ":" in host else host
        raise LinkLost(f"no server answers at {where}:{port}") from exc
    # A cable that is pulled while a text is under way.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return stream


@define(eq=False)
class Link:
    """One connection to a server: one task sends, one receives.

    `patience`: seconds without a byte after which it counts as lost.
    """

    stream: trio.abc.Stream
    patience: float
    _buffer: LineBuffer = field(factory=LineBuffer, init=False)
    _lines: Iterator[bytes] = field(factory=lambda: iter(()), init=False)

    async def send(self, lines: Iterable[bytes]) -> None:
        """Send all of `lines` in one go. Raises `LinkLost`."""
        try:
            await self.stream.send_all(b"".join(lines))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise LinkLost("the connection is lost") from exc

    async def end(self) -> None:
        """Say that there is no more to say. Raises `LinkLost`."""
        if not isinstance(self.stream, HalfCloseableStream):
            raise LinkLost("one has left")
        try:
            await self.stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise LinkLost("the connection is lost") from exc

    async def receive(self) -> Reply:
        """The next message of the server.

        Raises `LinkLost` at the end of the connection, and if what comes is not a chat.
        """
        while True:
            try:
                for line in self._lines:
                    with suppress(UnknownType):  # a newer server has more to say
                        return CLIENT.decode(line)
            except WireError as exc:
                raise LinkLost(f"the other side does not speak trio_chat: {exc}") from exc
            self._lines = self._buffer.feed(await self._receive_some())

    async def _receive_some(self) -> bytes:
        try:
            with trio.fail_after(self.patience):
                chunk = await self.stream.receive_some(CHUNK_BYTES)
        except trio.TooSlowError as exc:
            raise LinkLost(f"nothing heard for {self.patience:.0f} s") from exc
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise LinkLost("the connection is lost") from exc
        if not chunk:
            raise LinkLost("the server has closed the connection")
        return bytes(chunk)
