"""Who may do what: a post and where its sender stands → what is logged, or a refusal.

Pure: no I/O, no clock, no state. Whoever calls says where the sender stands.
"""

from typing import assert_never

from attrs import define, evolve, frozen

from trio_chat.errors import (
    AlreadyInRoom,
    BadText,
    NoSuchEvent,
    NoSuchRoom,
    NotInRoom,
    NotYours,
    TextTooLong,
    TooManyRooms,
)
from trio_chat.messages import Delete, Edit, Join, Leave, Post, React, Say, Topic
from trio_chat.names import Name

TEXT_BYTES = 16 * 1024
"""The longest text: about eight pages. It fits into a line, unless most of it is control
characters, which take six bytes each on the wire."""

ROOMS_EACH = 100
"""The most rooms of one connection: more than anybody reads, few enough to remember."""

ROOMS_IN_ALL = 10_000
"""The most rooms of a server, so that nobody fills its memory with names."""


PRIVATE_EACH = 500
"""The most private rooms that one person has begun."""

PRIVATE_IN_ALL = 100_000
"""The most private rooms of a server: some 50 MB."""

SIGN_CHARS = 16
"""The longest sign of a reaction: a family as an emoji has eleven code points."""

TOPIC_CHARS = 200
"""The longest topic: two lines of a terminal."""


@define  # nobody changes one; but to make a frozen one takes 1.8 µs, for each post, and not 0.9
class Standing:
    """Where a sender stands: in the room or not, quietly or not, and what there is already.

    `is_shown`: another device of the same person is in the room, for all to see.
    `is_new_room`: there is no such room yet. `head`: the room's newest event. Of a private
    room one is always a member, if it is one's own, and quietly in it, if one has joined.
    """

    room: Name
    is_member: bool
    is_quiet: bool
    is_shown: bool
    is_private: bool
    is_new_room: bool
    head: int
    rooms_joined: int
    rooms_in_all: int
    private_begun: int
    private_in_all: int


@frozen
class Target:
    """What a post is about, as it stands in the log now. `is_own`: its sender has posted it;
    `is_text`: it is something said that has not been deleted."""

    is_own: bool
    is_text: bool


NOTHING = Target(is_own=False, is_text=False)
"""There is no such event."""


def decide(post: Post, standing: Standing, target: Target = NOTHING) -> Post | None:
    """What goes into the room's log for `post`: what only the server needs is taken off.
    None: nothing, for it is to happen quietly.

    Raises `Refused`.
    """
    logged: Post | None
    match post:
        case Join():
            logged = _join(post, standing)
        case Say():
            logged = _say(post, standing)
        case Edit():
            logged = _edit(post, standing, target)
        case Delete():
            logged = _delete(post, standing, target)
        case React():
            logged = _react(post, standing, target)
        case Topic():
            logged = _topic(post, standing)
        case Leave():
            logged = _leave(post, standing)
        case _:
            assert_never(post)
    return logged


def _join(post: Join, standing: Standing) -> Join | None:
    if standing.is_private:
        _require_member(standing)
    if standing.is_quiet if standing.is_private else standing.is_member:
        raise AlreadyInRoom(f"you are in {standing.room} already")
    if standing.rooms_joined >= ROOMS_EACH:
        raise TooManyRooms(f"you are in {ROOMS_EACH} rooms, which is the most")
    if standing.is_new_room and standing.rooms_in_all >= ROOMS_IN_ALL:
        raise TooManyRooms(f"there are {ROOMS_IN_ALL} rooms, which is the most")
    if post.quiet and standing.is_new_room:
        raise NoSuchRoom(f"there is no room {standing.room}; it begins with somebody's join")
    is_event = not (post.quiet or standing.is_shown or standing.is_private)
    return Join(standing.room, id=post.id) if is_event else None


def _say(post: Say, standing: Standing) -> Say:
    if standing.is_private and standing.is_new_room:
        _require_space(standing)
    else:
        _require_member(standing)
    _require_short(post.text)
    if post.reply_to is not None and not 0 < post.reply_to <= standing.head:
        raise NoSuchEvent(f"there is no event {post.reply_to} in {standing.room}")
    return post if post.room == standing.room else evolve(post, room=standing.room)


def _edit(post: Edit, standing: Standing, target: Target) -> Edit:
    _require_member(standing)
    _require_own_text(post.seq, target)
    if not post.text:
        raise BadText("an edited text can't be empty; delete takes it back")
    _require_short(post.text)
    return evolve(post, room=standing.room)


def _delete(post: Delete, standing: Standing, target: Target) -> Delete:
    _require_member(standing)
    _require_own_text(post.seq, target)
    return evolve(post, room=standing.room)


def _react(post: React, standing: Standing, target: Target) -> React:
    _require_member(standing)
    _require_text(post.seq, target)
    if not 0 < len(post.sign) <= SIGN_CHARS or any(map(str.isspace, post.sign)):
        raise BadText(f"a sign has 1 to {SIGN_CHARS} characters, and no space")
    return evolve(post, room=standing.room)


def _topic(post: Topic, standing: Standing) -> Topic:
    _require_member(standing)
    if len(post.text) > TOPIC_CHARS or len(post.text.splitlines()) > 1:
        raise BadText(f"a topic has at most {TOPIC_CHARS} characters, on one line")
    return evolve(post, room=standing.room)


def _leave(post: Leave, standing: Standing) -> Leave | None:
    _require_member(standing)
    if standing.is_private or standing.is_quiet or standing.is_shown:
        return None
    return Leave(standing.room, id=post.id)


def _require_member(standing: Standing) -> None:
    if standing.is_private and (standing.is_new_room or not standing.is_member):
        raise NoSuchRoom("there is no such room, or nothing has been said there yet")
    if not standing.is_member:
        raise NotInRoom(f"you are not in {standing.room}; join it first")


def _require_space(standing: Standing) -> None:
    if not standing.is_member:
        raise NoSuchRoom("there is no such room")
    if standing.private_begun >= PRIVATE_EACH:
        raise TooManyRooms(f"you have begun {PRIVATE_EACH} private rooms, which is the most")
    if standing.private_in_all >= PRIVATE_IN_ALL:
        raise TooManyRooms(f"there are {PRIVATE_IN_ALL} private rooms, which is the most")


def _require_short(text: str) -> None:
    # Four bytes is the most a character takes: most texts need no encoding to be measured.
    if len(text) > TEXT_BYTES // 4 and len(text.encode()) > TEXT_BYTES:
        raise TextTooLong(f"a text may have {TEXT_BYTES} bytes")


def _require_text(seq: int, target: Target) -> None:
    if not target.is_text:
        raise NoSuchEvent(f"event {seq} is not there, or nothing that was said")


def _require_own_text(seq: int, target: Target) -> None:
    _require_text(seq, target)
    if not target.is_own:
        raise NotYours(f"event {seq} is not what you have said")
