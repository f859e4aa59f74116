"""What a private room of two is called.

    @bob                 how the other of the two is meant, in what a client sends
    @alice,bob:k7Jx2mQ9  how the room is named, in whatever the server sends

The sign at the end is random. Names may change hands: a guest leaves, and another one comes
under the same name, who must neither read what the first one was told nor learn that there
was something. What tells the two rooms apart also tells a client that a cursor of the one
means nothing in the other.
"""

import secrets

from trio_chat.names import Name, parse_name

SIGN = "@"
"""What a name can't begin with, and what a private room is told by."""

TAIL_BYTES = 6
"""48 random bits: enough that no two rooms of the same two names are ever called alike."""


def is_private(room: str) -> bool:
    """Is it the name of a private room, or of the person it is with?"""
    return room.startswith(SIGN)


def is_pair_name(room: str) -> bool:
    """Is it the name of a private room in full?"""
    return is_private(room) and "," in room


def parse_room(raw: str) -> str:
    """The name of a room that somebody has typed, or what means a private one.

    Raises `BadName`.
    """
    if not is_private(raw):
        return parse_name(raw)
    return raw if is_pair_name(raw) else f"{SIGN}{parse_name(raw.removeprefix(SIGN))}"


def make_pair_name(one: Name, other: Name) -> Name:
    """A name for a new private room of the two."""
    first, second = sorted((one, other))
    return Name(f"{SIGN}{first},{second}:{secrets.token_urlsafe(TAIL_BYTES)}")


def partner(room: str, me: str) -> str | None:
    """With whom `me` is in a private room; None if it is none, or not mine."""
    names, colon, _ = room.removeprefix(SIGN).partition(":")
    two = names.split(",")
    if not (is_private(room) and colon and len(two) == 2 and me in two):
        return None
    return two[1] if two[0] == me else two[0]
