"""What an archive has besides the events: who they are by, and how the rooms stand.

    {"type":"holder","identity":7,"name":"alice"}             alice has an account
    {"type":"event", … ,"author":7}                           it was she who said it
    {"type":"state","room":"tea","access":"invitation"}       how a room stands, behind its
                                                              events
    {"type":"rank","room":"tea","identity":7,"rank":"owner"}
    {"type":"sanction","room":"tea","name":"eve","ban":true}
    {"type":"pair","room":"@alice,bob:k7Jx2mQ9","maker":7,"other":9}

Nothing of what proves who somebody is leaves a server: no password, no token, no key, neither
their hashes. So who has an account comes in once the operator has given it a password.
"""

import re
import sqlite3
from collections.abc import Iterator
from datetime import datetime

from attrs import frozen

from trio_chat.charter import Identity
from trio_chat.history import people
from trio_chat.history.file import from_ms, to_ms
from trio_chat.messages import AccessName, Event, RankName
from trio_chat.names import parse_name, skeleton
from trio_chat.roles import Access, Role
from trio_chat.wire import Codec

NO_PASSWORD = ""
"""Instead of a hash: no password is right."""


@frozen
class Holder:
    """Somebody has an account, here or where the archive comes from."""

    identity: int
    name: str


@frozen
class State:
    """How a room stands. One that opens with a key is for the invited elsewhere."""

    room: str
    access: AccessName = "public"
    topic: str = ""


@frozen
class Rank:
    """Who has an account is something in a room."""

    room: str
    identity: int
    rank: RankName


@frozen
class Sanction:
    """A name is banned from a room, or muted in it."""

    room: str
    name: str
    ban: bool = False
    until: datetime | None = None
    reason: str = ""


@frozen
class Pair:
    """Whose a private room is."""

    room: str
    maker: int
    other: int


Standing = State | Rank | Sanction | Pair
"""What is said of a room behind its events."""

ARCHIVE: Codec[Event | Holder | Standing, Holder | Standing] = Codec(
    reads=Event | Holder | Standing, writes=Holder | Standing
)

# Whatever stands in a text, the last brace of a line is that of the event, and a quote in a
# text has a backslash before it.
_AUTHOR = re.compile(rb',"author":([0-9]+)\}\n$')


def sign(line: bytes, author: int | None) -> bytes:
    """The line of an event, with its author."""
    return line if author is None else line[:-2] + b',"author":%d}\n' % author


def unsign(line: bytes) -> tuple[bytes, int | None]:
    """The line of an event as it was sent, and its author."""
    found = _AUTHOR.search(line)
    return (line, None) if found is None else (line[: found.start()] + b"}\n", int(found[1]))


# ---------------------------------------------------------------- export


def holder_lines(db: sqlite3.Connection) -> Iterator[bytes]:
    """Those who have an account; a bot has nothing but its token, and does not travel."""
    for account in people.accounts(db):
        if account.password is not None:
            yield ARCHIVE.encode(Holder(account.identity, account.name))


def standing_lines(db: sqlite3.Connection, id: int) -> Iterator[bytes]:
    """How a room stands; nothing of one that stands as any new one."""
    room, access, topic, *pair = db.execute(
        "SELECT name, access, topic, maker, other FROM rooms WHERE id = ?", [id]
    ).fetchone()
    told: list[Standing] = [*_ranks(db, id, room), *_sanctions(db, id, room)]
    if None not in pair:
        told.append(Pair(room, *pair))
    if told or access or topic:
        is_open = access == Access.PUBLIC
        told.insert(0, State(room, "public" if is_open else "invitation", topic))
    yield from map(ARCHIVE.encode, told)


def _ranks(db: sqlite3.Connection, id: int, room: str) -> Iterator[Rank]:
    rows = db.execute(
        "SELECT identity, rank FROM ranks JOIN accounts USING (identity)"
        " WHERE room = ? AND password IS NOT NULL ORDER BY identity",
        [id],
    )
    for identity, rank in rows:
        yield Rank(room, identity, _RANKS[Role(rank)])


def _sanctions(db: sqlite3.Connection, id: int, room: str) -> Iterator[Sanction]:
    rows = db.execute(
        "SELECT name, is_ban, until, reason FROM sanctions WHERE room = ?"
        " ORDER BY name, is_ban",
        [id],
    )
    for name, is_ban, until, reason in rows:
        end = None if until is None else from_ms(until)
        yield Sanction(room, name, bool(is_ban), end, reason)


_RANKS: dict[Role, RankName] = {
    Role.MEMBER: "member",
    Role.MODERATOR: "moderator",
    Role.OWNER: "owner",
}


# ---------------------------------------------------------------- import


def take_holder(db: sqlite3.Connection, holder: Holder) -> None:
    """Have the account, without a password. Whoever has such a name here is somebody else,
    and gets nothing that is not its own.

    Raises `BadName`.
    """
    name = parse_name(holder.name)
    taken = db.execute(
        "SELECT 1 FROM accounts WHERE identity = ? OR skeleton = ?",
        [holder.identity, skeleton(name)],
    )
    if taken.fetchone() is None:
        people.add_account(db, name, NO_PASSWORD, identity=Identity(holder.identity))


def take_standing(db: sqlite3.Connection, id: int, told: Standing) -> None:
    """Have a room stand like that; what it had been so far goes with its `State`."""
    match told:
        case State(_, access, topic):
            stand = "UPDATE rooms SET access = ?, key = NULL, topic = ? WHERE id = ?"
            closed = Access.PUBLIC if access == "public" else Access.INVITATION
            db.execute(stand, [closed, topic, id])
            db.execute("DELETE FROM ranks WHERE room = ?", [id])
            db.execute("DELETE FROM sanctions WHERE room = ?", [id])
        case Rank(_, identity, rank):
            ranked = "INSERT OR REPLACE INTO ranks VALUES (?, ?, ?)"
            db.execute(ranked, [id, identity, Role[rank.upper()]])
        case Sanction(_, name, is_ban, until, reason):
            end = None if until is None else to_ms(until)
            sanctioned = "INSERT OR REPLACE INTO sanctions VALUES (?, ?, ?, ?, ?)"
            db.execute(sanctioned, [id, parse_name(name), is_ban, end, reason])
        case Pair(_, maker, other):
            pair = "UPDATE rooms SET maker = ?, other = ? WHERE id = ?"
            db.execute(pair, [maker, other, id])
