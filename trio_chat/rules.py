"""Who may do what: a post and where its sender stands → what is logged, or a refusal.

Pure: no I/O, no clock, no state. Whoever calls says where the sender stands.
"""

from typing import assert_never

from attrs import evolve, frozen

from trio_chat.errors import AlreadyInRoom, NoSuchRoom, NotInRoom, TextTooLong, TooManyRooms
from trio_chat.messages import Join, Leave, Post, Say
from trio_chat.names import Name

TEXT_BYTES = 16 * 1024
"""The longest text: about eight pages. It fits into a line, unless most of it is control
characters, which take six bytes each on the wire."""

ROOMS_EACH = 100
"""The most rooms of one connection: more than anybody reads, few enough to remember."""

ROOMS_IN_ALL = 10_000
"""The most rooms of a server, so that nobody fills its memory with names."""


@frozen
class Standing:
    """Where a sender stands: in the room or not, quietly or not, and what there is already."""

    room: Name
    is_member: bool
    is_quiet: bool
    is_new_room: bool
    rooms_joined: int
    rooms_in_all: int


def decide(post: Post, standing: Standing) -> Post | None:
    """What goes into the room's log for `post`: what only the server needs is taken off.
    None: nothing, for it is to happen quietly.

    Raises `Refused`.
    """
    match post:
        case Join():
            return _join(post, standing)
        case Say():
            return _say(post, standing)
        case Leave():
            return _leave(post, standing)
        case _:
            assert_never(post)


def _join(post: Join, standing: Standing) -> Join | None:
    if standing.is_member:
        raise AlreadyInRoom(f"you are in {standing.room} already")
    if standing.rooms_joined >= ROOMS_EACH:
        raise TooManyRooms(f"you are in {ROOMS_EACH} rooms, which is the most")
    if standing.is_new_room and standing.rooms_in_all >= ROOMS_IN_ALL:
        raise TooManyRooms(f"there are {ROOMS_IN_ALL} rooms, which is the most")
    if not post.quiet:
        return Join(standing.room, id=post.id)
    if standing.is_new_room:
        raise NoSuchRoom(f"there is no room {standing.room}; it begins with somebody's join")
    return None


def _say(post: Say, standing: Standing) -> Say:
    _require_member(standing)
    # Four bytes is the most a character takes: most texts need no encoding to be measured.
    if len(post.text) > TEXT_BYTES // 4 and len(post.text.encode()) > TEXT_BYTES:
        raise TextTooLong(f"a text may have {TEXT_BYTES} bytes")
    return post if post.room == standing.room else evolve(post, room=standing.room)


def _leave(post: Leave, standing: Standing) -> Leave | None:
    _require_member(standing)
    return None if standing.is_quiet else Leave(standing.room, id=post.id)


def _require_member(standing: Standing) -> None:
    if not standing.is_member:
        raise NotInRoom(f"you are not in {standing.room}; join it first")
