"""Rooms, ranks and logs against a naive model, whatever is done in whatever order.

The model knows who may do what (from the table of roles, which has a test of its own), and
otherwise nothing of how the server does it: no drafts, no charters, no devices. Two devices
of one person, guests and accounts, and what moderators do are mixed at random.
"""

from datetime import UTC, datetime

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.conftest import Line
from trio_chat.batch import Batch
from trio_chat.charter import Identity
from trio_chat.history import Account
from trio_chat.history.memory import MemoryHistory
from trio_chat.hub import Hub, Proof
from trio_chat.messages import (
    Appoint,
    Ban,
    Error,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Post,
    RankName,
    Reply,
    Restrict,
    Say,
)
from trio_chat.names import Name
from trio_chat.roles import Access, Role, Verb, may, outranks
from trio_chat.rooms import Device
from trio_chat.wire import CLIENT

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
ACCOUNTS = ["ann", "ben", "cem"]
GUESTS = ["gil", "hal"]
OPERATOR = "ann"
ROOMS = ["tea", "vault"]
KEY = "sesame"


@define
class Room:
    """What a model knows of a room. `inside`: which devices of whom; `invited`: who was, and
    has not come yet; `log`: who did what."""

    access: Access = Access.PUBLIC
    ranks: dict[str, Role] = field(factory=dict)
    banned: set[str] = field(factory=set)
    muted: set[str] = field(factory=set)
    inside: set[tuple[str, int]] = field(factory=set)
    invited: set[str] = field(factory=set)
    log: list[tuple[str, str]] = field(factory=list)

    def has(self, name: str) -> bool:
        return any(who == name for who, _ in self.inside)

    def role(self, name: str) -> Role:
        if name == OPERATOR:
            return Role.OPERATOR
        if name in self.banned:
            return Role.BANNED
        rank = self.ranks.get(name, Role.MEMBER if self.has(name) else Role.OUTSIDER)
        return Role.MUTED if name in self.muted and rank is Role.MEMBER else rank

    def may(self, verb: Verb, name: str) -> bool:
        return may(verb, self.role(name), self.access) is None


WHO = st.sampled_from(
    [*((name, n) for name in ACCOUNTS for n in (0, 1)), *((g, 0) for g in GUESTS)]
)
NAMES = st.sampled_from([*ACCOUNTS, *GUESTS])
PLACES = st.sampled_from(ROOMS)


class Rooms(RuleBasedStateMachine):
    """Each step is done to the server and to the model; both have to agree that it is done,
    or that it is refused."""

    @initialize()
    def open(self) -> None:
        self.hub = Hub(MemoryHistory())
        self.devices: dict[tuple[str, int], Device] = {}
        self.model: dict[str, Room] = {}
        self.logs: dict[str, list[tuple[str, str]]] = {}
        for number, name in enumerate(ACCOUNTS):
            account = Account(Identity(number), Name(name), name, None, name == OPERATOR)
            self.hub.know_accounts([account])
        for name, number in [
            *((a, n) for a in ACCOUNTS for n in (0, 1)),
            *((g, 0) for g in GUESTS),
        ]:
            proof = Proof(has_password=name in ACCOUNTS)
            self.devices[name, number], _ = self.hub.enter(Name(name), Line(), proof)

    def identity(self, name: str) -> Identity:
        return self.devices[name, 0].member.identity

    def do(self, who: tuple[str, int], post: Post, *, is_allowed: bool) -> bool:
        """Do it to the server; is it an event? It has to be what the model says."""
        device = self.devices[who]
        batch = Batch(self.hub, NOON, {})
        batch.post(device, post)
        for entry in batch.entries:
            tag = type(CLIENT.decode(entry.line).message).__name__  # type: ignore[union-attr] # an event
            self.logs.setdefault(entry.place.room, []).append((entry.by, tag))
        batch.deliver()
        refused = [reply for reply in self.heard(device) if isinstance(reply, Error)]
        assert bool(refused) is not is_allowed, (who, post, refused)
        return bool(batch.entries)

    def heard(self, device: Device) -> list[Reply]:
        """What there is to hear; the outbox is emptied."""
        outbox, device.connection = device.connection.outbox, Line()
        for follower in device.rooms.values():
            follower.outbox = device.connection.outbox
        replies = []
        while outbox.has_queued:
            assert outbox._receive is not None, "what is queued is in it"  # noqa: SLF001
            data = outbox._receive.receive_nowait()  # noqa: SLF001 # nobody awaits here
            outbox._slots -= 1  # noqa: SLF001
            replies += [CLIENT.decode(line) for line in bytes(data).splitlines()]
        return replies

    # ------------------------------------------------------------ coming, speaking, going

    @rule(who=WHO, place=PLACES, key=st.sampled_from([None, "guess", KEY]))
    def join(self, who: tuple[str, int], place: str, key: str | None) -> None:
        is_new = place not in self.model
        room = self.model.get(place, Room())
        name = who[0]
        opens = room.access is Access.KEY and key == KEY and name not in room.banned
        is_allowed = who not in room.inside and (opens or room.may(Verb.JOIN, name))
        is_seen = not room.has(name)
        role = room.role(name)
        assert self.do(who, Join(place, key=key, id="j"), is_allowed=is_allowed) is (
            is_allowed and is_seen
        )
        if not is_allowed:
            return
        self.model[place] = room
        if is_new and name in ACCOUNTS:
            room.ranks[name] = Role.OWNER
        elif opens and role < Role.MEMBER:
            room.ranks[name] = Role.MEMBER
        room.inside.add(who)
        room.invited.discard(name)
        room.log += [(name, "Join")] * is_seen

    @rule(who=WHO, place=PLACES)
    def say(self, who: tuple[str, int], place: str) -> None:
        room = self.model.get(place, Room())
        is_allowed = who in room.inside and room.may(Verb.SAY, who[0])
        self.do(who, Say(place, "hi", None), is_allowed=is_allowed)
        room.log += [(who[0], "Say")] * is_allowed

    @rule(who=WHO, place=PLACES)
    def leave(self, who: tuple[str, int], place: str) -> None:
        room = self.model.get(place, Room())
        is_allowed = who in room.inside
        self.do(who, Leave(place, id="l"), is_allowed=is_allowed)
        room.inside.discard(who)
        room.log += [(who[0], "Leave")] * (is_allowed and not room.has(who[0]))

    # ------------------------------------------------------------ what moderators do

    def is_banned(self, place: str, name: str) -> bool:
        return place in self.model and self.model[place].role(name) is Role.BANNED

    def deed(
        self, who: tuple[str, int], post: Post, verb: Verb, *, fits: bool = True
    ) -> Room | None:
        """Do what a moderator does; the room, if it was allowed."""
        room = self.model.get(post.room)
        known = room or Room()
        is_allowed = room is not None and fits and known.may(verb, who[0])
        name = getattr(post, "name", None)
        if name is not None and verb is not Verb.INVITE:
            is_allowed = is_allowed and outranks(known.role(who[0]), known.role(name))
        self.do(who, post, is_allowed=is_allowed)
        if room is None or not is_allowed:
            return None
        room.log.append((who[0], type(post).__name__))
        return room

    @rule(who=WHO, place=PLACES, name=NAMES)
    def kick(self, who: tuple[str, int], place: str, name: str) -> None:
        fits = place in self.model and self.model[place].has(name)
        if room := self.deed(who, Kick(place, name, id="k"), Verb.KICK, fits=fits):
            room.inside = {one for one in room.inside if one[0] != name}

    @rule(who=WHO, place=PLACES, name=NAMES, off=st.booleans())
    def ban(self, who: tuple[str, int], place: str, name: str, *, off: bool) -> None:
        verb = Verb.UNBAN if off else Verb.BAN
        room = self.deed(who, Ban(place, name, off=off, id="b"), verb)
        if room is not None and off:
            room.banned.discard(name)
        elif room is not None:
            room.banned.add(name)
            room.inside = {one for one in room.inside if one[0] != name}

    @rule(who=WHO, place=PLACES, name=NAMES, off=st.booleans())
    def mute(self, who: tuple[str, int], place: str, name: str, *, off: bool) -> None:
        verb = Verb.UNMUTE if off else Verb.MUTE
        room = self.deed(who, Mute(place, name, off=off, id="m"), verb)
        if room is not None:
            (room.muted.discard if off else room.muted.add)(name)

    @rule(
        who=WHO,
        place=PLACES,
        name=NAMES,
        rank=st.sampled_from(
            [
                ("member", Verb.DEMOTE),
                ("moderator", Verb.MAKE_MODERATOR),
                ("owner", Verb.MAKE_OWNER),
            ]
        ),
    )
    def appoint(
        self, who: tuple[str, int], place: str, name: str, rank: tuple[RankName, Verb]
    ) -> None:
        word, verb = rank
        post = Appoint(place, name, word, "a")
        fits = name in ACCOUNTS and not self.is_banned(place, name)
        if room := self.deed(who, post, verb, fits=fits):
            room.ranks[name] = Role[word.upper()]

    @rule(who=WHO, place=PLACES, name=NAMES)
    def invite(self, who: tuple[str, int], place: str, name: str) -> None:
        post, fits = Invite(place, name, "i"), not self.is_banned(place, name)
        room = self.deed(who, post, Verb.INVITE, fits=fits)
        if room is not None and room.access is not Access.PUBLIC:
            room.ranks.setdefault(name, Role.MEMBER)
        if room is not None and not room.has(name):
            room.invited.add(name)

    @rule(who=WHO, place=PLACES, access=st.sampled_from(["public", "invitation", "key"]))
    def restrict(self, who: tuple[str, int], place: str, access: str) -> None:
        key = KEY if access == "key" else None
        post = Restrict(place, access, key, "r")  # type: ignore[arg-type] # one of the three
        if room := self.deed(who, post, Verb.SET_ACCESS):
            room.access = Access[access.upper()]
            people = {name for name, _ in room.inside} | room.invited
            for name in people if access != "public" else ():
                room.ranks.setdefault(name, Role.MEMBER)

    # ------------------------------------------------------------ what is so after each step

    @invariant()
    def the_logs_are_the_same(self) -> None:
        model = {place: room.log for place, room in self.model.items() if room.log}
        assert self.logs == model

    @invariant()
    def the_same_devices_are_in_the_rooms(self) -> None:
        for place, room in self.model.items():
            followers = self.hub.rooms[Name(place)].followers
            assert {
                who for who, device in self.devices.items() if device in followers
            } == room.inside

    @invariant()
    def everybody_is_what_the_model_says(self) -> None:
        for place, room in self.model.items():
            known = self.hub.rooms[Name(place)]
            assert known.access is room.access
            ranks = {name: known.charter.ranks.get(self.identity(name)) for name in room.ranks}
            assert ranks == room.ranks
            for (name, _), device in self.devices.items():
                assert known.role(device.member, NOON) is room.role(name), (name, place)


TestRooms = Rooms.TestCase
TestRooms.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
