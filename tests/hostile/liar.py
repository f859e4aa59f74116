"""A hostile server: what it says to whoever comes, trick by trick."""

import itertools
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import get_args

import trio

from tests.hostile.fuzz import GONE, misshape, mutate
from tests.hostile.honest import HOST
from tests.test_clean import TRICKS
from trio_chat.framing import LineBuffer
from trio_chat.messages import (
    Ack,
    Called,
    Error,
    Event,
    Gap,
    Goodbye,
    Hello,
    Join,
    Leave,
    Ping,
    Pong,
    Reply,
    Request,
    RoomInfo,
    RoomList,
    Rooms,
    Say,
    Topic,
    Welcome,
    Who,
)
from trio_chat.schema import GOLDEN, golden_line
from trio_chat.session import Settings
from trio_chat.wire import SERVER

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

GOOD = [
    golden_line(message).rstrip(b"\n")
    for message in GOLDEN
    if isinstance(message, get_args(Reply))
]

Trick = Callable[[trio.SocketStream], Awaitable[None]]
"""Talks to one client until it is gone."""


def welcome(name: str = "victim", token: str = "x" * 43) -> Welcome:
    """A good one."""
    return Welcome(1, "trio_chat 0", name, token, "epoch", Settings().limits, ())


async def _say(stream: trio.SocketStream, *replies: Reply) -> None:
    await stream.send_all(b"".join(map(SERVER.encode, replies)))


async def _hear(stream: trio.SocketStream) -> Iterable[Request]:
    """What comes at once; a client of ours says only what can be understood."""
    lines = LineBuffer()
    chunk = await stream.receive_some()
    return [SERVER.decode(line) for line in lines.feed(bytes(chunk))]


async def _greet(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await _say(stream, welcome())


async def _for_ever(stream: trio.SocketStream, data: bytes) -> None:
    while True:
        await stream.send_all(data)


# ---------------------------------------------------------------- the tricks


async def silence(stream: trio.SocketStream) -> None:
    """Nothing at all."""
    await trio.sleep_forever()


async def at_once(stream: trio.SocketStream) -> None:
    """The end."""


async def another_protocol(stream: trio.SocketStream) -> None:
    """What is no chat."""
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def endless_welcome(stream: trio.SocketStream) -> None:
    """A line that never ends, instead of a welcome."""
    await _for_ever(stream, b'{"type":"welcome","name":"' + b"a" * 65_536)


async def endless_line(stream: trio.SocketStream) -> None:
    """The same, after a welcome."""
    await _greet(stream)
    await _for_ever(stream, b"x" * 65_536)


async def endless_lines(stream: trio.SocketStream) -> None:
    """Answers that nobody has asked for, as fast as they are taken."""
    await _greet(stream)
    replies: Sequence[Reply] = (
        Ack("no", "lobby", 1),
        Pong("no"),
        RoomList(()),
        Gap("lobby", 1, 2),
    )
    await _for_ever(stream, b"".join(map(SERVER.encode, replies)) * 100)


async def calls(stream: trio.SocketStream) -> None:
    """Calls into ever more private rooms."""
    await _greet(stream)
    for number in itertools.count():
        await _say(stream, *(Called(f"@victim,x{number}-{n}:k", "x", 1) for n in range(100)))


async def endless_list(stream: trio.SocketStream) -> None:
    """An answer that has ever more parts."""
    await _answering(stream, _listing)


def _listing(request: Request) -> Iterator[Reply]:
    if isinstance(request, Rooms | Who):
        for _ in range(10_000):
            yield RoomList((RoomInfo("lobby", 1, 1),) * 200, more=True, id=request.id)


async def garbage(stream: trio.SocketStream) -> None:
    """Replies that are mutated, misshapen or random."""
    await _greet(stream)
    chance = random.Random(str(stream.socket.getpeername()))
    for line in _spoilt(chance):
        await stream.send_all(line + b"\n")


def _spoilt(chance: random.Random) -> Iterator[bytes]:
    while True:
        good = chance.choice(GOOD)
        yield chance.choice([good, mutate(good, chance), misshape(good, chance), good])


async def numbers(stream: trio.SocketStream) -> None:
    """Events whose numbers make no sense, and acks of what was never said."""
    await _answering(stream, _misnumbered)


def _misnumbered(request: Request) -> Iterator[Reply]:
    if isinstance(request, Join | Say | Leave):
        for seq in (5, 3, 3, 2**53 - 1, 6, 1, 7):
            yield Event(seq, NOON, "bob", Say("lobby", f"number {seq}"))
        yield Gap("lobby", 9, 2)
        yield Ack("nobody's", "lobby", 2**53 - 1)
        yield Ack(request.id or "none", "elsewhere", 1)


async def controls(stream: trio.SocketStream) -> None:
    """Everything that a terminal might obey, wherever text stands."""
    await _answering(stream, _steering)


def _steering(request: Request) -> Iterator[Reply]:
    if isinstance(request, Join):
        yield Ack(request.id or "", "lobby", 1)
        yield Event(1, NOON, "victim", Join("lobby"))
        for seq, trick in enumerate(map(_sendable, TRICKS.values()), 2):
            yield Event(seq, NOON, trick, Say("lobby", f"hi {trick}"))
            yield Error("busy", trick)
        yield Event(seq + 1, NOON, trick, Topic("lobby", trick))
    elif isinstance(request, Say):
        yield Error("not_allowed", _sendable("".join(TRICKS.values())), request.id)
    elif isinstance(request, Rooms):
        yield RoomList((RoomInfo(_sendable(TRICKS["title"]), 1, 1),), id=request.id)


def _sendable(text: str) -> str:
    """Without what JSON can't have."""
    return text.encode("utf-8", "ignore").decode().replace("\0", "")


async def farewell(stream: trio.SocketStream) -> None:
    """A goodbye for ever, with all that a terminal might obey."""
    await _greet(stream)
    await _say(stream, Goodbye(_sendable("".join(TRICKS.values())), retry=10.0**12))


async def _answering(
    stream: trio.SocketStream, answer: Callable[[Request], Iterator[Reply]]
) -> None:
    while requests := await _hear(stream):
        for request in requests:
            match request:
                case Hello():
                    await _say(stream, welcome())
                case Ping(id=id):
                    await _say(stream, Pong(id))
                case _:
                    for reply in answer(request):
                        await _say(stream, reply)


LIES: Mapping[str, Trick] = {
    trick.__name__: trick
    for trick in (
        silence,
        at_once,
        another_protocol,
        endless_welcome,
        endless_line,
        endless_lines,
        calls,
        endless_list,
        garbage,
        numbers,
        controls,
        farewell,
    )
}


async def lie(begin: Callable[[], None], *, port: int, lies_at: int, trick: str) -> object:
    """Listen, and play a trick on whoever comes, until cancelled."""
    told = 0

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal told
        told += 1
        with suppress(*GONE):
            async with stream:
                await LIES[trick](stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, answer, lies_at, host=HOST))
        begin()
        await trio.sleep_forever()
    return told
