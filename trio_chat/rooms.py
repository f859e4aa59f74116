"""Who is here, and who hears what.

A `Member` is in rooms; in each it has a `Follower`: a cursor over the room's log. A
follower is *live*, and then gets every batch as it is made; or *behind*, and then its
connection's writer reads pages of the log for it until it has reached the head. Whoever
joins starts behind, whoever comes back starts behind, and a reader whose outbox is full
falls behind: one mechanism for the three.

Nothing here waits, but for the reading of pages. A trio task can only be interrupted at
an `await`, so each method is one step for everybody else: no lock, and one order.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import define, field

from trio_chat.errors import NameTaken, NoSuchRoom
from trio_chat.history import History, Slice
from trio_chat.messages import Gap
from trio_chat.names import Name
from trio_chat.outbox import Format, Outbox
from trio_chat.wire import SERVER

NEWEST = 50
"""What somebody who joins without a cursor is shown: some screens of talk."""

CATCH_UP_EVENTS = 1000
"""The most events read at once; the bytes of a slice are the nearer limit."""

DAWN = datetime.min.replace(tzinfo=UTC)


@define(eq=False)
class Member:
    """Somebody who has said hello; `is_gone` once the connection has ended."""

    name: Name
    outbox: Outbox
    rooms: dict[Name, "Room"] = field(factory=dict, init=False)
    is_gone: bool = field(default=False, init=False)


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
            shape = follower.member.outbox.format
            if shape not in shaped:
                shaped[shape] = shape(lines)
            if not follower.member.outbox.put(shaped[shape]):
                full.append(follower)
        for follower in full:
            follower.fall_behind(first - 1)


@define(eq=False)
class Follower:
    """A cursor over a room's log.

    `cursor`: the last event sent, kept only while behind; None before the first page of
    somebody who joined without one. `end`: its member has left, with this event.
    """

    member: Member
    room: Room
    cursor: int | None = None
    end: int | None = field(default=None, init=False)

    @property
    def outbox(self) -> Outbox:
        return self.member.outbox

    def start(self, joined: int, first: int, lines: Sequence[bytes]) -> None:
        """Begin at event `joined`, which stands in this batch, or at an earlier cursor."""
        if self.cursor is None and joined > 1:
            self.outbox.fall_behind(self)
        elif self.cursor is not None and self.cursor < joined - 1:
            self.fall_behind(self.cursor)
        else:
            self._give(joined - 1, first, lines)

    def stop(self, left: int, first: int, lines: Sequence[bytes]) -> None:
        """End with event `left`, which stands in this batch."""
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

    def fall_behind(self, cursor: int) -> None:
        """Leave what comes after `cursor` to the log, and to the connection's writer."""
        self.cursor = cursor
        self.room.live.pop(self, None)
        self.outbox.fall_behind(self)

    async def next_page(self) -> tuple[bytes, bool]:
        """The next events from the log, and whether there are more; live if not."""
        page = await self._read()
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
    """The members and rooms of a server."""

    history: History
    members: dict[Name, Member] = field(factory=dict, init=False)
    rooms: dict[Name, Room] = field(factory=dict, init=False)

    async def open(self) -> None:
        """Learn what rooms the history knows."""
        for name, head in (await self.history.heads()).items():
            self.rooms[name] = Room(name, self.history, head.seq, head.at)

    def enter(self, name: Name, outbox: Outbox) -> Member:
        """Let somebody in.

        Raises `NameTaken`.
        """
        if name in self.members:
            raise NameTaken(f"somebody here is called {name}; choose another name")
        member = self.members[name] = Member(name, outbox)
        return member

    def exit(self, member: Member) -> None:
        """Free the name of somebody whose connection has ended."""
        member.is_gone = True
        del self.members[member.name]

    def find_room(self, name: Name) -> Room:
        """The room of that name.

        Raises `NoSuchRoom`.
        """
        room = self.rooms.get(name)
        if room is None:
            raise NoSuchRoom(f"there is no room {name}")
        return room
