"""How connections of browsers end, and those that never begin."""

import json

import pytest
import trio
import trio.testing
import trustme

from tests.conftest import Dial, dialler
from tests.test_secure_web import authority, get, tls  # noqa: F401 # fixtures
from tests.test_secure_web import dial as dial_securely
from tests.test_web import GET, HELLO, UPGRADE, ask, web_peer
from trio_chat.doors.front import OVERHEAR_WITHIN
from trio_chat.doors.http import GUARDS
from trio_chat.doors.tls import Tls
from trio_chat.doors.websocket import PINGS
from trio_chat.framing import LINE_BYTES
from trio_chat.gate import RETRY
from trio_chat.messages import Ack, Error, Hello, Say, Welcome
from trio_chat.session import CLOSE_WITHIN, HELLO_BYTES, SILENCE, Settings
from trio_chat.testing import RunningServer, running_server

PING, PONG = b"\x89\x00", b"\x8a\x80abcd"

# ---------------------------------------------------------------- who is gone


async def enter(server: RunningServer) -> trio.abc.Stream:
    """Somebody who is in, and from then on says nothing that is not written here."""
    stream = await server.dial()
    await stream.send_all(GET % (b"/ws", UPGRADE) + b"\x81\x9f\0\0\0\0" + HELLO)
    data = b""
    while b'"name":"alice"' not in data:
        data += bytes(await stream.receive_some())
    return stream


async def test_who_answers_no_ping_is_taken_for_lost(server: RunningServer) -> None:
    stream = await enter(server)
    heard = []
    while data := bytes(await stream.receive_some()):
        heard.append((trio.current_time(), data))
    pings = [at for at, data in heard if data == PING]
    assert pings == [SILENCE / PINGS * count for count in range(1, PINGS)]
    last = b"".join(data for at, data in heard if at == SILENCE)
    assert b'"type":"goodbye"' in last
    assert last.endswith(b"\x88\x02" + (1001).to_bytes(2, "big"))
    assert trio.current_time() <= SILENCE + CLOSE_WITHIN
    await stream.aclose()
    assert (await ask(server, GET % (b"/metrics", b""))).body.count(b"_sessions 0.0") == 1


@pytest.mark.parametrize("at_once", [0, 8])
async def test_a_stranger_sends_no_more_in_a_frame_than_on_a_line(
    server: RunningServer, at_once: int
) -> None:
    stream = await server.dial()
    head = b"\x81\xfe" + HELLO_BYTES.to_bytes(2, "big") + bytes(4)
    await stream.send_all(GET % (b"/ws", UPGRADE) + head[:at_once])
    data = bytes(await stream.receive_some())
    await stream.send_all(head[at_once:])  # and not a byte of it has come
    while more := bytes(await stream.receive_some()):
        data += more
    assert b'"code":"too_long"' in data
    assert data.endswith(b"\x88\x02" + (1009).to_bytes(2, "big"))
    assert trio.current_time() < CLOSE_WITHIN * 2


async def test_who_is_in_sends_as_much_in_a_frame_as_on_a_line(server: RunningServer) -> None:
    stream = await enter(server)
    ping = b'{"type":"ping","id":"p"}'.ljust(LINE_BYTES - 1)
    await stream.send_all(b"\x81\xfe" + len(ping).to_bytes(2, "big") + bytes(4) + ping)
    assert b'"type":"pong"' in await stream.receive_some()


async def test_one_answer_is_enough(server: RunningServer) -> None:
    stream = await enter(server)
    for _ in range(3):
        for _ in range(PINGS - 1):
            assert await stream.receive_some() == PING
        await stream.send_all(PONG)
    await stream.aclose()
    assert trio.current_time() == 3 * (PINGS - 1) * SILENCE / PINGS


async def test_who_answers_may_be_silent_for_as_long_as_it_likes(server: RunningServer) -> None:
    """As a browser does, whose page knows nothing of it."""
    async with web_peer(server) as peer:
        await peer.enter("alice", "lobby")
        await trio.sleep(20 * SILENCE)
        await peer.tell(Say("lobby", "still here", "s"))
        assert await peer.hear(Ack) == Ack("s", "lobby", 2)


async def test_so_may_who_comes_through_tls(
    virtual_time: None,
    tls: Tls,  # noqa: F811
    authority: trustme.CA,  # noqa: F811
) -> None:
    async with (
        running_server(tls=tls) as server,
        web_peer(server, await dial_securely(server, authority)) as peer,
    ):
        await peer.enter("alice", "lobby")
        await trio.sleep(20 * SILENCE)
        await peer.tell(Say("lobby", "still here", "s"))
        assert await peer.hear(Ack) == Ack("s", "lobby", 2)


# ---------------------------------------------------------------- who is put out


async def test_who_is_taken_over_can_tell(server: RunningServer) -> None:
    async with web_peer(server) as first, web_peer(server) as second:
        await first.tell(Hello("alice"))
        token = (await first.hear(Welcome)).token
        await second.tell(Hello("alice", token=token))
        await second.hear(Welcome)
        assert await first.end() == 4000


# ---------------------------------------------------------------- who does not get in


@pytest.fixture
def full() -> Settings:
    return Settings(connections=1)


async def test_a_browser_that_is_turned_away_is_told_when_to_come_again(
    virtual_time: None, full: Settings
) -> None:
    async with running_server(settings=full) as server:
        async with server.connect(name="alice"):
            for path, fields in ((b"/", b""), (b"/ws", UPGRADE), (b"/healthz", b"")):
                answered = await ask(server, GET % (path, fields))
                assert answered.status == 503
                assert answered.headers["retry-after"] == f"{RETRY:.0f}"
                assert json.loads(answered.body)["code"] == "server_full"
                assert answered.headers.items() >= {
                    (name.lower(), value) for name, value in GUARDS.items()
                }
            assert trio.current_time() == 0
        assert (await ask(server, GET % (b"/healthz", b""))).status == 200


async def test_so_it_is_through_tls(
    virtual_time: None,
    full: Settings,
    tls: Tls,  # noqa: F811
    authority: trustme.CA,  # noqa: F811
) -> None:
    async with running_server(settings=full, tls=tls) as server:
        silent = await server.dial()
        stream = await dial_securely(server, authority)
        answered = await ask(server, get("/", "localhost"), stream)
        assert (answered.status, answered.headers["retry-after"]) == (503, f"{RETRY:.0f}")
        plain = await ask(server, get("/", "localhost"))
        assert plain.status == 503
        await silent.aclose()


@pytest.mark.parametrize("first", [b"", b"G", b"\x16"])
async def test_who_does_not_say_what_it_speaks_is_told_in_a_line(
    virtual_time: None, full: Settings, first: bytes
) -> None:
    async with running_server(settings=full) as server:
        silent = await server.dial()
        dial: Dial = dialler(server)
        peer = await dial()
        await peer.tell_bytes(first)
        assert (await peer.hear(Error)).code == "server_full"
        assert trio.current_time() <= OVERHEAR_WITHIN
        await silent.aclose()


async def test_who_is_turned_away_is_told_also_after_a_moment_in_which_all_stood_still(
    mock_clock: trio.testing.MockClock, full: Settings
) -> None:
    async with running_server(settings=full) as server:
        silent = await server.dial()
        peer = await dialler(server)()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(10 * CLOSE_WITHIN)
        mock_clock.autojump_threshold = 0
        assert (await peer.hear(Error)).code == "server_full"
        await silent.aclose()
