"""The vocabulary: what can be said, in either direction.

`Request` is what a client sends and `Reply` what a server sends. The two unions share
nothing, so a client can't send an `Event` in somebody's name: it is an unknown type.
What a member posts to a room (`Join`, `Say`, `Leave`, `Edit` …) travels on, unchanged,
inside an `Event`: an envelope with a postmark.

A room is named by its name. A *private room* of two is meant by `@` and the name of the
other one, as in `@bob`; what the server sends names it in full, as in `@alice,bob:k7Jx2mQ9`,
for another bob may come one day, who must not read it.

A field with a default may be left out on the wire. Any request may carry an `id`; its
answer carries the same one. Nothing here checks anything: types and ids are the codec's
business, names and texts that of the rules.
"""

from datetime import datetime
from typing import Annotated, Literal

from attrs import field, frozen

VERSION = 1
"""The version of the protocol."""

MAX_INT = 2**53
"""The largest integer that every JSON reader holds exactly (RFC 8259, section 6)."""

ID_CHARS = 64
"""The longest id: room for a UUID and a prefix."""


@frozen
class MaxChars:
    """The longest value of a string field, in code points."""

    limit: int


Id = Annotated[str, MaxChars(ID_CHARS)]
"""A name that the client gives to a request; at most 64 characters."""


RankName = Literal["member", "moderator", "owner"]
"""What somebody can be made in a room."""

AccessName = Literal["public", "invitation", "key"]
"""Who gets into a room: everybody, who was invited, or also who has the key."""


# ---------------------------------------------------------------- posts, in the room's log


@frozen
class Join:
    """Enter a room, which begins to exist with its first member.

    `room`: its name, 1 to 32 characters.
    `after`: the last `seq` that the client has; everything after it is replayed. Beyond
    the room's head it counts as the head; 0 is the beginning; left out, the newest 50.
    `key`: what opens a room that has one, and makes one a member of it.
    `quiet`: for programs: neither this nor the leave makes an event. `Who` names a quiet
    member as any other; the room has to exist. A private room is always joined quietly.

    None of these three travels on in the event.
    """

    room: str
    after: int | None = None
    key: str | None = field(default=None, repr=False)
    quiet: bool = False
    id: Id | None = None


@frozen
class Say:
    """Say something to everybody in a room that one has joined, or to somebody in private.

    `room`: its name, or `@` and that of a person.
    `text`: at most 16 KiB of UTF-8; may have several lines.
    `id`: the same `id` from the same sender makes one event, however often it is sent;
    the server makes one where it is left out.
    `reply_to`: the `seq` of what this answers.
    """

    room: str
    text: str
    id: Id | None = None
    reply_to: int | None = None


@frozen
class Edit:
    """Say something else instead of what one has said as event `seq`.

    `text`: as in `Say`, and not empty.
    """

    room: str
    seq: int
    text: str
    id: Id | None = None


@frozen
class Delete:
    """Take back what one has said as event `seq`: nobody gets its text any more who has not
    got it."""

    room: str
    seq: int
    id: Id | None = None


@frozen
class React:
    """Put a sign beside what somebody has said as event `seq`.

    `sign`: an emoji, or a word of at most 16 characters without a space. `off`: take it
    away again.
    """

    room: str
    seq: int
    sign: str
    off: bool = False
    id: Id | None = None


@frozen
class Topic:
    """Say what a room is about: at most 200 characters of one line; empty for nothing."""

    room: str
    text: str
    id: Id | None = None


@frozen
class Invite:
    """Let somebody into a room that not everybody gets into, and tell `name` so."""

    room: str
    name: str
    id: Id | None = None


@frozen
class Kick:
    """Put somebody out of a room, who may come again. `reason`: as a topic."""

    room: str
    name: str
    reason: str = ""
    id: Id | None = None


@frozen
class Ban:
    """Put somebody out of a room, who may not come again. `until`: when it ends; None is
    never. `off`: it ends now."""

    room: str
    name: str
    until: datetime | None = None
    reason: str = ""
    off: bool = False
    id: Id | None = None


@frozen
class Mute:
    """Let somebody listen and not speak. `until`, `off`: as in `Ban`."""

    room: str
    name: str
    until: datetime | None = None
    reason: str = ""
    off: bool = False
    id: Id | None = None


@frozen
class Appoint:
    """Make the holder of an account something in a room: a moderator, an owner, or a mere
    member again."""

    room: str
    name: str
    rank: RankName
    id: Id | None = None


@frozen
class Restrict:
    """Say who gets into a room. Who is in it stays. `key`: what opens it; it does not travel
    on in the event."""

    room: str
    access: AccessName
    key: str | None = field(default=None, repr=False)
    id: Id | None = None


@frozen
class Leave:
    """Leave a room.

    `room`: its name.
    `lost`: the connection went away without a word. Set by the server only.
    """

    room: str
    lost: bool = False
    id: Id | None = None


Deed = Invite | Kick | Ban | Mute | Appoint | Restrict
"""What moderators do."""

Post = Join | Say | Leave | Edit | Delete | React | Topic | Deed
"""What becomes an event of a room."""


# ---------------------------------------------------------------- the other requests


@frozen
class Hello:
    """The first line of a connection: who is there.

    `name`: 1 to 32 characters: a letter, then letters, digits, - and _; upper case is
    folded. The letters may be of any script in everyday use, but only of one.
    `v`: the version of the protocol that the client speaks.
    `token`: that of the last welcome; it proves that one comes back under one's own name.
    `password`: for a name that is registered, from a device that has no token yet.
    `client`: the name and version of the program, for the server's log.
    `passing`: for programs that come with a password each time: the token is good for as
    long as the server holds the name, and this is none of the account's devices.
    """

    name: str
    v: int = VERSION
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    client: Id | None = None
    passing: bool = False
    id: Id | None = None


@frozen
class History:
    """A page of a room's events: those right before one `seq`, or right after one.

    `before`, `after`: a `seq`, itself not included; one of the two at most. With neither,
    the newest.
    `limit`: how many events at most, 1 to 100; the answer may have fewer and say `more`.
    `deeds`: only what moderators have done; not with `after`.
    """

    room: str
    before: int | None = None
    after: int | None = None
    limit: int = 50
    deeds: bool = False
    id: Id | None = None


@frozen
class Who:
    """Who is in a room?"""

    room: str
    id: Id | None = None


@frozen
class Rooms:
    """Which rooms are there?"""

    id: Id | None = None


@frozen
class Read:
    """One has read a room up to event `seq`: for one's other devices, and the next time.
    It never goes back."""

    room: str
    seq: int
    id: Id | None = None


@frozen
class Search:
    """Where has something been said? In all rooms that one may read, newest first.

    `words`: all of them have to occur, or longer ones that begin so; case does not matter.
    `room`: only there. `before`: the `next` of a `Found`, to go on with.
    `limit`: how many hits at most, 1 to 50.
    """

    words: str
    room: str | None = None
    before: int | None = None
    limit: int = 20
    id: Id | None = None


@frozen
class Register:
    """Make the name that one has one's own; or, with the `old` one, change the password:
    then all other devices are thrown out, and need the new one.

    `password`: 8 characters at least, 1024 bytes at most.
    """

    password: str = field(repr=False)
    old: str | None = field(default=None, repr=False)
    id: Id | None = None


@frozen
class Devices:
    """With which devices can somebody come in under one's name?"""

    id: Id | None = None


@frozen
class Revoke:
    """Throw out a device of one's own, which can't come back but with the password."""

    device: str
    id: Id | None = None


@frozen
class Banish:
    """Keep somebody out of the whole server; for its operators.

    `name`: a name; or an address or a network, as in 192.0.2.7 or 2001:db8::/32. `where`:
    what is meant are the addresses from which `name` is here now, and not the name. `until`,
    `off`: as in `Ban`.
    """

    name: str
    where: bool = False
    until: datetime | None = None
    reason: str = ""
    off: bool = False
    id: Id | None = None


@frozen
class Ping:
    """Is anybody there? A client that has pinged once is expected to go on: one that is
    then silent for 45 s counts as lost."""

    id: Id | None = None


Request = (
    Hello
    | Join
    | Say
    | Leave
    | Edit
    | Delete
    | React
    | Topic
    | Invite
    | Kick
    | Ban
    | Mute
    | Appoint
    | Restrict
    | History
    | Who
    | Rooms
    | Read
    | Search
    | Register
    | Devices
    | Revoke
    | Banish
    | Ping
)
"""What a client may send."""


# ---------------------------------------------------------------- replies


@frozen
class Limits:
    """What this server takes.

    `line`: bytes of a line, its end included. `text`: bytes of a text in UTF-8.
    `name`: characters of a name. `rooms`: rooms of one connection. `page`: events of a
    page. `rate`, `burst`: says a second, and how many at once; beyond that the server
    reads more slowly and loses nothing; a rate of 0 is no limit. `silence`: seconds after
    which a client that pings counts as lost. `connections`: how many there may be in all;
    `per_address`: and from one address, 0 for any number. `hello_bytes`, `hello_lines`,
    `hello_within`: the bytes and the lines up to the end of the hello, and the seconds
    that it may take. `joins`, `pages`, `lists`, `searches`: a second of one connection, in
    the long run; `new_rooms`, `new_accounts`: an hour from one address. Beyond these there is
    a refusal that says when to try again; 0 is no limit.
    """

    line: int
    text: int
    name: int
    rooms: int
    page: int
    rate: float
    burst: int
    silence: float
    connections: int
    per_address: int
    hello_bytes: int
    hello_lines: int
    hello_within: float
    joins: float = 0
    pages: float = 0
    lists: float = 0
    searches: float = 0
    new_rooms: int = 0
    new_accounts: int = 0


@frozen
class RoomState:
    """What the server remembers of a person in a room: `head` is the room's newest `seq`,
    `read` the newest that the person has read."""

    room: str
    head: int
    read: int = 0


@frozen
class Welcome:
    """The answer to `Hello`.

    `server`: the program and its version. `name`: the name in the form in which it is
    compared. `token`: proof for coming back under this name. `epoch`: names this history;
    where it is not the one that a client knows, its cursors are void. `rooms`: the rooms
    that this person is in, and its private ones: the newest of them, if they are many.
    `account`: the name is registered, and one's own.
    """

    v: int
    server: str
    name: str
    token: str = field(repr=False)
    epoch: str
    limits: Limits
    rooms: tuple[RoomState, ...] = ()
    id: Id | None = None
    account: bool = False


@frozen
class Event:
    """Something happened in a room: a post and its postmark.

    `seq`: 1, 2, 3 … in each room, without a hole, the same for every member.
    `at`: UTC with milliseconds; never goes back within a room and never decides order.
    `by`: who did it, stamped by the server.
    `changed`: the event that has changed it last: an `Edit`, and then `message` has the
    new text; or a `Delete`, and then it has none.
    """

    seq: int
    at: datetime
    by: str
    message: Post
    changed: int | None = None


@frozen
class Ack:
    """A post stands in the room's log, as its event `seq`.

    Answers every `Say`, and every other post that carries an `id`. `again`: it made
    no event now. It was a resend; or the join of somebody who came back in time, or is
    quiet, or a quiet leave: `seq` is the room's newest then.
    """

    id: str
    room: str
    seq: int
    again: bool = False


@frozen
class Gap:
    """The events `first` to `last` of a room can't be given any more."""

    room: str
    first: int
    last: int


@frozen
class Page:
    """The answer to `History`: `events` in rising order; is there `more` in the direction
    that was asked for? `gap`: what was asked for and is not kept any more."""

    room: str
    events: tuple[Event, ...]
    more: bool
    gap: Gap | None = None
    id: Id | None = None


@frozen
class Members:
    """The answer to `Who`; where one line can't hold all the names, there is `more`.
    `topic`: what the room is about. `moderators`: those of the names who are, or who own the
    room."""

    room: str
    names: tuple[str, ...]
    more: bool = False
    topic: str = ""
    moderators: tuple[str, ...] = ()
    id: Id | None = None


@frozen
class RoomInfo:
    """A room, how many `members` it has now, its newest `seq`, and who gets in."""

    room: str
    members: int
    head: int
    access: AccessName = "public"


@frozen
class RoomList:
    """The answer to `Rooms`; where one line can't hold them all, there is `more`."""

    rooms: tuple[RoomInfo, ...]
    more: bool = False
    id: Id | None = None


@frozen
class Marked:
    """One has read a room up to event `seq`, here or at another device; answers `Read`."""

    room: str
    seq: int
    id: Id | None = None


@frozen
class Hit:
    """Something that was found: event `seq` of `room`, and of its text a piece around the
    words."""

    room: str
    seq: int
    at: datetime
    by: str
    text: str


@frozen
class Found:
    """The answer to `Search`. `next`: what to ask for older hits with, if there may be some."""

    hits: tuple[Hit, ...]
    next: int | None = None
    id: Id | None = None


@frozen
class Called:
    """`by` has said something, as event `seq`, in a private room that this connection has
    not joined: to get it, join `room` with an `after` before that. In any other room, `by`
    has invited one to it."""

    room: str
    by: str
    seq: int


@frozen
class DeviceInfo:
    """A device: what it has said it is, since when, and is it `here`, or even the one that
    asks?"""

    device: str
    client: str | None
    since: datetime
    here: bool = False
    this: bool = False


@frozen
class DeviceList:
    """The answer to `Devices`."""

    devices: tuple[DeviceInfo, ...]
    id: Id | None = None


@frozen
class Done:
    """The answer to `Register`, `Revoke` and `Banish`: it is done, and stored."""

    id: Id | None = None


@frozen
class Pong:
    """The answer to `Ping`."""

    id: Id | None = None


@frozen
class Error:
    """The answer is no. `code` is stable and for programs, `text` for people; `id` is that
    of the request, where it had one. `retry`: seconds after which it is worth another try,
    where that is known."""

    code: str
    text: str
    id: Id | None = None
    retry: float | None = None


@frozen
class Goodbye:
    """The server ends this connection. `retry`: seconds after which it is worth coming back."""

    reason: str
    retry: float | None = None


Reply = (
    Welcome
    | Event
    | Ack
    | Gap
    | Page
    | Members
    | RoomList
    | Marked
    | Found
    | Called
    | DeviceList
    | Done
    | Pong
    | Error
    | Goodbye
)
"""What a server may send."""
