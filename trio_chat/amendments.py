"""How a room is governed after a post: another charter, and what is stored for it. Pure."""

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from trio_chat.charter import Charter, Identity, Sanction
from trio_chat.history import Change, Ranked, Restricted, Sanctioned
from trio_chat.messages import Ban, Mute, Restrict
from trio_chat.names import Name, parse_name
from trio_chat.roles import Access, Role


@frozen
class Amendment:
    """Another charter, and what is to be stored for it."""

    charter: Charter
    changes: Sequence[Change]


def promote(room: Name, charter: Charter, identity: Identity, rank: Role) -> Amendment:
    """Make somebody something in a room. Raises `TooMany`."""
    return Amendment(charter.with_rank(identity, rank), [Ranked(room, identity, rank)])


def sweep(room: Name, charter: Charter, is_anybody: Callable[[Identity], bool]) -> Amendment:
    """Forget the guests who can't come back: what they were in a room is nobody's."""
    gone = {identity for identity in charter.ranks if not is_anybody(identity)}
    return Amendment(charter.without(gone), [Ranked(room, one, None) for one in gone])


def sanction(room: Name, charter: Charter, post: Ban | Mute) -> Amendment:
    """Ban or mute a name, or put an end to that. Raises `TooMany`."""
    name = parse_name(post.name)
    known = None if post.off else Sanction(post.until, post.reason)
    is_ban = isinstance(post, Ban)
    amended = charter.with_ban(name, known) if is_ban else charter.with_mute(name, known)
    return Amendment(amended, [Sanctioned(room, name, is_ban, known)])


def restrict(
    room: Name, charter: Charter, post: Restrict, people: Iterable[Identity]
) -> Amendment:
    """Let others in, or fewer; those `people` who are there, or were invited, are members
    from now on.

    Raises `TooMany`.
    """
    access = Access[post.access.upper()]
    amended = charter.with_access(access, post.key)
    changes: list[Change] = [Restricted(room, access, amended.key)]
    for identity in () if access is Access.PUBLIC else people:
        if identity not in amended.ranks:
            amended = amended.with_rank(identity, Role.MEMBER)
            changes.append(Ranked(room, identity, Role.MEMBER))
    return Amendment(amended, changes)
