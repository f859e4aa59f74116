"""The bounded queue before one connection.

Many write into it, from the one task that makes order; one task, the connection's writer,
empties it into the stream. Putting never waits: that is why one slow reader delays nobody.

As long as nothing is queued, a plain socket is written to at once, without a task switch:
5 µs for a delivery instead of 26 (one message at a time, 100 members). Only what the kernel
did not take goes through a channel, which is there with its writer until that is empty again:
a connection that only listens has neither, and so takes 12 KiB instead of 16.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

import trio
from attrs import define, field

Format = Callable[[Iterable[bytes]], bytes]
"""Turns the lines of some replies into the bytes that one kind of connection carries."""

json_lines: Format = b"".join

SLOTS = 64
"""The most puts that wait for the writer; each is a whole batch of a room."""

QUEUED_BYTES = 256 * 1024
"""The most bytes that wait for the writer, give or take one batch: what a slow line
takes in a few seconds. The rest waits in the log, where it costs nothing."""

GOODBYE, TAKEN_OVER, PUT_OUT = "goodbye", "taken_over", "put_out"
"""What ends a connection that no error does."""

MOST_BEHIND = 256
"""The most cursors that wait for the writer: more than a connection has rooms, for who
leaves while behind still gets what was said until then."""


class Backlog(Protocol):
    """Somebody who has fallen behind and reads from the log what is missing."""

    async def next_page(self) -> tuple[bytes, bool]:
        """The next bytes to send, and whether there is more to read after them."""
        ...


def _nobody() -> None:
    """Nobody takes what is queued, as long as there is no connection."""


@define(eq=False)
class Outbox:
    """What one connection is still to be sent.

    `write`: sends what it can without waiting and returns how much that was; None where
    the transport can't do that (TLS, memory). Raises OSError. `_at_once` is the same, as
    long as nothing is queued and there is no writer. `start_writer`: has somebody `take` what
    is queued. `ending`: the code of the error that ends the connection, or `GOODBYE` and the
    like; for doors that say why.
    `is_in_doubt`: it has been sent refusals for want of storage, and nobody knows whether
    they were heard.
    """

    write: Callable[[bytes], int] | None = None
    format: Format = json_lines
    start_writer: Callable[[], None] = field(default=_nobody, init=False)
    ending: str | None = field(default=None, init=False)
    is_in_doubt: bool = field(default=False, init=False)
    behind: list[Backlog] = field(factory=list, init=False)  # an empty deque takes 600 bytes
    _queued: int = field(default=0, init=False)
    _slots: int = field(default=0, init=False)
    _has_writer: bool = field(default=False, init=False)
    _is_awaited: bool = field(default=False, init=False)  # by the writer
    _at_once: Callable[[bytes], int] | None = field(init=False)
    _held: bytes = field(default=b"", init=False)
    _is_closed: bool = field(default=False, init=False)
    _send: trio.MemorySendChannel[bytes | memoryview] | None = field(default=None, init=False)
    _receive: trio.MemoryReceiveChannel[bytes | memoryview] | None = field(
        default=None, init=False
    )
    _has_space: trio.lowlevel.ParkingLot | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._at_once = self.write

    @property
    def is_full(self) -> bool:
        """Is there so much queued that events have to wait in the log?"""
        is_long = self._slots >= SLOTS or self._queued >= QUEUED_BYTES
        return is_long or len(self.behind) >= MOST_BEHIND

    @property
    def queued_bytes(self) -> int:
        """How much is queued or being sent."""
        return self._queued

    @property
    def has_queued(self) -> bool:
        """Is there something for the writer to take?"""
        return self._slots > 0

    def put(self, data: bytes) -> bool:
        """Send events if there is room: all of them, or none and False. Never waits."""
        # `_at_once`, the way of nearly all events, knows that there is: 0.3 µs instead of 0.6.
        if self._at_once is None and self.is_full:
            return self._is_closed
        self.answer(data)
        return True

    def answer(self, data: bytes) -> None:
        """Send what answers a request, space or not: who asks does `wait_for_space` before."""
        if self._at_once is None:
            self._queue_up(data)
            return
        try:
            written = self._at_once(data)
        except OSError:
            written = 0  # it is full; or the writer will meet the same error, and end
        if written < len(data):
            self._enqueue(memoryview(data)[written:])

    def hold(self, data: bytes) -> None:
        """Send an answer together with the events that come next, or when it is `let_go`:
        a call of the kernel less for each ack, 3 µs. Nothing may be awaited meanwhile."""
        if self._at_once is None:
            self._queue_up(data)
        else:
            self._held, self._at_once = data, None

    def let_go(self) -> None:
        """Send what is held, if it still is."""
        if self._held:
            self._queue_up(b"")

    async def wait_for_space(self) -> None:
        """Wait until there is space; this is what slows down a peer that asks much and
        reads little."""
        while self.is_full and not self._is_closed:
            self._has_space = self._has_space or trio.lowlevel.ParkingLot()
            await self._has_space.park()

    def fall_behind(self, backlog: Backlog) -> None:
        """Let the writer read on from the log for `backlog`, after what is queued."""
        self.behind.append(backlog)
        is_idle = self._is_awaited or not self._has_writer
        if is_idle and not self._slots and not self._is_closed:
            self._enqueue(b"")

    def pass_on(self, *, is_done: bool) -> None:
        """For the writer: the first of those behind has had a page; it is the next one's
        turn, so that a long replay does not hold up the other rooms."""
        if is_done:
            self.behind.pop(0)
        else:
            self.behind.append(self.behind.pop(0))
        self._wake_waiters()

    def close(self, last_word: bytes = b"") -> None:
        """Take nothing more; the writer sends what is queued, then `last_word`, and ends."""
        if not self._is_closed:
            if last_word:
                self._enqueue(last_word)
            self.cut()

    def cut(self) -> None:
        """Take nothing more. Must be called before the stream is closed: its descriptor
        may belong to somebody else right after."""
        self._is_closed, self._at_once = True, None
        self.start_writer = _nobody  # or who is gone would be kept for its sake
        if self._send is not None:
            self._send.close()
        if self._has_space is not None:
            self._has_space.unpark_all()

    async def take(self) -> bytes | None:
        """For the writer: all that is queued; None when it is to end, and be started again.

        Where it can't be written at once, it waits for something instead, as long as the
        outbox is open. What was taken counts as queued until it is `sent`.
        """
        if self._can_rest or self._receive is None:
            self._rest()
            return None
        self._is_awaited = True
        try:
            chunks = [await self._receive.receive()]
        except trio.EndOfChannel:
            return None
        finally:
            self._is_awaited = False
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                chunks.append(self._receive.receive_nowait())
        self._slots -= len(chunks)
        return b"".join(chunks)

    def write_at_once(self, data: bytes) -> int:
        """For the writer: send what can be sent without waiting; how much that was."""
        if self.write is None or self._is_closed:
            return 0  # closed: its descriptor may belong to somebody else
        try:
            return self.write(data)
        except OSError:
            return 0  # it is full; or the writer will meet the same error, and end

    def sent(self, size: int) -> None:
        """For the writer: `size` bytes are on their way."""
        self._queued -= size
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        if self._has_space is not None and not self.is_full:
            self._has_space.unpark_all()

    @property
    def _can_rest(self) -> bool:
        return self.write is not None and not (self._slots or self._is_closed)

    def _rest(self) -> None:
        self._at_once = None if self._is_closed else self.write
        self._has_writer = False
        self._send = self._receive = None

    def _queue_up(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._at_once = None if self._has_writer or self._is_closed else self.write
            self.answer(held + data)
        elif not self._is_closed:
            self._enqueue(data)

    def _enqueue(self, data: bytes | memoryview) -> None:
        self._at_once = None
        self._queued += len(data)
        self._slots += 1
        if self._send is None:
            # Events stop at SLOTS. Beyond them there is room for what the reader has under
            # way (one submission, one answer), for a wake-up and for the last word.
            self._send, self._receive = trio.open_memory_channel(SLOTS + 4)
        self._send.send_nowait(data)
        if not self._has_writer:
            self._has_writer = True
            self.start_writer()
