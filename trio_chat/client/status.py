"""The line above the prompt: where one is, what is unread elsewhere, how the connection is.
No I/O."""

from trio_chat.client.buffers import Buffer, Buffers
from trio_chat.client.clean import clean
from trio_chat.client.lifeline import State
from trio_chat.client.notices import in_place
from trio_chat.client.view import clip_line
from trio_chat.client.wrap import Fragments

SLOW = 1.0
"""Seconds to the server and back from which on it is worth a warning."""


def status_line(state: State, lag: float | None, rooms: Fragments, columns: int) -> Fragments:
    """The line, as much of it as fits. `lag`: seconds to the server and back, None if it is
    not known."""
    return clip_line([("bar", "─ "), _connection(state, lag), ("bar", " ─ "), *rooms], columns)


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
