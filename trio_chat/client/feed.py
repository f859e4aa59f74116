"""What happens in the rooms of a chat, queued for the program to take. No I/O.

The queue is bounded and putting never waits. Where there is no room in it, the events of
that room are dropped from then on, and asked for again from the server's history once the
program has caught up: the same two states that a follower has in the server.
"""

from contextlib import suppress

import trio
from attrs import define, field

from trio_chat.errors import ChatError
from trio_chat.messages import Called, Event, Gap, Marked, Page

Item = Event | Gap | Marked | Called
"""What a program gets when it iterates over a chat."""

QUEUED_ITEMS = 1000
"""The most items that wait for the program: more than the page that a room catches up with."""


MOST_ROOMS = 1000
"""The most rooms that one is called into, or is told of beside their events: twice as many
private ones as a server lets anybody have. It is a hostile one that tells of more."""


@define(eq=False)
class Cursor:
    """`last`: the newest `seq` that is queued or was taken; None before the first.
    `is_quiet`: one has joined without an event. `end`: that of one's own leave, with which
    the room ends. `joined`: the first that came after one has come, the last time."""

    last: int | None = None
    is_quiet: bool = False
    is_behind: bool = False
    end: int | None = None
    joined: int = 0


@define(eq=False)
class Feed:
    """The items of all rooms. `cursors`: by room, of those joined."""

    cursors: dict[str, Cursor] = field(factory=dict, init=False)
    _expected: str | None = field(default=None, init=False)
    _failure: ChatError | None = field(default=None, init=False)
    _waiting: dict[tuple[type, str], Marked | Called] = field(factory=dict, init=False)
    _called: dict[str, int] = field(factory=dict, init=False)  # the newest call to each room
    _send: trio.MemorySendChannel[Item] = field(init=False)
    _receive: trio.MemoryReceiveChannel[Item] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(QUEUED_ITEMS)

    def follow(self, room: str, after: int | None, *, is_quiet: bool = False) -> bool:
        """One joins a room, where one has `after`; is that news? One may be in it, or the
        last stay may not have been taken to its end: then it goes on from there."""
        is_news = room not in self.cursors
        cursor = self.cursors.setdefault(room, Cursor(after, is_quiet))
        if cursor.end is not None:
            cursor.is_quiet, cursor.end = is_quiet, None
        return is_news

    def begin(self, room: str, joined: int) -> None:
        """One has joined a room with event `joined`; a cursor beyond that is not of this
        history."""
        cursor = self.cursors.get(room)
        if cursor is None:
            return
        cursor.joined = joined
        if cursor.last is not None:
            cursor.last = min(cursor.last, joined - 1)

    def put_out(self, room: str, seq: int) -> None:
        """One was put out of a room with event `seq`; if not before one has come again."""
        cursor = self.cursors.get(room)
        if cursor is not None and seq >= cursor.joined:
            self.end(room, seq)

    def joined(self) -> list[str]:
        """The rooms that one is in, or is about to be."""
        return [room for room, cursor in self.cursors.items() if cursor.end is None]

    def put(self, item: Item) -> None:
        """Queue what the server sent, unless it is known already or the room is behind."""
        if isinstance(item, Marked | Called):
            self._put_aside(item)
            return
        room = item.room if isinstance(item, Gap) else item.message.room
        cursor = self.cursors.get(room)
        if cursor is not None and not cursor.is_behind:
            self._put(item, room, cursor)

    def expect(self, id: str) -> None:
        """The page with that id is asked for to catch up."""
        self._expected = id

    def fill(self, page: Page) -> None:
        """Queue a page that is expected; its room is live again if that was the last.

        Done where the page is received, so that nothing can come between the two.
        """
        cursor = self.cursors.get(page.room)
        if cursor is None or page.id != self._expected:
            return
        cursor.is_behind = False
        if page.gap is not None:
            self._put(page.gap, page.room, cursor)
        for event in page.events:
            self._put(event, page.room, cursor)
        cursor.is_behind = cursor.is_behind or page.more

    def end(self, room: str, seq: int) -> None:
        """One has left a room with event `seq`; what comes until then is still queued."""
        cursor = self.cursors.get(room)
        if cursor is not None:
            cursor.end = seq
            self._drop_ended(room, cursor)

    def give_up(self, room: str) -> None:
        """Nothing more comes from that room."""
        self.cursors.pop(room, None)

    def find_behind(self) -> tuple[str, int] | None:
        """A room that is behind, and its cursor."""
        for room, cursor in self.cursors.items():
            if cursor.is_behind and cursor.last is not None:
                return room, cursor.last
        return None

    def start_afresh(self) -> None:
        """The history is another one: what was known of it is void."""
        self.cursors = {
            room: Cursor(is_quiet=self.cursors[room].is_quiet) for room in self.joined()
        }
        self._expected = None
        self._called.clear()

    def take_nowait(self) -> Item | None:
        """The next item, or None if there is none now. Raises as `take` does."""
        self._put_what_waits()
        try:
            return self._receive.receive_nowait()
        except trio.WouldBlock:
            return None
        except trio.EndOfChannel:
            raise self._end() from None

    async def take(self) -> Item:
        """The next item.

        Raises what the feed was closed with, or `StopAsyncIteration`.
        """
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise self._end() from None

    def close(self, failure: ChatError | None) -> None:
        """Nothing comes any more; what is queued can still be taken."""
        self._failure = failure
        self._send.close()

    def _end(self) -> Exception:
        return self._failure or StopAsyncIteration()

    def _put_aside(self, item: Marked | Called) -> None:
        """What is no event can't be asked for again: it waits beside the queue, the newest
        of its kind for each room."""
        key = type(item), item.room
        if key not in self._waiting and len(self._waiting) >= MOST_ROOMS:
            return
        if isinstance(item, Called):
            if item.seq <= self._called.get(item.room, 0):
                return  # it was told before, over another connection
            self._called[item.room] = item.seq
            if len(self._called) > MOST_ROOMS:
                del self._called[next(iter(self._called))]
        self._waiting[key] = item
        self._put_what_waits()

    def _put_what_waits(self) -> None:
        with suppress(trio.WouldBlock, trio.ClosedResourceError):
            while self._waiting:
                key = next(iter(self._waiting))
                self._send.send_nowait(self._waiting[key])
                del self._waiting[key]

    def _put(self, item: Event | Gap, room: str, cursor: Cursor) -> None:
        first, last = (item.first, item.last) if isinstance(item, Gap) else (item.seq, item.seq)
        is_known = cursor.last is not None and last <= cursor.last
        is_too_late = cursor.end is not None and first > cursor.end
        if cursor.is_behind or is_known or is_too_late or self._failure is not None:
            return
        try:
            if cursor.last is not None and first > cursor.last + 1:
                self._send.send_nowait(Gap(room, cursor.last + 1, first - 1))
                cursor.last = first - 1
            self._send.send_nowait(item)
        except trio.WouldBlock:
            cursor.is_behind = True
            cursor.last = first - 1 if cursor.last is None else cursor.last
        else:
            cursor.last = last
            self._drop_ended(room, cursor)

    def _drop_ended(self, room: str, cursor: Cursor) -> None:
        if cursor.end is not None and cursor.last is not None and cursor.last >= cursor.end:
            self.give_up(room)
