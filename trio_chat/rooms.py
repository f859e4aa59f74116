"""Who is here, and who hears what.

A `Member` is in rooms; in each it has a `Follower`: a cursor over the room's log. A
follower is *live*, and then gets every batch as it is made; or *behind*, and then its
connection's writer reads pages of the log for it until it has reached the head. Whoever
joins starts behind, whoever comes back starts behind, and a reader whose outbox is full
falls behind: one mechanism for the three.

Nothing here waits, but for the reading of pages. A trio task can only be interrupted at
an `await`, so each method is one step for everybody else: no lock, and one order.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import trio
from attrs import define, field

from trio_chat.errors import NameTaken, NoSuchRoom
from trio_chat.history import History, Slice, Token
from trio_chat.messages import Gap
from trio_chat.names import Name
from trio_chat.outbox import Format, Outbox
from trio_chat.wire import SERVER

NEWEST = 50
"""What somebody who joins without a cursor is shown: some screens of talk."""

CATCH_UP_EVENTS = 1000
"""The most events read at once; the bytes of a slice are the nearer limit."""

DAWN = datetime.min.replace(tzinfo=UTC)


class Connection(Protocol):
    """What a member is reached through."""

    outbox: Outbox

    def cut_off(self, why: str) -> None:
        """End at once."""
        ...


@define(eq=False)
class Member:
    """Somebody who has said hello, through one connection or the next.

    `token`: what proves that it comes back. `has_pinged`: it means to stay connected.
    `lost_at`: since when it has no connection, in trio's time. `is_gone`: it will not
    come back, its name is free.
    """

    name: Name
    connection: Connection
    token: Token
    rooms: dict[Name, "Room"] = field(factory=dict, init=False)
    has_pinged: bool = field(default=False, init=False)
    lost_at: float | None = field(default=None, init=False)
    is_gone: bool = field(default=False, init=False)

    @property
    def is_seen(self) -> bool:
        """Have others seen it come, and so would see it go?"""
        return any(not room.members[self.name].is_quiet for room in self.rooms.values())


@define(eq=False)
class Room:
    """`head` and `last_at` are the number and the time of the newest event that is
    committed and told; `live` are the followers that have it."""

    name: Name
    history: History
    head: int = 0
    last_at: datetime = DAWN
    members: dict[Name, "Follower"] = field(factory=dict, init=False)
    live: dict["Follower", None] = field(factory=dict, init=False)  # a set with an order

    def tell(self, first: int, lines: Sequence[bytes]) -> None:
        """Hand new events, the first of which is number `first`, to the live followers."""
        self.head = first + len(lines) - 1
        shaped: dict[Format, bytes] = {}
        full: list[Follower] = []
        for follower in self.live:
            outbox = follower.outbox
            shape = outbox.format
            if shape not in shaped:
                shaped[shape] = shape(lines)
            if not outbox.put(shaped[shape]):
                full.append(follower)
        for follower in full:
            follower.fall_behind(first - 1)


@define(eq=False)
class Follower:
    """A cursor over a room's log.

    `cursor`: the last event sent, kept only while behind; None before the first page of
    somebody who joined without one. `is_quiet`: the others have not seen it come, and will
    not see it go. `end`: its member has left, with this event or after it.
    """

    member: Member
    room: Room
    outbox: Outbox
    cursor: int | None = None
    is_quiet: bool = False
    end: int | None = field(default=None, init=False)

    @property
    def is_detached(self) -> bool:
        """Has its member come back over another connection, and not resumed this room?"""
        return self.outbox is not self.member.connection.outbox

    def start(self, joined: int, first: int, lines: Sequence[bytes]) -> None:
        """Begin at event `joined`, which stands in this batch or comes next, or at an
        earlier cursor."""
        if self.cursor is None and joined > 1:
            self.outbox.fall_behind(self)
        elif self.cursor is not None and self.cursor < joined - 1:
            self.fall_behind(self.cursor)
        else:
            self._give(joined - 1, first, lines)

    def stop(self, left: int, first: int, lines: Sequence[bytes]) -> None:
        """End with event `left`, which stands in this batch or right before it."""
        self.end = left
        if self in self.room.live:
            del self.room.live[self]
            self._give(first - 1, first, lines)

    def _give(self, cursor: int, first: int, lines: Sequence[bytes]) -> None:
        """Send what it may have of a batch in which it came or went."""
        stop = len(lines) if self.end is None else self.end - first + 1
        data = self.outbox.format(lines[cursor + 1 - first : stop])
        if not self.outbox.put(data):
            self.fall_behind(cursor)
        elif self.end is None:
            self.room.live[self] = None

    def resume(self) -> None:
        """Follow over a new connection, from the cursor that the client has."""
        head = self.room.head if self.end is None else self.end
        if self.cursor is None or self.cursor < head:
            self.outbox.fall_behind(self)
        elif self.end is None:
            self.room.live[self] = None

    def fall_behind(self, cursor: int) -> None:
        """Leave what comes after `cursor` to the log, and to the connection's writer."""
        self.cursor = cursor
        self.room.live.pop(self, None)
        self.outbox.fall_behind(self)

    async def next_page(self) -> tuple[bytes, bool]:
        """The next events from the log, and whether there are more; live if not."""
        page = await self._read()
        if self.is_detached:
            return b"", False
        # No await from here on: nothing can be told between this check and the switch.
        head = self.room.head if self.end is None else self.end
        lines = list(page.lines[: max(0, head + 1 - page.first)])
        if self.cursor is not None and page.first > self.cursor + 1:
            gap = Gap(self.room.name, self.cursor + 1, page.first - 1)
            lines.insert(0, SERVER.encode(gap))
        self.cursor = page.last
        if self.cursor >= head and self.end is None:
            self.room.live[self] = None
        return self.outbox.format(lines), self.cursor < head

    async def _read(self) -> Slice:
        room = self.room
        if self.cursor is None:
            head = room.head if self.end is None else self.end
            return await room.history.before(room.name, head + 1, NEWEST)
        return await room.history.after(room.name, self.cursor, CATCH_UP_EVENTS)


@define(eq=False)
class Hub:
    """The members and rooms of a server. `lost`: those without a connection who may come
    back, in the order in which they were lost; `has_lost` wakes who waits for one."""

    history: History
    members: dict[Name, Member] = field(factory=dict, init=False)
    lost: dict[Member, None] = field(factory=dict, init=False)
    has_lost: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    rooms: dict[Name, Room] = field(factory=dict, init=False)

    async def open(self, now: float) -> None:
        """Learn from the history what rooms there are, and who was in them: whoever was
        there when the server ended counts as lost `now`."""
        for name, head in (await self.history.heads()).items():
            self.rooms[name] = Room(name, self.history, head.seq, head.at)
        for stay in await self.history.stays():
            nowhere = _Nowhere()
            member = Member(stay.name, nowhere, stay.token)
            member.has_pinged = True
            self.members[stay.name] = member
            for name in stay.rooms:
                room = member.rooms[name] = self.rooms[name]
                room.members[stay.name] = Follower(member, room, nowhere.outbox)
            self.lose(member, now)

    def enter(
        self, name: Name, token: str | None, connection: Connection
    ) -> tuple[Member, str]:
        """Let somebody in, or in again; returns the token with which to come back.

        Whoever proves that the name is its own gets it back, with its rooms, and what
        seems to be its old connection is cut off. Raises `NameTaken`.
        """
        fresh = secrets.token_urlsafe(32)
        member = self.members.get(name)
        if member is None:
            # What it came with stays good until the next: the welcome may get lost.
            before = None if token is None else _hash(token)
            member = Member(name, connection, Token(_hash(fresh), before))
            self.members[name] = member
        elif token is not None and _proves(token, member.token):
            member.connection.cut_off("taken over by a new connection")
            member.connection = connection
            member.token = Token(_hash(fresh), previous=_hash(token))
            member.lost_at = None
            self.lost.pop(member, None)
        else:
            raise NameTaken(_taken(member))
        return member, fresh

    def keep_token(self, member: Member, token: str) -> None:
        """The new one could not be stored: the one that `member` came with stays good."""
        member.token = Token(_hash(token))

    def lose(self, member: Member, now: float) -> None:
        """The connection is lost; keep the name and the rooms for a while."""
        for room in member.rooms.values():
            room.live.pop(room.members[member.name], None)
        member.lost_at = now
        self.lost[member] = None
        self.has_lost.unpark_all()

    def exit(self, member: Member) -> None:
        """Free the name of somebody who does not come back."""
        member.is_gone = True
        self.lost.pop(member, None)
        del self.members[member.name]

    def find_room(self, name: Name) -> Room:
        """The room of that name.

        Raises `NoSuchRoom`.
        """
        room = self.rooms.get(name)
        if room is None:
            raise NoSuchRoom(f"there is no room {name}")
        return room


def _taken(member: Member) -> str:
    if member.lost_at is None:
        return f"somebody here is called {member.name}; choose another name"
    return (
        f"{member.name} has lost the connection and may come back; try again in half a minute"
    )


def _hash(token: str) -> bytes:
    # 256 random bits need no salt and no slow hash: there is nothing to guess.
    return hashlib.sha256(token.encode()).digest()


def _proves(token: str, known: Token) -> bool:
    hashes = (known.current, known.previous or known.current)
    return any(hmac.compare_digest(_hash(token), one) for one in hashes)


def _closed_outbox() -> Outbox:
    outbox = Outbox()
    outbox.cut()
    return outbox


@define(eq=False)
class _Nowhere:
    """The connection of somebody who has none yet."""

    outbox: Outbox = field(factory=_closed_outbox, init=False)

    def cut_off(self, why: str) -> None:
        """There is nothing to cut off."""
