"""Who is in which room, and who hears what.

A `Member` is somebody with a name, here with one `Device` or several; a device is in rooms.
In each it has a `Follower`: a cursor over the room's log. A follower is *live*, and then
gets every batch as it is made; or *behind*, and then its connection's writer reads pages of
the log for it until it has reached the head. Whoever joins starts behind, whoever comes back
starts behind, and a reader whose outbox is full falls behind: one mechanism for the three.

They know each other in circles, so none of them shows itself in full: what one bug would
put into a log would be the whole house.

Nothing here waits, but for the reading of pages. A trio task can only be interrupted at
an `await`, so each method is one step for everybody else: no lock, and one order.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import trio
from attrs import define, field

from trio_chat.charter import OPEN, Charter, Identity
from trio_chat.errors import (
    NotAllowed,
)
from trio_chat.history import (
    Account,
    DeviceId,
    History,
    Slice,
    Token,
)
from trio_chat.messages import Called, Gap, Goodbye, Marked, Reply, RoomState
from trio_chat.names import Name
from trio_chat.outbox import PUT_OUT, Format, Outbox
from trio_chat.pairs import is_private
from trio_chat.roles import Access, Role, Verb, may
from trio_chat.tokens import Scope
from trio_chat.wire import SERVER

NEWEST = 50
"""What somebody who joins without a cursor is shown: some screens of talk."""

CATCH_UP_EVENTS = 1000
"""The most events read at once; the bytes of a slice are the nearer limit."""

ROOMS_TOLD = 200
"""The most rooms that a welcome lists; a line holds twice as many."""

INVITED = 100
"""The most invitations of one person that are told again; those that came last."""

DAWN = datetime.min.replace(tzinfo=UTC)


class Connection(Protocol):
    """What a device is reached through."""

    outbox: Outbox

    @property
    def address(self) -> str | None:
        """Where the other end is; None over memory."""
        ...

    def cut_off(self, why: str, ending: str = PUT_OUT) -> None:
        """End at once. `ending`: what doors say that it was."""
        ...

    def say_goodbye(self, farewell: Goodbye) -> None:
        """End politely: hear no more, and say why."""
        ...


@define(eq=False, repr=False)
class Member:
    """Somebody with a name. `devices`: in the order in which they came. `read`: of each room
    the newest `seq` that has been read. `private`: the private rooms, in the order in which
    they were begun. `invited`: the rooms to which it was invited, by whom and with which event,
    until it comes. `account`: what makes the name its own, if it is."""

    name: Name
    identity: Identity
    read: dict[Name, int] = field(factory=dict)
    account: Account | None = None
    devices: dict["Device", None] = field(factory=dict, init=False)
    private: dict[Name, "Room"] = field(factory=dict, init=False)
    invited: dict[Name, tuple[Name, int]] = field(factory=dict, init=False)

    @property
    def has_account(self) -> bool:
        """Is the name its own?"""
        return self.account is not None

    @property
    def is_operator(self) -> bool:
        """Of the server?"""
        return self.account is not None and self.account.is_operator

    @property
    def begun(self) -> int:
        """How many private rooms it has begun."""
        return sum(
            room.pair is not None and room.pair[0] == self.identity
            for room in self.private.values()
        )

    def mark(self, room: Name, seq: int, besides: "Device") -> None:
        """Note what has been read with one device, and tell the others."""
        self.read[room] = max(seq, self.read.get(room, 0))
        for device in self.devices:
            if device is not besides and device.may(Verb.SEE, room):
                device.tell(Marked(room, self.read[room]))

    def invite(self, room: "Room", by: Name, seq: int) -> None:
        """Tell of an invitation, and with each new connection again, until it is taken."""
        if not any(room.name in device.rooms for device in self.devices):
            self.invited.pop(room.name, None)
            self.invited[room.name] = by, seq
        if len(self.invited) > INVITED:
            del self.invited[next(iter(self.invited))]
        for device in self.devices:
            device.call(room, by, seq)

    def states(self, device: "Device") -> tuple[RoomState, ...]:
        """What is remembered of the rooms that a device is in, and of the private ones."""
        rooms = {follower.room.name: follower.room for follower in device.rooms.values()}
        newest = sorted(self.private.values(), key=lambda room: room.last_at, reverse=True)
        rooms |= {
            room.name: room for room in newest[:ROOMS_TOLD] if device.may(Verb.SEE, room.name)
        }
        return tuple(
            RoomState(room.name, room.head, self.read.get(room.name, 0))
            for room in [*rooms.values()][:ROOMS_TOLD]
        )


@define(eq=False, repr=False)
class Device:
    """One of the ways in which a member is here: one connection, and then the next.

    `token`: what proves that it comes back. `client`: what it has said it is. `scope`: what it
    may do, if not all that its member may. `is_passing`: it wants no token that lasts.
    `has_pinged`: it means to stay connected.
    `lost_at`: since when it has no connection, in trio's time. `is_gone`: it will not
    come back. `is_revoked`: not by its token, either.
    """

    id: DeviceId
    member: Member
    connection: Connection
    token: Token
    client: str | None = None
    scope: Scope | None = None
    is_passing: bool = False
    rooms: dict[Name, "Follower"] = field(factory=dict, init=False)
    has_pinged: bool = field(default=False, init=False)
    lost_at: float | None = field(default=None, init=False)
    is_gone: bool = field(default=False, init=False)
    is_revoked: bool = field(default=False, init=False)
    _calls: set[Name] = field(factory=set, init=False)  # rooms, of which it is still to hear

    @property
    def name(self) -> Name:
        """That of its member."""
        return self.member.name

    @property
    def is_seen(self) -> bool:
        """Have others seen it come, and so would see it go?"""
        return any(not follower.is_quiet for follower in self.rooms.values())

    @property
    def is_remembered(self) -> bool:
        """Is its token stored, so that it can come back even after a restart?"""
        is_known = self.is_seen or self.member.has_account or bool(self.member.private)
        return is_known and self.can_be_kept

    @property
    def can_be_kept(self) -> bool:
        """Has it a token that is worth storing? That of a bot is stored already."""
        return self.scope is None and not self.is_passing

    def comes_back_to(self, room: str) -> bool:
        """Is it still in that room, by an earlier connection?"""
        follower = self.rooms.get(Name(room))
        return follower is not None and follower.is_detached

    def may(self, verb: Verb, room: Name) -> bool:
        """Is it what its token is for?"""
        return self.scope is None or self.scope.permits(verb, room)

    def require(self, verb: Verb, room: Name) -> None:
        """Is it what its token is for? Raises `NotAllowed`."""
        if not self.may(verb, room):
            raise NotAllowed(f"this token is not for that in {room}")

    def tell(self, reply: Reply) -> None:
        """Send something that does no harm if it does not come: it is in the next welcome."""
        outbox = self.connection.outbox
        outbox.put(outbox.format([SERVER.encode(reply)]))

    def call(self, room: "Room", by: Name, seq: int) -> None:
        """Tell of a private room which this connection does not follow."""
        outbox = self.connection.outbox
        if room.name in self._calls or not self.may(Verb.SEE, room.name):
            return
        data = outbox.format([SERVER.encode(Called(room.name, by, seq))])
        if not outbox.put(data):
            self._calls.add(room.name)
            outbox.fall_behind(_Call(self, room.name, data))

    def has_called(self, room: Name) -> None:
        """It is on its way."""
        self._calls.discard(room)

    def forget_calls(self) -> None:
        """Those that wait in the outbox before will not come; the welcome tells of them."""
        self._calls.clear()


@define(eq=False, repr=False)
class _Call:
    """A call that waits for its turn."""

    device: Device
    room: Name
    data: bytes

    async def next_page(self) -> tuple[bytes, bool]:
        await trio.lowlevel.checkpoint()
        self.device.has_called(self.room)
        return self.data, False


@define(eq=False, repr=False)
class Room:
    """`head` and `last_at` are the number and the time of the newest event that is
    committed and told; `live` are the followers that have it. `pair`: of a private room, who
    has begun it and the other one. `charter`: how any other one is governed."""

    name: Name
    history: History
    head: int = 0
    last_at: datetime = DAWN
    topic: str = ""
    pair: tuple[Identity, Identity] | None = None
    charter: Charter = OPEN
    followers: dict[Device, "Follower"] = field(factory=dict, init=False)
    live: dict["Follower", None] = field(factory=dict, init=False)  # a set with an order
    is_private: bool = field(init=False)  # is it for two?

    def __attrs_post_init__(self) -> None:
        self.is_private = is_private(self.name)

    @property
    def members(self) -> set[Member]:
        """Those who are in it."""
        return {device.member for device in self.followers}

    @property
    def access(self) -> Access:
        """Who gets in."""
        return Access.PRIVATE if self.is_private else self.charter.access

    def role(self, member: Member, now: datetime) -> Role:
        """What a member is in it."""
        is_in = any(device in self.followers for device in member.devices)
        return self.role_by(self.charter, member, now, is_in=is_in)

    def role_by(self, charter: Charter, member: Member, now: datetime, *, is_in: bool) -> Role:
        """What a member would be, by another charter."""
        if self.is_private:
            is_own = self.pair is not None and member.identity in self.pair
            return Role.MEMBER if is_own else Role.OUTSIDER
        if member.is_operator:
            return Role.OPERATOR
        return charter.role(member.identity, member.name, now, is_in=is_in)

    def may(self, verb: Verb, member: Member, now: datetime) -> bool:
        """Is a member allowed to do that?"""
        return may(verb, self.role(member, now), self.access) is None

    def tell(self, first: int, lines: Sequence[bytes]) -> None:
        """Hand new events, the first of which is number `first`, to the live followers."""
        self.head = first + len(lines) - 1
        shaped: dict[Format, bytes] = {}
        full: list[Follower] = []
        shape, data = None, b""
        for follower in self.live:
            outbox = follower.outbox
            if outbox.format is not shape:
                shape = outbox.format
                data = shaped[shape] = shaped.get(shape) or shape(lines)
            if not outbox.put(data):
                full.append(follower)
        for follower in full:
            follower.fall_behind(first - 1)


@define(eq=False, repr=False)
class Follower:
    """A cursor over a room's log.

    `cursor`: the last event sent, kept only while behind; None before the first page of
    somebody who joined without one. `is_quiet`: the others have not seen it come, and will
    not see it go. `end`: its device has left, with this event or after it.
    """

    device: Device
    room: Room
    outbox: Outbox
    cursor: int | None = None
    is_quiet: bool = False
    end: int | None = field(default=None, init=False)

    @property
    def is_detached(self) -> bool:
        """Has its device come back over another connection, and not resumed this room?"""
        return self.outbox is not self.device.connection.outbox

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
