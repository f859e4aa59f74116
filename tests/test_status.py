"""The line above the prompt."""

from datetime import UTC, datetime

import pytest

from trio_chat.client.attention import Attention
from trio_chat.client.buffers import Buffers
from trio_chat.client.lifeline import State
from trio_chat.client.status import room_status, status_line
from trio_chat.client.wrap import Fragments, plain
from trio_chat.messages import Event, Say

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def buffers() -> Buffers:
    """In the lobby, with something unread in two other rooms."""
    buffers = Buffers(Attention("alice", muted={"noise"}))
    buffers.go("lobby")
    for room, text in (("garden", "hi"), ("den", "alice?"), ("den", "hi"), ("noise", "hi")):
        buffer = buffers.open(room)
        buffer.since = 0
        buffer.hold(Event(1, NOON, "bob", Say(room, text)), buffers.attention)
    return buffers


def test_rooms_have_numbers_and_say_what_is_unread(buffers: Buffers) -> None:
    status = room_status(buffers)
    assert plain(status) == "1:lobby 2:garden(1) 3:den(2, 1!) 4:noise"
    styles = {text.partition("(")[0]: style for style, text in status}
    assert styles == {
        "1:lobby": "here",
        "2:garden": "unread",
        "3:den": "called",
        "4:noise": "bar",
        " ": "bar",
    }


def test_a_private_room_is_called_by_the_other_and_a_topic_stands_at_the_end(
    buffers: Buffers,
) -> None:
    buffers.attention.muted.add("@eve")
    for other in ("bob", "eve"):
        buffer = buffers.open(f"@alice,{other}:x")
        buffer.since = 0
        say = Event(1, NOON, other, Say(buffer.room, "hi"))
        buffer.hold(say, buffers.attention)
    assert plain(room_status(buffers)).endswith("4:noise 5:@bob(1, 1!) 6:@eve")
    buffers.open("lobby").topic = "two \x1b words"
    assert plain(room_status(buffers)).endswith(" 6:@eve ─ two \ufffd words")
    buffers.go("garden")
    assert plain(room_status(buffers)).endswith("6:@eve")


def test_a_narrow_line_begins_with_what_is_unread(buffers: Buffers) -> None:
    buffers.open("kitchen")
    buffers.open("a-room-with-a-long-name").since = 0
    say = Event(1, NOON, "bob", Say("a-room-with-a-long-name", "alice?"))
    buffers.open("a-room-with-a-long-name").hold(say, buffers.attention)
    buffers.open("lobby").topic = "words"

    def line(state: State, columns: int) -> str:
        return plain(status_line(state, 0.01, room_status(buffers), columns))

    wide = "1:lobby 2:garden(1) 3:den(2, 1!) 4:noise 5:kitchen 6:a-room-with-a-long-name(1, 1!)"
    assert line(State.CONNECTED, 120) == f"─ connected, 10 ms ─ {wide} ─ words"
    assert line(State.CONNECTED, 104) == f"─ connected, 10 ms ─ {wide}"[:104]
    narrow = "1:lobby 3:den(2, 1!) 6:a-room-with-a-long-name(1, 1!) 2:garden(1)"
    assert line(State.CONNECTED, 80) == f"─ {narrow}"
    assert line(State.CONNECTED, 39) == f"─ {narrow[:36]}…"
    assert line(State.RECONNECTING, 80) == f"─ reconnecting … ─ {narrow}"[:79] + "…"


@pytest.mark.parametrize(
    ("state", "lag", "line", "style"),
    [
        (State.CONNECTED, None, "─ connected ─ rooms", "bar"),
        (State.CONNECTED, 0.0123, "─ connected, 12 ms ─ rooms", "bar"),
        (State.RESUMED, 1.26, "─ connected, 1.3 s ─ rooms", "lost"),
        (State.RECONNECTING, 0.01, "─ reconnecting … ─ rooms", "lost"),
    ],
)
def test_the_connection_comes_first(
    state: State, lag: float | None, line: str, style: str
) -> None:
    rooms: Fragments = [("bar", "rooms")]
    status = status_line(state, lag, rooms, 80)
    assert plain(status) == line
    assert status[1][0] == style
    assert plain(status_line(state, lag, rooms, 12)) == f"{line[:11]}…"
