"""Who is here, and who may come in under which name.

The hub knows the members, the rooms and the accounts, and finds what a name means to whom.
Like `rooms`, nothing in it waits once it is open: each method is one step for everybody else.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import trio
from attrs import define, evolve, field, frozen

from trio_chat.banished import Outlaws
from trio_chat.charter import OPEN, Identity
from trio_chat.errors import (
    BadName,
    Banned,
    NameTaken,
    NoSuchName,
    NoSuchRoom,
    PasswordNeeded,
    Refused,
)
from trio_chat.history import (
    RANDOM_BITS,
    Account,
    DeviceId,
    History,
    Rehashed,
    Stay,
    Token,
)
from trio_chat.messages import Goodbye, Join
from trio_chat.names import Name, is_reserved, parse_name, skeleton
from trio_chat.outbox import PUT_OUT, TAKEN_OVER, Outbox
from trio_chat.pairs import SIGN, is_pair_name, is_private, make_pair_name
from trio_chat.roles import Access, Role, Verb, may
from trio_chat.rooms import (
    Connection,
    Device,
    Follower,
    Member,
    Room,
)
from trio_chat.rules import refusal
from trio_chat.tally import Tally
from trio_chat.tokens import hash_token, make_token, proves

ROOM_SHOWN = 96
"""The most characters of the name of a room, as it was asked for, in a refusal."""


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
        """There are these accounts. Whoever is here as a guest under such a name is
        `in_the_way`, and what belongs to the name is not its own."""
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

    def in_the_way(self) -> Sequence[Device]:
        """Those of guests whose names are accounts' by now."""
        guests = [self.members[name] for name in self._expected]
        return [device for guest in guests for device in guest.devices]

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
        _refuse_banned(room, device.member, now)
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

    def refuse_banned(self, device: Device, raw: str, now: datetime) -> None:
        """Tell who wants to join a room that it may not, why, and for how long: by the rules
        alone it would hear that it may not. Raises `Banned`, and as `find_room`."""
        name = self.find_name(device.member, raw)
        device.require(Verb.JOIN, name)
        if name in self.rooms:
            _refuse_banned(self.rooms[name], device.member, now)

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

    def say_goodbye(self, farewell: Goodbye) -> None:
        """There is nobody to say it to."""


def _refuse_banned(room: Room, member: Member, now: datetime) -> None:
    # Of the others it is not told that there are such rooms.
    if room.access is Access.PUBLIC and room.role(member, now) is Role.BANNED:
        raise room.charter.bans[member.name].refusal(room.name, now)
