"""One port: the first bytes decide, none of them is lost, and one clock runs."""

from collections import Counter

import pytest
import trio
from attrs import define, field
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests.conftest import Dial
from tests.test_gate import Passes
from trio_chat import errors, session
from trio_chat.doors import front, web
from trio_chat.gate import IN_ONE_PASS
from trio_chat.messages import Error, Hello, Welcome
from trio_chat.session import CLOSE_WITHIN, HELLO_BYTES, HELLO_WITHIN, Session, Settings
from trio_chat.testing import RunningServer, running_server
from trio_chat.wire import CLIENT


@pytest.mark.parametrize("start", [b"", b" ", b"\r "])
async def test_a_hello_may_come_byte_by_byte(dial: Dial, start: bytes) -> None:
    peer = await dial()
    for byte in start + CLIENT.encode(Hello("alice")):
        await peer.tell_bytes(bytes([byte]))
        await wait_all_tasks_blocked()
    assert (await peer.hear(Welcome)).name == "alice"


@pytest.mark.parametrize(
    "heard", [b"\x00", b"SSH-2.0-x", b"NICK eve\r\nUSER eve 0 * :eve\r\n", b"\x16\x03\x01\x02"]
)
async def test_what_is_not_spoken_here_is_refused_at_once(dial: Dial, heard: bytes) -> None:
    peer = await dial()
    await peer.tell_bytes(heard)
    assert (await peer.hear(Error)).code == "not_json"
    with pytest.raises(errors.LinkLost):
        await peer.link.receive()
    assert trio.current_time() == 0


@pytest.mark.parametrize("first", [b"{", b"G", b"\n"])
async def test_the_clock_of_the_hello_runs_from_the_connection(
    dial: Dial, first: bytes
) -> None:
    peer = await dial()
    await trio.sleep(HELLO_WITHIN - 1)
    await peer.tell_bytes(first)
    error = await peer.hear(Error)
    assert error.code == ("not_json" if first == b"\n" else "no_hello")
    assert trio.current_time() == HELLO_WITHIN - (first == b"\n")


@pytest.mark.parametrize("first", [b"", b"G"])
async def test_who_ends_before_it_is_known_is_let_go(
    server: RunningServer, first: bytes
) -> None:
    stream = await server.dial()
    await stream.send_all(first)
    assert isinstance(stream, trio.abc.HalfCloseableStream)
    await stream.send_eof()
    await stream.receive_some()
    assert await stream.receive_some() == b""
    assert trio.current_time() == 0


async def test_who_has_said_nothing_yet_counts_too(virtual_time: None) -> None:
    async with running_server(settings=Settings(connections=2)) as server:
        silent = [await server.dial() for _ in range(2)]
        with pytest.raises(errors.ServerFull):
            await server.connect(name="alice").__aenter__()
        await silent[0].aclose()
        await wait_all_tasks_blocked()
        async with server.connect(name="alice"):
            pass


async def test_a_bug_at_the_door_is_logged_and_the_server_stands(
    dial: Dial, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("trio_chat.doors.front.tongue_of", lambda _stream: 1 / 0)
        peer = await dial()
        with pytest.raises(errors.LinkLost):
            await peer.link.receive()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    await (await dial()).enter("alice", "lobby")


@define(eq=False)
class Turns:
    """In which pass of the loop sessions begin, that of alice among them, and connections are
    hung up on."""

    passes: Passes = field(factory=Passes)
    alice: int = 0
    came: list[int] = field(factory=list)
    went: list[int] = field(factory=list)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    seen = Turns()
    run, hang_up = Session.run, session.hang_up

    async def begin(self: Session) -> None:
        seen.came.append(seen.passes.count)
        if b"alice" in self.arrival.heard:
            seen.alice = seen.passes.count
        await run(self)

    async def end(stream: trio.abc.Stream, last_word: bytes = b"") -> None:
        seen.went.append(seen.passes.count)
        await hang_up(stream, last_word)

    monkeypatch.setattr(Session, "run", begin)
    monkeypatch.setattr(session, "hang_up", end)
    monkeypatch.setattr(front, "hang_up", end)
    monkeypatch.setattr(web, "hang_up", end)
    return seen


CROWD = 10 * IN_ONE_PASS


async def _come(server: RunningServer, first: bytes) -> list[trio.testing.MemoryReceiveStream]:
    """A crowd that has said `first`; what it could say more."""
    ends = [memory_stream_pair()[1] for _ in range(CROWD)]
    for end_of_pair in ends:
        server.serve(end_of_pair)
    await wait_all_tasks_blocked()
    for end_of_pair in ends:
        end_of_pair.receive_stream.put_data(first)
    await wait_all_tasks_blocked()
    return [end_of_pair.receive_stream for end_of_pair in ends]


async def test_those_who_come_or_go_in_the_same_moment_take_turns(
    server: RunningServer, turns: Turns
) -> None:
    trio.lowlevel.add_instrument(turns.passes)
    for receiving in await _come(server, b"\n"):
        receiving.put_eof()
    await wait_all_tasks_blocked()
    for moves in (turns.came, turns.went):
        assert len(moves) == CROWD
        assert max(Counter(moves).values()) <= IN_ONE_PASS


@pytest.mark.parametrize("first", [b"{", b"{}\n", b"GET / HTTP/1.1\r\n"])
async def test_those_whose_time_is_over_in_the_same_moment_take_turns(
    server: RunningServer, turns: Turns, first: bytes
) -> None:
    trio.lowlevel.add_instrument(turns.passes)
    await _come(server, first)
    await trio.sleep(HELLO_WITHIN + CLOSE_WITHIN)
    assert len(turns.went) == CROWD
    assert max(Counter(turns.went).values()) <= IN_ONE_PASS


@pytest.mark.parametrize("how", ["late", "gone"])
async def test_who_comes_does_not_wait_for_those_who_go(
    server: RunningServer, turns: Turns, how: str
) -> None:
    trio.lowlevel.add_instrument(turns.passes)
    for receiving in await _come(server, b"{"):
        if how == "gone":
            receiving.put_eof()
    await trio.sleep(HELLO_WITHIN if how == "late" else 0)
    alice = memory_stream_pair()[1]
    alice.receive_stream.put_data(CLIENT.encode(Hello("alice")))
    server.serve(alice)
    dialled = turns.passes.count
    await trio.sleep(CLOSE_WITHIN)
    assert 0 < turns.alice - dialled <= 6  # passes, were there nobody else, too
    assert max(turns.went) - dialled > 8


async def test_who_dawdles_over_a_line_has_no_session(
    server: RunningServer, turns: Turns
) -> None:
    for receiving in await _come(server, b"{"):
        receiving.put_data(b'"type":')
    await wait_all_tasks_blocked()
    assert turns.came == []


async def test_a_first_line_without_an_end_is_refused_before_it_is_long(dial: Dial) -> None:
    peer = await dial()
    await peer.tell_bytes(b" " * HELLO_BYTES)
    assert (await peer.hear(Error)).code == "too_long"
    assert trio.current_time() == 0
