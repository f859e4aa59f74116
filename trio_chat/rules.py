"""Who may do what: a post and where its sender stands → what is logged, or a refusal.

Pure: no I/O, no clock, no state. Whoever calls says where the sender stands.
"""

from typing import assert_never

from attrs import define, evolve, frozen

from trio_chat.errors import (
    AlreadyInRoom,
    BadName,
    BadText,
    Banned,
    Muted,
    NoSuchEvent,
    NoSuchName,
    NoSuchRoom,
    NotAllowed,
    NotInRoom,
    NotYours,
    Refused,
    TextTooLong,
    TooManyRooms,
)
from trio_chat.messages import (
    Appoint,
    Ban,
    Deed,
    Delete,
    Edit,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Post,
    React,
    Restrict,
    Say,
    Topic,
)
from trio_chat.names import Name, is_official, parse_name
from trio_chat.roles import Access, Role, Verb, may, outranks

TEXT_BYTES = 16 * 1024
"""The longest text: about eight pages. It fits into a line, unless most of it is control
characters, which take six bytes each on the wire."""

ROOMS_EACH = 100
"""The most rooms of one connection: more than anybody reads, few enough to remember."""

ROOMS_IN_ALL = 10_000
"""The most rooms of a server, so that nobody fills its memory with names."""


PRIVATE_FOLLOWED = 200
"""The most private rooms that one connection follows; more than anybody talks in at once."""

PRIVATE_EACH = 500
"""The most private rooms that one person has begun."""

PRIVATE_IN_ALL = 100_000
"""The most private rooms of a server: some 50 MB."""

SIGN_CHARS = 16
"""The longest sign of a reaction: a family as an emoji has eleven code points."""

TOPIC_CHARS = 200
"""The longest topic, reason or key: two lines of a terminal."""


@define  # nobody changes one; but to make a frozen one takes 1.8 µs, for each post, and not 0.9
class Standing:
    """Where a sender stands: in the room or not, quietly or not, and what there is already.

    `role`, `access`: what the sender is there, and what kind of a room it is. `has_key`: it
    has brought the key. `is_in`: this device is in it. `is_shown`: another device of the same
    person is, for all to see. `is_new_room`: there is no such room yet. `head`: the room's
    newest event. `looks_like`: another room, that a new one could be mistaken for.
    """

    room: Name
    role: Role
    access: Access
    has_key: bool
    is_in: bool
    is_quiet: bool
    is_shown: bool
    is_new_room: bool
    head: int
    rooms_joined: int
    rooms_in_all: int
    private_begun: int
    private_in_all: int
    looks_like: Name | None = None

    @property
    def is_private(self) -> bool:
        """Is it a room of two?"""
        return self.access is Access.PRIVATE


@frozen
class Target:
    """What a post is about, as it stands in the log now. `is_own`: its sender has posted it;
    `is_text`: it is something said that has not been deleted; `role`: that of who has."""

    is_own: bool
    is_text: bool
    role: Role = Role.MEMBER


NOTHING = Target(is_own=False, is_text=False)
"""There is no such event."""


@frozen
class Other:
    """Whom a moderator means. `is_known`: there is somebody of that name; `is_in`: in the
    room, too."""

    role: Role
    is_known: bool
    is_in: bool
    has_account: bool


NOBODY = Other(Role.OUTSIDER, is_known=False, is_in=False, has_account=False)
"""There is nobody of that name."""


def decide(
    post: Post, standing: Standing, target: Target = NOTHING, other: Other = NOBODY
) -> Post | None:
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
        case Invite() | Kick() | Ban() | Mute() | Appoint() | Restrict():
            logged = _deed(post, standing, other)
        case _:
            assert_never(post)
    return logged


def verb_of(post: Post) -> Verb | None:
    """What a post does; None for what anybody may, wherever it is."""
    match post:
        case Invite() | Kick() | Ban() | Mute() | Appoint() | Restrict():
            return _verb(post)
        case _:
            return _VERBS.get(type(post))


_VERBS: dict[type[Post], Verb] = {
    Join: Verb.JOIN,
    Say: Verb.SAY,
    Edit: Verb.EDIT,
    Delete: Verb.DELETE,
    React: Verb.REACT,
    Topic: Verb.TOPIC,
}


def refusal(verb: Verb, role: Role, access: Access, room: str) -> Refused | None:
    """What to answer if it is not allowed."""
    refused = may(verb, role, access)
    return None if refused is None else refused(_TEXTS[refused].format(room=room))


_TEXTS: dict[type[Refused], str] = {
    NoSuchRoom: "there is no room {room}",
    NotInRoom: "you are not in {room}; join it first",
    NotAllowed: "that is not for you to do in {room}",
    Banned: "you are banned from {room}",
    Muted: "you are muted in {room}",
}


# ---------------------------------------------------------------- coming, speaking, going


def _join(post: Join, standing: Standing) -> Join | None:
    if standing.is_private:
        _require_room(standing)
    if not standing.has_key:
        _require(Verb.JOIN, standing)
    if standing.is_in:
        raise AlreadyInRoom(f"you are in {standing.room} already")
    most = PRIVATE_FOLLOWED if standing.is_private else ROOMS_EACH
    if standing.rooms_joined >= most:
        raise TooManyRooms(f"you are in {most} rooms, which is the most")
    if post.quiet:
        _require_room(standing)
    if standing.is_new_room and standing.rooms_in_all >= ROOMS_IN_ALL:
        raise TooManyRooms(f"there are {ROOMS_IN_ALL} rooms, which is the most")
    if standing.looks_like is not None:
        raise BadName(f"{standing.room} looks like another room")
    if standing.is_new_room and standing.role < Role.OPERATOR and is_official(standing.room):
        raise BadName(f"only an operator of the server can make a room called {standing.room}")
    is_event = not (post.quiet or standing.is_shown or standing.is_private)
    return Join(standing.room, id=post.id) if is_event else None


def _say(post: Say, standing: Standing) -> Say:
    # `Batch._say_at_once` knows when all of this is surely so.
    if standing.is_private and standing.is_new_room:
        _require_space(standing)
    else:
        _require_in(Verb.SAY, standing)
    _require_short(post.text)
    if post.reply_to is not None and not 0 < post.reply_to <= standing.head:
        raise NoSuchEvent(f"there is no event {post.reply_to} in {standing.room}")
    return post if post.room == standing.room else evolve(post, room=standing.room)


def _edit(post: Edit, standing: Standing, target: Target) -> Edit:
    _require_in(Verb.EDIT, standing)
    _require_text(post.seq, target)
    _require_own(post.seq, target)
    if not post.text:
        raise BadText("an edited text can't be empty; delete takes it back")
    _require_short(post.text)
    return evolve(post, room=standing.room)


def _delete(post: Delete, standing: Standing, target: Target) -> Delete:
    _require_in(Verb.DELETE, standing)
    _require_text(post.seq, target)
    if may(Verb.REMOVE, standing.role, standing.access):
        _require_own(post.seq, target)
    elif not target.is_own:
        _require_rank(standing, target.role)
    return evolve(post, room=standing.room)


def _react(post: React, standing: Standing, target: Target) -> React:
    _require_in(Verb.REACT, standing)
    _require_text(post.seq, target)
    if not 0 < len(post.sign) <= SIGN_CHARS or any(map(str.isspace, post.sign)):
        raise BadText(f"a sign has 1 to {SIGN_CHARS} characters, and no space")
    return evolve(post, room=standing.room)


def _topic(post: Topic, standing: Standing) -> Topic:
    _require_in(Verb.TOPIC, standing)
    require_line("a topic", post.text)
    return evolve(post, room=standing.room)


def _leave(post: Leave, standing: Standing) -> Leave | None:
    _require_room(standing)
    if standing.is_private:
        _require(Verb.SEE, standing)
        return None
    if not standing.is_in:
        _require(Verb.SEE, standing)
        raise NotInRoom(_TEXTS[NotInRoom].format(room=standing.room))
    is_event = not (standing.is_quiet or standing.is_shown)
    return Leave(standing.room, id=post.id) if is_event else None


# ---------------------------------------------------------------- what moderators do


def _deed(post: Deed, standing: Standing, other: Other) -> Deed:
    _require_room(standing)
    _require(_verb(post), standing)
    if isinstance(post, Restrict):
        return _restrict(post, standing)
    if not isinstance(post, Invite):
        _require_rank(standing, other.role)
    _require_other(post, other)
    if isinstance(post, Kick | Ban | Mute):
        require_line("a reason", post.reason)
    return evolve(post, room=standing.room, name=parse_name(post.name))


def _verb(post: Deed) -> Verb:
    match post:
        case Invite():
            return Verb.INVITE
        case Kick():
            return Verb.KICK
        case Ban():
            return Verb.UNBAN if post.off else Verb.BAN
        case Mute():
            return Verb.UNMUTE if post.off else Verb.MUTE
        case Appoint():
            return _RANKS[post.rank]
        case Restrict():
            return Verb.SET_ACCESS
        case _:
            assert_never(post)


_RANKS = {
    "member": Verb.DEMOTE,
    "moderator": Verb.MAKE_MODERATOR,
    "owner": Verb.MAKE_OWNER,
}


def _restrict(post: Restrict, standing: Standing) -> Restrict:
    if (post.access == "key") != bool(post.key):
        raise BadText("a room that opens with a key needs one, and no other does")
    require_line("a key", post.key or "")
    return Restrict(standing.room, post.access, id=post.id)


def _require_other(post: Invite | Kick | Ban | Mute | Appoint, other: Other) -> None:
    if isinstance(post, Kick) and not other.is_in:
        raise NoSuchName(f"{post.name} is not in {post.room}")
    if isinstance(post, Invite | Appoint) and not other.is_known:
        raise NoSuchName(f"nobody is called {post.name}")
    if isinstance(post, Appoint) and not other.has_account:
        raise NotAllowed(f"{post.name} has no account, and so no rank")
    if isinstance(post, Invite | Appoint) and other.role is Role.BANNED:
        raise NotAllowed(f"{post.name} is banned from {post.room}; put an end to that first")


def _require_rank(standing: Standing, role: Role) -> None:
    if not outranks(standing.role, role):
        raise NotAllowed(f"in {standing.room} that is not for you to do to one of that rank")


# ---------------------------------------------------------------- what all need


def _require(verb: Verb, standing: Standing) -> None:
    refused = refusal(verb, standing.role, standing.access, standing.room)
    if refused is not None:
        raise refused


def _require_room(standing: Standing) -> None:
    # As of one that one may not see: whether there is a room must not be found out so.
    if standing.is_new_room:
        raise NoSuchRoom(_TEXTS[NoSuchRoom].format(room=standing.room))


def _require_in(verb: Verb, standing: Standing) -> None:
    _require_room(standing)
    _require(verb, standing)
    if not standing.is_in and not standing.is_private:
        raise NotInRoom(_TEXTS[NotInRoom].format(room=standing.room))


def _require_space(standing: Standing) -> None:
    _require(Verb.SAY, standing)
    if standing.private_begun >= PRIVATE_EACH:
        raise TooManyRooms(f"you have begun {PRIVATE_EACH} private rooms, which is the most")
    if standing.private_in_all >= PRIVATE_IN_ALL:
        raise TooManyRooms(f"there are {PRIVATE_IN_ALL} private rooms, which is the most")


def is_short(text: str) -> bool:
    """Does it surely fit? Four bytes is the most that a character takes, and six if it has to
    be escaped, of which a line holds many more."""
    return len(text) <= TEXT_BYTES // 4


def _require_short(text: str) -> None:
    if not is_short(text) and len(text.encode()) > TEXT_BYTES:
        raise TextTooLong(f"a text may have {TEXT_BYTES} bytes")


def require_line(what: str, text: str) -> None:
    """See that it is a topic, a reason or a key. Raises `BadText`."""
    if len(text) > TOPIC_CHARS or len(text.splitlines()) > 1:
        raise BadText(f"{what} has at most {TOPIC_CHARS} characters, on one line")


def _require_text(seq: int, target: Target) -> None:
    if not target.is_text:
        raise NoSuchEvent(f"event {seq} is not there, or nothing that was said")


def _require_own(seq: int, target: Target) -> None:
    if not target.is_own:
        raise NotYours(f"event {seq} is not what you have said")
