"""One connection's conversation, spoken by hand over memory streams."""

import pytest
import trio
from attrs import define
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests.conftest import VIRTUAL_SECONDS, Dial, Peer, dialler
from trio_chat import errors, session
from trio_chat.client.link import Link
from trio_chat.gate import Turnstile
from trio_chat.history.memory import MemoryHistory
from trio_chat.hub import Hub
from trio_chat.messages import (
    Ack,
    Error,
    Event,
    Goodbye,
    Hello,
    History,
    Join,
    Leave,
    Members,
    Page,
    Ping,
    Pong,
    RoomInfo,
    RoomList,
    Rooms,
    Say,
    Welcome,
    Who,
)
from trio_chat.outbox import Outbox
from trio_chat.reception import Reception
from trio_chat.sequencer import Sequencer
from trio_chat.session import Arrival, Session, Settings
from trio_chat.testing import RunningServer, running_server


async def test_hello_is_answered_with_what_a_client_needs_to_know(dial: Dial) -> None:
    peer = await dial()
    await peer.tell(Hello("Alice", id="h"))

    welcome = await peer.hear(Welcome)

    assert (welcome.v, welcome.name, welcome.id) == (1, "alice", "h")
    assert welcome.server.startswith("trio_chat ")
    assert len(welcome.token) >= 43, "256 bits"
    assert welcome.limits.line == 64 * 1024


async def test_hello_join_and_say_may_come_in_one_breath(dial: Dial) -> None:
    peer = await dial()
    await peer.tell(Hello("alice"), Join("lobby"), Say("lobby", "hi", "c1"))

    replies = await peer.hear_all(4)

    assert isinstance(replies[0], Welcome)
    assert replies[1] == Ack("c1", "lobby", 2)
    joined, said = replies[2:]
    assert isinstance(joined, Event)
    assert isinstance(said, Event)
    assert (joined.seq, joined.by, joined.message) == (1, "alice", Join("lobby"))
    assert (said.seq, said.by, said.message) == (2, "alice", Say("lobby", "hi", "c1"))


async def test_what_is_said_is_acked_and_reaches_everybody_in_the_room(dial: Dial) -> None:
    alice, bob = await dial(), await dial()
    await alice.enter("alice", "lobby")
    await bob.enter("bob", "lobby")
    assert (await alice.hear(Event)).message == Join("lobby")

    await alice.tell(Say("lobby", "hi", "c1"))

    assert await alice.hear(Ack) == Ack("c1", "lobby", 3)
    assert await alice.hear(Event) == await bob.hear(Event)


async def test_a_say_without_an_id_gets_one_from_the_server(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    await peer.tell(Say("lobby", "one"), Say("lobby", "two"))

    one, two = await peer.hear(Ack), await peer.hear(Ack)

    assert one.id != two.id
    assert (await peer.hear(Event)).message == Say("lobby", "one", one.id)


async def test_a_resent_say_gets_the_first_ack_and_is_seen_once(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    await peer.tell(Say("lobby", "hi", "c1"), Say("lobby", "hi", "c1"))
    assert await peer.hear_all(2) == [
        Ack("c1", "lobby", 2),
        Ack("c1", "lobby", 2, again=True),
    ]
    await peer.hear(Event)

    await peer.tell(Say("lobby", "hi", "c1"), Say("lobby", "other", "c2"))

    assert await peer.hear_all(2) == [
        Ack("c1", "lobby", 2, again=True),
        Ack("c2", "lobby", 3),
    ]
    assert (await peer.hear(Event)).message == Say("lobby", "other", "c2")


@define(eq=False)
class Sticky(trio.abc.SendStream):
    """One end of a stream that some time takes five bytes, and no more of it."""

    below: trio.abc.SendStream
    is_stuck: bool = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        is_stuck, self.is_stuck = self.is_stuck, False
        await self.below.send_all(data[:5] if is_stuck else data)
        if is_stuck:
            await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await self.below.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.below.aclose()


@pytest.mark.parametrize("sent", [None, Ping("p"), Join("lobby", after=0)], ids=type)
async def test_who_is_cut_off_hears_why_but_not_within_a_line(
    server: RunningServer, dial: Dial, sent: Ping | Join | None
) -> None:
    await (await dial()).enter("bob", "lobby")
    ours, theirs = memory_stream_pair()
    end = Sticky(theirs.send_stream)
    server.serve(trio.StapledStream(end, theirs.receive_stream))
    peer, again = Peer(Link(ours, VIRTUAL_SECONDS)), await dial()
    welcome = await peer.enter("alice")
    if sent is not None:
        end.is_stuck = True
        await peer.tell(sent)
        await wait_all_tasks_blocked()
    await again.tell(Hello("alice", token=welcome.token))
    await again.hear(Welcome)
    if sent is None:
        assert (await peer.let_go()).code == "taken_over"
    else:
        assert await ours.receive_some() == b'{"typ'
        assert await ours.receive_some() == b""


async def test_a_taken_name_is_refused_and_the_link_ends(dial: Dial) -> None:
    alice, other = await dial(), await dial()
    await alice.enter("alice")
    await other.tell(Hello("ALICE"))

    assert (await other.hear(Error)).code == "name_taken"
    with pytest.raises(errors.LinkLost):
        await other.link.receive()


async def test_a_name_is_free_again_once_its_connection_has_ended(dial: Dial) -> None:
    first, second = await dial(), await dial()
    await first.enter("alice", "lobby")
    await first.link.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()

    await second.tell(Hello("alice"), Join("lobby"))

    assert (await second.hear(Welcome)).name == "alice"
    replayed = [(await second.hear(Event)).message for _ in range(3)]
    assert replayed == [Join("lobby"), Leave("lobby", lost=True), Join("lobby")]


@pytest.mark.parametrize(
    "name", ["", "/quit", "a b", "9lives", "x" * 33, "\u0430lice", "a\u200bb", "-o"]
)
async def test_a_bad_name_is_refused(dial: Dial, name: str) -> None:
    peer = await dial()
    await peer.tell(Hello(name))
    assert (await peer.hear(Error)).code == "bad_name"


async def test_nothing_but_a_hello_opens_a_conversation(dial: Dial) -> None:
    peer = await dial()
    await peer.tell(Say("lobby", "hi"), Hello("alice"))

    assert (await peer.hear(Error)).code == "hello_first"
    with pytest.raises(errors.LinkLost):
        await peer.link.receive()


async def test_a_few_names_may_be_tried_but_not_all_of_them(dial: Dial) -> None:
    peer = await dial()
    await peer.tell(*(Hello(f"{number}") for number in range(session.HELLO_LINES + 1)))

    codes = [(await peer.hear(Error)).code for _ in range(session.HELLO_LINES + 1)]

    assert codes == ["bad_name"] * session.HELLO_LINES + ["no_hello"]
    with pytest.raises(errors.LinkLost):
        await peer.link.receive()


@pytest.mark.parametrize("end", [b"", b"\n"], ids=["unfinished", "finished"])
async def test_before_a_hello_not_much_is_listened_to(dial: Dial, end: bytes) -> None:
    peer = await dial()
    await peer.tell_bytes(b'{"type":"hello","name":"' + b"x" * session.HELLO_BYTES + end)
    assert (await peer.hear(Error)).code == "too_long"

    chatty = await dial()
    await chatty.tell(*(Hello("x" * (session.HELLO_BYTES // 4)) for _ in range(4)))
    codes = [(await chatty.hear(Error)).code for _ in range(4)]
    assert codes == ["bad_name"] * 3 + ["too_long"]


async def test_what_comes_in_one_breath_with_the_hello_may_be_long(dial: Dial) -> None:
    peer = await dial()
    text = "x" * session.HELLO_BYTES
    await peer.tell(Hello("alice"), Join("lobby"), Say("lobby", text, "c"))

    await peer.hear(Welcome)
    assert await peer.hear(Ack) == Ack("c", "lobby", 2)


async def test_a_second_hello_and_a_wrong_version_are_refused(dial: Dial) -> None:
    alice, old = await dial(), await dial()
    await alice.enter("alice")
    await alice.tell(Hello("bob"))
    assert (await alice.hear(Error)).code == "hello_twice"

    await old.tell(Hello("bob", v=2))
    assert (await old.hear(Error)).code == "bad_version"


async def test_garbage_gets_a_typed_error_and_the_conversation_goes_on(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    await peer.tell_bytes(
        b'nonsense\n{"type":"dance","id":"d"}\n{"type":"say","room":5,"id":"s"}\n'
    )
    await peer.tell(Ping("p"))

    codes = [(await peer.hear(Error)) for _ in range(3)]

    assert [error.code for error in codes] == ["not_json", "unknown_type", "bad_fields"]
    assert [error.id for error in codes] == [None, "d", "s"]
    assert await peer.hear(Pong) == Pong("p")


async def test_an_event_can_not_be_sent_by_a_client(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    await peer.tell_bytes(
        b'{"type":"event","seq":1,"at":"2026-01-01T00:00:00Z","by":"bob",'
        b'"message":{"type":"say","room":"lobby","text":"I am bob"}}\n'
    )
    assert (await peer.hear(Error)).code == "unknown_type"


async def test_what_claims_to_be_lost_or_sent_by_others_is_not_believed(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    await peer.tell_bytes(
        b'{"type":"say","room":"lobby","text":"hi","id":"c","by":"bob","seq":99}\n'
        b'{"type":"leave","room":"lobby","lost":true}\n'
    )
    await peer.hear(Ack)
    said, left = await peer.hear(Event), await peer.hear(Event)
    assert (said.seq, said.by) == (2, "alice")
    assert left.message == Leave("lobby")


async def test_the_key_and_the_cursor_of_a_join_are_not_passed_on(dial: Dial) -> None:
    peer = await dial()
    await peer.tell(Hello("alice"), Join("vault", after=7, key="secret", id="j"))
    await peer.hear(Welcome)
    assert await peer.hear(Ack) == Ack("j", "vault", 1)
    assert (await peer.hear(Event)).message == Join("vault", id="j")


async def test_too_long_a_line_ends_the_link_after_what_came_before_it(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    await peer.tell_bytes(
        b'{"type":"say","room":"lobby","text":"before","id":"b"}\n' + b"x" * 70_000
    )

    assert await peer.hear(Ack) == Ack("b", "lobby", 2)
    await peer.hear(Event)
    assert (await peer.hear(Error)).code == "too_long"
    with pytest.raises(errors.LinkLost):
        await peer.link.receive()


async def test_a_text_may_have_16_kib_and_no_more(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    await peer.tell(Say("lobby", "é" * 8192, "fits"), Say("lobby", "é" * 8192 + "x", "not"))

    assert await peer.hear(Ack) == Ack("fits", "lobby", 2)
    error = await peer.hear(Error)
    assert (error.code, error.id) == ("text_too_long", "not")


async def test_who_is_not_in_a_room_can_neither_speak_nor_leave(dial: Dial) -> None:
    peer, other = await dial(), await dial()
    await other.enter("bob", "attic")
    await peer.enter("alice", "lobby")
    await peer.tell(Say("attic", "hi", "s"), Leave("attic", id="l"), Join("lobby", id="j"))

    errors_ = [await peer.hear(Error) for _ in range(3)]

    assert [(error.code, error.id) for error in errors_] == [
        ("not_in_room", "s"),
        ("not_in_room", "l"),
        ("already_in_room", "j"),
    ]


async def test_several_rooms_on_one_connection(dial: Dial) -> None:
    alice, bob = await dial(), await dial()
    await alice.enter("alice", "lobby", "attic")
    await bob.enter("bob", "attic")
    await alice.hear(Event)
    await bob.tell(Say("attic", "up here"))

    event = await alice.hear(Event)

    assert (event.seq, event.message.room) == (3, "attic")


async def test_leaving_and_losing_the_connection_are_told_apart(dial: Dial) -> None:
    watcher, leaver, loser = await dial(), await dial(), await dial()
    await watcher.enter("watcher", "lobby")
    await leaver.enter("leaver", "lobby")
    await loser.enter("loser", "lobby")
    await watcher.hear_all(2)

    await leaver.tell(Leave("lobby"))
    left = await watcher.hear(Event)
    await loser.link.stream.aclose()
    lost = await watcher.hear(Event)

    assert (left.by, left.message) == ("leaver", Leave("lobby"))
    assert (lost.by, lost.message) == ("loser", Leave("lobby", lost=True))


async def test_who_leaves_hears_its_own_leave_and_then_nothing_of_that_room(dial: Dial) -> None:
    alice, bob = await dial(), await dial()
    await alice.enter("alice", "lobby")
    await bob.enter("bob", "lobby")
    await alice.hear(Event)

    await alice.tell(Say("lobby", "bye", "c"), Leave("lobby"), Ping())
    await bob.tell(Say("lobby", "secret"))
    await bob.hear_all(4)
    await alice.tell(Ping("end"))

    assert await alice.hear(Pong) == Pong()
    assert await alice.hear(Ack) == Ack("c", "lobby", 3)
    assert [(await alice.hear(Event)).message for _ in range(2)] == [
        Say("lobby", "bye", "c"),
        Leave("lobby"),
    ]
    assert await alice.hear(Pong) == Pong("end")


async def test_after_says_where_to_begin(dial: Dial) -> None:
    alice, bob = await dial(), await dial()
    await alice.enter("alice", "lobby")
    for number in range(60):
        await alice.tell(Say("lobby", str(number)))
    await alice.hear_all(120)

    async def first_seen(after: int | None) -> int:
        await bob.tell(Join("lobby", after=after, id=f"j{after}"))
        await bob.hear(Ack)
        first = event = await bob.hear(Event)
        while event.message != Join("lobby", id=f"j{after}"):
            event = await bob.hear(Event)
        await bob.tell(Leave("lobby"))
        await bob.hear(Event)
        return first.seq

    await bob.enter("bob")
    assert await first_seen(0) == 1  # joins as 62, leaves as 63
    assert await first_seen(50) == 51  # 64, 65
    assert await first_seen(None) == 66 - 49  # the newest 50, one's own join with them
    assert await first_seen(10**9) == 68  # beyond the head counts as the head


async def test_pages_go_both_ways_and_say_whether_there_is_more(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    await peer.tell(*(Say("lobby", str(number)) for number in range(9)))
    await peer.hear_all(18)

    async def page(
        before: int | None = None, after: int | None = None, limit: int = 50
    ) -> tuple[list[int], bool]:
        await peer.tell(History("lobby", before, after, limit))
        page = await peer.hear(Page)
        return [event.seq for event in page.events], page.more

    assert await page(limit=3) == ([8, 9, 10], True)
    assert await page(before=4) == ([1, 2, 3], False)
    assert await page(after=7, limit=2) == ([8, 9], True)
    assert await page(after=8) == ([9, 10], False)
    assert await page(after=99) == ([], False)
    assert await page(before=0) == ([], False)


async def test_questions_are_answered_after_the_posts_before_them(dial: Dial) -> None:
    peer = await dial()
    await peer.tell(
        Hello("alice"),
        Join("lobby", id="j"),
        Who("lobby", "w"),
        Rooms("r"),
        Who("attic", "x"),
        History("lobby", 1, 1, id="y"),
    )
    await peer.hear(Welcome)
    assert await peer.hear(Ack) == Ack("j", "lobby", 1)
    await peer.hear(Event)
    assert await peer.hear(Members) == Members("lobby", ("alice",), id="w")
    assert await peer.hear(RoomList) == RoomList((RoomInfo("lobby", 1, 1),), id="r")
    assert [(await peer.hear(Error)).code for _ in "xy"] == ["no_such_room", "bad_fields"]


async def test_no_hello_in_time_ends_the_link(dial: Dial) -> None:
    peer = await dial()
    assert (await peer.hear(Error)).code == "no_hello"
    assert trio.current_time() == session.HELLO_WITHIN


async def test_garbage_does_not_prolong_the_time_for_a_hello(dial: Dial) -> None:
    peer = await dial()
    for _ in range(5):
        await trio.sleep(session.HELLO_WITHIN / 6)
        await peer.tell_bytes(b'{"type":"dance"}\n')
        await peer.hear(Error)
    assert (await peer.hear(Error)).code == "no_hello"
    assert trio.current_time() == pytest.approx(session.HELLO_WITHIN)


async def test_who_pings_and_falls_silent_is_lost_after_45_s(dial: Dial) -> None:
    watcher, pinger = await dial(), await dial()
    await watcher.enter("watcher", "lobby")
    await pinger.enter("pinger", "lobby")
    await watcher.hear(Event)
    await trio.sleep(1000)  # who never pings is never taken for lost
    await pinger.tell(Ping())
    silent_from = trio.current_time()

    event = await watcher.hear(Event)

    assert event.message == Leave("lobby", lost=True)
    assert trio.current_time() - silent_from <= session.SILENCE + session.CLOSE_WITHIN
    await pinger.hear(Pong)
    assert (await pinger.hear(Goodbye)).retry == 0


async def test_a_peer_that_is_kept_waiting_is_not_taken_for_silent(
    virtual_time: None,
) -> None:
    async with running_server(settings=Settings(rate=1, burst=1)) as server:
        peer = await dialler(server)()
        await peer.enter("alice", "lobby")
        await peer.tell(Ping(), *(Say("lobby", str(number)) for number in range(100)))
        await peer.hear(Pong)
        assert len(await peer.hear_all(200)) == 200
        assert trio.current_time() == pytest.approx(100)


async def test_too_fast_a_speaker_is_slowed_down_and_loses_nothing(
    virtual_time: None,
) -> None:
    async with running_server(settings=Settings(rate=10, burst=50)) as server:
        dial = dialler(server)
        fast, other = await dial(), await dial()
        await fast.enter("fast", "lobby")
        await other.enter("other", "attic")
        await fast.tell(*(Say("lobby", str(number), str(number)) for number in range(150)))

        await other.tell(Say("attic", "not delayed", "o"))
        assert await other.hear(Ack) == Ack("o", "attic", 2)
        assert trio.current_time() == 0

        acks = [reply for reply in await fast.hear_all(300) if isinstance(reply, Ack)]
        assert [ack.seq for ack in acks] == list(range(2, 152))
        assert trio.current_time() == pytest.approx(10.1)  # the join counts, too


async def test_the_last_line_needs_no_end(dial: Dial) -> None:
    peer = await dial()
    await peer.enter("alice", "lobby")
    await peer.tell_bytes(b'{"type":"say","room":"lobby","text":"last words","id":"c"}')
    assert isinstance(peer.link.stream, trio.StapledStream)
    await peer.link.stream.send_eof()
    assert await peer.hear(Ack) == Ack("c", "lobby", 2)


async def test_a_chunk_full_of_questions_does_not_keep_others_waiting(dial: Dial) -> None:
    greedy, other = await dial(), await dial()
    await greedy.enter("greedy")
    await other.enter("other")
    await greedy.tell(*(Rooms(f"{number}") for number in range(1000)))
    await other.tell(Ping("quick"))
    await other.hear(Pong)
    answered = await greedy.link.stream.receive_some()
    assert answered.count(b"\n") < 1000, "it was its turn in between"


async def test_joins_and_leaves_are_paced_like_says(virtual_time: None) -> None:
    async with running_server(settings=Settings(rate=10, burst=50)) as server:
        peer = await dialler(server)()
        await peer.enter("alice")
        for number in range(50):
            await peer.tell(Join(f"room{number}"), Leave(f"room{number}"))
        await peer.hear_all(100)
        assert trio.current_time() == pytest.approx(5)


async def test_who_comes_back_is_in_its_rooms_at_once(virtual_time: None) -> None:
    rooms = [f"room{number}" for number in range(20)]
    async with running_server(settings=Settings(rate=1, burst=1)) as server:
        dial = dialler(server)
        peer = await dial()
        welcome = await peer.enter("alice")
        await peer.tell(Ping(), *map(Join, rooms))
        await peer.hear(Pong)
        await peer.hear_all(len(rooms))
        await peer.link.stream.aclose()
        again = await dial()
        lost_at = trio.current_time()
        hello = Hello("alice", token=welcome.token)
        await again.tell(hello, *(Join(room, after=1, id=room) for room in rooms))
        await again.hear(Welcome)
        acks = await again.hear_all(len(rooms))
        assert {ack.id for ack in acks if isinstance(ack, Ack)} == set(rooms)
        assert trio.current_time() == lost_at


def make_session(stream: trio.abc.Stream, outbox: Outbox, arrival: Arrival) -> Session:
    hub = Hub(MemoryHistory())
    sequencer = Sequencer(hub, hub.history)
    reception = Reception(hub, sequencer)
    turnstile = Turnstile()
    return Session(stream, outbox, hub, sequencer, reception, turnstile, Settings(), arrival)


async def test_what_is_told_to_a_connection_that_broke_wants_no_writer() -> None:
    """There is no nursery for one any more; and it is not the fault of who has told it."""

    async def broken() -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError

    near, _ = memory_stream_pair()
    near.receive_stream.receive_some_hook = broken
    outbox = Outbox(lambda _: 0)  # the kernel takes nothing, so that a writer would have to
    await make_session(near, outbox, Arrival()).run()
    assert outbox.put(b"late")
    assert not outbox.queued_bytes


async def test_a_password_is_not_kept_for_as_long_as_the_connection() -> None:
    near, far = memory_stream_pair()
    hello = b'{"type":"hello","name":"alice","password":"correct horse"}\n'
    arrival = Arrival(heard=hello)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(make_session(near, Outbox(), arrival).run)
        await far.receive_some()
        assert not arrival.heard
        await far.aclose()
