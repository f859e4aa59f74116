"""Who is here, and who hears what.

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

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import trio
from attrs import define, evolve, field, frozen

from trio_chat.banished import Outlaws
from trio_chat.charter import OPEN, Charter, Identity
from trio_chat.errors import (
    BadName,
    Banned,
    NameTaken,
    NoSuchName,
    NoSuchRoom,
    NotAllowed,
    PasswordNeeded,
    Refused,
)
from trio_chat.history import (
    RANDOM_BITS,
    Account,
    DeviceId,
    History,
    Rehashed,
    Slice,
    Stay,
    Token,
)
from trio_chat.messages import Called, Gap, Join, Marked, Reply, RoomState
from trio_chat.names import Name, is_reserved, parse_name, skeleton
from trio_chat.outbox import PUT_OUT, TAKEN_OVER, Format, Outbox
from trio_chat.pairs import SIGN, is_pair_name, is_private, make_pair_name
from trio_chat.roles import Access, Role, Verb, may
from trio_chat.rules import refusal
from trio_chat.tally import Tally
from trio_chat.tokens import Scope, hash_token, make_token, proves
from trio_chat.wire import SERVER

NEWEST = 50
"""What somebody who joins without a cursor is shown: some screens of talk."""

CATCH_UP_EVENTS = 1000
"""The most events read at once; the bytes of a slice are the nearer limit."""

ROOM_SHOWN = 96
"""The most characters of the name of a room, as it was asked for, in a refusal."""

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


@frozen
class Proof:
    """What somebody has brought along: a `token`; whom that proves, by the history; the right
    password. `client`: what it says it is. `is_passing`: it wants no token that lasts.
    `rehashed`: what is to be kept of the password from now on."""

    token: str | None = field(default=None, repr=False)
    stay: Stay | None = None
    has_password: bool = False
    client: str | None = None
    is_passing: bool = False
    rehashed: Rehashed | None = None


@frozen
class Trial:
    """A key that somebody tries at the door of a room."""

    room: Name
    is_right: bool


@define(eq=False, repr=False)
class Hub:
    """The members and rooms of a server; `private`: those for two. `banished`: who may not
    come. `lost`: the devices
    without a connection that may come back, in the order in which they were lost; `has_lost`
    wakes who waits for one. `tally`: what has happened in it."""

    history: History
    tally: Tally = field(factory=Tally, init=False)
    banished: Outlaws = field(factory=Outlaws, init=False)
    members: dict[Name, Member] = field(factory=dict, init=False)
    lost: dict[Device, None] = field(factory=dict, init=False)
    has_lost: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    rooms: dict[Name, Room] = field(factory=dict, init=False)
    private: dict[Name, Room] = field(factory=dict, init=False)
    _looks: dict[str, Name] = field(factory=dict, init=False)  # of members, by skeleton
    _expected: dict[Name, Account] = field(factory=dict, init=False)  # while a guest is there
    _room_looks: dict[str, Name] = field(factory=dict, init=False)
    _people: dict[Identity, Member] = field(factory=dict, init=False)
    _pairs: dict[Identity, dict[Identity, Room]] = field(factory=dict, init=False)

    async def open(self, now: float) -> None:
        """Learn from the history what rooms there are, and who was in them: whoever was
        there when the server ended counts as lost `now`."""
        is_reserved(Name("x"))  # reads its tables now, and not while somebody waits
        for name, head in (await self.history.heads()).items():
            room = Room(name, self.history, head.seq, head.at, head.topic, head.pair)
            room.charter = head.charter
            self.add_room(room)
        self.know_accounts(await self.history.accounts())
        self.banished.know(await self.history.banished())
        for stay in await self.history.stays():
            self._bring_back(stay, now)

    def know_accounts(self, accounts: Iterable[Account]) -> None:
        """There are these accounts. Whoever is here as a guest under such a name stays until
        it goes, and what belongs to the name is not its own."""
        for account in accounts:
            member = self.members.get(account.name)
            if member is None:
                member = self._add_member(account.name, account.identity, account.read)
            if member.identity == account.identity:
                member.account = account
            else:
                self._expected[account.name] = account
            self._looks[account.skeleton] = account.name

    def know_rehashed(self, changed: Rehashed) -> None:
        """A password is kept in another form."""
        member = self._people.get(changed.identity)
        account = None if member is None else member.account
        if account is not None and account.password == changed.old:
            self.know_accounts([evolve(account, password=changed.new)])

    def know_all_accounts(self, accounts: Iterable[Account]) -> None:
        """There are these accounts, and no others that nobody is here with."""
        self._expected.clear()
        self.know_accounts(accounts)

    def is_expected(self, name: Name) -> bool:
        """Is it the name of an account, for which it is free when the guest has gone?"""
        return name in self._expected

    def accounts(self) -> Sequence[Account]:
        """Those that are known."""
        return [member.account for member in self.members.values() if member.account]

    def forget_account(self, identity: Identity) -> Sequence[Device]:
        """There is no such account any more; returns the devices, which are to go."""
        member = self._people.get(identity)
        if member is None:
            return ()
        member.account = None
        self._forget_if_away(member)
        return list(member.devices)

    def unwanted(self, now: datetime) -> Sequence[Device]:
        """Those that are here and are banished."""
        devices = [device for member in self.members.values() for device in member.devices]
        return [device for device in devices if self._is_banished(device, now)]

    def _is_banished(self, device: Device, now: datetime) -> bool:
        try:
            self.banished.require(device.name, device.connection.address, now)
        except Banned:
            return True
        return False

    def devices_of(self, identity: Identity) -> Sequence[Device]:
        """Those with which somebody is here."""
        member = self._people.get(identity)
        return () if member is None else list(member.devices)

    def _bring_back(self, stay: Stay, now: float) -> None:
        nowhere = _Nowhere()
        member = self._people.get(stay.identity)
        if member is None and stay.name in self.members:
            return  # the name has been given to somebody else meanwhile
        if member is None:
            member = self._add_member(stay.name, stay.identity, stay.read)
        device = Device(stay.device, member, nowhere, stay.token, stay.client)
        device.has_pinged = True
        member.devices[device] = None
        for name in stay.rooms:
            room = self.rooms[name]
            follower = Follower(device, room, nowhere.outbox)
            device.rooms[name] = room.followers[device] = follower
        self.lose(device, now)

    def add_room(self, room: Room) -> None:
        """Take in a room that has its first event; it may be known already."""
        if not room.is_private:
            if room.name not in self.rooms:
                self._room_looks.setdefault(skeleton(room.name), room.name)
            self.rooms[room.name] = room
            return
        self.private[room.name] = room
        if room.pair is not None:
            one, other = room.pair
            self._pairs.setdefault(one, {})[other] = room
            self._pairs.setdefault(other, {})[one] = room
        for member in self.people_of(room):
            member.private[room.name] = room

    def is_here(self, name: Name, token: str | None) -> bool:
        """Does the token prove somebody who is here, or is expected back?"""
        member = self.members.get(name)
        return member is not None and _find_device(member, Proof(token)) is not None

    async def recognise(self, token: str) -> Stay | None:
        """Whom a token proves, by the history. Raises `NotStored`."""
        return await self.history.recognise(hash_token(token))

    def enter(self, name: Name, connection: Connection, proof: "Proof") -> tuple[Device, str]:
        """Let somebody in, or in again; returns the token with which to come back.

        Whoever proves that the name is its own gets it back, with its rooms, and what
        seems to be its old connection is cut off. Raises `BadName`, `NameTaken`,
        `PasswordNeeded`.
        """
        member = self.members.get(name)
        device = None if member is None else _find_device(member, proof)
        is_known = device is not None
        if device is not None:
            self._take_over(device, connection)
        else:
            member = self._admit(name, member, proof)
            device = self._add_device(member, connection, proof)
        if device.scope is not None:
            return device, proof.token or ""
        fresh = make_token()
        # One that has proved nothing is no way back.
        is_old = proof.token is not None and (is_known or proof.stay is not None)
        previous = hash_token(proof.token) if is_old and proof.token is not None else None
        device.token = Token(hash_token(fresh), previous)
        return device, fresh

    def _take_over(self, device: Device, connection: Connection) -> None:
        device.connection.cut_off("taken over by a new connection", TAKEN_OVER)
        device.forget_calls()
        device.connection = connection
        device.lost_at = None
        self.lost.pop(device, None)

    def _admit(self, name: Name, member: Member | None, proof: "Proof") -> Member:
        """The member that somebody is, by what it proves."""
        known = proof.stay
        if member is not None:
            is_known = known is not None and known.identity == member.identity
            if member.has_account and (is_known or proof.has_password):
                return member
            if member.has_account:
                raise PasswordNeeded(f"the name {name} is somebody's; say the password")
            raise NameTaken(_taken(member))
        self._see_that_it_looks_new(name)
        if known is None or known.name != name:
            return self._add_member(name, Identity(secrets.randbits(RANDOM_BITS)), {})
        return self._add_member(name, known.identity, known.read)

    def _see_that_it_looks_new(self, name: Name) -> None:
        if is_reserved(name):
            raise BadName(f"nobody can be called {name}, or anything that looks like it")
        alike = self._looks.get(skeleton(name))
        if alike is not None:
            raise NameTaken(f"{name} looks like {alike}, who is somebody else")

    def _add_device(self, member: Member, connection: Connection, proof: "Proof") -> Device:
        known = proof.stay
        is_known = known is not None and known.identity == member.identity
        id = DeviceId(secrets.randbits(RANDOM_BITS))
        scope = None
        if known is not None and is_known:
            scope = known.scope
            id = known.device if scope is None else id  # a bot's token is good for several
        token = Token(b"")
        device = Device(id, member, connection, token, proof.client, scope, proof.is_passing)
        member.devices[device] = None
        return device

    def _add_member(self, name: Name, identity: Identity, read: Mapping[Name, int]) -> Member:
        member = Member(name, identity, dict(read))
        member.private = {room.name: room for room in self._pairs.get(identity, {}).values()}
        self.members[name] = self._people[identity] = member
        self._looks.setdefault(skeleton(name), name)
        return member

    def look_alike(self, room: Name) -> Name | None:
        """Another room that looks like this one."""
        alike = self._room_looks.get(skeleton(room))
        return None if alike == room else alike

    def keep_token(self, device: Device, token: str) -> None:
        """The new one could not be stored: the one that `device` came with stays good."""
        device.token = Token(hash_token(token))

    def lose(self, device: Device, now: float) -> None:
        """The connection is lost; keep the name and the rooms for a while."""
        for follower in device.rooms.values():
            follower.room.live.pop(follower, None)
        device.lost_at = now
        self.lost[device] = None
        self.has_lost.unpark_all()

    def exit(self, device: Device) -> None:
        """Forget a device that does not come back; with its last one, free the name."""
        device.is_gone = True
        self.lost.pop(device, None)
        del device.member.devices[device]
        self._forget_if_away(device.member)

    def _forget_if_away(self, member: Member) -> None:
        if member.devices or member.has_account:
            return
        del self.members[member.name], self._people[member.identity]
        expected = self._expected.pop(member.name, None)
        if expected is not None:
            self.know_accounts([expected])
            return
        looks = skeleton(member.name)
        if self._looks.get(looks) == member.name:
            del self._looks[looks]

    # ------------------------------------------------------------ finding

    def get(self, name: Name) -> Room | None:
        """The room of that name, in full, if there is one."""
        return (self.private if is_private(name) else self.rooms).get(name)

    def find_room(self, device: Device, raw: str, verb: Verb, now: datetime) -> Room:
        """The room that `raw` means to who wants to do something there with `device`.

        Raises `BadName`, `NoSuchName`, `NoSuchRoom`, and what else refuses it.
        """
        name = self.find_name(device.member, raw)
        device.require(verb, name)  # before it is known whether there is one
        room = self.get(name)
        if room is None:
            raise NoSuchRoom(f"there is no room {raw[:ROOM_SHOWN]}")
        role = room.role(device.member, now)
        refused = refusal(verb, role, room.access, raw[:ROOM_SHOWN])
        if refused is not None:
            raise refused
        return room

    def tries_lock(self, member: Member, join: Join, now: datetime) -> "Trial | None":
        """How a key fits; None if none is needed, or if it is not about keys.

        A room that is not there has a lock like any other, unless the join would make it.
        """
        if join.key is None or is_private(join.room):
            return None
        name = self.find_name(member, join.room)
        room = self.rooms.get(name)
        charter = OPEN if room is None else room.charter
        is_right = charter.opens(join.key)
        if room is None:
            return Trial(name, is_right=False) if join.quiet else None
        role = room.role(member, now)
        if may(Verb.JOIN, role, room.access) is not NoSuchRoom:
            return None
        return Trial(name, is_right=is_right and role is not Role.BANNED)

    def find_name(self, member: Member, raw: str) -> Name:
        """The name, in full, of the room that `raw` means to `member`. There may be no such
        room; there is a name for a private one that has not begun yet, too.

        Raises `BadName`, `NoSuchName`.
        """
        if not is_private(raw):
            return parse_name(raw)
        if is_pair_name(raw):
            return Name(raw)
        person = self.find_person(member, raw)
        room = self._pairs.get(member.identity, {}).get(person.identity)
        return make_pair_name(member.name, person.name) if room is None else room.name

    def is_there(self, member: Member, raw: str) -> bool:
        """Is there such a room, or can there be none?"""
        try:
            return self.get(self.find_name(member, raw)) is not None
        except Refused:  # which is told by who is asked for more
            return True

    def find_person(self, member: Member, raw: str) -> Member:
        """The one whom `member` means by a sign and a name.

        Raises `BadName`, `NoSuchName`.
        """
        name = parse_name(raw.removeprefix(SIGN))
        person = self.members.get(name)
        if person is None:
            raise NoSuchName(f"nobody here is called {name}")
        if person is member:
            raise NoSuchName(f"{name} is your own name")
        return person

    def find_anybody(self, name: Name) -> Member | None:
        """Whoever has that name, here or not."""
        return self.members.get(name)

    def people_of(self, room: Room) -> Sequence[Member]:
        """Those of a private room's two who are here."""
        return [self._people[one] for one in room.pair or () if one in self._people]

    def remind(self, device: Device, now: datetime) -> None:
        """Tell a device that has just come of the invitations of its member."""
        for name, (by, seq) in device.member.invited.items():
            room = self.rooms.get(name)
            if room is not None and room.may(Verb.SEE, device.member, now):
                device.call(room, by, seq)

    def may_return(self, identity: Identity) -> bool:
        """Is there anybody who is that, or may there be again?"""
        return identity in self._people or identity in self._pairs

    def is_abandoned(self, room: Room, before: datetime) -> bool:
        """Is it a private room of guests, neither of them here, with nothing said since?"""
        return room.pair is not None and room.last_at < before and not self.people_of(room)

    def drop(self, room: Room) -> None:
        """Forget a private room in which nobody is any more."""
        assert room.pair is not None, "only those are dropped of which that is known"
        del self.private[room.name]
        one, other = room.pair
        for me, them in ((one, other), (other, one)):
            del self._pairs[me][them]
            if not self._pairs[me]:
                del self._pairs[me]

    def visible(self, member: Member, verb: Verb, now: datetime) -> Sequence[Room]:
        """The rooms in which a member may do something."""
        rooms = [
            room
            for room in self.rooms.values()
            if room.charter is OPEN or room.may(verb, member, now)
        ]
        return [*rooms, *member.private.values()]


def _taken(member: Member) -> str:
    if any(device.lost_at is None for device in member.devices):
        return f"somebody here is called {member.name}; choose another name"
    return (
        f"{member.name} has lost the connection and may come back; try again in half a minute"
    )


def _find_device(member: Member, proof: "Proof") -> Device | None:
    for device in member.devices:
        known, token = device.token, proof.token
        hashes = [known.current, known.previous or known.current]
        is_it = token is not None and proves(token, hashes)
        # It may have come back by the same token while that was looked up.
        is_it = is_it or (proof.stay is not None and proof.stay.device == device.id)
        if is_it and device.scope is None:
            return device
    return None


def _closed_outbox() -> Outbox:
    outbox = Outbox()
    outbox.cut()
    return outbox


@define(eq=False)
class _Nowhere:
    """The connection of somebody who has none yet."""

    outbox: Outbox = field(factory=_closed_outbox, init=False)
    address: str | None = field(default=None, init=False)

    def cut_off(self, why: str, ending: str = PUT_OUT) -> None:
        """There is nothing to cut off."""
