"""Honest people beside an attack, by whom is measured what it does to others."""

import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.hostile.figures import Times
from trio_chat.client.link import Link, dial_tcp
from trio_chat.messages import Hello, Ping, Pong, Welcome
from trio_chat.tls import TlsStream
from trio_chat.wire import CLIENT

HOST = "127.0.0.1"

PATIENCE = 60.0
"""Seconds after which an honest person gives up, which would show as an error."""

_NUMBERS = itertools.count()
"""Nobody is called as somebody before, whom the server may take for still there."""

PINGERS, PING_EVERY = 5, 0.02
"""People who ping, and how often: a stall meets all of them."""

LOGIN_EVERY = 0.05
"""Seconds between two logins."""


async def dial(port: int, *, is_secure: bool = False) -> trio.abc.HalfCloseableStream:
    """A connection; one that is secure believes any certificate."""
    stream = await dial_tcp(HOST, port)
    if not is_secure:
        return stream
    secured = TlsStream.for_client(stream, believing(), HOST)
    try:
        await secured.handshake()
    except BaseException:  # it is cancelled at the end of what is measured
        await trio.aclose_forcefully(stream)
        raise
    return secured


def believing() -> ssl.SSLContext:
    """How to speak TLS with anybody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@asynccontextmanager
async def guest(port: int, name: str, *, is_secure: bool = False) -> AsyncIterator[Link]:
    """Somebody who has come in."""
    stream = await dial(port, is_secure=is_secure)
    try:
        link = Link(stream, PATIENCE)
        await link.send([CLIENT.encode(Hello(name))])
        welcome = await link.receive()
        assert isinstance(welcome, Welcome), welcome
        yield link
    finally:
        await trio.aclose_forcefully(stream)


Measure = Callable[[Times], Coroutine[Any, Any, None]]
"""Does something again and again, and notes what it took, until cancelled."""


@asynccontextmanager
async def beside(*measures: tuple[Measure, Times]) -> AsyncIterator[None]:
    """Measure while the block runs."""
    async with trio.open_nursery() as nursery:
        for measure, times in measures:
            nursery.start_soon(measure, times)
        yield
        nursery.cancel_scope.cancel(reason="over")


def logging_in(port: int, *, is_secure: bool = False) -> Measure:
    """From dialling to the welcome."""

    async def log_in(times: Times) -> None:
        while True:
            start = trio.current_time()
            async with guest(port, f"honest{next(_NUMBERS)}", is_secure=is_secure):
                times.seconds.append(trio.current_time() - start)
            await trio.sleep(LOGIN_EVERY)

    return log_in


def pinging(port: int) -> Measure:
    """From a ping to its pong, of people who are in."""

    async def ping_all(times: Times) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(PINGERS):
                nursery.start_soon(_ping, port, f"pinger{next(_NUMBERS)}", times)

    return ping_all


async def _ping(port: int, name: str, times: Times) -> None:
    async with guest(port, name) as link:
        while True:
            start = trio.current_time()
            await link.send([CLIENT.encode(Ping())])
            while not isinstance(await link.receive(), Pong):
                pass
            times.seconds.append(trio.current_time() - start)
            await trio.sleep(PING_EVERY)


async def read_metrics(port: int, *, is_secure: bool = False) -> Mapping[str, float]:
    """What a server says of itself."""
    stream = await dial(port, is_secure=is_secure)
    try:
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while chunk := await stream.receive_some():
            answer += bytes(chunk)
    finally:
        await trio.aclose_forcefully(stream)
    _, _, body = answer.partition(b"\r\n\r\n")
    families = text_string_to_metric_families(body.decode())
    return {sample.name: sample.value for family in families for sample in family.samples}
