"""Conversations of programs that come over HTTP: written beforehand, with the same session
as anybody's.

A bot says hello with its token, joins quietly, and does what it was asked for. What it may,
who is told and what is stored once is decided where it always is.
"""

import math
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

import trio
from attrs import define, evolve, field, frozen

from trio_chat.doors.http import Exchange, HttpRequest, HttpResponse
from trio_chat.errors import BadFields, Busy, NoSuchRoom, WrongPassword
from trio_chat.framing import LineBuffer
from trio_chat.messages import (
    MAX_INT,
    Ack,
    Error,
    Event,
    Gap,
    Goodbye,
    Hello,
    Join,
    Reply,
    Request,
    Say,
    Welcome,
)
from trio_chat.names import parse_name
from trio_chat.outbox import Outbox
from trio_chat.pairs import is_private
from trio_chat.session import CHUNK_BYTES, SERVER_NAME, Arrival
from trio_chat.tokens import Scope, find_bot
from trio_chat.wire import CLIENT, SERVER, parse_object

Converse = Callable[[trio.abc.Stream, Outbox, Arrival], Awaitable[None]]
"""Serves a connection that carries messages to its end; must not raise."""


@frozen
class Visit:
    """A request, and the connection over which it came."""

    stream: trio.abc.Stream
    exchange: Exchange
    request: HttpRequest
    arrival: Arrival


JSON_LINES = "application/x-ndjson"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"

BEAT = 15.0
"""Seconds after which a follower hears that nothing has happened: proxies close what is
silent for a minute."""

JOINED = "join"
"""The id of the join with which one begins to follow."""

EPOCH = "Chat-Epoch"
"""The header that names the history: in another one, the numbers of events mean others."""

STATUS: Mapping[str, HTTPStatus] = {
    "not_allowed": HTTPStatus.FORBIDDEN,
    "banned": HTTPStatus.FORBIDDEN,
    "muted": HTTPStatus.FORBIDDEN,
    "no_such_room": HTTPStatus.NOT_FOUND,
    "no_such_name": HTTPStatus.NOT_FOUND,
    "no_such_event": HTTPStatus.NOT_FOUND,
    "id_taken": HTTPStatus.CONFLICT,
    "text_too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "try_later": HTTPStatus.TOO_MANY_REQUESTS,
    "server_full": HTTPStatus.SERVICE_UNAVAILABLE,
    "too_many_connections": HTTPStatus.SERVICE_UNAVAILABLE,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "storage_failed": HTTPStatus.SERVICE_UNAVAILABLE,
    "storage_full": HTTPStatus.INSUFFICIENT_STORAGE,
}
"""What a refusal is in HTTP; any other one is the fault of the request."""

HIDDEN = {WrongPassword.code, NoSuchRoom.code}
"""What is answered alike: who tries tokens and rooms finds out nothing about either."""

_NOWHERE = Error(NoSuchRoom.code, "there is no such room, or none that this token is for")


def as_response(error: Error) -> HttpResponse:
    """A refusal, in HTTP's words and in ours."""
    return _as_it_is(_NOWHERE if error.code in HIDDEN else error)


def _as_response_to(token: str, error: Error) -> HttpResponse:
    """A refusal to a bot whose token is good, and for that room: whoever keeps it has to find
    out what is wrong. It may be a room that is hidden from the bot, or none at all."""
    if error.code != NoSuchRoom.code:
        return as_response(error)
    bot = find_bot(token)
    text = f"{error.text} that {bot} may enter; if it was locked, {bot} has to be invited"
    return _as_it_is(evolve(error, text=text))


def _as_it_is(error: Error) -> HttpResponse:
    status = STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
    headers = {} if error.retry is None else {"Retry-After": str(math.ceil(error.retry))}
    return HttpResponse(status, SERVER.encode(evolve(error, id=None)), JSON, headers)


def require_room(scope: Scope, room: str) -> None:
    """Is it one that the token is for? Raises `BadName`, `NoSuchRoom`."""
    if scope.rooms is None:
        return
    if is_private(room) or parse_name(room) not in scope.rooms:
        raise NoSuchRoom(_NOWHERE.text)


def _hello(token: str) -> Hello:
    """Raises `WrongPassword` if it can't be the token of a bot: anybody else is a person,
    who might be let in as a guest."""
    name = find_bot(token)
    if name is None:
        raise WrongPassword("this needs the token of a bot")
    return Hello(name, token=token, client=f"{SERVER_NAME} http")


def _lines(*requests: Request) -> bytes:
    return b"".join(map(CLIENT.encode, requests))


def read_say(request: HttpRequest, scope: Scope) -> Say:
    """What a hook is to say: a text, or JSON with the fields of a `say`. The room may be
    left out where the token is for one only.

    Raises `NotJson`, `BadFields`, `BadName`, `NoSuchRoom`.
    """
    fields: dict[str, Any] = {
        "text": request.body.decode("utf-8", "surrogateescape").rstrip("\r\n")
    }
    if JSON in request.headers.get("content-type", ""):
        fields = parse_object(request.body)
    room = request.query.get("room") or fields.get("room") or _home(scope)
    if room is None:
        raise BadFields("into which room? Add ?room=NAME")
    key = request.headers.get("idempotency-key", "").strip('"')
    id = key or fields.get("id") or secrets.token_urlsafe(9)
    said = Say(room, fields.get("text", ""), id, fields.get("reply_to"))
    checked = SERVER.decode(CLIENT.encode(said))  # the fields may be anything
    assert isinstance(checked, Say)
    require_room(scope, checked.room)
    if not checked.text:  # with a mistyped field, say: it would be gone, and nobody the wiser
        raise BadFields("there is no text")
    return checked


def _home(scope: Scope) -> str | None:
    if scope.rooms is None or len(scope.rooms) != 1:
        return None
    (room,) = scope.rooms
    return room


# ---------------------------------------------------------------- one thing


@define(eq=False)
class Script(trio.abc.Stream):
    """The connection of somebody who has said all and hears the answers; over memory."""

    _heard: bytearray = field(factory=bytearray, init=False)

    @property
    def replies(self) -> list[Reply]:
        """What was answered."""
        return [CLIENT.decode(line) for line in bytes(self._heard).splitlines()]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Keep what is answered."""
        await trio.lowlevel.checkpoint()
        self._heard += data

    async def wait_send_all_might_not_block(self) -> None:
        """It never does."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 # a stream
        """All has been said."""
        await trio.lowlevel.checkpoint()
        return b""

    async def aclose(self) -> None:
        """There is nothing to close."""
        await trio.lowlevel.checkpoint()


async def say(converse: Converse, arrival: Arrival, token: str, say: Say) -> HttpResponse:
    """Say something once, however often it is asked for with the same id."""
    # Beyond the head: it comes to speak, not to hear what was there before. And it asks for
    # no ack of that, whose id could be that of what is said.
    join = Join(say.room, MAX_INT, quiet=True)
    said = _lines(_hello(token), *([] if is_private(say.room) else [join]), say)
    script = Script()
    await converse(script, Outbox(), evolve(arrival, heard=said))
    replies = script.replies
    # What was said before is acked also to who could not say it any more.
    acks = [reply for reply in replies if isinstance(reply, Ack)]
    errors = [reply for reply in replies if isinstance(reply, Error)]
    if acks:
        return HttpResponse(HTTPStatus.OK, SERVER.encode(acks[0]), JSON)
    return _as_response_to(token, errors[0] if errors else _CLOSING)


_CLOSING = Error(Busy.code, "the server is closing; try again in a moment", retry=1)


# ---------------------------------------------------------------- what happens in a room


_EVENT_NUMBER = re.compile(f"[0-9]{{1,{len(str(MAX_INT))}}}")


def read_join(request: HttpRequest, room: str) -> Join:
    """Which events are asked for: those after `after`, or after the one that somebody who
    comes back had last. Raises `BadFields`."""
    after = request.headers.get("last-event-id") or request.query.get("after")
    if after is not None and not _EVENT_NUMBER.fullmatch(after):
        raise BadFields("after is the number of an event")
    return Join(room, None if after is None else int(after), quiet=True, id=JOINED)


async def give_events(converse: Converse, visit: Visit, token: str, join: Join) -> None:
    """Give the events of a room. Raises `WrongPassword`."""
    said = _lines(_hello(token), join)
    outbox = Outbox()
    follows = EVENT_STREAM in visit.request.headers.get("accept", "")
    refuse = partial(_as_response_to, token)
    feed = Feed(visit.stream, visit.exchange, outbox, refuse, follows)
    await converse(feed, outbox, evolve(visit.arrival, heard=said))


@define(eq=False)
class Feed(trio.abc.HalfCloseableStream):
    """The connection of somebody who is given the events of a room over HTTP.

    The head of the response waits for the answer to the join, so that a refusal can still
    be one of HTTP. `follows`: it goes on when all that was there has been given, in the form
    of server-sent events; a browser or a proxy comes back with the number of the last one.
    """

    stream: trio.abc.Stream
    exchange: Exchange
    outbox: Outbox
    refuse: Callable[[Error], HttpResponse] = field(repr=False)  # it knows a token
    follows: bool
    _lines: LineBuffer = field(factory=LineBuffer, init=False)
    _epoch: str = field(default="", init=False)
    _has_begun: bool = field(default=False, init=False)
    _is_over: bool = field(default=False, init=False)
    _is_torn: bool = field(default=False, init=False)
    _pause: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Pass on what is for this reader."""
        lines = self._lines.feed(bytes(data))
        parts = [self._pass_on(line) for line in lines if not self._is_over]
        self._is_torn = True
        await self.stream.send_all(b"".join(parts))
        self._is_torn = False

    def _pass_on(self, line: bytes) -> bytes:
        if not line:
            return self.exchange.go_on(b":\n\n")  # a comment, to whom it concerns
        reply = CLIENT.decode(line)
        match reply:
            case Event() | Gap():
                return self._begin() + self.exchange.go_on(self._form(line, reply))
            case Welcome():
                self._epoch = reply.epoch
            case Ack():
                return self._begin()
            case Goodbye():
                return self._take_leave(reply)
            case Error():
                return self._end(reply)
            case _:
                pass
        return b""

    def _begin(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        kind = EVENT_STREAM if self.follows else JSON_LINES
        headers = {"Cache-Control": "no-store", EPOCH: self._epoch}
        return self.exchange.begin(HttpResponse(HTTPStatus.OK, kind=kind, headers=headers))

    def _form(self, line: bytes, reply: Event | Gap) -> bytes:
        if not self.follows:
            return line + b"\n"
        seq = reply.seq if isinstance(reply, Event) else reply.last
        return b"id: %d\ndata: %b\n\n" % (seq, line)

    def _take_leave(self, goodbye: Goodbye) -> bytes:
        if not self._has_begun:
            return self._end(_CLOSING)
        if not self.follows:
            return b""
        return self.exchange.go_on(b"retry: %d\n\n" % (1000 * (goodbye.retry or 0)))

    def _end(self, error: Error) -> bytes:
        """A refusal, if it comes in time; else it just ends, and is not complete."""
        self._is_over = True
        self._pause.cancel(reason="over")
        return b"" if self._has_begun else self.exchange.encode(self.refuse(error))

    @property
    def _is_complete(self) -> bool:
        """Has all been sent? The reader of a part has to know that it is one."""
        is_cut = self._is_over or self._is_torn
        return not (is_cut or self.outbox.queued_bytes or self.outbox.behind)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 # a stream
        """Nothing, as soon as nothing more is wanted."""
        while self.follows and not self._is_over:
            with trio.move_on_after(BEAT) as self._pause:
                if not await self.stream.receive_some(CHUNK_BYTES):
                    return b""
            if self._pause.cancelled_caught and not self._is_over:
                await self.outbox.wait_for_space()
                self.outbox.answer(b"\n")
        await trio.lowlevel.checkpoint()
        return b""

    async def send_eof(self) -> None:
        """Say that it is complete, if it is."""
        if self._has_begun and self._is_complete:
            await self.stream.send_all(self.exchange.finish())
        if isinstance(self.stream, trio.abc.HalfCloseableStream):
            await self.stream.send_eof()

    async def wait_send_all_might_not_block(self) -> None:
        """As of the stream below."""
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the connection."""
        await self.stream.aclose()
