"""The line above the prompt: where one is, what is unread elsewhere, how the connection is.
No I/O."""

from trio_chat.client.buffers import Buffer, Buffers
from trio_chat.client.clean import clean
from trio_chat.client.lifeline import State
from trio_chat.client.notices import in_place
from trio_chat.client.view import clip_line
from trio_chat.client.wrap import Fragments, cells

SLOW = 1.0
"""Seconds to the server and back from which on it is worth a warning."""


_NEWS = ("here", "called", "unread")
"""Styles of what has to be seen, the most important first."""


def status_line(state: State, lag: float | None, rooms: Fragments, columns: int) -> Fragments:
    """The line, as much of it as fits; where it is short, what is unread comes first.
    `lag`: seconds to the server and back, None if it is not known."""
    line = _line(_connection(state, lag), rooms)
    if _reach(line) > columns:
        line = _line(_trouble(state, lag), _news(rooms))
    return clip_line(line, columns)


def _line(connection: tuple[str, str], rooms: Fragments) -> Fragments:
    dash = [("bar", " ─ " if connection[1] else "")]
    return [("bar", "─ "), connection, *dash, *rooms]


def _reach(line: Fragments) -> int:
    """The cells up to the end of what has to be seen."""
    last = max((at for at, (style, _) in enumerate(line) if style in _NEWS), default=-1)
    return cells("".join(text for _, text in line[: last + 1]))


def _news(rooms: Fragments) -> Fragments:
    shown: Fragments = []
    for style in _NEWS:
        for room in rooms:
            if room[0] == style:
                shown += [("bar", " ")] * bool(shown) + [room]
    return shown


def _trouble(state: State, lag: float | None) -> tuple[str, str]:
    """How the connection is, unless it is as it should be."""
    shown = _connection(state, lag)
    return shown if shown[0] == "lost" else ("bar", "")


def _connection(state: State, lag: float | None) -> tuple[str, str]:
    if state is State.RECONNECTING:
        return "lost", "reconnecting …"
    if lag is None:
        return "bar", "connected"
    return "lost" if lag >= SLOW else "bar", f"connected, {_seconds(lag)}"


def room_status(buffers: Buffers) -> Fragments:
    """All rooms, with their numbers, and what is unread in them; and what the current one
    is about."""
    shown: Fragments = []
    for number, buffer in enumerate(buffers, 1):
        shown += [("bar", " ")] * bool(shown)
        shown += [_room(number, buffer, buffers)]
    return [*shown, *_topic(buffers)]


def _topic(buffers: Buffers) -> Fragments:
    current = buffers.rooms.get(buffers.current or "")
    if current is None or not current.topic:
        return []
    return [("bar", " ─ "), ("topic", clean(current.topic))]


def _room(number: int, buffer: Buffer, buffers: Buffers) -> tuple[str, str]:
    name = f"{number}:{in_place(buffers.title(buffer.room))}"
    if buffer.room == buffers.current:
        return "here", name
    if buffers.attention.is_muted(buffer.room) or not buffer.unread:
        return "bar", name
    # A sign besides the colour, for those who see none.
    calls = f", {buffer.calls}!" if buffer.calls else ""
    return "called" if buffer.calls else "unread", f"{name}({buffer.unread}{calls})"


def _seconds(lag: float) -> str:
    return f"{lag:.1f} s" if lag >= SLOW else f"{lag * 1000:.0f} ms"
