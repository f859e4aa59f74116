"""One process of attackers: `python -m tests.hostile.swarm PLAN`, where PLAN is JSON.

It prints `ready` once the attack is on, and at its end what was seen of the server, as JSON.
Those that have no end of their own go on until their input ends.
"""

import json
import os
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import trio
from attrs import frozen

from tests.hostile.fuzz import UPGRADE, fuzz
from tests.hostile.honest import HOST, believing, guest
from tests.hostile.liar import lie
from tests.hostile.stage import READY
from trio_chat import config
from trio_chat.bench.json_lines import JsonLines
from trio_chat.bench.load import Load
from trio_chat.bench.plan import Plan
from trio_chat.client.link import Link, dial_tcp
from trio_chat.errors import LinkLost
from trio_chat.messages import (
    Ack,
    Error,
    Event,
    Gap,
    Hello,
    Join,
    Leave,
    Ping,
    Pong,
    Reply,
    Request,
    Say,
    Welcome,
)
from trio_chat.wire import CLIENT

LOWER = 10
"""How much lower than the server's their priority is: real ones have machines of their own."""

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, LinkLost)

Role = Callable[..., Awaitable[object]]


def begin() -> None:
    """The attack is on."""
    print(READY, flush=True)


async def _until_told() -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as told:
        while await told.receive_some():
            pass


async def _send(link: Link, *requests: Request) -> None:
    await link.send(map(CLIENT.encode, requests))


# ---------------------------------------------------------------- those who dawdle


async def slowloris(port: int, slow: int, silent: int, pause: float, seconds: float) -> object:
    """Connections that say a byte every so many seconds, and some that say nothing. Whoever
    is closed comes again."""
    lasted: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + seconds
        for number in range(slow + silent):
            nursery.start_soon(_dawdle, port, pause if number < slow else None, lasted)
        begin()
    return {"closed": len(lasted), "slowest": max(lasted, default=0)}


async def _dawdle(port: int, pause: float | None, lasted: list[float]) -> None:
    while True:
        with suppress(*GONE):
            async with await dial_tcp(HOST, port) as stream, trio.open_nursery() as nursery:
                start = trio.current_time()
                if pause is not None:
                    nursery.start_soon(_drip, stream, pause)
                await _read_out(stream)
                lasted.append(trio.current_time() - start)
                nursery.cancel_scope.cancel(reason="it was closed")
        await trio.sleep(0.1)


async def _drip(stream: trio.abc.SendStream, pause: float) -> None:
    with suppress(*GONE):
        for byte in b'{"type":"hello","name":"' + b"a" * 10_000:
            await stream.send_all(bytes((byte,)))
            await trio.sleep(pause)


async def _read_out(stream: trio.abc.ReceiveStream) -> bytes:
    heard = b""
    with suppress(*GONE):
        while chunk := await stream.receive_some():
            heard = (heard + bytes(chunk))[-4096:]
    return heard


async def tls_stall(port: int, mute: int, half: int, deaf: int) -> object:
    """Who opens a connection and shakes no hands, who stops in the midst of it, and who
    talks nonsense through TLS and never reads what is said to that."""
    lasted: list[float] = []
    async with trio.open_nursery() as nursery:
        for _ in range(mute):
            nursery.start_soon(_stall, port, b"", lasted)
        for _ in range(half):
            nursery.start_soon(_stall, port, _client_hello(), lasted)
        for _ in range(deaf):
            nursery.start_soon(_talk_deafly, port, lasted)
        begin()
    return {"closed": len(lasted), "slowest": max(lasted)}


async def _stall(port: int, first: bytes, lasted: list[float]) -> None:
    async with await dial_tcp(HOST, port) as stream:
        start = trio.current_time()
        if first:
            await stream.send_all(first)
        await _read_out(stream)
        lasted.append(trio.current_time() - start)


def _client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = believing().wrap_bio(incoming, outgoing)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def _talk_deafly(port: int, lasted: list[float]) -> None:
    stream = await dial_tcp(HOST, port)
    start = trio.current_time()
    secured = trio.SSLStream(stream, believing())
    await secured.send_all(b"nonsense\n")
    while _state_of(stream.socket) == ESTABLISHED:  # noqa: ASYNC110 # the kernel tells nobody
        await trio.sleep(0.1)
    lasted.append(trio.current_time() - start)
    await trio.aclose_forcefully(stream)


ESTABLISHED = 1


def _state_of(connection: trio.socket.SocketType) -> int:
    """That of TCP: has the other side closed? Nothing is read."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0]


# ---------------------------------------------------------------- those who say too much

OPENINGS: Mapping[str, bytes] = {
    "lines": CLIENT.encode(Hello("verbose")),
    "lines, no hello": b"",
    "WebSocket": UPGRADE + b"\x81\xff" + struct.pack("!Q", 2**30) + b"\0\0\0\0",
    "HTTP": b"GET /",
}
"""What comes before what never ends, by the door."""


async def long_line(port: int, opening: str, size: int) -> object:
    """A line without an end, as fast as it is taken."""
    stream = await dial_tcp(HOST, port)
    begin()
    start, sent, heard = trio.current_time(), 0, b""
    async with stream, trio.open_nursery() as nursery:

        async def hear() -> None:
            nonlocal heard
            heard = await _read_out(stream)

        nursery.start_soon(hear)
        await stream.send_all(OPENINGS[opening])
        with suppress(*GONE):
            while sent < size:
                await stream.send_all(b"x" * 65_536)
                sent += 65_536
    return {
        "sent": sent,
        "seconds": trio.current_time() - start,
        "heard": heard.decode("latin1"),
    }


async def flood(port: int, rate: int, seconds: float) -> object:
    """One client that says more than anybody may, as fast as it is taken; it reads all."""
    async with guest(port, "flooder") as link:
        await _send(link, Join("lobby"))
        acked = said = 0
        begin()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:

                async def hear() -> None:
                    nonlocal acked
                    while True:
                        acked += isinstance(await link.receive(), Ack)

                nursery.start_soon(hear)
                start = trio.current_time()
                while True:
                    await _send(
                        link, *(Say("lobby", f"{said + n}") for n in range(rate // 100))
                    )
                    said += rate // 100
                    await trio.sleep_until(start + said / rate)
        return {"taken": said, "acked": acked}


async def guess(port: int, times: int, *, is_dialled_before: bool) -> object:
    """So many wrong passwords at once, half of them for one name. `is_dialled_before`: the
    connections are there, so that all hellos come in the same moment."""
    codes: Counter[str] = Counter()
    looked_at = 0
    go = trio.Event()
    streams = [await dial_tcp(HOST, port) for _ in range(times if is_dialled_before else 0)]

    async def try_one(number: int) -> None:
        nonlocal looked_at
        await go.wait()
        stream = streams[number] if streams else await dial_tcp(HOST, port)
        async with stream:
            name = "alice" if number % 2 else f"name{number}"
            link = Link(stream, 60)
            await _send(link, Hello(name, password="a wrong one"))  # noqa: S106 # nobody's
            code = _code_of(await link.receive())
            codes[code] += 1
            looked_at += (name, code) == ("alice", "wrong_password")

    async with trio.open_nursery() as nursery:
        for number in range(times):
            nursery.start_soon(try_one, number)
        begin()
        start = trio.current_time()
        go.set()
    return {"codes": codes, "looked_at": looked_at, "seconds": trio.current_time() - start}


def _code_of(reply: Reply) -> str:
    return reply.code if isinstance(reply, Error) else type(reply).__name__


HOLD_PATIENCE = 15.0
"""Seconds for an answer, if only a refusal: of those there are 32 at once."""


async def hold(port: int, times: int, patience: float = HOLD_PATIENCE) -> object:
    """So many connections that come in, and stay until they are told."""
    replies: Counter[str] = Counter()
    links: list[Link] = []

    async def come_in(number: int) -> None:
        link = Link(await dial_tcp(HOST, port), patience)
        links.append(link)
        try:
            await _send(link, Hello(f"held{number}"))
            code = _code_of(await link.receive())
        except LinkLost:
            code = "nothing"
        replies[code] += 1

    async with trio.open_nursery() as nursery:
        for number in range(times):
            nursery.start_soon(come_in, number)
    begin()
    await _until_told()
    for link in links:
        await trio.aclose_forcefully(link.stream)
    return replies


# ---------------------------------------------------------------- a room


async def crowd(
    *, port: int, label: str, members: int, rate: float, size: int, seconds: float
) -> object:
    """No attackers: a room full of people who talk, hear, and check what they hear."""
    plan = Plan(members, 8, 1, size, 64, rate, seconds, quiet=True, label=label)
    load = Load(plan, JsonLines(size, quiet=True), HOST, port, lambda _part, _text: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_announce, load)
        report = await load.run()
    return report.as_json()


async def _announce(load: Load) -> None:
    while not load.is_measuring:  # noqa: ASYNC110 # it has no event for that
        await trio.sleep(0.05)
    begin()


async def deaf(port: int, room: str, readers: int) -> object:
    """Who come into the crowd's room and never read, until they are told to: then they read
    what the kernel holds, and come back for the rest. What is not there of it?"""
    holes: list[int] = []
    names = [f"deaf{number}" for number in range(readers)]
    inside = {name: await _come_in_narrowly(port, name, room) for name in names}
    begin()
    await _until_told()
    async with trio.open_nursery() as nursery:
        for name, one in inside.items():
            nursery.start_soon(_read_on, one, partial(_resume, port, name, room), holes)
    return sum(holes)


@frozen
class Inside:
    """One who is in a room, with its token, and the newest event it has."""

    link: Link
    token: str
    last: int


async def _come_in_narrowly(port: int, name: str, room: str) -> Inside:
    """As somebody whose kernel takes little for one who doesn't read."""
    made = trio.socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await made.connect((HOST, port))
    link = Link(trio.SocketStream(made), 60)
    await _send(link, Hello(name), Join(room, quiet=True), Ping())
    welcome, last = await link.receive(), 0
    assert isinstance(welcome, Welcome), welcome
    while not isinstance(reply := await link.receive(), Pong):
        last = _newest(reply, last)
    return Inside(link, welcome.token, last)


async def _read_on(
    one: Inside, resume: Callable[[str, int], Awaitable[int]], holes: list[int]
) -> None:
    last = one.last
    with suppress(LinkLost), trio.move_on_after(HEAR_WITHIN):
        while True:
            last = _newest(await one.link.receive(), last)
    await trio.aclose_forcefully(one.link.stream)
    holes.append(await resume(one.token, last))


async def _resume(port: int, name: str, room: str, token: str, last: int) -> int:
    """Come back, and read what was missed; what is not there of it."""
    holes = 0
    async with await dial_tcp(HOST, port) as stream:
        link = Link(stream, 60)
        await _send(link, Hello(name, token=token), Join(room, last, quiet=True))
        with suppress(LinkLost), trio.move_on_after(HEAR_WITHIN):
            while True:
                reply = await link.receive()
                if isinstance(reply, Event):
                    holes += reply.seq - last - 1
                    last = reply.seq
                holes += isinstance(reply, Gap)
    return holes


HEAR_WITHIN = 3.0
"""Seconds for what the kernel holds, and for all that was missed."""


def _newest(reply: Reply, last: int) -> int:
    return reply.seq if isinstance(reply, Event) else last


# ---------------------------------------------------------------- those who come and go


async def come_and_go(port: int, times: int, at_once: int, first: int) -> object:
    """Connect, hello, join, leave; half of them are cut off instead."""
    begin()
    numbers = iter(range(first, first + times))

    async def one_after_the_other() -> None:
        for number in numbers:
            await _come_and_go(port, number)

    start = time.monotonic()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(one_after_the_other)
    return {"seconds": time.monotonic() - start}


async def _come_and_go(port: int, number: int) -> None:
    room = f"room{number % 50}"
    async with guest(port, f"passer{number}") as link:
        await _send(link, Join(room, after=10**9), Ping("in"))
        while not isinstance(await link.receive(), Pong):
            pass
        if number % 2:
            return  # it is closed without a word
        await _send(link, Leave(room), Ping("out"))
        while not isinstance(await link.receive(), Pong):
            pass


# ---------------------------------------------------------------- the process

ROLES: Mapping[str, Role] = {
    "slowloris": slowloris,
    "tls_stall": tls_stall,
    "long_line": long_line,
    "flood": flood,
    "guess": guess,
    "hold": hold,
    "crowd": crowd,
    "deaf": deaf,
    "come_and_go": come_and_go,
    "fuzz": partial(fuzz, begin),
    "lie": partial(lie, begin),
}


def main() -> None:
    """Play the role of the plan."""
    plan = json.loads(sys.argv[1])
    role = ROLES[plan.pop("role")]
    if role is not crowd:
        os.nice(LOWER)
    config.raise_file_limit()
    print(json.dumps(trio.run(partial(role, **plan))), flush=True)


if __name__ == "__main__":
    main()
