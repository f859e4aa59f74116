"""P5: a reader that stops costs bounded memory, delays nobody, and loses nothing."""

import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from tests.conftest import VIRTUAL_SECONDS, Dial, Peer
from trio_chat import outbox, session, writer
from trio_chat.client.link import Link
from trio_chat.history.memory import MemoryHistory
from trio_chat.messages import Ack, Event, Gap, Join, Leave, Ping, Pong, Reply, Say
from trio_chat.testing import RunningServer, running_server

TEXT = "x" * 1000


def dial_stalling(server: RunningServer) -> Peer:
    """A peer that the server's bytes reach only while it reads."""
    ours, theirs = lockstep_stream_pair()
    server.serve(theirs)
    return Peer(Link(ours, patience=VIRTUAL_SECONDS))


async def say(peer: Peer, count: int) -> None:
    """Say so many texts, one after the other, each after the event of the one before."""
    for _ in range(count):
        await peer.tell(Say("lobby", TEXT))
        await peer.hear(Ack)
        await peer.hear(Event)


async def read_until(peer: Peer, seq: int) -> list[Reply]:
    replies = [await peer.link.receive()]
    while not (isinstance(replies[-1], Event) and replies[-1].seq >= seq):
        replies.append(await peer.link.receive())
    return replies


async def test_a_reader_that_stops_delays_nobody_and_is_cut_after_30_s(
    server: RunningServer, dial: Dial, virtual_time: None
) -> None:
    alice, stuck = await dial(), dial_stalling(server)
    await alice.enter("alice", "lobby")
    await stuck.enter("stuck", "lobby")
    await alice.hear(Event)

    await say(alice, 1000)
    assert trio.current_time() == 0

    event = await alice.hear(Event)
    assert (event.by, event.message) == ("stuck", Leave("lobby", lost=True))
    assert writer.STUCK <= trio.current_time() <= writer.STUCK + session.CLOSE_WITHIN


async def test_a_reader_that_stops_and_reads_on_gets_every_event_in_order(
    server: RunningServer, dial: Dial
) -> None:
    alice, slow = await dial(), dial_stalling(server)
    await alice.enter("alice", "lobby")
    await slow.enter("slow", "lobby")
    await alice.hear(Event)
    await say(alice, 1000)
    await trio.sleep(writer.STUCK - 1)

    reading = await read_until(slow, 1002)

    assert [event.seq for event in reading if isinstance(event, Event)] == list(range(3, 1003))
    await say(alice, 2)  # and it is live again
    assert [event.seq for event in await slow.hear_all(2) if isinstance(event, Event)] == [
        1003,
        1004,
    ]


async def test_what_is_not_kept_any_more_is_named_in_a_gap(virtual_time: None) -> None:
    async with running_server(history=MemoryHistory(kept_events=100)) as server:
        alice = Peer(Link(await server.dial(), patience=VIRTUAL_SECONDS))
        slow = dial_stalling(server)
        await alice.enter("alice", "lobby")
        await slow.enter("slow", "lobby")
        await alice.hear(Event)
        await say(alice, 1000)

        reading = await read_until(slow, 1002)

        (gap,) = (reply for reply in reading if isinstance(reply, Gap))
        covered = [event.seq for event in reading if isinstance(event, Event)]
        assert gap.last == 1002 - 100
        assert sorted([*covered, *range(gap.first, gap.last + 1)]) == list(range(3, 1003))
        assert reading.index(gap) == gap.first - 3, "in its place"


async def test_one_stuck_reader_among_many_delays_none_of_them(
    server: RunningServer, dial: Dial
) -> None:
    readers = [await dial() for _ in range(30)]
    stuck = dial_stalling(server)
    for number, reader in enumerate(readers):
        await reader.enter(f"reader{number}")
        await reader.tell(Join("lobby", after=10**6))
    await stuck.enter("stuck", "lobby")
    await wait_all_tasks_blocked()
    alice = await dial()
    await alice.enter("alice", "lobby")

    await say(alice, 500)

    head = 32 + 500
    for reader in readers:
        await read_until(reader, head)
    assert trio.current_time() == 0


async def test_who_asks_much_and_reads_nothing_is_not_read_from(server: RunningServer) -> None:
    ours, theirs = lockstep_stream_pair()
    server.serve(theirs)
    greedy = Peer(Link(ours, patience=VIRTUAL_SECONDS))
    await greedy.enter("greedy", "lobby")
    told = 0
    with trio.move_on_after(writer.STUCK / 2):
        while True:
            await greedy.tell(*(Ping(f"{told + number:0>60}") for number in range(100)))
            told += 100

    most = outbox.QUEUED_BYTES // 80 + session.CHUNK_BYTES // 80 + 200
    assert 100 <= told <= most


async def test_a_room_that_overflows_does_not_reorder_answers(
    server: RunningServer, dial: Dial
) -> None:
    alice, slow = await dial(), dial_stalling(server)
    await alice.enter("alice", "lobby")
    await slow.enter("slow", "lobby")
    await alice.hear(Event)
    await say(alice, 500)
    await slow.tell(Ping("now"))
    reading = await read_until(slow, 502)
    assert Pong("now") in reading


async def test_what_the_kernel_takes_a_part_of_arrives_whole() -> None:
    """Over a real socket, which holds less than what is missed."""
    async with running_server() as server:
        alice = Peer(Link(await server.dial(), patience=VIRTUAL_SECONDS))
        await alice.enter("alice", "lobby")
        await say(alice, 1000)
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            late = Peer(Link(stream, patience=VIRTUAL_SECONDS))
            await late.enter("late")
            await late.tell(Join("lobby", after=0))

            reading = await read_until(late, 1002)

    events = [reply for reply in reading if isinstance(reply, Event)]
    assert [event.seq for event in events] == list(range(1, 1003))
