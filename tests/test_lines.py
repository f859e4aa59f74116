"""JSON lines over TCP: what only a real socket shows. The rest is tested over memory."""

import logging
import os
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

import trio_chat
from tests.conftest import Peer
from tests.test_gate import Passes
from trio_chat import LinkLost, SetupError
from trio_chat.client.address import DEFAULT_PORT
from trio_chat.client.link import Link
from trio_chat.doors import tcp
from trio_chat.doors.stream import TcpStream
from trio_chat.errors import ServerFull, TooManyConnections
from trio_chat.gate import IN_ONE_PASS, MOST, TURNED_AWAY, Gate
from trio_chat.history.memory import MemoryHistory
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
    Say,
    Welcome,
)
from trio_chat.server import GRACE, RETRY, Doorstep, Server, most_connections
from trio_chat.session import Settings
from trio_chat.testing import RunningServer, running_server

PATIENCE = 10

DialTcp = Callable[[], Awaitable[Peer]]


@pytest.fixture
async def house() -> AsyncIterator[RunningServer]:
    """A server on a real port and the real clock."""
    async with running_server() as server:
        yield server


@asynccontextmanager
async def peers(server: RunningServer, *names: str) -> AsyncIterator[list[Peer]]:
    """Who speaks by hand over TCP; those with a name have entered the lobby."""
    found = []
    for name in names:
        found.append(Peer(Link(await trio.open_tcp_stream(server.host, server.port), PATIENCE)))
        if name:
            await found[-1].enter(name, "lobby")
    try:
        yield found
    finally:
        for peer in found:
            await trio.aclose_forcefully(peer.link.stream)


def socket_of(peer: Peer) -> trio.SocketStream:
    assert isinstance(peer.link.stream, trio.SocketStream)
    return peer.link.stream


async def read_all(stream: trio.abc.ReceiveStream) -> list[bytes]:
    data = b""
    with trio.fail_after(PATIENCE):
        async for chunk in stream:
            data += chunk
    return data.splitlines()


THREE_LINES = b"""\
{"type":"hello","name":"alice"}
{"type":"join","room":"lobby"}
{"type":"say","room":"lobby","text":"hi","id":"c1"}
"""


async def test_three_lines_of_nc_are_a_conversation(house: RunningServer) -> None:
    async with peers(house, "") as (nc,):
        await nc.tell_bytes(THREE_LINES)
        await nc.hear(Welcome)
        heard = await nc.hear_all(3)
        assert Ack("c1", "lobby", 2) in heard
        events = [(e.seq, e.by, e.message) for e in heard if isinstance(e, Event)]
        assert events == [(1, "alice", Join("lobby")), (2, "alice", Say("lobby", "hi", "c1"))]


async def test_all_is_answered_to_a_pipe_that_ends(house: RunningServer) -> None:
    """printf … | nc -N: the end of the input is not the end of the answers."""
    async with peers(house, "bob", "") as (bob, nc):
        await bob.tell(*(Say("lobby", "x" * 1000) for _ in range(300)))
        await bob.hear_all(600)
        says = b"".join(
            b'{"type":"say","room":"lobby","text":"t","id":"%d"}\n' % number
            for number in range(500)
        )
        hello = b'{"type":"hello","name":"nc"}\n{"type":"join","room":"lobby","after":0}\n'
        await nc.tell_bytes(hello + says)
        await socket_of(nc).send_eof()

        heard = [await nc.hear(Welcome), *await nc.hear_all(500 + 802)]

        assert sum(isinstance(reply, Ack) for reply in heard) == 500
        seqs = [reply.seq for reply in heard if isinstance(reply, Event)]
        assert seqs == list(range(1, 803))
        with pytest.raises(LinkLost, match="closed"):
            await nc.link.receive()
        await bob.hear_all(501)
        assert (await bob.hear(Event)).message == Leave("lobby", lost=True)


async def test_the_ten_lines_of_the_readme_work_over_tcp(house: RunningServer) -> None:
    async with trio_chat.connect(house.host, house.port, name="alice") as chat:
        await chat.join("lobby")
        assert await chat.say("lobby", "hello") == 2
        async for event in chat:
            if isinstance(event, Event) and isinstance(event.message, Say):
                assert event.message.text == "hello"
                break


async def test_no_server_is_a_lost_link() -> None:
    with socket.socket() as reserved:  # bound and not listening: nobody answers here
        reserved.bind(("127.0.0.1", 0))
        with pytest.raises(LinkLost, match="no server answers"):
            async with trio_chat.connect(*reserved.getsockname(), name="alice"):
                raise AssertionError


async def test_a_port_in_use_is_a_matter_of_setup(house: RunningServer) -> None:
    with pytest.raises(SetupError, match="already in use"):
        async with running_server(port=house.port):
            raise AssertionError


def test_the_port_of_a_client_is_that_of_a_server() -> None:
    assert DEFAULT_PORT == 8765


async def test_sockets_are_set_up_to_notice_the_dead_and_to_hold_little() -> None:
    options: dict[str, int] = {}

    async def look(stream: TcpStream) -> None:
        level, option = socket.IPPROTO_TCP, stream.socket.getsockopt
        options["sndbuf"] = int(option(socket.SOL_SOCKET, socket.SO_SNDBUF))
        options["keepalive"] = int(
            stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        )
        options["nodelay"] = int(option(level, socket.TCP_NODELAY))
        if sys.platform == "linux":
            options["idle"] = int(option(level, socket.TCP_KEEPIDLE))
            options["interval"] = int(option(level, socket.TCP_KEEPINTVL))
            options["probes"] = int(option(level, socket.TCP_KEEPCNT))
            options["timeout"] = int(option(level, socket.TCP_USER_TIMEOUT))
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        listeners = await tcp.listen("127.0.0.1", 0)
        nursery.start_soon(tcp.serve, listeners, look, nursery)
        host, port = listeners[0].socket.getsockname()
        async with await trio.open_tcp_stream(host, port) as stream:
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()

    assert options["keepalive"] == 1
    assert options["nodelay"] == 1
    assert options["sndbuf"] <= 2 * tcp.SEND_BUFFER_BYTES
    if sys.platform == "linux":
        assert options["idle"] + options["interval"] * options["probes"] == 45
        assert options["timeout"] == 45_000


async def test_a_crowd_is_accepted_some_in_each_pass() -> None:
    passes, accepted = Passes(), list[int]()
    options, is_done = set[tuple[int, bool]](), trio.Event()

    async def look(stream: TcpStream) -> None:
        accepted.append(passes.count)
        level, option = socket.IPPROTO_TCP, stream.socket.getsockopt
        waits = os.get_blocking(stream.socket.fileno())
        options.add((int(option(level, socket.TCP_NODELAY)), waits))
        if len(accepted) == 3 * IN_ONE_PASS:
            is_done.set()
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        listeners = await tcp.listen("127.0.0.1", 0)
        host, port = listeners[0].socket.getsockname()
        made = [socket.create_connection((host, port)) for _ in range(3 * IN_ONE_PASS)]
        trio.lowlevel.add_instrument(passes)
        wait = Gate(MOST, 0).wait_for_time
        nursery.start_soon(tcp.serve, listeners, look, nursery, wait)
        await is_done.wait()
        nursery.cancel_scope.cancel()
    for one in made:
        one.close()
    assert list(Counter(accepted).values()) == [IN_ONE_PASS] * 3
    assert options == {(1, False)}  # all are set up alike


async def test_fifty_hear_two_hundred_each_in_one_order(house: RunningServer) -> None:
    names = [f"n{number}" for number in range(50)]
    heard: dict[str, list[Event]] = {}

    async def hear_all(peer: Peer, name: str) -> None:
        events: list[Event] = []
        while sum(isinstance(event.message, Say) for event in events) < 200:
            reply = await peer.link.receive()
            if isinstance(reply, Event):
                events.append(reply)
        heard[name] = [event for event in events if isinstance(event.message, Say)]

    async with peers(house, *names) as all_, trio.open_nursery() as nursery:
        for peer, name in zip(all_, names, strict=True):
            nursery.start_soon(hear_all, peer, name)
        for number in range(4):
            for peer in all_:
                await peer.tell(Say("lobby", str(number)))

    first = heard[names[0]]
    assert [event.seq for event in first] == list(range(51, 251))
    assert all(heard[name] == first for name in names)


async def test_who_is_cut_off_in_the_middle_hurts_nobody(
    house: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with peers(house, "alice", "bob") as (alice, bob):
        await alice.hear(Event)
        # Closing sends a reset and no end.
        linger = struct.pack("ii", 1, 0)
        socket_of(bob).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await bob.tell(*(Say("lobby", "x" * 1000) for _ in range(50)))
        await trio.aclose_forcefully(bob.link.stream)

        await alice.tell(Say("lobby", "still here", "s"))

        told = [await alice.link.receive()]
        while not (
            isinstance(event := told[-1], Event) and event.message == Leave("lobby", lost=True)
        ):
            told.append(await alice.link.receive())
        assert any(isinstance(reply, Ack) and reply.id == "s" for reply in told)
        seqs = [reply.seq for reply in told if isinstance(reply, Event)]
        assert seqs == list(range(3, 3 + len(seqs)))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_too_long_a_line_is_told_to_one_who_goes_on_sending(
    house: RunningServer,
) -> None:
    async with peers(house, "") as (flooder,):
        await flooder.tell(Hello("flooder"))
        await flooder.hear(Welcome)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, socket_of(flooder))
            assert (await flooder.hear(Error)).code == "too_long"
            nursery.cancel_scope.cancel()


async def flood(stream: trio.SocketStream) -> None:
    try:
        await stream.send_all(b"x" * 2**20)
    except trio.BrokenResourceError:
        return  # it is not read to its end


@asynccontextmanager
async def small_server(most: int) -> AsyncIterator[RunningServer]:
    async with running_server(settings=Settings(rate=0, connections=most)) as server:
        yield server


async def test_a_full_server_says_so_until_somebody_goes() -> None:
    async with small_server(1) as small:
        async with peers(small, "alice"):
            with pytest.raises(ServerFull) as refused:
                async with trio_chat.connect(small.host, small.port, name="bob"):
                    raise AssertionError
            assert refused.value.retry
            assert not await is_let_in(small)
        while not await is_let_in(small):
            pass  # that alice has gone is noticed a moment later


async def is_let_in(server: RunningServer) -> bool:
    async with peers(server, "") as (nc,):
        await nc.tell(Hello("bob"))
        reply = await nc.link.receive()
        if isinstance(reply, Welcome):
            return True
        assert isinstance(reply, Error)
        assert reply.code == ServerFull.code
        with pytest.raises(LinkLost, match="closed"):
            await nc.link.receive()
        return False


async def test_who_says_nothing_counts_as_well() -> None:
    async with small_server(2) as small, peers(small, "", ""), peers(small, "") as (third,):
        assert (await third.hear(Error)).code == "server_full"


async def test_a_crowd_is_turned_away_and_each_of_it_told() -> None:
    """None of them closes: those who wait outside are let in to be told, one after the
    other, as the ones before them are hung up on."""
    crowd = [""] * (TURNED_AWAY * 2)
    async with small_server(1) as small, peers(small, "alice") as (alice,):
        async with peers(small, *crowd) as outside:
            for peer in outside:
                assert (await peer.hear(Error)).code == "server_full"
        await alice.tell(Ping())
        await alice.hear(Pong)


async def test_one_address_has_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_chat.gate.origin_of", lambda host: host)  # this one, too
    async with running_server(settings=Settings(per_address=2)) as server:
        async with peers(server, "alice", "bob"), peers(server, "") as (carol,):
            error = await carol.hear(Error)
            assert error.code == TooManyConnections.code
            assert error.retry
        async with peers(server, "carol"):
            pass


async def test_loopback_has_as_many_as_there_are() -> None:
    async with (
        running_server(settings=Settings(per_address=2)) as server,
        peers(server, "alice", "bob", "carol"),
    ):
        pass


async def test_a_limit_of_files_is_one_of_connections(house: RunningServer) -> None:
    async with trio_chat.connect(house.host, house.port, name="alice") as alice:
        assert alice.welcome.limits.connections == min(MOST, most_connections())


async def test_closing_says_goodbye_to_all_and_answers_what_was_accepted() -> None:
    server = Server(MemoryHistory(), Settings(rate=0))
    async with trio.open_nursery() as nursery:
        doorstep: Doorstep = await nursery.start(server.run, "127.0.0.1", 0)
        running = RunningServer(server, doorstep)
        async with peers(running, "alice", "bob", "") as all_:
            alice = all_[0]
            await alice.hear(Event)
            await alice.tell(Ping(), *(Say("lobby", "t", f"{number}") for number in range(100)))
            await alice.hear(Pong)
            started = trio.current_time()
            running.close()

            for peer in all_:
                replies = [await peer.link.receive()]
                while not isinstance(replies[-1], Goodbye):
                    replies.append(await peer.link.receive())
                assert replies[-1].retry == RETRY
                acks = [reply for reply in replies if isinstance(reply, Ack)]
                assert len(acks) == (100 if peer is alice else 0)
                await peer.link.stream.aclose()
    assert trio.current_time() - started < GRACE
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream(running.host, running.port)
