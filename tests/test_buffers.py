"""The rooms that one is in, and what is unread there."""

from datetime import UTC, datetime

import pytest
from attrs import evolve

from trio_chat.client.attention import Attention
from trio_chat.client.buffers import (
    CONTEXT,
    NAMES_KNOWN,
    REMEMBERED,
    WAITING_ITEMS,
    Buffer,
    Buffers,
)
from trio_chat.messages import (
    Delete,
    Edit,
    Event,
    Gap,
    Join,
    Leave,
    Post,
    React,
    Say,
    Topic,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ME = "alice"


def event(seq: int, by: str = "bob", post: Post | str = "x") -> Event:
    return Event(seq, NOON, by, Say("lobby", post) if isinstance(post, str) else post)


def first_new(buffer: Buffer, *items: Event | Gap) -> list[int]:
    """Above which of these a line stands."""
    return [number for number, item in enumerate(items) if buffer.see(item, ME)]


@pytest.fixture
def buffer() -> Buffer:
    """Of somebody who comes back, and has seen everything up to 5."""
    buffer = Buffer("lobby")
    buffer.expect(5)
    return buffer


@pytest.fixture
def buffers() -> Buffers:
    """In the lobby, and then the garden."""
    buffers = Buffers(Attention(ME))
    for room in ("lobby", "garden"):
        buffers.open(room).arrive(1)
    buffers.go("lobby")
    return buffers


# ---------------------------------------------------------------- what is new


def test_a_line_stands_above_the_first_that_was_missed(buffer: Buffer) -> None:
    buffer.arrive(8)
    assert first_new(buffer, event(5), event(6), event(7), event(8, ME), event(9)) == [1]


def test_ones_own_coming_and_going_is_no_news(buffer: Buffer) -> None:
    buffer.arrive(8)
    mine = event(6, ME, Leave("lobby")), event(7, ME), event(8, ME, Join("lobby"))
    assert first_new(buffer, event(5), *mine, event(9)) == []


def test_others_coming_and_going_is_news(buffer: Buffer) -> None:
    buffer.arrive(7)
    assert first_new(buffer, event(6, ME), event(7, "bob", Leave("lobby"))) == [1]


def test_a_gap_may_hide_news(buffer: Buffer) -> None:
    assert first_new(buffer, Gap("lobby", 1, 5), Gap("lobby", 6, 9)) == [1]


def test_in_a_room_that_one_sees_for_the_first_time_nothing_is_new() -> None:
    buffer = Buffer("lobby")
    buffer.arrive(9)
    assert first_new(buffer, event(6), event(10)) == []
    assert not buffer.is_unseen(event(9))
    assert buffer.is_unseen(event(11))


def test_what_happens_while_one_looks_away_is_new() -> None:
    buffer = Buffer("lobby")
    buffer.arrive(1)
    buffer.see(event(2), ME)
    buffer.look_away()
    assert first_new(buffer, event(3), event(4)) == [0]


# ---------------------------------------------------------------- what waits


def test_what_waits_is_counted_until_one_looks(buffer: Buffer) -> None:
    for item in (event(4), event(5), event(6), event(7, "bob", "alice!"), event(8, ME)):
        buffer.hold(item, Attention(ME))
    assert (buffer.unread, buffer.calls) == (2, 1)
    assert [item.seq for item in buffer.take() if isinstance(item, Event)] == [4, 5, 6, 7, 8]
    assert (buffer.unread, buffer.calls, buffer.take()) == (0, 0, [])


def test_what_waits_is_bounded_and_what_had_to_go_is_counted(buffer: Buffer) -> None:
    for seq in range(6, 6 + WAITING_ITEMS + 3):
        buffer.hold(event(seq), Attention(ME))
    assert (buffer.dropped, buffer.unread) == (3, WAITING_ITEMS + 3)
    assert len(buffer.take()) == WAITING_ITEMS
    assert buffer.dropped == 0


def test_the_newest_texts_are_known() -> None:
    buffer = Buffer("lobby")
    for seq in range(1, REMEMBERED + 10):
        buffer.see(event(seq), ME)
    assert len(buffer.texts) == REMEMBERED
    newest = [event.seq for event in buffer.context()]
    assert newest == list(range(REMEMBERED + 10 - CONTEXT, REMEMBERED + 10))
    assert buffer.oldest == 1


def test_what_was_read_elsewhere_is_not_unread_any_more(buffer: Buffer) -> None:
    attention = Attention(ME)
    for item in (event(6), event(7, "bob", "alice!"), event(8), event(9, "bob", "alice!")):
        buffer.hold(item, attention)
    buffer.mark(7, attention)
    assert (buffer.unread, buffer.calls, len(buffer.waiting)) == (2, 1, 4)
    buffer.mark(6, attention)
    assert (buffer.unread, buffer.calls) == (2, 1)
    assert first_new(buffer, *buffer.take()) == [2]
    buffer.mark(9, attention)
    assert (buffer.unread, buffer.calls) == (0, 0)


def test_what_was_dropped_is_unread_until_what_waits_is_read(buffer: Buffer) -> None:
    attention = Attention(ME)
    for seq in range(6, 6 + WAITING_ITEMS + 3):
        buffer.hold(event(seq), attention)
    buffer.mark(6, attention)
    assert buffer.unread == WAITING_ITEMS + 3
    buffer.mark(8, attention)
    assert buffer.unread == WAITING_ITEMS
    buffer.mark(9, attention)
    assert buffer.unread == WAITING_ITEMS - 1


# ---------------------------------------------------------------- what is changed


def text_of(item: Event | Gap) -> str:
    assert isinstance(item, Event)
    return item.message.text if isinstance(item.message, Say) else ""


def test_a_text_is_known_as_it_is_now(buffer: Buffer) -> None:
    for item in (
        event(6, ME, "a"),
        event(7, "bob", "b"),
        event(8, "bob", Edit("lobby", 7, "c")),
    ):
        buffer.see(item, ME)
    assert [text_of(text) for text in buffer.newest(9)] == ["a", "c"]
    assert buffer.text(7) == "c"
    buffer.note(event(7, "bob", "b"))  # an earlier page has the first text, maybe
    assert buffer.text(7) == "c"
    buffer.see(event(9, "bob", Delete("lobby", 7)), ME)
    assert [text_of(text) for text in buffer.newest(9)] == ["a"]
    assert (buffer.text(7), buffer.text(99)) == ("", "")


def test_a_change_that_is_seen_already_is_not_told(buffer: Buffer) -> None:
    edit, deletion = event(8, "bob", Edit("lobby", 6, "b")), event(9, "bob", Delete("lobby", 6))
    assert not buffer.is_told(edit)
    assert buffer.is_told(evolve(edit, changed=9))
    buffer.see(evolve(event(6), changed=8), ME)
    assert buffer.is_told(edit)
    assert not buffer.is_told(deletion)
    buffer.see(deletion, ME)
    assert buffer.is_told(deletion)
    assert not buffer.is_told(event(10, "bob", React("lobby", 6, "x")))


def test_what_waits_is_seen_as_it_is_by_then(buffer: Buffer) -> None:
    attention = Attention(ME)
    said = [event(6, "bob", "alice!"), event(7, "bob", "b"), event(8, "bob", "alice?")]
    changes: list[Post] = [Edit("lobby", 7, "c"), Delete("lobby", 6), Edit("lobby", 99, "x")]
    for item in said + [event(9 + n, "bob", change) for n, change in enumerate(changes)]:
        buffer.hold(item, attention)
    assert (buffer.unread, buffer.calls) == (2, 1)
    assert [text_of(item) for item in buffer.take()][:3] == ["", "c", "alice?"]


def test_the_text_that_is_meant_is_found(buffer: Buffer) -> None:
    for item in (event(6), event(7, "carol"), event(8, ME), event(9, ME)):
        buffer.see(item, ME)
    buffer.see(event(10, ME, Delete("lobby", 9)), ME)
    assert buffer.last_of(lambda by: by == ME) == 8
    assert buffer.last_of(lambda by: by != ME) == 7
    assert buffer.last_of(lambda by: by == "bob") == 6
    assert buffer.last_of(lambda by: by == "eve") is None


def test_what_one_has_just_said_can_be_referred_to_and_is_shown_once(buffer: Buffer) -> None:
    buffer.see(event(6, ME, "a"), ME)
    buffer.say(event(7, ME, "b"))
    assert buffer.last_of(lambda by: by == ME) == 7
    assert [text.seq for text in buffer.context()] == [6]
    buffer.see(event(7, ME, "b"), ME)
    buffer.say(event(7, ME, "b"))
    assert [text.seq for text in buffer.context()] == [6, 7]


def test_ones_own_signs_and_the_topic_are_known(buffer: Buffer) -> None:
    signs = [React("lobby", 6, "x"), React("lobby", 6, "y"), React("lobby", 6, "x", off=True)]
    posts: list[Post] = [*signs, Topic("lobby", "tea")]
    for number, post in enumerate(posts):
        buffer.see(event(7 + number, ME, post), ME)
    buffer.see(event(12, "bob", React("lobby", 6, "z")), ME)
    assert buffer.signs == {6: {"y"}}
    assert buffer.topic == "tea"


# ---------------------------------------------------------------- private rooms

BOB = "@alice,bob:k7Jx2mQ9"


def test_a_private_room_is_found_by_the_name_of_the_other(buffers: Buffers) -> None:
    buffers.open("@alice,bob:older")
    buffers.open(BOB)
    assert [buffers.find(what) for what in ("@bob", "@Bob", BOB, "4")] == [BOB] * 4
    assert buffers.find("@carol") is None
    assert buffers.find("bob") is None


def test_one_hears_of_a_private_room_and_all_of_it_is_new(buffers: Buffers) -> None:
    first = event(7, "bob", Say(BOB, "hi"))
    assert buffers.meet_room(first)
    assert not buffers.meet_room(first)
    buffers.open(BOB).hold(first, buffers.attention)
    assert (buffers.open(BOB).unread, buffers.open(BOB).calls) == (1, 1)
    assert not buffers.is_shown(first)
    assert buffers.next_unread() == BOB


def test_one_hears_of_nothing_private_of_others_or_from_whom_one_ignores(
    buffers: Buffers,
) -> None:
    buffers.attention.ignored.add("bob")
    for item in (
        event(7, "bob", Say(BOB, "hi")),
        event(7, "carol", Say("@bob,carol:x", "hi")),
        event(7, "bob", Say("den", "hi")),
        Gap(BOB, 1, 2),
    ):
        assert not buffers.meet_room(item)
    assert not buffers.is_shown(event(7, "bob", Say(BOB, "hi")))
    assert list(buffers.rooms) == ["lobby", "garden"]


def test_a_private_room_gets_its_name_when_it_begins(buffers: Buffers) -> None:
    buffers.open("@bob")
    buffers.open("den")
    buffers.go("@bob")
    assert buffers.find("@bob") == "@bob"
    first = event(1, "bob", Say(BOB, "hi"))
    assert buffers.meet_room(first)
    assert list(buffers.rooms) == ["lobby", "garden", BOB, "den"]
    assert buffers.current == buffers.open(BOB).room == BOB
    assert not buffers.open(BOB).see(first, ME), "one looks there, so it is not new"


# ---------------------------------------------------------------- several rooms


def test_rooms_are_found_by_name_and_number(buffers: Buffers) -> None:
    assert buffers.find("1") == "lobby"
    assert buffers.find("Garden") == "garden"
    assert [buffers.find(what) for what in ("0", "3", "9" * 5000, "den", "²")] == [None] * 5


def test_one_goes_first_where_one_is_called(buffers: Buffers) -> None:
    assert buffers.next_unread() is None
    den = buffers.open("den")
    den.arrive(1)
    buffers.open("garden").hold(event(2), buffers.attention)
    assert buffers.next_unread() == "garden"
    den.hold(event(2, "bob", "alice?"), buffers.attention)
    assert buffers.next_unread() == "den"
    buffers.attention.muted.add("den")
    assert buffers.next_unread() == "garden"


def test_what_happens_elsewhere_waits(buffers: Buffers) -> None:
    assert buffers.is_shown(event(2))
    assert not buffers.is_shown(event(2, "bob", Say("garden", "x")))
    assert buffers.is_shown(event(2, ME, Leave("left already")))
    buffers.go("garden")
    assert not buffers.is_shown(event(2))


def test_going_away_and_back_makes_new_what_came_between(buffers: Buffers) -> None:
    lobby = buffers.open("lobby")
    lobby.see(event(2), ME)
    buffers.go("garden")
    lobby.hold(event(3), buffers.attention)
    buffers.go("lobby")
    assert first_new(lobby, *lobby.take(), event(4)) == [0]
    buffers.go("garden")
    buffers.go("lobby")
    assert first_new(lobby, event(5)) == []


def test_a_room_that_is_left_is_gone(buffers: Buffers) -> None:
    buffers.close("lobby")
    assert buffers.current is None
    assert list(buffers.rooms) == ["garden"]


def test_numbers_of_another_history_are_forgotten(buffers: Buffers) -> None:
    lobby = buffers.open("lobby")
    buffers.know_epoch("one")
    lobby.see(event(5), ME)
    buffers.know_epoch("one")
    assert lobby.oldest == 5
    buffers.know_epoch("two")
    assert not lobby.oldest
    assert not lobby.read
    assert not lobby.texts


def test_names_are_bounded(buffers: Buffers) -> None:
    buffers.meet(f"n{number}" for number in range(NAMES_KNOWN + 5))
    assert len(buffers.names) == NAMES_KNOWN
