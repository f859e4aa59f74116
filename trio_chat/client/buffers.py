"""The rooms that a person is in, and what has happened there and was not shown yet. No I/O.

One room is *current*: what happens there is shown as it happens. What happens elsewhere
waits in its buffer until one goes there. A buffer is bounded; what it had to drop is in
the server's history, and said to be.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from attrs import define, field

from trio_chat.client.attention import Attention
from trio_chat.client.notices import shown_room
from trio_chat.client.view import last_seq, room_of
from trio_chat.client.wording import changed, is_deleted, is_told
from trio_chat.messages import Delete, Edit, Event, Gap, React, Say, Topic
from trio_chat.pairs import SIGN, is_pair_name, is_private, partner

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
    `read`: the newest `seq` that one has seen. `until`: the newest `seq` there was when one
    began to look; what happens later is seen as it happens.
    `oldest`: the first `seq` that is on the screen. `topic`: what the room is about.
    `unread`, `calls`: how many texts wait, and how many of them are for oneself in
    particular. `dropped`: how many items had to go. `is_new`: a line is to stand above the
    next thing that one has not seen. `texts`: what was said, as it is now, by `seq`. `signs`:
    those that one has put on a text oneself.
    """

    room: str
    since: int | None = None
    read: int = 0
    until: int | None = None
    oldest: int | None = None
    topic: str = ""
    unread: int = field(default=0, init=False)
    calls: int = field(default=0, init=False)
    dropped: int = field(default=0, init=False)
    is_new: bool = field(default=False, init=False)
    waiting: deque[Item] = field(factory=deque, init=False)
    texts: dict[int, Event] = field(factory=dict, init=False)
    signs: dict[int, set[str]] = field(factory=dict, init=False)
    _coming: set[int] = field(factory=set, init=False)  # one's own texts, not shown yet

    def expect(self, after: int) -> None:
        """One is about to come back, and has seen everything up to event `after`."""
        self.since = self.read = after
        self.until, self.is_new = None, True

    def begin(self, seq: int, *, is_seen: bool) -> None:
        """One is told of the room by event `seq`, the first that one gets of it. `is_seen`:
        one looks there already."""
        self.expect(seq - 1)
        self.is_new = not is_seen

    def arrive(self, seq: int) -> None:
        """One has joined with event `seq`."""
        self.until = seq
        self.since = seq if self.since is None else self.since

    def look(self) -> None:
        """It becomes the current room; from now on, what happens is seen as it happens."""
        if self.until is None:
            self.until = max([self.read, *map(last_seq, self.waiting)])

    def look_away(self) -> None:
        """Another room becomes the current one."""
        self.until, self.is_new = None, True

    def is_unseen(self, item: Item) -> bool:
        """Is it something that one might not know yet?"""
        return self.since is not None and last_seq(item) > max(self.since, self.read)

    def hold(self, item: Item, attention: Attention) -> None:
        """Keep what happened until one looks."""
        self._change_held(item, attention)
        self.waiting.append(item)
        if len(self.waiting) > WAITING_ITEMS:
            self.waiting.popleft()
            self.dropped += 1
        if self.is_unseen(item) and attention.counts(item):
            self.unread += 1
            self.calls += attention.calls(item, self.texts)

    def _change_held(self, item: Item, attention: Attention) -> None:
        """What one has not seen yet, one sees as it is by then."""
        match item:
            case Event(seq=by, message=Edit(seq=seq, text=text)):
                pass
            case Event(seq=by, message=Delete(seq=seq)):
                text = ""
            case _:
                return
        for place, held in enumerate(self.waiting):
            if isinstance(held, Event) and held.seq == seq:
                self.waiting[place] = changed(held, text, by)
                if not text and self.is_unseen(held) and attention.counts(held):
                    self.unread -= 1
                    self.calls -= attention.calls(held, self.texts)

    def mark(self, seq: int, attention: Attention) -> None:
        """One has read up to event `seq` elsewhere."""
        news = [item for item in self.waiting if self.is_unseen(item)]
        # What was dropped is older than what waits.
        dropped = self.unread - sum(map(attention.counts, news))
        self.read = max(self.read, seq)
        news = [item for item in news if self.is_unseen(item)]
        if self.waiting and last_seq(self.waiting[0]) <= seq + 1:
            dropped = 0
        self.unread = dropped + sum(map(attention.counts, news))
        self.calls = sum(attention.calls(item, self.texts) for item in news)

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
        self.pass_over(item, me)
        return is_first

    def pass_over(self, item: Item, me: str) -> None:
        """It is not to be shown, or has been."""
        self.read = max(self.read, last_seq(item))
        self.note(item)
        match item:
            case Event(by=by, message=React() as reaction) if by == me:
                self._sign(reaction)
            case Event(message=Topic(text=text)):
                self.topic = text
            case _:
                pass

    def note(self, item: Item) -> None:
        """It is on the screen, and can be referred to."""
        if isinstance(item, Gap):
            return
        self.oldest = min(item.seq, self.oldest or item.seq)
        match item.message:
            case Say():
                self._coming.discard(item.seq)
                self._remember(item)
            case Edit(seq=seq, text=text) if text:
                self._change(seq, text, item.seq)
            case Delete(seq=seq):
                self._change(seq, "", item.seq)
            case _:
                pass

    def say(self, event: Event) -> None:
        """One has said it; it can be referred to already, and will be shown."""
        if event.seq not in self.texts:
            self._coming.add(event.seq)
            self._remember(event)

    def _remember(self, event: Event) -> None:
        known = self.texts.get(event.seq, event)
        if (known.changed or 0) <= (event.changed or 0):
            self.texts[event.seq] = event
        if len(self.texts) > REMEMBERED:
            oldest = min(self.texts)
            del self.texts[oldest]
            self.signs.pop(oldest, None)

    def is_told(self, item: Item) -> bool:
        """Does what is on the screen say so already?"""
        return isinstance(item, Event) and is_told(item, self.texts)

    def context(self) -> list[Event]:
        """The newest texts that were shown."""
        shown = [event for event in self.newest(REMEMBERED) if event.seq not in self._coming]
        return shown[-CONTEXT:]

    def newest(self, count: int) -> list[Event]:
        """The newest texts, as they are now."""
        texts = [self.texts[seq] for seq in sorted(self.texts)]
        return [event for event in texts if not is_deleted(event)][-count:]

    def text(self, seq: int) -> str:
        """What was said as event `seq`, as far as one knows it."""
        event = self.texts.get(seq)
        return event.message.text if event and isinstance(event.message, Say) else ""

    def last_of(self, is_meant: Callable[[str], bool]) -> int | None:
        """The newest text of those who are meant."""
        texts = self.newest(REMEMBERED)
        return max((event.seq for event in texts if is_meant(event.by)), default=None)

    def _change(self, seq: int, text: str, by: int) -> None:
        event = self.texts.get(seq)
        if event is not None:
            self.texts[seq] = changed(event, text, by)

    def _sign(self, reaction: React) -> None:
        signs = self.signs.setdefault(reaction.seq, set())
        (signs.discard if reaction.off else signs.add)(reaction.sign)

    def forget(self) -> None:
        """The history is another one: the numbers mean nothing any more."""
        self.since = self.until = self.oldest = None
        self.read, self.is_new = 0, False
        self.texts.clear()
        self.signs.clear()
        self._coming.clear()

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
        self._adopt(room)
        return self.rooms.setdefault(room, Buffer(room))

    def _adopt(self, room: str) -> None:
        """One may be in a private room before it begins to exist, and has a name."""
        before = self.title(room)
        if not is_pair_name(room) or room in self.rooms or before not in self.rooms:
            return
        self.rooms[before].room = room
        self.rooms = {buffer.room: buffer for buffer in self}
        if self.current == before:
            self.current = room

    def title(self, room: str) -> str:
        """What a person calls a room."""
        return shown_room(room, self.attention.me)

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
        buffer = self.open(room)
        buffer.look()
        return buffer

    def numbers(self) -> dict[str, tuple[int, int]]:
        """The number of each room, counted from 1, and how much in it is unread."""
        return {buffer.room: (n, buffer.unread) for n, buffer in enumerate(self, 1)}

    def find(self, what: str) -> str | None:
        """The room of that name or number; of two private ones the newer."""
        if what.isascii() and what.isdigit():
            return dict(enumerate(self.rooms, 1)).get(int(what[:9]))
        if what.startswith(SIGN):
            titles = {self.title(room): room for room in self.rooms if is_private(room)}
            return what if what in self.rooms else titles.get(what.lower())
        return what.lower() if what.lower() in self.rooms else None

    def next_unread(self) -> str | None:
        """Where to look next: first where one is called, then where something is new."""
        waiting = [
            buffer
            for buffer in self
            if buffer.unread and not self.attention.is_muted(buffer.room)
        ]
        first = max(waiting, key=lambda buffer: bool(buffer.calls), default=None)
        return first.room if first else None

    def meet(self, names: Iterable[str]) -> None:
        """Know these names, for completion."""
        for name in names:
            if len(self.names) < NAMES_KNOWN:
                self.names.add(name)

    def know_epoch(self, epoch: str) -> bool:
        """Which history this is; with another one the numbers mean something else. Is it
        another one?"""
        is_other = epoch != self._epoch
        self._epoch = epoch
        for buffer in self if is_other else ():
            buffer.forget()
        return is_other

    def is_shown(self, item: Item) -> bool:
        """Does it happen where one looks, or where one is not any more? What is private is
        shown nowhere else."""
        room = room_of(item)
        return room == self.current or (room not in self.rooms and not is_private(room))

    def meet_room(self, item: Item) -> bool:
        """A private room may be one that one hears of for the first time; is it?"""
        if isinstance(item, Gap) or item.message.room in self.rooms:
            return False
        room = item.message.room
        if partner(room, self.attention.me) is None or self.attention.hides(item):
            return False
        self.open(room).begin(item.seq, is_seen=room == self.current)
        return True
