"""The rooms that a person is in, and what has happened there and was not shown yet. No I/O.

One room is *current*: what happens there is shown as it happens. What happens elsewhere
waits in its buffer until one goes there. A buffer is bounded; what it had to drop is in
the server's history, and said to be.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from attrs import define, field

from trio_chat.client.attention import Attention
from trio_chat.client.view import last_seq, room_of
from trio_chat.messages import Event, Gap, Say

WAITING_ITEMS = 500
"""The most items that wait in a buffer: ten screens."""

CONTEXT = 5
"""Texts that are shown again when one goes back to a room: what was talked about."""

REMEMBERED = 300
"""The newest texts of a room that can be referred to."""

NAMES_KNOWN = 1000
"""The most names that are offered for completion."""

Item = Event | Gap


@define(eq=False)
class Buffer:
    """A room that one is in.

    `since`: the `seq` after which things are new to oneself, None while one does not know.
    `read`: the newest `seq` that one has seen. `until`: the `seq` of one's own join, if one
    has come back; what happens later is seen as it happens.
    `oldest`: the first `seq` that is on the screen. `unread`, `calls`: how many texts wait,
    and how many of them are for oneself in particular. `dropped`: how many items had to go.
    `is_new`: a line is to stand above the next thing that one has not seen.
    """

    room: str
    since: int | None = None
    read: int = 0
    until: int | None = None
    oldest: int | None = None
    unread: int = field(default=0, init=False)
    calls: int = field(default=0, init=False)
    dropped: int = field(default=0, init=False)
    is_new: bool = field(default=False, init=False)
    waiting: deque[Item] = field(factory=deque, init=False)
    texts: dict[int, Event] = field(factory=dict, init=False)

    def expect(self, after: int) -> None:
        """One is about to come back, and has seen everything up to event `after`."""
        self.since = self.read = after
        self.until, self.is_new = None, True

    def arrive(self, seq: int) -> None:
        """One has joined with event `seq`."""
        self.until = seq
        self.since = seq if self.since is None else self.since

    def look_away(self) -> None:
        """Another room becomes the current one."""
        self.until, self.is_new = None, True

    def is_unseen(self, item: Item) -> bool:
        """Is it something that one might not know yet?"""
        return self.since is not None and last_seq(item) > max(self.since, self.read)

    def hold(self, item: Item, attention: Attention) -> None:
        """Keep what happened until one looks."""
        self.waiting.append(item)
        if len(self.waiting) > WAITING_ITEMS:
            self.waiting.popleft()
            self.dropped += 1
        if self.is_unseen(item) and attention.counts(item):
            self.unread += 1
            self.calls += attention.calls(item)

    def take(self) -> list[Item]:
        """What has waited; nothing is unread then."""
        items = list(self.waiting)
        self.waiting.clear()
        self.unread = self.calls = self.dropped = 0
        return items

    def see(self, item: Item, me: str) -> bool:
        """It is shown now; is it the first of what happened while one was away?"""
        is_first = self.is_new and self._is_news(item, me)
        self.is_new = self.is_new and not is_first
        self.read = max(self.read, last_seq(item))
        self.note(item)
        return is_first

    def note(self, item: Item) -> None:
        """It is on the screen, and can be referred to."""
        if isinstance(item, Gap):
            return
        self.oldest = min(item.seq, self.oldest or item.seq)
        if isinstance(item.message, Say):
            self.texts[item.seq] = item
            if len(self.texts) > REMEMBERED:
                del self.texts[min(self.texts)]

    def context(self) -> list[Event]:
        """The newest texts that were shown."""
        return [self.texts[seq] for seq in sorted(self.texts)[-CONTEXT:]]

    def forget(self) -> None:
        """The history is another one: the numbers mean nothing any more."""
        self.since = self.until = self.oldest = None
        self.read, self.is_new = 0, False
        self.texts.clear()

    def _is_news(self, item: Item, me: str) -> bool:
        if not self.is_unseen(item):
            return False
        if self.until is not None and last_seq(item) > self.until:
            return False
        return isinstance(item, Gap) or item.by != me


@define(eq=False)
class Buffers:
    """All rooms that one is in, in the order in which one came. `names`: those that have
    been seen."""

    attention: Attention
    rooms: dict[str, Buffer] = field(factory=dict, init=False)
    current: str | None = field(default=None, init=False)
    names: set[str] = field(factory=set, init=False)
    _epoch: str | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[Buffer]:
        return iter(self.rooms.values())

    def open(self, room: str) -> Buffer:
        """The buffer of a room; a new one if there is none."""
        return self.rooms.setdefault(room, Buffer(room))

    def close(self, room: str) -> None:
        """One is not in that room any more."""
        self.rooms.pop(room, None)
        if self.current == room:
            self.current = None

    def go(self, room: str) -> Buffer:
        """Make a room the current one."""
        if self.current is not None and self.current != room:
            self.open(self.current).look_away()
        self.current = room
        return self.open(room)

    def numbers(self) -> dict[str, tuple[int, int]]:
        """The number of each room, counted from 1, and how much in it is unread."""
        return {buffer.room: (n, buffer.unread) for n, buffer in enumerate(self, 1)}

    def find(self, what: str) -> str | None:
        """The room of that name or number."""
        if what.isascii() and what.isdigit():
            return dict(enumerate(self.rooms, 1)).get(int(what[:9]))
        return what.lower() if what.lower() in self.rooms else None

    def next_unread(self) -> str | None:
        """Where to look next: first where one is called, then where something is new."""
        waiting = [
            buffer
            for buffer in self
            if buffer.unread and buffer.room not in self.attention.muted
        ]
        first = max(waiting, key=lambda buffer: bool(buffer.calls), default=None)
        return first.room if first else None

    def meet(self, names: Iterable[str]) -> None:
        """Know these names, for completion."""
        for name in names:
            if len(self.names) < NAMES_KNOWN:
                self.names.add(name)

    def know_epoch(self, epoch: str) -> None:
        """Which history this is; with another one the numbers mean something else."""
        if epoch != self._epoch:
            self._epoch = epoch
            for buffer in self:
                buffer.forget()

    def is_shown(self, item: Item) -> bool:
        """Does it happen where one looks, or where one is not any more?"""
        room = room_of(item)
        return room == self.current or room not in self.rooms
