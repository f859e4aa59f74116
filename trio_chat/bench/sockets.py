"""Many plain sockets in one selector, and one task that waits for all of them.

A stream object and a task for each of a thousand members would be slower than the server
that is measured: 40 µs for a chunk instead of 4.
"""

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

import trio
from attrs import define, field

from trio_chat.errors import LinkLost, SetupError

BUFFER_BYTES = 256 * 1024
"""The most bytes read at once."""

Take = Callable[[memoryview, float], int]
"""Takes what has arrived, and when; returns how far that brings it, in what it counts."""


@define(eq=False)
class Connection:
    """A socket that doesn't block, and who takes what comes out of it."""

    socket: socket.socket
    take: Take
    due: bytes = field(default=b"", init=False)  # what the kernel has not taken yet


@define(eq=False)
class Sockets:
    """All connections of a run."""

    _selector: Any = field(init=False)  # mypy: not every selector has a descriptor
    _buffer: memoryview = field(factory=lambda: memoryview(bytearray(BUFFER_BYTES)), init=False)

    def __attrs_post_init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        if not hasattr(self._selector, "fileno"):
            self._selector.close()
            raise SetupError("the load tester needs epoll or kqueue, which are not here")

    def close(self) -> None:
        """Close all connections."""
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        trio.lowlevel.notify_closing(self._selector.fileno())
        self._selector.close()

    def add(self, connection: Connection) -> None:
        """Begin to read from a connection, which may still be connecting."""
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def remove(self, connection: Connection) -> None:
        """Close a connection."""
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def send(self, connection: Connection, data: bytes) -> None:
        """Send data now, or, if the kernel is full, when it takes it. Raises `LinkLost`."""
        is_waiting = bool(connection.due)
        connection.due += data
        if not is_waiting:
            self._send_due(connection)

    async def wait(self, seconds: float) -> bool:
        """Wait until something can be read; False if that takes longer."""
        with trio.move_on_after(seconds) as patience:
            await trio.lowlevel.wait_readable(self._selector.fileno())
        return not patience.cancelled_caught

    def pump(self) -> int | None:
        """Have all that is there taken; returns the sum of what the takers count, None if
        there was nothing. Raises `LinkLost`, and what they raise."""
        ready = self._selector.select(0)
        if not ready:
            return None
        count = 0
        for key, events in ready:
            if events & selectors.EVENT_WRITE:
                self._send_due(key.data)
            if events & selectors.EVENT_READ:
                count += self._receive(key.data)
        return count

    def _receive(self, connection: Connection) -> int:
        try:
            size = connection.socket.recv_into(self._buffer)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise _lost(exc) from exc
        if not size:
            raise LinkLost("the server has closed the connection")
        return connection.take(self._buffer[:size], time.perf_counter())

    def _send_due(self, connection: Connection) -> None:
        try:
            sent = connection.socket.send(connection.due)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            if exc.errno != errno.ENOTCONN:  # which is what macOS says while it connects
                raise _lost(exc) from exc
            sent = 0
        connection.due = connection.due[sent:]
        events = selectors.EVENT_READ
        if connection.due:
            events |= selectors.EVENT_WRITE
        if self._selector.get_key(connection.socket).events != events:
            self._selector.modify(connection.socket, events, connection)


def connect(family: int, address: Any) -> socket.socket:
    """A connection that is being made. Raises `LinkLost`."""
    try:
        made = socket.socket(family)
    except OSError as exc:
        raise SetupError(f"can't open another connection: {exc.strerror}") from exc
    made.settimeout(0)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    error = made.connect_ex(address)
    if error not in {0, errno.EINPROGRESS}:
        made.close()
        raise LinkLost(f"can't connect: {os.strerror(error)}")
    return made


def _lost(exc: OSError) -> LinkLost:
    return LinkLost(f"the connection is lost: {exc.strerror or exc}")
