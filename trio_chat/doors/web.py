"""The door for browsers and HTTP: the page, the WebSocket, and what operators look at."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import unquote

import trio
from attrs import define, field, frozen

from trio_chat.doors.assets import Asset, give, load_assets
from trio_chat.doors.http import Exchange, HttpRequest, HttpResponse, NotServed
from trio_chat.doors.script import (
    Converse,
    Visit,
    as_response,
    give_events,
    read_join,
    read_say,
    require_room,
    say,
)
from trio_chat.doors.sites import Sites, parse_origin
from trio_chat.doors.stream import direct_write
from trio_chat.doors.websocket import Frames, FrameStream, shake_hands, text_frames
from trio_chat.errors import LinkLost, Refused, TlsRequired, WireError
from trio_chat.gate import Turnstile, plain_address
from trio_chat.messages import Error
from trio_chat.outbox import Outbox
from trio_chat.session import (
    CHUNK_BYTES,
    CLOSE_WITHIN,
    HELLO_BYTES,
    HELLO_WITHIN,
    Arrival,
    hang_up,
)
from trio_chat.tally import Tally, Vitals
from trio_chat.tokens import Scope
from trio_chat.writer import STUCK

Serve = Callable[[Visit], Awaitable[HttpResponse | None]]
"""Gives the response; None if it has been given. Raises `NotServed`, `Refused`, `WireError`."""

LOOK = ("GET", "HEAD")
"""The methods that change nothing."""

FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
"""What a proxy adds: who asks is not the one that is connected."""

Network = IPv4Network | IPv6Network


@frozen
class House:
    """What a server does for those who ask over HTTP. `admit`: what a bot's token is good
    for, if it may come now. `is_draining`: is it closing? `exit`: whoever asks for nothing in
    time waits there."""

    converse: Converse
    admit: Callable[[str], Awaitable[Scope]]
    is_draining: Callable[[], bool]
    vitals: Callable[[], Vitals]
    tally: Tally
    exit: Turnstile = field(factory=Turnstile)


@define(eq=False)
class Web:
    """Answers requests. `scrapers`: who may read metrics, besides this machine."""

    house: House
    sites: Sites
    scrapers: Collection[Network]
    _assets: Mapping[str, Asset] = field(factory=load_assets, init=False)

    async def answer(self, stream: trio.abc.Stream, arrival: Arrival) -> None:
        """Serve a connection that carries a request."""
        await self._exchange(stream, arrival, self._serve)

    async def send_on(self, stream: trio.abc.Stream, arrival: Arrival) -> None:
        """Answer a request that came without TLS where everything has to be encrypted."""
        await self._exchange(stream, arrival, _send_on)

    async def _exchange(self, stream: trio.abc.Stream, arrival: Arrival, serve: Serve) -> None:
        exchange = Exchange()
        try:
            request = await _hear(stream, exchange, arrival, self.house.exit)
            self.sites.check(request)
            response = await serve(Visit(stream, exchange, request, arrival))
        except NotServed as no:
            response = no.response
        except (WireError, Refused) as refusal:
            self.house.tally.refusals[refusal.code] += 1
            response = as_response(Error(refusal.code, str(refusal), retry=refusal.retry))
        except LinkLost:
            return
        if response is not None:
            await _tell(stream, exchange.encode(response))

    async def _serve(self, visit: Visit) -> HttpResponse | None:
        request = visit.request
        match request.path.split("/")[1:]:
            case ["ws"]:
                await self._open_websocket(visit)
                return None
            case ["hooks", token]:
                _require(request, "POST")
                return await self._heed_hook(visit, unquote(token))
            case ["rooms", room, "events"]:
                _require(request, "GET")
                await self._give_events(visit, unquote(room))
                return None
            case _:
                return self._respond(request, visit.arrival)

    async def _heed_hook(self, visit: Visit, token: str) -> HttpResponse:
        said = read_say(visit.request, await self.house.admit(token))
        return await say(self.house.converse, visit.arrival, token, said)

    async def _give_events(self, visit: Visit, room: str) -> None:
        token = _token(visit.request)
        require_room(await self.house.admit(token), room)
        join = read_join(visit.request, room)
        await give_events(self.house.converse, visit, token, join)

    def _respond(self, request: HttpRequest, arrival: Arrival) -> HttpResponse:
        _require(request, *LOOK)
        if asset := self._assets.get(request.path):
            return give(asset, request)
        if request.path == "/healthz":
            return self._health()
        if request.path == "/metrics":
            return self._metrics(request, arrival.address)
        raise NotServed(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _health(self) -> HttpResponse:
        if self.house.is_draining():
            return HttpResponse(HTTPStatus.SERVICE_UNAVAILABLE, b"draining\n")
        return HttpResponse(HTTPStatus.OK, b"ready\n")

    def _metrics(self, request: HttpRequest, address: str | None) -> HttpResponse:
        if any(name in request.headers for name in FORWARDED) or not self._may_read(address):
            text = "metrics are for this machine only; --metrics-host allows another"
            raise NotServed(HTTPStatus.FORBIDDEN, text)
        from trio_chat.doors.metrics import show  # noqa: PLC0415 # takes 90 ms, once

        return show(self.house.vitals())

    def _may_read(self, address: str | None) -> bool:
        if address is None:
            return True  # over memory
        ip = plain_address(ip_address(address))
        return ip.is_loopback or any(ip in network for network in self.scrapers)

    async def _open_websocket(self, visit: Visit) -> None:
        accepted, connection = shake_hands(visit.request)
        if not await _send(visit.stream, accepted):
            return
        outbox = Outbox(direct_write(visit.stream), text_frames)
        frames = Frames(connection, HELLO_BYTES)
        stream = FrameStream(visit.stream, outbox, frames)
        visit.arrival.heard = frames.feed(visit.exchange.trailing)
        visit.arrival.more = stream.receive_nowait
        await self.house.converse(stream, outbox, visit.arrival)


async def _send_on(visit: Visit) -> HttpResponse:
    """To the same place through TLS. Not with a token: it could be read on the way, and
    whoever sent it would never notice."""
    await trio.lowlevel.checkpoint()
    request = visit.request
    is_secret = "authorization" in request.headers or request.path.startswith("/hooks/")
    if request.method not in LOOK or is_secret or "host" not in request.headers:
        raise TlsRequired("this server has to be spoken to through TLS, at https://")
    # As it is written by us: who reads it may have other rules for what is a host.
    try:
        place = parse_origin(f"https://{request.headers['host']}")
    except ValueError as exc:
        raise NotServed(HTTPStatus.BAD_REQUEST, f"bad request: {exc}") from exc
    target = request.raw.target.decode("ascii")
    location = f"{place}{target if target.startswith('/') else '/'}"
    return HttpResponse(
        HTTPStatus.PERMANENT_REDIRECT,
        f"{location}\n".encode(),
        headers={"Location": location, "Cache-Control": "no-store"},  # TLS may be turned off
    )


def _token(request: HttpRequest) -> str:
    """What a program proves itself with."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _require(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        allowed = ", ".join(methods)
        raise NotServed(HTTPStatus.METHOD_NOT_ALLOWED, f"{allowed} only", Allow=allowed)


async def _hear(
    stream: trio.abc.Stream, exchange: Exchange, arrival: Arrival, exit: Turnstile
) -> HttpRequest:
    """The request. Raises `NotServed`, `LinkLost`."""
    with trio.move_on_at(arrival.at + HELLO_WITHIN):
        request = exchange.hear(arrival.take())
        while request is None:
            if exchange.is_awaited:
                await _send(stream, exchange.permit())
            request = exchange.hear(await _receive(stream))
        return request
    await exit.pass_through()
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
