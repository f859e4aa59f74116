"""One turn of the sequencer: decide, stamp, encode; then all of it happens, or nothing.

A batch is a draft laid over the hub. While it is made, and while it is being committed,
the hub stays as it was; `deliver` carries it out in one step, and to undo it is to drop it.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime

from attrs import define, evolve, field

from trio_chat import rules
from trio_chat.errors import NotStored, Refused, TextTooLong
from trio_chat.history import SLICE_BYTES, Entry, Key, Move, Place, Token
from trio_chat.messages import Ack, Error, Event, Join, Leave, Post, Reply, Say
from trio_chat.names import Name, parse_name
from trio_chat.outbox import Outbox
from trio_chat.rooms import Follower, Hub, Member, Room
from trio_chat.wire import SERVER

_MOVES = {Join: Move.CAME, Leave: Move.WENT}


@define(eq=False)
class _RoomDraft:
    """What a batch adds to one room; the first of `lines` will be event `first`."""

    room: Room
    first: int
    last_at: datetime
    lines: list[bytes] = field(factory=list, init=False)
    present: dict[Name, Follower | None] = field(factory=dict, init=False)  # of those who moved
    came: dict[Follower, int] = field(factory=dict, init=False)
    came_back: list[Follower] = field(factory=list, init=False)
    went: dict[Follower, int] = field(factory=dict, init=False)

    @property
    def newest(self) -> int:
        """The room's newest event once this draft is carried out; 0 if there is none."""
        return self.first + len(self.lines) - 1

    def follower(self, member: Member) -> Follower | None:
        """Where `member` stands in the room once this draft is carried out."""
        present = self.present if member.name in self.present else self.room.members
        follower = present.get(member.name)
        return follower if follower is not None and follower.member is member else None

    def stamp(self, by: Name, post: Post, now: datetime) -> Entry:
        """Make the room's next event of `post`.

        Raises `TextTooLong`; the room is as before then.
        """
        at = max(now, self.last_at)
        place = Place(self.room.name, self.first + len(self.lines))
        line = SERVER.encode(Event(place.seq, at, by, post))
        if len(line) > SLICE_BYTES:
            raise TextTooLong("with its escapes the text does not fit into a line")
        self.lines.append(line)
        self.last_at = at
        id = post.id if isinstance(post, Say) else None
        return Entry(place, at, by, line, id, _MOVES.get(type(post)))

    def come(self, member: Member, after: int | None, seq: int, *, is_quiet: bool) -> None:
        follower = Follower(member, self.room, member.connection.outbox, after, is_quiet)
        self.present[member.name] = follower
        self.came[follower] = seq

    def come_back(self, member: Member, after: int | None, *, is_quiet: bool) -> None:
        """Follow again after a lost connection: the others have not seen a leave, and so
        see no join."""
        follower = Follower(member, self.room, member.connection.outbox, after, is_quiet)
        self.present[member.name] = follower
        self.came_back.append(follower)

    def go(self, follower: Follower, seq: int) -> None:
        self.present[follower.member.name] = None
        self.went[follower] = seq

    def deliver(self) -> None:
        """Change the room and tell everybody; no await, so nobody sees it half done."""
        self.room.last_at = self.last_at
        for follower, seq in self.went.items():
            follower.stop(seq, self.first, self.lines)
        self._move()
        if self.lines:
            self.room.tell(self.first, self.lines)
        for follower, seq in self.came.items():
            follower.start(seq, self.first, self.lines)
        for follower in self.came_back:
            follower.resume()

    def _move(self) -> None:
        room = self.room
        for name, follower in self.present.items():
            if follower is None:
                room.members.pop(name, None)
            else:
                room.live.pop(room.members.get(name, follower), None)
                room.members[name] = follower
        for moved in (*self.came, *self.went):
            if self.follower(moved.member):
                moved.member.rooms[room.name] = room
            else:
                moved.member.rooms.pop(room.name, None)


@define(eq=False)
class Batch:
    """A draft of what happens next, and the answers to those who asked for it.

    `now`: the wall clock, in UTC. `known`: the places of says that are known to
    stand in the log. `failure`: why nothing can be stored; then what needs to be is
    refused, but a resend is acked and who comes back to a room is let in, as always.
    """

    hub: Hub
    now: datetime
    known: Mapping[Key, Place]
    failure: NotStored | None = None
    entries: list[Entry] = field(factory=list, init=False)
    tokens: dict[Name, Token] = field(factory=dict, init=False)
    _rooms: dict[Name, _RoomDraft] = field(factory=dict, init=False)
    _new_rooms: int = field(default=0, init=False)
    _joined: dict[Member, int] = field(factory=dict, init=False)  # its rooms, when drafted
    _said: dict[Key, Place] = field(factory=dict, init=False)
    _answers: dict[Outbox, list[Reply]] = field(factory=dict, init=False)

    def post(self, member: Member, post: Post) -> None:
        """Draft what `member` asks for, or the refusal."""
        if member.is_gone:
            return  # it can't be told any more; what it did not hear of did not happen
        try:
            if not self._let_back(member, post):
                self._decide(member, post)
        except Refused as refusal:
            # What the rules say may follow from a join that could not be stored.
            why = self.failure or refusal
            self._answer(member, Error(why.code, str(why), post.id))

    def renew(self, member: Member) -> None:
        """Keep the token that `member` has been given to come back with."""
        self.tokens[member.name] = member.token

    def depart(self, member: Member) -> None:
        """Draft the leaves of somebody whose connection is lost."""
        for room in member.rooms.values():
            draft = self._draft(room.name)
            follower = draft.follower(member)
            assert follower is not None, "a member is in its rooms"
            leave = None if follower.is_quiet else Leave(room.name, lost=True)
            draft.go(follower, self._log(draft, member, leave))

    def deliver(self) -> None:
        """Carry it out: answer, change the rooms, tell everybody. No await, no failure."""
        for outbox, replies in self._answers.items():
            outbox.answer(outbox.format(map(SERVER.encode, replies)))
        for name, draft in self._rooms.items():
            self.hub.rooms[name] = draft.room
            draft.deliver()

    def _let_back(self, member: Member, post: Post) -> bool:
        """Is it the join of somebody who comes back? The others have not seen a leave, and
        so see no join."""
        if not isinstance(post, Join):
            return False
        draft = self._draft(parse_name(post.room))
        follower = draft.follower(member)
        if follower is None or not follower.is_detached:
            return False
        draft.come_back(member, post.after, is_quiet=follower.is_quiet)
        self._keep(draft)
        if not follower.is_quiet:
            self.renew(member)
        self._ack(member, post, Place(draft.room.name, draft.room.head), again=True)
        return True

    def _decide(self, member: Member, post: Post) -> None:
        name = parse_name(post.room)
        if isinstance(post, Say):
            post = post if post.id is not None else evolve(post, id=secrets.token_urlsafe(9))
            place = self._find(member, post)
            if place is not None:
                self._ack(member, post, place, again=True)
                return
        draft = self._draft(name)
        follower = draft.follower(member)
        logged = rules.decide(post, self._standing(member, name, follower))
        seq = self._log(draft, member, logged)
        self._move(draft, member, follower, post, seq)
        self._ack(member, post, Place(name, seq), again=logged is None)

    def _move(
        self, draft: _RoomDraft, member: Member, follower: Follower | None, post: Post, seq: int
    ) -> None:
        if isinstance(post, Join):
            if not post.quiet:
                self.renew(member)
            draft.come(member, post.after, seq + post.quiet, is_quiet=post.quiet)
            self._joined[member] = self._rooms_joined(member) + 1
        elif isinstance(post, Leave) and follower is not None:
            draft.go(follower, seq)
            self._joined[member] = self._rooms_joined(member) - 1

    def _ack(self, member: Member, post: Post, place: Place, *, again: bool = False) -> None:
        if post.id is not None:
            self._answer(member, Ack(post.id, place.room, place.seq, again))

    def _find(self, member: Member, say: Say) -> Place | None:
        key = Key(member.name, str(say.id))
        return self._said.get(key) or self.known.get(key)

    def _draft(self, name: Name) -> _RoomDraft:
        """The draft of a room, which may not exist yet; it counts once it is stamped."""
        draft = self._rooms.get(name)
        if draft is None:
            room = self.hub.rooms.get(name) or Room(name, self.hub.history)
            draft = _RoomDraft(room, room.head + 1, room.last_at)
        return draft

    def _standing(
        self, member: Member, room: Name, follower: Follower | None
    ) -> rules.Standing:
        return rules.Standing(
            room,
            is_member=follower is not None,
            is_quiet=follower is not None and follower.is_quiet,
            is_new_room=room not in self.hub.rooms and room not in self._rooms,
            rooms_joined=self._rooms_joined(member),
            rooms_in_all=len(self.hub.rooms) + self._new_rooms,
        )

    def _rooms_joined(self, member: Member) -> int:
        return self._joined.get(member, len(member.rooms))

    def _log(self, draft: _RoomDraft, member: Member, post: Post | None) -> int:
        """Make an event of `post`, if it is one; returns the room's newest."""
        if post is None:
            self._keep(draft)
        else:
            self._stamp(draft, member, post)
        return draft.newest

    def _stamp(self, draft: _RoomDraft, member: Member, post: Post) -> None:
        if self.failure is not None:
            raise self.failure.with_traceback(None)  # or it would grow with every post
        entry = draft.stamp(member.name, post, self.now)
        self._keep(draft)
        self.entries.append(entry)
        if entry.key is not None:
            self._said[entry.key] = entry.place

    def _keep(self, draft: _RoomDraft) -> None:
        name = draft.room.name
        self._new_rooms += name not in self._rooms and name not in self.hub.rooms
        self._rooms[name] = draft

    def _answer(self, member: Member, reply: Reply) -> None:
        self._answers.setdefault(member.connection.outbox, []).append(reply)
