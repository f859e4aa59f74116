"""The front door: one port, behind which the first bytes decide where a connection goes.

They are read, not peeked at, and handed on with the connection: so a client of the line
door, which is most of them, is looked at without a single call to the system.
"""

from contextlib import suppress

import trio
from attrs import define, evolve, field

from trio_chat.doors.stream import TcpStream, direct_read, direct_write
from trio_chat.doors.tongue import Tongue, tongue_of
from trio_chat.doors.web import Converse, Web
from trio_chat.outbox import Outbox
from trio_chat.session import CHUNK_BYTES, HELLO_WITHIN, Arrival


@define(eq=False)
class Front:
    """Serves every connection, whatever it speaks.

    Its clock runs from when it was made: the session goes on with it, so that a hello is
    due as soon as if nobody had looked at the first bytes.
    """

    converse: Converse
    web: Web
    _undecided: set[trio.CancelScope] = field(factory=set, init=False)
    _is_closing: bool = field(default=False, init=False)

    def close(self) -> None:
        """Wait for nobody's first bytes any more."""
        self._is_closing = True
        for waiting in self._undecided:
            waiting.cancel(reason="closing")

    async def answer(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end."""
        arrival = Arrival(trio.current_time(), address_of(stream))
        tongue, heard = await self._hear_first(stream, arrival)
        if tongue is Tongue.HTTP:
            await self.web.answer(stream, evolve(arrival, heard=heard))
            return
        if tongue is not Tongue.LINES:
            heard += b"\n"  # it is refused as a line that is none, and at once
        outbox = Outbox(direct_write(stream))
        arrival = evolve(arrival, heard=heard, more=direct_read(stream))
        await self.converse(stream, outbox, arrival)

    async def _hear_first(
        self, stream: trio.abc.Stream, arrival: Arrival
    ) -> tuple[Tongue, bytes]:
        """What it speaks, and what was heard. Who says nothing in time, or never, is left
        to the line door, which knows what to say to that."""
        heard = b""
        with trio.CancelScope(deadline=arrival.at + HELLO_WITHIN) as waiting:
            self._undecided.add(waiting)
            if self._is_closing:
                waiting.cancel(reason="closing")
            try:
                while tongue_of(heard) is None and (chunk := await _receive(stream)):
                    heard += chunk
            finally:
                self._undecided.remove(waiting)
        return tongue_of(heard) or Tongue.LINES, heard


async def _receive(stream: trio.abc.Stream) -> bytes:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        return bytes(await stream.receive_some(CHUNK_BYTES))
    return b""


def address_of(stream: trio.abc.Stream) -> str | None:
    """The address of the other end; None over memory, or if it is gone."""
    return stream.address if isinstance(stream, TcpStream) else None
