"""The house: a bug in one conversation, and closing, in order."""

import logging
import os
import resource
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from tests.conftest import VIRTUAL_SECONDS, Peer, dialler
from trio_chat import errors, gate, messages, session, writer
from trio_chat.client.link import Link, dial_tcp
from trio_chat.doors import front
from trio_chat.errors import LinkLost
from trio_chat.history import Change, Entry, History, Key, Place, Slice
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import Ack, Error, Event, Goodbye, Join, Leave, Ping, Pong, Reply, Say
from trio_chat.names import Name
from trio_chat.server import (
    GRACE,
    RETRY,
    SPARE_FILES,
    Doorstep,
    Server,
    most_connections,
)
from trio_chat.session import Settings
from trio_chat.testing import RunningServer, running_server
from trio_chat.wire import CLIENT

GOODBYE = Goodbye("the server is closing", retry=RETRY)


@asynccontextmanager
async def closing_server(history: History | None = None) -> AsyncIterator[RunningServer]:
    """A server that has to be closed in the block; at its end it has ended by itself."""
    server = Server(history or MemoryHistory(), Settings(rate=0))
    async with trio.open_nursery() as nursery:
        doorstep: Doorstep = await nursery.start(server.run, "127.0.0.1", 0)
        yield RunningServer(server, doorstep)


def dial_stalling(server: RunningServer) -> Peer:
    """A peer that the server's bytes reach only while it reads."""
    ours, theirs = lockstep_stream_pair()
    server.serve(theirs)
    return Peer(Link(ours, patience=VIRTUAL_SECONDS))


async def hear_out(peer: Peer) -> list[Reply]:
    """All that comes, up to the end."""
    replies: list[Reply] = []
    with suppress(LinkLost):
        while True:
            replies.append(await peer.link.receive())
    return replies


# ---------------------------------------------------------------- how many


async def test_while_many_are_turned_away_nobody_else_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over real sockets: it is their descriptors that are spared."""
    monkeypatch.setattr(gate, "TURNED_AWAY", 1)
    monkeypatch.setattr(front, "CLOSE_WITHIN", VIRTUAL_SECONDS)
    async with running_server(settings=Settings(connections=1)) as server:

        async def dial() -> Peer:
            return Peer(Link(await dial_tcp(server.host, server.port), VIRTUAL_SECONDS))

        member = await dial()
        await member.enter("alice")
        refused = [await dial(), await dial()]  # the second was being accepted already
        for peer in refused:
            assert (await peer.hear(Error)).code == "server_full"
        waiting = await dial()
        for _ in range(5):
            await member.tell(Ping())
            await member.hear(Pong)
        assert isinstance(waiting.link.stream, trio.SocketStream)
        with pytest.raises(BlockingIOError):
            os.read(waiting.link.stream.socket.fileno(), 1)
        for peer in refused:
            await trio.aclose_forcefully(peer.link.stream)
        assert (await waiting.hear(Error)).code == "server_full"
        for peer in (waiting, member):
            await trio.aclose_forcefully(peer.link.stream)


async def test_the_crowd_of_one_address_holds_up_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over real sockets; those who may not come in never hang up."""
    monkeypatch.setattr(gate, "origin_of", lambda host: host)  # this machine's, too
    monkeypatch.setattr(front, "OVERHEAR_WITHIN", 0)
    monkeypatch.setattr(front, "CLOSE_WITHIN", VIRTUAL_SECONDS)
    async with running_server(settings=Settings(per_address=1)) as server:
        host, port = server.host, server.port
        crowd = [
            await trio.open_tcp_stream(host, port)
            for _ in range(1 + gate.UNWANTED + gate.TURNED_AWAY)
        ]
        other = await trio.open_tcp_stream(host, port, local_address="127.0.0.2")
        alice = Peer(Link(other, VIRTUAL_SECONDS))
        await alice.enter("alice")
        first_words = [await stream.receive_some() for stream in crowd[1:]]
        told = [b"too_many_connections" in word for word in first_words]
        assert told == [True] * gate.UNWANTED + [False] * gate.TURNED_AWAY
        assert not any(first_words[gate.UNWANTED :])
        for stream in (*crowd, other):
            await trio.aclose_forcefully(stream)


async def test_a_bug_in_turning_away_ends_nobody_else(
    virtual_time: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError

    monkeypatch.setattr(front.Front, "turn_away", fail)
    async with running_server(settings=Settings(connections=1)) as server:
        alice = await dialler(server)()
        await alice.enter("alice")
        late = await server.dial()
        assert await late.receive_some() == b""
        await alice.tell(Ping())
        await alice.hear(Pong)
    assert "bug: a connection died" in caplog.messages


def test_some_descriptors_are_spared() -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most_connections() == min(files - SPARE_FILES, gate.MOST)


# ---------------------------------------------------------------- one order


async def test_what_is_said_while_somebody_catches_up_comes_after_what_it_missed(
    virtual_time: None,
) -> None:
    async with running_server() as server:
        alice, late = await dialler(server)(), dial_stalling(server)
        await alice.enter("alice", "lobby")
        await alice.tell(*(Say("lobby", "x" * 1000) for _ in range(500)))
        await alice.hear_all(1000)
        await late.enter("late")
        await late.tell(Join("lobby", after=0))
        seen: list[int] = []
        while len(seen) < 502 + 20:
            seen.append((await late.hear(Event)).seq)
            if len(seen) % 25 == 0:
                await alice.tell(Say("lobby", "meanwhile"))
                await wait_all_tasks_blocked()
        assert seen == list(range(1, 523))


# ---------------------------------------------------------------- closing


async def test_an_empty_server_closes_at_once(virtual_time: None) -> None:
    async with closing_server() as server:
        server.close()
    assert trio.current_time() == 0


async def test_closing_twice_is_closing(virtual_time: None) -> None:
    async with closing_server() as server:
        server.close()
        server.close()


async def test_everybody_hears_a_goodbye_and_who_has_not_said_hello_too(
    virtual_time: None,
) -> None:
    async with closing_server() as server:
        dial = dialler(server)
        alice, stranger, half = await dial(), await dial(), await dial()
        await alice.enter("alice", "lobby")
        await half.tell_bytes(b'{"type":"hello","na')
        await wait_all_tasks_blocked()
        server.close()
        for peer in (alice, stranger, half):
            assert await peer.hear(Goodbye) == GOODBYE
            with pytest.raises(LinkLost):
                await peer.link.receive()
            await peer.link.stream.aclose()
    assert trio.current_time() == 0


async def test_what_was_heard_before_is_answered_before_the_goodbye(
    virtual_time: None,
) -> None:
    async with closing_server() as server:
        alice = await dialler(server)()
        await alice.enter("alice", "lobby")
        await alice.tell(*(Say("lobby", str(number), f"{number}") for number in range(2000)))
        await trio.lowlevel.checkpoint()  # some of it may be heard by now
        server.close()
        replies = await hear_out(alice)
        assert replies[-1] == GOODBYE
        acked = [reply.seq for reply in replies if isinstance(reply, Ack)]
        seen = [reply.seq for reply in replies if isinstance(reply, Event)]
        assert acked == list(range(2, 2 + len(acked)))
        assert seen == acked[: len(seen)], "the rest stands in the history"
        await alice.link.stream.aclose()


@define(eq=False)
class SlowHistory(MemoryHistory):
    """A disk that takes half a second."""

    async def append(
        self, entries: Sequence[Entry], changes: Sequence[Change] = ()
    ) -> Mapping[Key, Place]:
        await trio.sleep(0.5)
        return await super().append(entries, changes)


@define(eq=False)
class CountingHistory(SlowHistory):
    """Says how many events came at once."""

    batches: list[int] = field(factory=list, init=False)

    async def append(
        self, entries: Sequence[Entry], changes: Sequence[Change] = ()
    ) -> Mapping[Key, Place]:
        self.batches.append(len(entries))
        return await super().append(entries, changes)


async def test_what_has_come_while_others_were_committed_goes_with_those_that_wait(
    virtual_time: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    come: list[bytes] = []
    read = partial(b"".join, come)
    monkeypatch.setattr(front, "direct_read", lambda _stream: read)
    history = CountingHistory()
    async with closing_server(history) as server:
        alice = await dialler(server)()
        await alice.enter("alice", "lobby")
        await alice.tell(Say("lobby", "a", "a"))
        await trio.sleep(0.1)
        await alice.tell(Say("lobby", "b", "b"))
        await trio.sleep(0.1)
        come.append(CLIENT.encode(Say("lobby", "c", "c")))
        replies = await alice.hear_all(6)
        assert [reply.id for reply in replies if isinstance(reply, Ack)] == ["a", "b", "c"]
        assert history.batches == [1, 1, 2]
        server.close()
        await alice.link.stream.aclose()


async def test_what_is_being_committed_is_acked_before_the_goodbye(
    virtual_time: None,
) -> None:
    async with closing_server(SlowHistory()) as server:
        alice = await dialler(server)()
        await alice.enter("alice", "lobby")
        await alice.tell(Say("lobby", "last", "c"))
        await trio.sleep(0.1)
        server.close()
        assert await alice.hear(Ack) == Ack("c", "lobby", 2)
        assert (await alice.hear(Event)).message == Say("lobby", "last", "c")
        assert await alice.hear(Goodbye) == GOODBYE
        await alice.link.stream.aclose()


async def test_nobody_new_comes_in_once_it_closes(virtual_time: None) -> None:
    async with closing_server() as server:
        stuck = dial_stalling(server)
        await stuck.tell(Ping())  # keeps it open
        server.close()
        await wait_all_tasks_blocked()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(server.host, server.port)
        late = await dialler(server)()
        assert await late.hear(Goodbye) == GOODBYE
        await late.link.stream.aclose()


async def test_a_server_that_has_closed_can_not_be_dialled(virtual_time: None) -> None:
    async with closing_server() as server:
        server.close()
    with pytest.raises(LinkLost):
        await server.dial()


async def test_who_does_not_read_is_cut_when_the_grace_is_over(virtual_time: None) -> None:
    async with closing_server() as server:
        alice, stuck = await dialler(server)(), dial_stalling(server)
        await alice.enter("alice", "lobby")
        await stuck.enter("stuck", "lobby")
        await alice.hear(Event)
        for number in range(100):
            await alice.tell(Say("lobby", str(number)))
            await alice.hear_all(2)
        await trio.sleep(writer.STUCK / 2)
        closed_at = trio.current_time()
        server.close()
        assert await alice.hear(Goodbye) == GOODBYE
        await alice.link.stream.aclose()
    took = trio.current_time() - closed_at
    assert GRACE <= took <= GRACE + session.CLOSE_WITHIN <= 5


async def test_who_is_behind_is_not_read_the_whole_history_at_the_end(
    virtual_time: None,
) -> None:
    async with closing_server() as server:
        alice, slow = await dialler(server)(), dial_stalling(server)
        await alice.enter("alice", "lobby")
        await slow.enter("slow", "lobby")
        await alice.hear(Event)
        for _ in range(600):
            await alice.tell(Say("lobby", "x" * 1000))
            await alice.hear_all(2)
        server.close()
        await alice.link.stream.aclose()
        replies = await hear_out(slow)
        assert replies[-1] == GOODBYE
        seen = [reply.seq for reply in replies if isinstance(reply, Event)]
        assert seen == list(range(3, 3 + len(seen)))
        assert len(seen) < 600
        await slow.link.stream.aclose()


async def test_who_still_talks_hears_the_goodbye_and_is_not_waited_for(
    virtual_time: None,
) -> None:
    async with closing_server() as server:
        alice = await dialler(server)()
        await alice.enter("alice")
        server.close()
        assert await alice.hear(Goodbye) == GOODBYE
        for _ in range(100):
            await trio.sleep(session.CLOSE_WITHIN / 10)
            try:
                await alice.tell(Ping())
            except LinkLost:
                break
    assert trio.current_time() <= session.CLOSE_WITHIN * 1.1


async def test_a_server_that_is_cancelled_is_gone_at_once(virtual_time: None) -> None:
    with trio.move_on_after(1) as scope:
        async with closing_server() as server:
            alice = await dialler(server)()
            await alice.enter("alice", "lobby")
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() <= 1 + session.CLOSE_WITHIN
    with pytest.raises(LinkLost):
        await alice.link.receive()


@define(eq=False)
class SlowToEnd(trio.abc.HalfCloseableStream):
    """A stream that takes its time to end; one over memory is ended in no time, even by
    somebody who is cancelled."""

    stream: trio.StapledStream[Any, Any]
    has_ended: bool = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await trio.sleep(session.CLOSE_WITHIN / 2)
        await self.stream.send_eof()
        self.has_ended = True

    async def aclose(self) -> None:
        await self.stream.aclose()


async def test_a_session_that_is_cancelled_still_ends_its_stream_in_order(
    virtual_time: None,
) -> None:
    ours, theirs = memory_stream_pair()
    stream = SlowToEnd(theirs)
    with trio.move_on_after(1):
        async with closing_server() as server:
            server.serve(stream)
            await Peer(Link(ours, patience=VIRTUAL_SECONDS)).enter("alice", "lobby")
            await trio.sleep_forever()
    assert stream.has_ended
    assert trio.current_time() <= 1 + session.CLOSE_WITHIN


async def test_who_still_sends_when_told_of_its_mistake_can_do_so(virtual_time: None) -> None:
    """Else the network would throw away the last word with what was not read."""
    async with running_server() as server:
        flooder = dial_stalling(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flooder.tell_bytes, b"x" * 100_000)
            error = await flooder.hear(Error)
        assert error.code == "too_long"
        assert await hear_out(flooder) == []


# ---------------------------------------------------------------- a bug


@define(eq=False)
class BuggyHistory(MemoryHistory):
    """It fails for whoever reads after event 666."""

    async def after(self, room: Name, seq: int, limit: int) -> Slice:
        if seq == 666:
            raise RuntimeError("a bug")
        return await super().after(room, seq, limit)


async def test_a_bug_ends_one_session_is_logged_once_and_the_server_stands(
    virtual_time: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_server(history=BuggyHistory()) as server:
        dial = dialler(server)
        alice, unlucky = await dial(), await dial()
        await alice.enter("alice", "lobby")
        await alice.tell(*(Say("lobby", str(number)) for number in range(700)))
        await alice.hear_all(1400)

        await unlucky.enter("unlucky")
        await unlucky.tell(Join("lobby", after=666))

        assert (await alice.hear(Event)).message == Join("lobby")
        assert (await alice.hear(Event)).message == Leave("lobby", lost=True)
        assert await hear_out(unlucky) == []
        assert trio.current_time() < VIRTUAL_SECONDS, "it has been told the end"
        bugs = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(bugs) == 1
        assert bugs[0].exc_info is not None
        await alice.tell(Ping("still here"))
        assert await alice.hear(Pong) == Pong("still here")
        again = await dial()
        await again.enter("unlucky")


async def test_a_bug_while_a_question_is_answered_is_no_worse(
    virtual_time: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running_server(history=BuggyHistory()) as server,
        server.connect(name="alice") as alice,
    ):
        await alice.join("lobby")
        for receipt in [await alice.submit("lobby", str(n)) for n in range(700)]:
            await receipt.wait()
        asker = await dialler(server)()
        await asker.enter("asker")
        await asker.tell(messages.History("lobby", after=666))
        assert await hear_out(asker) == []
        assert await alice.say("lobby", "still here") == 702
    bugs = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(bugs) == 1


async def test_no_text_of_a_message_is_logged(
    virtual_time: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "swordfish"  # noqa: S105 # it is one for this test
    async with running_server() as server, server.connect(name="alice") as alice:
        await alice.join("lobby")
        await alice.say("lobby", secret)
        with pytest.raises(errors.TextTooLong):
            await alice.say("lobby", secret * 2000)
        with pytest.raises(errors.BadFields):
            await alice.say("lobby", f"{secret}\0")
    assert caplog.records
    assert not any(secret in str(vars(record)) for record in caplog.records)
