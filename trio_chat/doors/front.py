"""The front door: one port, behind which the first bytes decide where a connection goes.

They are read, not peeked at, and handed on with the connection: so a client of the line
door, which is most of them, is looked at without a single call to the system. Of a line, all
is read: who dawdles over the first one costs 5 KiB, and with a session 8.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import trio
from attrs import define, field

from trio_chat.doors.http import Exchange
from trio_chat.doors.script import Converse, as_response
from trio_chat.doors.stream import TcpStream, direct_read, direct_write
from trio_chat.doors.tls import Tls
from trio_chat.doors.tongue import Tongue, tongue_of
from trio_chat.doors.web import Web
from trio_chat.errors import LinkLost, Refused, TlsRequired
from trio_chat.gate import Turnstile
from trio_chat.messages import Error
from trio_chat.outbox import Outbox
from trio_chat.session import (
    CHUNK_BYTES,
    CLOSE_WITHIN,
    HELLO_BYTES,
    HELLO_WITHIN,
    NO_HELLO,
    Arrival,
    hang_up,
)
from trio_chat.tally import Tally
from trio_chat.wire import SERVER

log = logging.getLogger(__name__)

OVERHEAR_WITHIN = CLOSE_WITHIN / 2
"""Seconds for somebody who is turned away to say what it speaks."""


@define(eq=False)
class Front:
    """Serves every connection, whatever it speaks.

    Its clock runs from when it was made: the session goes on with it, so that a hello is
    due as soon as if nobody had looked at the first bytes, nor shaken hands.

    `entrance`: whoever has said first words waits there; `exit`: who says none, or not in
    time. `tally`: counts those. `tls`: encrypts everything; whoever comes without is refused,
    and a browser sent on.
    """

    converse: Converse
    web: Web
    entrance: Turnstile
    exit: Turnstile
    tally: Tally
    tls: Tls | None = None
    _undecided: set[trio.CancelScope] = field(factory=set, init=False)
    _is_closing: bool = field(default=False, init=False)

    def close(self) -> None:
        """Wait for nobody's first bytes any more."""
        self._is_closing = True
        for waiting in self._undecided:
            waiting.cancel(reason="closing")

    async def answer(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end. Raises `TlsRequired`, and `LinkLost` if no TLS
        comes about."""
        arrival = Arrival(trio.current_time(), address_of(stream))
        tongue = await self._hear_first(stream, arrival, whole=self.tls is None)
        if self.tls is not None:
            if tongue is Tongue.HTTP:
                await self.web.send_on(stream, arrival)
                return
            if tongue is not Tongue.TLS:
                raise TlsRequired("this server has to be spoken to through TLS")
            stream = await self._secure(self.tls, stream, arrival)
            tongue = await self._hear_first(stream, arrival)
        if tongue is None:
            await self._let_go(stream, arrival)
            return
        if tongue is Tongue.HTTP:
            await self.web.answer(stream, arrival)
            return
        if tongue is not Tongue.LINES:
            arrival.heard += b"\n"  # it is refused as a line that is none, and at once
        arrival.more = direct_read(stream)
        await self.converse(stream, Outbox(direct_write(stream)), arrival)

    async def turn_away(self, stream: trio.abc.Stream, why: Refused) -> None:
        """Tell somebody why not, in what it speaks, and hang up, within OVERHEAR_WITHIN and
        CLOSE_WITHIN."""
        is_known = isinstance(why, TlsRequired)  # that it is none that we could answer
        tongue, heard = (None, b"") if is_known else await _overhear(stream)
        # Not before: a machine that stood still meanwhile would leave no time to tell.
        with trio.move_on_after(CLOSE_WITHIN):
            with suppress(LinkLost, trio.BrokenResourceError):
                if tongue is Tongue.TLS and self.tls is not None:
                    stream = await self.tls.secure(stream, heard)
                    tongue, _ = await _overhear(stream)
                await stream.send_all(_last_word(why, tongue))
            await hang_up(stream)

    async def _hear_first(
        self, stream: trio.abc.Stream, arrival: Arrival, *, whole: bool = True
    ) -> Tongue | None:
        """What it speaks, once enough was heard of it: of lines, the `whole` first one. None
        if that did not come in time."""
        is_awaited = partial(_is_awaited, whole=whole)
        with self._patience(arrival) as waiting:
            while is_awaited(arrival.heard) and (chunk := await _receive(stream)):
                arrival.heard += chunk
        is_late = waiting.cancelled_caught and not self._is_closing
        turnstile = self.exit if is_awaited(arrival.heard) else self.entrance
        await turnstile.pass_through()
        return None if is_late else tongue_of(arrival.heard) or Tongue.LINES

    async def _let_go(self, stream: trio.abc.Stream, arrival: Arrival) -> None:
        """Tell who has said no hello, and hang up. (A session would say the same, with a
        nursery and a task for its writer; and many may be told at once.)"""
        log.info("turned away", extra={"code": NO_HELLO.code, "address": arrival.address})
        self.tally.refusals[NO_HELLO.code] += 1
        with trio.move_on_after(CLOSE_WITHIN):
            await hang_up(stream, SERVER.encode(NO_HELLO))

    async def _secure(
        self, tls: Tls, stream: trio.abc.Stream, arrival: Arrival
    ) -> trio.abc.Stream:
        with self._patience(arrival):
            return await tls.secure(stream, arrival.take())
        await self.exit.pass_through()
        raise LinkLost("the handshake took too long")

    @contextmanager
    def _patience(self, arrival: Arrival) -> Iterator[trio.CancelScope]:
        """Wait in here until a hello would be due, or the server closes."""
        with trio.CancelScope(deadline=arrival.at + HELLO_WITHIN) as waiting:
            self._undecided.add(waiting)
            if self._is_closing:
                waiting.cancel(reason="closing")
            try:
                yield waiting
            finally:
                self._undecided.remove(waiting)


def _is_awaited(heard: bytes, *, whole: bool) -> bool:
    """Has nothing been said yet that could be answered?"""
    tongue = tongue_of(heard)
    if tongue is Tongue.LINES and whole:
        return b"\n" not in heard and len(heard) < HELLO_BYTES
    return tongue is None


async def _overhear(stream: trio.abc.Stream) -> tuple[Tongue | None, bytes]:
    """What somebody speaks who is turned away, if it says that soon enough."""
    heard = b""
    with trio.move_on_after(OVERHEAR_WITHIN):
        while tongue_of(heard) is None and (chunk := await _receive(stream)):
            heard += chunk
    return tongue_of(heard), heard


def _last_word(why: Refused, tongue: Tongue | None) -> bytes:
    error = Error(why.code, str(why), retry=why.retry)
    if tongue is Tongue.HTTP:
        return Exchange().encode(as_response(error))
    return SERVER.encode(error)


async def _receive(stream: trio.abc.Stream) -> bytes:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        return bytes(await stream.receive_some(CHUNK_BYTES))
    return b""


def address_of(stream: trio.abc.Stream) -> str | None:
    """The address of the other end; None over memory, or if it is gone."""
    return stream.address if isinstance(stream, TcpStream) else None
