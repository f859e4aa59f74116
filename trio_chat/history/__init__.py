"""The log: what every store of events can do.

A new store is one file in this folder.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from attrs import frozen

from trio_chat.framing import LINE_BYTES
from trio_chat.names import Name

SLICE_BYTES = LINE_BYTES - 512
"""The most bytes of events that are read at once, and so the longest event: whatever is
read makes one page, and a page with its envelope (two names, two seqs, an id) one line."""


@frozen
class Key:
    """What makes a say one and the same, however often it is sent."""

    sender: Name
    id: str


@frozen
class Place:
    """Where an event stands."""

    room: Name
    seq: int


class Move(Enum):
    """What an event does to who is in the room."""

    CAME = "came"
    WENT = "went"


@frozen
class Entry:
    """An event as the log keeps it: the very line that is sent.

    `id`: of a say, what makes it one and the same with its sender.
    """

    place: Place
    at: datetime
    by: Name
    line: bytes
    id: str | None = None
    move: Move | None = None

    @property
    def key(self) -> Key | None:
        """What no other event may have."""
        return None if self.id is None else Key(self.by, self.id)


@frozen
class Token:
    """Hashes of what proves that somebody comes back: the token that was given out last,
    and the one before it, in case the last one got lost on its way."""

    current: bytes
    previous: bytes | None = None


NO_TOKENS: Mapping[Name, Token] = MappingProxyType({})


@frozen
class Stay:
    """Somebody who was in `rooms` when the history was closed, or broke off."""

    name: Name
    token: Token
    rooms: Sequence[Name]


@frozen
class Head:
    """The newest event of a room; 0 before the first."""

    seq: int
    at: datetime


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


class History(Protocol):
    """The events of all rooms. Every method is a checkpoint and may take its time."""

    @property
    def epoch(self) -> str:
        """Names this history; another one has another epoch."""
        ...

    async def maintain(self) -> None:
        """What has to be done now and then, in the background, until cancelled."""
        ...

    async def heads(self) -> Mapping[Name, Head]:
        """Each room's newest event."""
        ...

    async def stays(self) -> Sequence[Stay]:
        """Who is in rooms, by the log, and may come back."""
        ...

    async def append(
        self, entries: Sequence[Entry], tokens: Mapping[Name, Token] = NO_TOKENS
    ) -> Mapping[Key, Place]:
        """Store all of `entries`, and the `tokens` of their members, or nothing.

        Nothing is stored if some of their keys stand in the log; returns where. Returns
        an empty mapping once all of them are stored as safely as this store can.

        Raises `NotStored`; nothing is stored then.
        """
        ...

    async def find(self, keys: Sequence[Key]) -> Mapping[Key, Place]:
        """Where those of `keys` stand that are in the log."""
        ...

    async def after(self, room: Name, seq: int, limit: int) -> Slice:
        """The oldest kept events after `seq`: at most `limit`, and `SLICE_BYTES`."""
        ...

    async def before(self, room: Name, seq: int, limit: int) -> Slice:
        """The newest events before `seq`, in rising order: at most `limit`, and
        `SLICE_BYTES`."""
        ...
