"""What a batch adds to one room: drafted first, carried out later, in one step."""

from collections.abc import Sequence
from datetime import datetime

from attrs import define, field

from trio_chat.charter import Charter, Identity
from trio_chat.history import Entry, Place
from trio_chat.messages import Deed, Delete, Edit, Event, Post, React, Say, Topic
from trio_chat.names import Name
from trio_chat.revisions import line_of, line_of_say
from trio_chat.rooms import Device, Follower, Member, Room

ONCE = Say | Edit | Delete | React | Topic
"""What makes one event however often it is sent, if it has an id."""


@define(eq=False, repr=False)
class RoomDraft:
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

    def present_people(self) -> set[Identity]:
        """Those who are in the room once this draft is carried out."""
        devices = {*self.room.followers, *self.present}
        return {one.member.identity for one in devices if self.follower(one) is not None}

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
        by, seq = author.name, self.first + len(self.lines)
        place = Place(self.room.name, seq)
        if isinstance(post, Say):
            line = line_of_say(seq, at, by, post)
            entry = Entry(place, at, by, line, post.id, post.text, author.identity)
        else:
            line, id = line_of(Event(seq, at, by, post)), None
            if isinstance(post, ONCE):
                id = post.id
            is_deed = isinstance(post, Deed)
            entry = Entry(place, at, by, line, id, None, author.identity, is_deed)
        self.lines.append(line)
        self.last_at, self.last_by = at, by
        return entry

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
            member.invite(self.room, by, seq)
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
                device.member.invited.pop(room.name, None)
