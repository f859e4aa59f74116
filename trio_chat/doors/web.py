"""The door for browsers and HTTP: the page, the WebSocket, and what operators look at."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import trio
from attrs import define, evolve, field

from trio_chat.doors.assets import Asset, give, load_assets
from trio_chat.doors.http import Exchange, HttpRequest, HttpResponse, NotServed
from trio_chat.doors.sites import Sites
from trio_chat.doors.stream import direct_write
from trio_chat.doors.websocket import Frames, FrameStream, shake_hands, text_frames
from trio_chat.errors import LinkLost
from trio_chat.outbox import Outbox
from trio_chat.session import CHUNK_BYTES, CLOSE_WITHIN, HELLO_WITHIN, STUCK, Arrival, hang_up

Converse = Callable[[trio.abc.Stream, Outbox, Arrival], Awaitable[None]]
"""Serves a connection that carries messages to its end; must not raise."""

LOOK = ("GET", "HEAD")
"""The methods that change nothing."""


@define(eq=False)
class Web:
    """Answers requests. `is_draining`: is the server closing?"""

    converse: Converse
    sites: Sites
    is_draining: Callable[[], bool]
    _assets: Mapping[str, Asset] = field(factory=load_assets, init=False)

    async def answer(self, stream: trio.abc.Stream, arrival: Arrival) -> None:
        """Serve a connection that carries a request."""
        exchange = Exchange()
        try:
            request = await _hear(stream, exchange, arrival)
            self.sites.check(request)
            if request.path == "/ws":
                await self._open_websocket(stream, exchange, request, arrival)
                return
            response = self._respond(request)
        except NotServed as no:
            response = no.response
        except LinkLost:
            return
        await _tell(stream, exchange.encode(response))

    def _respond(self, request: HttpRequest) -> HttpResponse:
        if request.method not in LOOK:
            allowed = ", ".join(LOOK)
            raise NotServed(HTTPStatus.METHOD_NOT_ALLOWED, f"{allowed} only", Allow=allowed)
        if asset := self._assets.get(request.path):
            return give(asset, request)
        if request.path == "/healthz":
            return self._health()
        raise NotServed(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _health(self) -> HttpResponse:
        if self.is_draining():
            return HttpResponse(HTTPStatus.SERVICE_UNAVAILABLE, b"draining\n")
        return HttpResponse(HTTPStatus.OK, b"ready\n")

    async def _open_websocket(
        self,
        stream: trio.abc.Stream,
        exchange: Exchange,
        request: HttpRequest,
        arrival: Arrival,
    ) -> None:
        accepted, connection = shake_hands(request)
        if not await _send(stream, accepted):
            return
        outbox = Outbox(direct_write(stream), text_frames)
        frames = Frames(connection)
        lines = frames.feed(exchange.trailing)
        await self.converse(
            FrameStream(stream, outbox, frames), outbox, evolve(arrival, heard=lines)
        )


async def _hear(stream: trio.abc.Stream, exchange: Exchange, arrival: Arrival) -> HttpRequest:
    """The request. Raises `NotServed`, `LinkLost`."""
    with trio.move_on_at(arrival.at + HELLO_WITHIN):
        request = exchange.hear(arrival.heard)
        while request is None:
            if exchange.is_awaited:
                await _send(stream, exchange.go_on())
            request = exchange.hear(await _receive(stream))
        return request
    raise NotServed(HTTPStatus.REQUEST_TIMEOUT, f"no request within {HELLO_WITHIN:.0f} s")


async def _receive(stream: trio.abc.Stream) -> bytes:
    try:
        return bytes(await stream.receive_some(CHUNK_BYTES))
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise LinkLost("connection reset") from exc


async def _send(stream: trio.abc.Stream, data: bytes) -> bool:
    """Could it be sent?"""
    with trio.move_on_after(STUCK):
        try:
            await stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True
    return False


async def _tell(stream: trio.abc.Stream, data: bytes) -> None:
    """Send the last word."""
    if await _send(stream, data):
        with trio.move_on_after(CLOSE_WITHIN):
            await hang_up(stream)
