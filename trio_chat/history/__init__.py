"""The log: what every store of events can do.

A new store is one file in this folder.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
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


@frozen
class Entry:
    """An event as the log keeps it: the very line that is sent."""

    place: Place
    at: datetime
    key: Key | None
    line: bytes


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

    async def heads(self) -> Mapping[Name, Head]:
        """Each room's newest event."""
        ...

    async def append(self, entries: Sequence[Entry]) -> Mapping[Key, Place]:
        """Store all of `entries`, or nothing.

        Nothing is stored if some of their keys stand in the log; returns where. Returns
        an empty mapping once all of them are stored as safely as this store can.

        Raises `StorageFailed`; nothing is stored then.
        """
        ...

    async def after(self, room: Name, seq: int, limit: int) -> Slice:
        """The oldest kept events after `seq`: at most `limit`, and `SLICE_BYTES`."""
        ...

    async def before(self, room: Name, seq: int, limit: int) -> Slice:
        """The newest events before `seq`, in rising order: at most `limit`, and
        `SLICE_BYTES`."""
        ...
