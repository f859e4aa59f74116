"""Frames that no client would send: mutated ones, random ones, and good ones at the wrong
time; through every door."""

import itertools
import json
import random
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import get_args

import trio
from attrs import define, field

from tests.hostile.honest import HOST
from trio_chat.client.link import dial_tcp
from trio_chat.errors import LinkLost
from trio_chat.messages import Hello, Request
from trio_chat.schema import GOLDEN, golden_line
from trio_chat.wire import CLIENT

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, LinkLost)

VALUES: Sequence[object] = (
    None, True, 0, -1, 2**53, 2**63, 1.5, 1e308, "", "x" * 5000, "\0", "\x1b]0;x\x07", "\u202e",
    "@", "@bob", "a b", [], {}, [[]], {"a": {"b": {}}}, "9" * 400, "lobby", "owner", "\ufeff",
)  # fmt: skip
"""What stands in fields that should hold something else."""

NONSENSE: Sequence[bytes] = (
    b"", b"{}", b"[]", b"null", b"\xff\xfe", b"\0" * 20, b'"\\ud800"', b"[" * 3000, b"NaN",
    b'{"type":NaN}', b'{"type":"say","type":"ping"}', b'{"type":"\\u0000"}', b"\xc3\x28", b"\r",
    b'{"type":"ping","id":1e999}', b'{"type":' * 500, b"9" * 5000, b"POST / HTTP/1.1",
    "\u2028\u0085".encode(), b"\xef\xbb\xbf{}", b'{"type":"event","seq":1}',
)  # fmt: skip
"""What is no message at all."""

GOOD = [
    golden_line(message).rstrip(b"\n")
    for message in GOLDEN
    if isinstance(message, get_args(Request)) and b'"password":' not in golden_line(message)
]
"""Requests as they should be. Those with a password have an attack of their own: each keeps
a core busy for 30 ms, which would be the whole of this one."""

KEYS = sorted({key for line in GOOD for key in json.loads(line)} | {"password", "nobody's"})

MISSHAPEN = 5000
"""So many messages with wrong fields are made at the start; making one takes 10 µs."""

PIECE = 50
"""Frames that are sent at once."""

ANSWER_WITHIN = 60.0
"""Seconds for the server to answer all that came over a connection, and to close it."""

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

REQUESTS: Sequence[bytes] = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    b"HEAD /page.js HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"x\"\r\n\r\n",
    UPGRADE,
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    b"PUT /x HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.0\r\nOrigin: null\r\n\r\n",
)  # fmt: skip

Make = Callable[[random.Random], Iterator[bytes]]
"""Makes what is sent over one connection, without an end."""


# ---------------------------------------------------------------- what is sent


def mutate(line: bytes, chance: random.Random) -> bytes:
    """The line, changed in one place or two."""
    at, end = chance.randrange(len(line) + 1), chance.randrange(len(line) + 1)
    match chance.randrange(5):
        case 0:
            return line[:at]
        case 1:
            return line[:at] + chance.randbytes(chance.randrange(1, 5)) + line[at:]
        case 2:
            return line[:at] + chance.randbytes(1) + line[at + 1 :]
        case 3:
            return line[: max(at, end)] + line[min(at, end) :]
        case _:
            return line[: min(at, end)] + line[max(at, end) :]


def misshape(line: bytes, chance: random.Random) -> bytes:
    """A message with fields of the wrong kind."""
    fields = json.loads(line)
    for _ in range(chance.randrange(1, 4)):
        fields[chance.choice(KEYS)] = chance.choice(VALUES)
    if chance.random() < 0.2:
        del fields[chance.choice(list(fields))]
    return json.dumps(fields, ensure_ascii=chance.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    )


def _messages(chance: random.Random) -> Iterator[bytes]:
    misshapen = _misshapen(chance)
    while True:
        kind = chance.random()
        if kind < 0.4:
            yield mutate(chance.choice(GOOD), chance)
        elif kind < 0.6:
            yield chance.choice(misshapen)
        elif kind < 0.7:
            yield mutate(chance.choice(misshapen), chance)
        elif kind < 0.8:
            yield chance.randbytes(chance.randrange(60))
        elif kind < 0.95:
            yield chance.choice(GOOD)
        else:
            yield chance.choice(NONSENSE)


_made: list[bytes] = []


def _misshapen(chance: random.Random) -> Sequence[bytes]:
    if not _made:
        _made.extend(misshape(chance.choice(GOOD), chance) for _ in range(MISSHAPEN))
    return _made


def _hello(chance: random.Random) -> bytes:
    return CLIENT.encode(Hello(f"fuzz{chance.randrange(10**6)}")).rstrip(b"\n")


def lines(chance: random.Random) -> Iterator[bytes]:
    """Lines, mostly after a hello."""
    if chance.random() < 0.9:
        yield _hello(chance) + b"\n"
    for message in _messages(chance):
        yield message + b"\n"


def frames(chance: random.Random) -> Iterator[bytes]:
    """Frames of a WebSocket, most of them well-formed ones with such messages in them."""
    yield UPGRADE
    yield _frame(_hello(chance))
    for message in _messages(chance):
        text = message if chance.random() < 0.98 else message + b"\xff"
        frame = _frame(text.decode("utf-8", "replace").encode())
        yield frame if chance.random() < 0.998 else mutate(frame, chance)


def _frame(text: bytes) -> bytes:
    size = len(text)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + struct.pack("!H", size)
    return head + b"\0\0\0\0" + text  # a mask of zeros changes nothing


def requests(chance: random.Random) -> Iterator[bytes]:
    """A request of HTTP, and no other after it."""
    request = chance.choice(REQUESTS)
    for _ in range(chance.randrange(3)):
        request = mutate(request, chance)
    yield request


DOORS: Mapping[str, tuple[Make, int]] = {
    "lines": (lines, 1000),
    "WebSocket": (frames, 500),
    "HTTP": (requests, 1),
}
"""What is sent through a door, and the most frames for one connection."""


# ---------------------------------------------------------------- sending it


@define(eq=False)
class Fuzzer:
    """Sends what `make` makes over connections, of at most `most` frames each."""

    port: int
    make: Make
    most: int
    count: int
    chance: random.Random
    sent: int = field(default=0, init=False)
    connections: int = field(default=0, init=False)

    async def run(self) -> None:
        """Send until all of them together have sent enough."""
        while self.sent < self.count:
            self.connections += 1
            with suppress(*GONE):
                async with await dial_tcp(HOST, self.port) as stream:
                    await self._talk(stream)

    async def _talk(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(ANSWER_WITHIN):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._say_all, stream)
                while await stream.receive_some():
                    pass
                nursery.cancel_scope.cancel(reason="the server has closed")

    async def _say_all(self, stream: trio.SocketStream) -> None:
        with suppress(*GONE):
            await self._send(stream)
            await stream.send_eof()

    async def _send(self, stream: trio.SocketStream) -> None:
        frames = itertools.islice(self.make(self.chance), self.most)
        while piece := list(itertools.islice(frames, PIECE)):
            data = b"".join(piece)
            cut = self.chance.randrange(len(data) + 1)
            await stream.send_all(data[:cut])
            await stream.send_all(data[cut:])
            self.sent += len(piece)


async def fuzz(
    begin: Callable[[], None], *, port: int, door: str, count: int, seed: int, at_once: int
) -> object:
    """Send so many frames, over some connections at once."""
    fuzzer = Fuzzer(port, *DOORS[door], count, random.Random(seed))
    begin()
    start = time.monotonic()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(fuzzer.run)
    seconds = time.monotonic() - start
    return {"frames": fuzzer.sent, "connections": fuzzer.connections, "seconds": seconds}
