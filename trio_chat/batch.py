"""One turn of the sequencer: decide, stamp, encode; then all of it happens, or nothing.

A batch is a draft laid over the hub. While it is made, and while it is being committed,
the hub stays as it was; `deliver` carries it out in one step, and to undo it is to drop it.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import assert_never

from attrs import define, evolve, field, frozen

from trio_chat import rules
from trio_chat.charter import Charter, Identity, Sanction
from trio_chat.errors import NotStored, Refused, TextTooLong
from trio_chat.history import (
    SLICE_BYTES,
    Came,
    Change,
    Entry,
    Keep,
    Key,
    Paired,
    Place,
    Ranked,
    Record,
    Restricted,
    Rewritten,
    Sanctioned,
    Titled,
    Went,
)
from trio_chat.messages import (
    Ack,
    Appoint,
    Ban,
    Deed,
    Delete,
    Edit,
    Error,
    Event,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Post,
    React,
    Reply,
    Restrict,
    Say,
    Topic,
)
from trio_chat.names import Name, parse_name
from trio_chat.outbox import Outbox
from trio_chat.pairs import is_pair_name, is_private
from trio_chat.roles import Access, Role
from trio_chat.rooms import Device, Follower, Hub, Member, Room
from trio_chat.wire import CLIENT, SERVER

EDIT_MARGIN = 512
"""Bytes for what a say has beside its text and an edit has not: an id, escaped, and two
numbers. The edited text has to fit into the line of the say as well."""

ABOUT_ANOTHER = Edit | Delete | React
"""Posts that are about an event which stands in the log already."""


@define(eq=False)
class _RoomDraft:
    """What a batch adds to one room; the first of `lines` will be event `first`."""

    room: Room
    first: int
    last_at: datetime
    topic: str
    charter: Charter
    last_by: Name | None = field(default=None, init=False)
    lines: list[bytes] = field(factory=list, init=False)
    present: dict[Device, Follower | None] = field(factory=dict, init=False)  # who moved
    came: dict[Follower, int] = field(factory=dict, init=False)
    came_back: list[Follower] = field(factory=list, init=False)
    went: dict[Follower, int] = field(factory=dict, init=False)
    invited: dict[Member, tuple[Name, int]] = field(factory=dict, init=False)

    @property
    def newest(self) -> int:
        """The room's newest event once this draft is carried out; 0 if there is none."""
        return self.first + len(self.lines) - 1

    def follower(self, device: Device) -> Follower | None:
        """Where `device` stands in the room once this draft is carried out."""
        present = self.present if device in self.present else self.room.followers
        return present.get(device)

    def is_shown(self, device: Device) -> bool:
        """Is its member in the room for all to see, with another device?"""
        if len(device.member.devices) < 2 and device in device.member.devices:
            return False
        others = (other for other in device.member.devices if other is not device)
        return any(f is not None and not f.is_quiet for f in map(self.follower, others))

    def stamp(self, author: Member, post: Post, now: datetime) -> Entry:
        """Make the room's next event of `post`.

        Raises `TextTooLong`; the room is as before then.
        """
        at = max(now, self.last_at)
        place = Place(self.room.name, self.first + len(self.lines))
        limit = SLICE_BYTES - EDIT_MARGIN if isinstance(post, Edit) else SLICE_BYTES
        line = _line(Event(place.seq, at, author.name, post), limit)
        self.lines.append(line)
        self.last_at, self.last_by = at, author.name
        id, text = (post.id, post.text) if isinstance(post, Say) else (None, None)
        return Entry(
            place, at, author.name, line, id, text, author.identity, isinstance(post, Deed)
        )

    def come(self, device: Device, after: int | None, seq: int, *, is_quiet: bool) -> None:
        follower = Follower(device, self.room, device.connection.outbox, after, is_quiet)
        self.present[device] = follower
        self.came[follower] = seq

    def come_back(self, device: Device, after: int | None, *, is_quiet: bool) -> None:
        """Follow again after a lost connection: the others have not seen a leave, and so
        see no join."""
        follower = Follower(device, self.room, device.connection.outbox, after, is_quiet)
        self.present[device] = follower
        self.came_back.append(follower)

    def go(self, follower: Follower, seq: int) -> None:
        self.present[follower.device] = None
        self.went[follower] = seq

    def deliver(self) -> None:
        """Change the room and tell everybody; no await, so nobody sees it half done."""
        self.room.last_at, self.room.topic = self.last_at, self.topic
        self.room.charter = self.charter
        for follower, seq in self.went.items():
            follower.stop(seq, self.first, self.lines)
        self._move()
        if self.lines:
            self.room.tell(self.first, self.lines)
        for follower, seq in self.came.items():
            follower.start(seq, self.first, self.lines)
        for follower in self.came_back:
            follower.resume()

    def call(self, people: Sequence[Member]) -> None:
        """Tell those who were invited; and of a private room, those who don't follow it."""
        for member, (by, seq) in self.invited.items():
            for device in member.devices:
                device.call(self.room, by, seq)
        if self.last_by is None or not self.room.is_private:
            return
        for device in (device for member in people for device in member.devices):
            if device not in self.room.followers:
                device.call(self.room, self.last_by, self.first)

    def _move(self) -> None:
        room = self.room
        for device, follower in self.present.items():
            old = room.followers.pop(device, None)
            if old is not None:
                room.live.pop(old, None)
            device.rooms.pop(room.name, None)
            if follower is not None:
                device.rooms[room.name] = room.followers[device] = follower


@frozen
class _Target:
    """An event that a post is about, as it stands in the log, and whose it is."""

    event: Event
    author: Identity | None

    def seen_by(self, member: Member, charter: Charter) -> rules.Target:
        is_text = isinstance(self.event.message, Say) and not _is_deleted(self.event)
        rank = charter.ranks.get(self.author, Role.MEMBER) if self.author else Role.MEMBER
        return rules.Target(self.author == member.identity, is_text, rank)


@define(eq=False)
class Batch:
    """A draft of what happens next, and the answers to those who asked for it.

    `now`: the wall clock, in UTC. `known`: the places of says that are known to
    stand in the log. `records`: the events that posts are about. `failure`: why nothing can
    be stored; then what needs to be is refused, but a resend is acked and who comes back to
    a room is let in, as always.
    """

    hub: Hub
    now: datetime
    known: Mapping[Key, Place]
    records: Mapping[Place, Record] = field(factory=dict)
    failure: NotStored | None = None
    entries: list[Entry] = field(factory=list, init=False)
    changes: list[Change] = field(factory=list, init=False)
    _rooms: dict[Name, _RoomDraft] = field(factory=dict, init=False)
    _pairs: dict[frozenset[Identity], _RoomDraft] = field(factory=dict, init=False)  # new ones
    _new_rooms: int = field(default=0, init=False)
    _joined: dict[Device, int] = field(factory=dict, init=False)  # its rooms, when drafted
    _said: dict[Key, Place] = field(factory=dict, init=False)
    _changed: dict[Place, _Target] = field(factory=dict, init=False)
    _answers: dict[Outbox, list[Reply]] = field(factory=dict, init=False)

    def post(self, device: Device, post: Post) -> None:
        """Draft what `device` asks for, or the refusal."""
        if device.is_gone:
            return  # it can't be told any more; what it did not hear of did not happen
        try:
            if not self._let_back(device, post):
                self._decide(device, post)
        except Refused as refusal:
            # What the rules say may follow from a join that could not be stored.
            why = self.failure or refusal
            self._answer(device, Error(why.code, str(why), post.id))

    def renew(self, device: Device) -> None:
        """Keep the token that `device` has been given to come back with."""
        self.changes.append(Keep(device.id, device.member.identity, device.name, device.token))

    def depart(self, device: Device) -> None:
        """Draft the leaves of a device whose connection is lost."""
        for room in [follower.room for follower in device.rooms.values()]:
            draft = self._draft(room)
            follower = draft.follower(device)
            assert follower is not None, "a device is in its rooms"
            is_unseen = follower.is_quiet or draft.is_shown(device)
            leave = None if is_unseen else Leave(room.name, lost=True)
            self._go(draft, follower, self._log(draft, device.member, leave))

    def deliver(self) -> None:
        """Carry it out: answer, change the rooms, tell everybody. No await, no failure."""
        for outbox, replies in self._answers.items():
            outbox.hold(outbox.format(map(SERVER.encode, replies)))
        for draft in self._rooms.values():
            self.hub.add_room(draft.room)
            draft.deliver()
            draft.call(self.hub.people_of(draft.room))
        for outbox in self._answers:
            outbox.let_go()

    def _let_back(self, device: Device, post: Post) -> bool:
        """Is it the join of somebody who comes back? The others have not seen a leave, and
        so see no join."""
        if not isinstance(post, Join):
            return False
        draft = self._find(device.member, post.room)
        follower = draft.follower(device)
        if follower is None or not follower.is_detached:
            return False
        draft.come_back(device, post.after, is_quiet=follower.is_quiet)
        self._keep(draft)
        if not follower.is_quiet:
            self.renew(device)
        self._ack(device, post, Place(draft.room.name, draft.room.head), again=True)
        return True

    def _decide(self, device: Device, post: Post) -> None:
        member = device.member
        if isinstance(post, Say):
            post = post if post.id is not None else evolve(post, id=secrets.token_urlsafe(9))
            place = self._stands(member, post)
            if place is not None:
                self._ack(device, post, place, again=True)
                return
        draft = self._find(member, post.room)
        target = self._target(draft, post)
        seen = rules.NOTHING if target is None else target.seen_by(member, draft.charter)
        standing = self._standing(device, draft, post)
        logged = rules.decide(post, standing, seen, self._other(draft, post))
        amended = self._amend(draft, member, post, standing)
        seq = self._log(draft, member, logged)
        if amended is not None:
            draft.charter = amended.charter
            self.changes += amended.changes
        self._carry(draft, device, post, target, seq)
        self._ack(device, post, Place(draft.room.name, seq), again=logged is None)

    def _carry(
        self, draft: _RoomDraft, device: Device, post: Post, target: _Target | None, seq: int
    ) -> None:
        """What a post does besides standing in the log."""
        match post:
            case Say() if draft.room.is_private and seq == 1:
                self._begin(draft)
            case Say() | React():
                pass
            case Join():
                self._come(draft, device, post, seq)
            case Leave():
                self._leave(draft, device, seq)
            case Topic(_, text):
                draft.topic = text
                self.changes.append(Titled(draft.room.name, text))
            case Edit() | Delete():
                assert target is not None, "the rules have seen it"
                text = post.text if isinstance(post, Edit) else ""
                self._rewrite(draft, target, text, seq)
            case Kick() | Ban(off=False):
                self._put_out(draft, post.name, seq)
            case Invite(name=name):
                for person in self._named(name):
                    draft.invited[person] = device.name, seq
            case Ban() | Mute() | Appoint() | Restrict():
                pass
            case _:
                assert_never(post)

    def _come(self, draft: _RoomDraft, device: Device, post: Join, seq: int) -> None:
        is_quiet = post.quiet or draft.room.is_private
        is_logged = not is_quiet and not draft.is_shown(device)
        if not is_quiet:
            self.renew(device)
            self.changes.append(Came(device.id, draft.room.name))
        draft.come(device, post.after, seq + (not is_logged), is_quiet=is_quiet)
        self._joined[device] = self._rooms_joined(device) + 1

    def _leave(self, draft: _RoomDraft, device: Device, seq: int) -> None:
        follower = draft.follower(device)
        if follower is not None:
            self._go(draft, follower, seq)
            self._joined[device] = self._rooms_joined(device) - 1

    def _go(self, draft: _RoomDraft, follower: Follower, seq: int) -> None:
        draft.go(follower, seq)
        if not follower.is_quiet:
            self.changes.append(Went(follower.device.id, draft.room.name))

    def _put_out(self, draft: _RoomDraft, name: str, seq: int) -> None:
        """The event says why; there is no leave besides."""
        for person in self._named(name):
            for device in person.devices:
                self._leave(draft, device, seq)

    def _named(self, name: str) -> Sequence[Member]:
        person = self.hub.members.get(parse_name(name))
        return [] if person is None else [person]

    def _begin(self, draft: _RoomDraft) -> None:
        """A private room begins: who is in it can come back to it from now on."""
        assert draft.room.pair is not None, "who may speak there is one of two"
        self._pairs[frozenset(draft.room.pair)] = draft
        self.changes.append(Paired(draft.room.name, *draft.room.pair))
        for member in self.hub.people_of(draft.room):
            for device in member.devices:
                self.renew(device)

    def _rewrite(self, draft: _RoomDraft, target: _Target, text: str, seq: int) -> None:
        """The log is kept current: who gets an event later gets it as it is now, and what
        was deleted is not there any more. So it is with the edit before, if there is one."""
        say = target.event.message
        assert isinstance(say, Say), "the rules allow no other"
        before = target.event.changed
        changed = evolve(target.event, message=evolve(say, text=text), changed=seq)
        self._change(draft, _Target(changed, target.author), text or None)
        edit = None if before is None else self._event_at(Place(draft.room.name, before))
        if edit is not None and isinstance(edit.event.message, Edit):
            gone = evolve(edit.event, message=evolve(edit.event.message, text=""), changed=seq)
            self._change(draft, _Target(gone, edit.author), None)

    def _change(self, draft: _RoomDraft, target: _Target, text: str | None) -> None:
        place = Place(draft.room.name, target.event.seq)
        self._changed[place] = target
        self.changes.append(Rewritten(place, _line(target.event), text))

    def _target(self, draft: _RoomDraft, post: Post) -> _Target | None:
        if not isinstance(post, ABOUT_ANOTHER):
            return None
        return self._event_at(Place(draft.room.name, post.seq))

    def _event_at(self, place: Place) -> _Target | None:
        record = self.records.get(place)
        if place in self._changed or record is None:
            return self._changed.get(place)
        return _Target(_event(record), record.author)

    def _ack(self, device: Device, post: Post, place: Place, *, again: bool = False) -> None:
        if post.id is not None:
            self._answer(device, Ack(post.id, place.room, place.seq, again))

    def _stands(self, member: Member, say: Say) -> Place | None:
        key = Key(member.name, str(say.id))
        return self._said.get(key) or self.known.get(key)

    def _find(self, member: Member, raw: str) -> _RoomDraft:
        """The draft of the room that is meant, which may not exist yet; it counts once it is
        stamped. Raises `BadName`, `NoSuchName`."""
        draft = self._rooms.get(Name(raw))  # as it mostly is, by a name that is in full
        if draft is not None:
            return draft
        if not is_private(raw) or is_pair_name(raw):
            name = self.hub.find_name(member, raw)
            return self._rooms.get(name) or self._draft(self._room(name, None))
        person = self.hub.find_person(member, raw)
        pair = member.identity, person.identity
        begun = self._pairs.get(frozenset(pair))
        return begun or self._draft(self._room(self.hub.find_name(member, raw), pair))

    def _room(self, name: Name, pair: tuple[Identity, Identity] | None) -> Room:
        return self.hub.get(name) or Room(name, self.hub.history, pair=pair)

    def _draft(self, room: Room) -> _RoomDraft:
        draft = self._rooms.get(room.name)
        return draft or _RoomDraft(room, room.head + 1, room.last_at, room.topic, room.charter)

    def _standing(self, device: Device, draft: _RoomDraft, post: Post) -> rules.Standing:
        room, member, hub = draft.room, device.member, self.hub
        follower = draft.follower(device)
        role = self._role(draft, member)
        key = post.key if isinstance(post, Join) else None
        is_new = room.name not in self._rooms and hub.get(room.name) is None
        return rules.Standing(
            room.name,
            role,
            access=Access.PRIVATE if room.is_private else draft.charter.access,
            has_key=key is not None and role is not Role.BANNED and draft.charter.opens(key),
            is_in=follower is not None,
            is_quiet=follower is not None and follower.is_quiet,
            is_shown=draft.is_shown(device),
            is_new_room=is_new,
            head=draft.newest,
            rooms_joined=self._rooms_joined(device),
            rooms_in_all=len(hub.rooms) + self._new_rooms,
            private_begun=member.begun + self._new_rooms if is_new and room.is_private else 0,
            private_in_all=len(hub.private) + self._new_rooms,
        )

    def _role(self, draft: _RoomDraft, member: Member) -> Role:
        is_in = any(draft.follower(device) is not None for device in member.devices)
        return draft.room.role_by(draft.charter, member, self.now, is_in=is_in)

    def _other(self, draft: _RoomDraft, post: Post) -> rules.Other:
        """Whom a moderator means. Raises `BadName`."""
        if not isinstance(post, Deed) or isinstance(post, Restrict):
            return rules.NOBODY
        name = parse_name(post.name)
        person = self.hub.find_anybody(name)
        if person is None:
            is_banned = name in draft.charter.bans
            return evolve(rules.NOBODY, role=Role.BANNED if is_banned else Role.OUTSIDER)
        is_in = any(draft.follower(device) is not None for device in person.devices)
        role = self._role(draft, person)
        return rules.Other(role, is_known=True, is_in=is_in, has_account=person.has_account)

    def _amend(
        self, draft: _RoomDraft, member: Member, post: Post, standing: rules.Standing
    ) -> "_Amendment | None":
        """How the room is governed after a post, if that changes. Raises `TooMany`."""
        charter, room = draft.charter, draft.room.name
        amended: _Amendment | None = None
        match post:
            case Join() if standing.is_new_room and member.has_account:
                amended = _promote(room, charter, member.identity, Role.OWNER)
            case Join() if standing.has_key and standing.role < Role.MEMBER:
                amended = _promote(room, charter, member.identity, Role.MEMBER)
            case Invite(name=name) if charter.access is not Access.PUBLIC:
                person = self.hub.find_anybody(parse_name(name))
                if person is not None and person.identity not in charter.ranks:
                    amended = _promote(room, charter, person.identity, Role.MEMBER)
            case Appoint(name=name, rank=rank):
                person = self.hub.find_anybody(parse_name(name))
                assert person is not None, "the rules have seen it"
                amended = _promote(room, charter, person.identity, Role[rank.upper()])
            case Ban() | Mute():
                amended = _sanction(room, charter, post)
            case Restrict():
                amended = self._restrict(draft, post)
            case _:
                pass
        return amended

    def _restrict(self, draft: _RoomDraft, post: Restrict) -> "_Amendment":
        """Whoever is in the room is a member from now on."""
        room, access = draft.room.name, Access[post.access.upper()]
        charter = draft.charter.with_access(access, post.key)
        amended = _Amendment(charter, [Restricted(room, access, charter.key)])
        if access is Access.PUBLIC:
            return amended
        for device in {*draft.room.followers, *draft.present}:
            identity = device.member.identity
            is_in = draft.follower(device) is not None
            if is_in and identity not in amended.charter.ranks:
                amended = amended.then(_promote(room, amended.charter, identity, Role.MEMBER))
        return amended

    def _rooms_joined(self, device: Device) -> int:
        return self._joined.get(device, len(device.rooms))

    def _log(self, draft: _RoomDraft, author: Member, post: Post | None) -> int:
        """Make an event of `post`, if it is one; returns the room's newest."""
        if post is None:
            self._keep(draft)
        else:
            self._stamp(draft, author, post)
        return draft.newest

    def _stamp(self, draft: _RoomDraft, author: Member, post: Post) -> None:
        if self.failure is not None:
            raise self.failure.with_traceback(None)  # or it would grow with every post
        entry = draft.stamp(author, post, self.now)
        self._keep(draft)
        self.entries.append(entry)
        key = entry.key
        if key is not None:
            self._said[key] = entry.place

    def _keep(self, draft: _RoomDraft) -> None:
        name = draft.room.name
        if name not in self._rooms:
            self._new_rooms += self.hub.get(name) is None
            self._rooms[name] = draft

    def _answer(self, device: Device, reply: Reply) -> None:
        self._answers.setdefault(device.connection.outbox, []).append(reply)


@frozen
class _Amendment:
    """Another charter, and what is to be stored for it."""

    charter: Charter
    changes: Sequence[Change]

    def then(self, more: "_Amendment") -> "_Amendment":
        return _Amendment(more.charter, [*self.changes, *more.changes])


def _promote(room: Name, charter: Charter, identity: Identity, rank: Role) -> _Amendment:
    return _Amendment(charter.with_rank(identity, rank), [Ranked(room, identity, rank)])


def _sanction(room: Name, charter: Charter, post: Ban | Mute) -> _Amendment:
    name = parse_name(post.name)
    sanction = None if post.off else Sanction(post.until, post.reason)
    is_ban = isinstance(post, Ban)
    amended = charter.with_ban(name, sanction) if is_ban else charter.with_mute(name, sanction)
    return _Amendment(amended, [Sanctioned(room, name, is_ban, sanction)])


def edit_of(place: Place, record: Record) -> Place | None:
    """Where the event stands that has changed this one last, if there is one."""
    changed = _event(record).changed
    return None if changed is None else Place(place.room, changed)


def _event(record: Record) -> Event:
    event = CLIENT.decode(record.line)
    assert isinstance(event, Event), "the log has nothing else"
    return event


def _is_deleted(event: Event) -> bool:
    return (
        event.changed is not None and isinstance(event.message, Say) and not event.message.text
    )


def _line(event: Event, limit: int = SLICE_BYTES) -> bytes:
    """Raises `TextTooLong`."""
    line = SERVER.encode(event)
    if len(line) > limit:
        raise TextTooLong("with its escapes the text does not fit into a line")
    return line
