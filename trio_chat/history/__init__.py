"""The log: what every store of events can do.

A new store is one file in this folder.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, NewType, Protocol

from attrs import field, frozen

from trio_chat.charter import OPEN, Charter, Identity, Sanction
from trio_chat.framing import LINE_BYTES
from trio_chat.names import Name
from trio_chat.roles import Access, Role
from trio_chat.tokens import Scope

SLICE_BYTES = LINE_BYTES - 512
"""The most bytes of events that are read at once, and so the longest event: whatever is
read makes one page, and a page with its envelope (two names, two seqs, an id) one line."""

RANDOM_BITS = 53
"""Of an identity, and of a device: SQLite and JSON hold so many exactly, and two that are
alike never meet."""

DeviceId = NewType("DeviceId", int)
"""One of the ways in which somebody connects. Random, too."""


# ---------------------------------------------------------------- events


# Tuples: each say makes a place, a key and an entry. 0.3 µs each instead of 0.6, and a key
# that is looked up is hashed in C.


class Key(NamedTuple):
    """What makes a say one and the same, however often it is sent."""

    sender: Name
    id: str


class Place(NamedTuple):
    """Where an event stands."""

    room: Name
    seq: int


class Entry(NamedTuple):
    """An event as the log keeps it: the very line that is sent.

    `id`: of a say, what makes it one and the same with its sender. `text`: what it can be
    found by. `author`: whose it is, whatever the name. `is_deed`: a moderator has done it.
    """

    place: Place
    at: datetime
    by: Name
    line: bytes
    id: str | None = None
    text: str | None = None
    author: Identity | None = None
    is_deed: bool = False

    @property
    def key(self) -> Key | None:
        """What no other event may have."""
        return None if self.id is None else Key(self.by, self.id)


@frozen
class Record:
    """An event as it stands in the log now; `author`: None where that is not known."""

    line: bytes
    author: Identity | None


# ---------------------------------------------------------------- what else is stored


@frozen
class Token:
    """Hashes of what proves that somebody comes back: the token that was given out last,
    and the one before it, in case the last one got lost on its way."""

    current: bytes
    previous: bytes | None = None


@frozen
class Account:
    """A name that is its holder's own. `skeleton`: what looks like it. `password`: the hash;
    None of a bot, which has tokens. `read`: what its holder has read."""

    identity: Identity
    name: Name
    skeleton: str
    password: str | None = field(repr=False)
    is_operator: bool = False
    read: Mapping[Name, int] = field(factory=dict)


@frozen
class Keep:
    """A device may come back, with this token. `client`: what it has said it is; `at`: when
    it was seen last."""

    device: DeviceId
    identity: Identity
    name: Name
    token: Token
    client: str | None = None
    at: datetime | None = None


@frozen
class Registered:
    """There is an account, or it has another password."""

    account: Account


@frozen
class Rehashed:
    """The password of an account is kept in another form, unless it is another one by now."""

    identity: Identity
    old: str = field(repr=False)
    new: str = field(repr=False)


@frozen
class Revoked:
    """A device can't come back."""

    device: DeviceId


@frozen
class Came:
    """A device is in a room, for all to see."""

    device: DeviceId
    room: Name


@frozen
class Went:
    """A device is not in that room any more. One that is in none is forgotten, and who has no
    other, unless there are private rooms to come back to."""

    device: DeviceId
    room: Name


@frozen
class Paired:
    """A room, which is new in this batch, is private: for who has begun it, and one other."""

    room: Name
    maker: Identity
    other: Identity


@frozen
class HasRead:
    """Somebody has read a room up to event `seq`; not kept of who does not come back."""

    identity: Identity
    room: Name
    seq: int


@frozen
class Rewritten:
    """The event at `place` is another one from now on; `text`: what it can be found by."""

    place: Place
    line: bytes
    text: str | None


@frozen
class Titled:
    """A room is about something else."""

    room: Name
    topic: str


@frozen
class Ranked:
    """Somebody is something in a room; nothing any more, if there is no rank."""

    room: Name
    identity: Identity
    rank: Role | None


@frozen
class Sanctioned:
    """A name is banned from a room, or muted in it; not any more, if there is no sanction."""

    room: Name
    name: Name
    is_ban: bool
    sanction: Sanction | None


@frozen
class Restricted:
    """Others get into a room from now on. `key`: the hash of what opens it."""

    room: Name
    access: Access
    key: bytes | None


@frozen
class Banished:
    """A name or a network may not come any more; or may again, if there is no sanction."""

    what: str
    sanction: Sanction | None


@frozen
class Probe:
    """Nothing, which is stored like everything else: to see whether it can be."""


Change = (
    Keep
    | Registered
    | Rehashed
    | Revoked
    | Came
    | Went
    | Paired
    | HasRead
    | Rewritten
    | Titled
    | Ranked
    | Sanctioned
    | Restricted
    | Banished
    | Probe
)
"""What is stored beside the events, with them or not at all."""


# ---------------------------------------------------------------- what is read


@frozen
class Stay:
    """A device that may come back to `rooms`; `read`: what its owner has read. `client`, `at`:
    as in `Keep`. `scope`: what it may do, if not all that its owner may."""

    device: DeviceId
    identity: Identity
    name: Name
    token: Token
    rooms: Sequence[Name] = ()
    read: Mapping[Name, int] = field(factory=dict)
    client: str | None = None
    at: datetime | None = None
    scope: Scope | None = None


@frozen
class Head:
    """How a room stands: its newest event, 0 before the first; its topic; of a private one,
    who has begun it and the other; and how it is governed."""

    seq: int
    at: datetime
    topic: str = ""
    pair: tuple[Identity, Identity] | None = None
    charter: Charter = OPEN


@frozen
class Slice:
    """Lines of consecutive events, the first of which is number `first`.

    `more`: there are others in the direction that was read.
    """

    first: int
    lines: Sequence[bytes]
    more: bool

    @property
    def last(self) -> int:
        """The number of the last event; one before `first` where there is none."""
        return self.first + len(self.lines) - 1


@frozen
class Finds:
    """Lines of events that were found, the newest first. `next`: where to go on from, if
    there may be more."""

    lines: Sequence[bytes]
    next: int | None


class History(Protocol):
    """The events of all rooms. Every method is a checkpoint and may take its time."""

    @property
    def epoch(self) -> str:
        """Names this history; another one has another epoch."""
        ...

    @property
    def veil(self) -> bytes:
        """The key under which numbers of this history are told; nobody else knows it."""
        ...

    async def maintain(self) -> None:
        """What has to be done now and then, in the background, until cancelled."""
        ...

    async def heads(self) -> Mapping[Name, Head]:
        """How each room stands."""
        ...

    async def stays(self) -> Sequence[Stay]:
        """The devices that are in rooms, by the log, and may come back."""
        ...

    async def recognise(self, token: bytes) -> Stay | None:
        """The device that has a token of that hash, wherever it is."""
        ...

    async def accounts(self) -> Sequence[Account]:
        """All accounts."""
        ...

    async def banished(self) -> Mapping[str, Sanction]:
        """The names and networks that may not come, and those that might not."""
        ...

    async def wait_for_change(self) -> None:
        """Wait until another program has changed what is stored, since this one was opened
        or since the last time. Raises `NotStored`."""
        ...

    async def devices(self, identity: Identity) -> Sequence[Stay]:
        """The devices that may come back to an account, those first that were not seen for
        the longest time."""
        ...

    async def append(
        self, entries: Sequence[Entry], changes: Sequence[Change] = ()
    ) -> Mapping[Key, Place]:
        """Store all of `entries`, and then make the `changes` in their order, or nothing.

        Nothing is stored if some of their keys stand in the log; returns where. Returns
        an empty mapping once all of them are stored as safely as this store can.

        Raises `NotStored`; nothing is stored then.
        """
        ...

    async def find(self, keys: Sequence[Key]) -> Mapping[Key, Place]:
        """Where those of `keys` stand that are in the log."""
        ...

    async def look_up(self, places: Collection[Place]) -> Mapping[Place, Record]:
        """The events at those of `places` that are in the log."""
        ...

    async def after(self, room: Name, seq: int, limit: int) -> Slice:
        """The oldest kept events after `seq`: at most `limit`, and `SLICE_BYTES`."""
        ...

    async def before(self, room: Name, seq: int, limit: int) -> Slice:
        """The newest events before `seq`, in rising order: at most `limit`, and
        `SLICE_BYTES`."""
        ...

    async def deeds(self, room: Name, before: int, limit: int) -> Finds:
        """The newest events before `seq` of what moderators did in a room; `next` is a `seq`,
        too."""
        ...

    async def forget(self, room: Name) -> None:
        """Delete all of a private room, and whoever had nothing else to come back to. Nobody
        can be there any more, or come. Done in parts; what was begun can be done again."""
        ...

    async def search(
        self, words: Sequence[str], rooms: Collection[Name], before: int | None, limit: int
    ) -> Finds:
        """The newest texts in `rooms` that have all of `words`: at most `limit`. `before`: the
        `next` of what was found last."""
        ...


def page_of_deeds(rows: Iterable[tuple[int, bytes]], limit: int) -> Finds:
    """As many of the rows, the newest first, as one page holds."""
    lines: list[bytes] = []
    size, last = 0, 0
    for seq, line in rows:
        size += len(line)
        if len(lines) == limit or size > SLICE_BYTES:
            return Finds(lines, last)
        lines.append(line)
        last = seq
    return Finds(lines, None)
