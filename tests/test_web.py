"""The door for browsers: what is asked over HTTP, and conversations over a WebSocket."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import h11
import pytest
import trio
from attrs import define
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tests.conftest import Dial
from tests.test_server import closing_server
from trio_chat.doors.assets import FILES
from trio_chat.doors.http import GUARDS
from trio_chat.messages import (
    Ack,
    Error,
    Event,
    Goodbye,
    Hello,
    Join,
    Leave,
    Ping,
    Pong,
    Request,
    Say,
    Welcome,
)
from trio_chat.outbox import QUEUED_BYTES
from trio_chat.server import RETRY
from trio_chat.session import CLOSE_WITHIN, HELLO_WITHIN
from trio_chat.testing import RunningServer, running_server
from trio_chat.wire import CLIENT
from trio_chat.writer import STUCK

T = TypeVar("T")

GET = b"GET %b HTTP/1.1\r\nHost: localhost:8765\r\n%b\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
HELLO = b'{"type":"hello","name":"alice"}'


@define
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    server: RunningServer, data: bytes, over: trio.abc.Stream | None = None
) -> Answered:
    """Send a request, whatever it is; the response, after which the connection has ended."""
    client = h11.Connection(h11.CLIENT)
    client.send(
        h11.Request(method=data.partition(b" ")[0], target="/", headers=[("Host", "h")])
    )
    client.send(h11.EndOfMessage())
    async with over or await server.dial() as stream:
        await stream.send_all(data)
        while chunk := await stream.receive_some():
            client.receive_data(bytes(chunk))
        client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response), response
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    headers = {name.decode(): value.decode() for name, value in response.headers}
    return Answered(response.status_code, headers, body)


# ---------------------------------------------------------------- HTTP


@pytest.mark.parametrize("path", FILES)
async def test_the_page_is_there_and_is_asked_for_again_only_if_it_has_changed(
    server: RunningServer, path: str
) -> None:
    first = await ask(server, GET % (path.encode(), b""))
    assert first.status == 200
    assert first.body
    assert first.headers["content-type"] == FILES[path][1]
    tag = first.headers["etag"].encode()
    again = await ask(server, GET % (path.encode(), b"If-None-Match: %b\r\n" % tag))
    assert (again.status, again.body) == (304, b"")
    other = await ask(server, GET % (path.encode(), b'If-None-Match: "x"\r\n'))
    assert other.status == 200


REQUESTS = {
    "a page": (GET % (b"/", b""), 200),
    "a page with a query": (GET % (b"/?room=x", b""), 200),
    "health": (GET % (b"/healthz", b""), 200),
    "nothing": (GET % (b"/nothing", b""), 404),
    "a way out": (GET % (b"/../../etc/passwd", b""), 404),
    "a way out in disguise": (GET % (b"/%2e%2e/errors.py", b""), 404),
    "the head of a page": (b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    "a post to a page": (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "a delete": (b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "no websocket": (GET % (b"/ws", b""), 400),
    "no request": (b"GET \r\n\r\n", 400),
    "another site": (GET % (b"/", b"Origin: http://evil.org\r\n"), 403),
    "another name": (b"GET / HTTP/1.1\r\nHost: evil.org\r\n\r\n", 421),
}


@pytest.mark.parametrize(("data", "status"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_every_answer_is_guarded(server: RunningServer, data: bytes, status: int) -> None:
    answered = await ask(server, data)
    assert answered.status == status
    for name, value in GUARDS.items():
        assert answered.headers[name.lower()] == value
    assert trio.current_time() == 0


async def test_a_browser_that_posts_here_gets_nothing_done(
    server: RunningServer, dial: Dial
) -> None:
    alice = await dial()
    await alice.enter("alice", "lobby")
    for place in (b"/", b"/ws", b"/hooks/x", b"/rooms/lobby"):
        for origin in (b"", b"Origin: http://evil.org\r\n", b"Origin: null\r\n"):
            said = (Hello("eve"), Join("lobby"), Say("lobby", "evil"))
            lines = b"".join(CLIENT.encode(request) for request in said)
            answered = await ask(
                server,
                b"POST %b HTTP/1.1\r\nHost: localhost\r\n%bContent-Type: text/plain\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (place, origin, len(lines), lines),
            )
            assert answered.status >= 400
    await alice.tell(Ping())
    assert await alice.hear(Pong) == Pong()


@pytest.mark.parametrize(
    "start", [b"GET ", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Le"]
)
async def test_a_request_has_to_come_in_time(server: RunningServer, start: bytes) -> None:
    assert (await ask(server, start)).status == 408
    assert trio.current_time() == HELLO_WITHIN


async def test_a_request_that_ends_in_its_middle_is_none(server: RunningServer) -> None:
    stream = await server.dial()
    assert isinstance(stream, trio.StapledStream)
    await stream.send_all(b"GET / HT")
    await stream.send_eof()
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")


async def test_who_does_not_read_the_page_is_not_waited_for(server: RunningServer) -> None:
    stream = await server.dial()
    await stream.send_all(GET % (b"/", b""))
    await stream.aclose()
    await wait_all_tasks_blocked()
    assert (await ask(server, GET % (b"/healthz", b""))).body == b"ready\n"


async def test_a_server_that_closes_says_so(virtual_time: None) -> None:
    async with closing_server() as server:
        stream = await server.dial()
        await stream.send_all(b"GET ")
        await wait_all_tasks_blocked()
        server.close()
        await stream.send_all(b"/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b"".join([bytes(chunk) async for chunk in stream])
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"draining\n")
        await stream.aclose()


# ---------------------------------------------------------------- WebSocket


@define(eq=False)
class WebPeer:
    """A client by hand, over frames that somebody else's library makes."""

    socket: WebSocketConnection

    async def tell(self, *requests: Request) -> None:
        for request in requests:
            await self.socket.send_message(CLIENT.encode(request).decode())

    async def hear(self, kind: type[T]) -> T:
        message = await self.socket.get_message()
        assert isinstance(message, str)
        reply = CLIENT.decode(message.encode())
        assert isinstance(reply, kind), reply
        return reply

    async def enter(self, name: str, room: str) -> None:
        await self.tell(Hello(name), Join(room))
        await self.hear(Welcome)
        while True:
            event = await self.hear(Event)
            if event.by == name:
                break

    async def end(self) -> int | None:
        """What it is closed with, after all that is still to be heard."""
        try:
            while True:
                await self.socket.get_message()
        except ConnectionClosed as closed:
            return closed.reason.code if closed.reason else None


@asynccontextmanager
async def web_peer(
    server: RunningServer,
    stream: trio.abc.Stream | None = None,
    host: str = "localhost:8765",
    origin: str | None = None,
) -> AsyncIterator[WebPeer]:
    stream = stream or await server.dial()
    async with trio.open_nursery() as nursery:
        made: Any = stream  # any will do, whatever the library's types say
        headers = [] if origin is None else [(b"Origin", origin.encode())]
        socket = await wrap_client_stream(nursery, made, host, "/ws", extra_headers=headers)
        yield WebPeer(socket)
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)


async def test_lines_and_frames_are_one_conversation(server: RunningServer, dial: Dial) -> None:
    alice = await dial()
    await alice.enter("alice", "lobby")
    async with web_peer(server) as bob:
        await bob.enter("bob", "lobby")
        assert (await alice.hear(Event)).message == Join("lobby")
        await alice.tell(Say("lobby", "from a line\nor two", "a1"))
        await alice.hear(Ack)
        assert await bob.hear(Event) == await alice.hear(Event)
        await bob.tell(Say("lobby", "from a frame: ä 🙂" + "x" * 1000, "b1"))
        assert await bob.hear(Ack) == Ack("b1", "lobby", 4)
        assert await bob.hear(Event) == await alice.hear(Event)


async def test_what_is_said_with_the_handshake_is_heard(server: RunningServer) -> None:
    stream = await server.dial()
    ping, hello = b"\x89\x80\0\0\0\0", b"\x81\x9f\0\0\0\0" + HELLO
    await stream.send_all(GET % (b"/ws", UPGRADE) + ping + hello)
    data = b""
    while b"\x8a\x00" not in data:
        data += bytes(await stream.receive_some())
    assert data.startswith(b"HTTP/1.1 101 ")
    assert b'"name":"alice"' in data
    await stream.aclose()


async def test_a_frame_that_is_no_message_is_answered_and_one_goes_on(
    server: RunningServer,
) -> None:
    async with web_peer(server) as peer:
        await peer.enter("alice", "lobby")
        await peer.socket.send_message("{")
        error = await peer.hear(Error)
        assert error.code == "not_json"
        await peer.socket.ping(b"x")
        await peer.tell(Ping("p"))
        assert await peer.hear(Pong) == Pong("p")


@pytest.mark.parametrize(
    ("message", "code", "close"),
    [
        (b"binary", "bad_frame", 1003),
        ("x" * 65536, "too_long", 1009),
        ('{"type":"join","room":"lobby"}', "hello_first", 1008),
        ("hello", "not_json", 1008),
    ],
)
async def test_what_ends_it_is_told_in_words_and_by_the_code(
    server: RunningServer, message: str | bytes, code: str, close: int
) -> None:
    async with web_peer(server) as peer:
        await peer.socket.send_message(message)
        error = await peer.hear(Error)
        assert error.code == code
        assert await peer.end() == close
    assert trio.current_time() <= CLOSE_WITHIN


async def test_who_says_no_hello_over_a_websocket_is_closed_in_time(
    server: RunningServer,
) -> None:
    async with web_peer(server) as peer:
        error = await peer.hear(Error)
        assert error.code == "no_hello"
        assert trio.current_time() == HELLO_WITHIN
        assert await peer.end() == 1008


async def test_a_server_that_closes_goes_away(virtual_time: None) -> None:
    async with closing_server() as server, web_peer(server) as peer:
        await peer.enter("alice", "lobby")
        server.close()
        assert await peer.hear(Goodbye) == Goodbye("the server is closing", retry=RETRY)
        assert await peer.end() == 1001


async def test_who_closes_is_answered_and_leaves(server: RunningServer, dial: Dial) -> None:
    alice = await dial()
    await alice.enter("alice", "lobby")
    async with web_peer(server) as bob:
        await bob.enter("bob", "lobby")
        await alice.hear(Event)
        await bob.socket.aclose(4000)
        assert await bob.end() == 4000
        assert (await alice.hear(Event)).message == Leave("lobby", lost=True)
    assert trio.current_time() == 0


async def test_it_comes_back_as_any_client_does(server: RunningServer, dial: Dial) -> None:
    alice = await dial()
    await alice.enter("alice", "lobby")
    async with web_peer(server) as bob:
        await bob.tell(Hello("bob"), Ping())
        welcome = await bob.hear(Welcome)
        await bob.hear(Pong)
        await bob.tell(Join("lobby"))
        assert [(await bob.hear(Event)).seq for _ in range(2)] == [1, 2]
    await alice.tell(Say("lobby", "meanwhile"))
    async with web_peer(server) as bob:
        await bob.tell(Hello("bob", token=welcome.token), Join("lobby", after=2))
        again = await bob.hear(Welcome)
        assert [room.room for room in again.rooms] == ["lobby"]
        event = await bob.hear(Event)
        assert (event.seq, event.message) == (3, Say("lobby", "meanwhile", event.message.id))


async def test_who_pings_and_reads_nothing_is_not_read_from(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = lockstep_stream_pair()
    server.serve(theirs)
    await ours.send_all(GET % (b"/ws", UPGRADE))
    await ours.receive_some()
    await ours.send_all(b"\x81\x9f\0\0\0\0" + HELLO)
    pings = (b"\x89\xfd\0\0\0\0" + bytes(125)) * 400
    taken = 0
    with suppress(trio.BrokenResourceError):
        while taken < 10 * QUEUED_BYTES:
            await ours.send_all(pings)
            taken += len(pings)
    assert taken < 4 * QUEUED_BYTES
    assert trio.current_time() <= STUCK + CLOSE_WITHIN
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# ---------------------------------------------------------------- over a real port


async def test_a_browser_lines_and_frames_share_one_port() -> None:
    async with running_server() as server:
        lines = await trio.open_tcp_stream(server.host, server.port)
        await lines.send_all(CLIENT.encode(Hello("alice")) + CLIENT.encode(Join("lobby")))
        await lines.receive_some()
        stream = await trio.open_tcp_stream(server.host, server.port)
        async with web_peer(server, stream) as bob:
            await bob.enter("bob", "lobby")
            await lines.send_all(CLIENT.encode(Say("lobby", "hi", "x")))
            event = await bob.hear(Event)
            assert event.message == Say("lobby", "hi", "x")
            await bob.socket.aclose()
            assert await bob.end() == 1000
        page = await trio.open_tcp_stream(server.host, server.port)
        await page.send_all(GET % (b"/", b""))
        answer = b"".join([bytes(chunk) async for chunk in page])
        assert answer.startswith(b"HTTP/1.1 200 ")
        await page.aclose()
        await lines.aclose()
