"""The rooms that one is in, and what is unread there."""

from datetime import UTC, datetime

import pytest

from trio_chat.client.attention import Attention
from trio_chat.client.buffers import (
    CONTEXT,
    NAMES_KNOWN,
    REMEMBERED,
    WAITING_ITEMS,
    Buffer,
    Buffers,
)
from trio_chat.messages import Event, Gap, Join, Leave, Post, Say

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
    buffers.go("lobby")
    assert first_new(lobby, event(3)) == [0]


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
