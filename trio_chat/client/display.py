"""What a person sees of the rooms: all that happens in the current one, as it happens, and
of the others how much is unread and who calls."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import trio
from attrs import define, field

from trio_chat.client import feed
from trio_chat.client.buffers import Buffer, Buffers, Item
from trio_chat.client.journal import Journal
from trio_chat.client.notices import (
    in_place,
    invitation,
    join_lines,
    notice,
    shown_name,
)
from trio_chat.client.status import room_status
from trio_chat.client.surface import Surface
from trio_chat.client.view import View, last_seq, room_of
from trio_chat.client.wording import UNKNOWN, Known
from trio_chat.client.wrap import PORTION, Fragments, fit, height
from trio_chat.messages import Ban, Called, Event, Gap, Kick, Marked, Page, Say
from trio_chat.pairs import is_private


def _tell_nobody(*_: object) -> None:
    pass


def _nowhere(_: str) -> bool:
    return False


@define(eq=False)
class Display:
    """Shows one room on a screen, and keeps the others for later.

    `is_in`: is one in a room, after all that has been heard of it?
    `on_seen`: called with a room, and up to which event it has been seen. `on_met`: called
    with a private room, and the first event that one gets of it. `put_out_of`: the room that
    was shown when one was put out of it, until one has gone elsewhere or taken note.
    """

    screen: Surface
    journal: Journal
    buffers: Buffers
    view: View
    is_in: Callable[[str], bool] = _nowhere
    on_seen: Callable[[str, int], None] = _tell_nobody
    on_met: Callable[[str, int], None] = _tell_nobody
    put_out_of: str | None = None
    _in_order: trio.Lock = field(factory=trio.Lock, init=False)

    @property
    def current(self) -> str | None:
        """The room that is shown."""
        return self.buffers.current

    async def show(self, batch: Sequence[feed.Item]) -> None:
        """Show what happened, or keep it if it was elsewhere."""
        async with self._in_order:
            items = list(self._meet(batch))
            self._alert(items)
            await self._show(items)
        for item in items:
            if self._puts_out(item):
                if room_of(item) == self.current:
                    self.put_out_of = self.put_out_of or self.current
                await self.close(room_of(item))

    async def say(self, fragments: Fragments) -> None:
        """Show something else."""
        await self.screen.show(fit(fragments, self.fresh_view().columns))

    async def confirm(self, event: Event) -> None:
        """One has said it just now; what is said in private from elsewhere is seen so."""
        buffer = self.buffers.rooms.get(event.message.room)
        if buffer is not None:
            buffer.say(event)
        if is_private(event.message.room) and not self.buffers.is_shown(event):
            await self.screen.show(self.fresh_view().announce(event))

    async def go(self, room: str) -> None:
        """Show another room, and what has waited there."""
        async with self._in_order:
            self.put_out_of = None  # also what has been drawn just now
            if room != self.current:
                await self._turn_to(room)

    async def _turn_to(self, room: str) -> None:
        context = self.buffers.open(room).context()
        buffer = self.buffers.go(room)
        self.screen.set_room(self.buffers.title(room))
        await self._reopen(buffer, context)

    async def page(self, page: Page, *, meant: int | None = None) -> None:
        """Show a page of what happened earlier; `meant`: the event that is looked for."""
        async with self._in_order:
            buffer = self.buffers.rooms.get(page.room)
            for event in page.events if buffer else ():
                assert buffer is not None
                buffer.note(event)
            events = tuple(e for e in page.events if not self.buffers.attention.hides(e))
            shown = Page(page.room, events, page.more, page.gap)
            known = buffer.texts if buffer else UNKNOWN
            await self.screen.show(self.fresh_view().page(shown, known, meant=meant))

    async def close(self, room: str) -> None:
        """One is not in that room any more; if it was the current one, another one is."""
        self.buffers.close(room)
        if self.current is None:
            self.screen.set_room(None)
            async with self._in_order:
                other = next(iter(self.buffers.rooms), None)
                if other is not None and self.current is None:  # not gone elsewhere meanwhile
                    await self._turn_to(other)
            await self.say(notice(self._where_one_is()))
        self.refresh()

    def _where_one_is(self) -> str:
        """To be told to who has left or was put out, and may not see the prompt."""
        room = self.current
        if room is None:
            return "you are in no room now; /join ROOM enters one"
        return f"you are in {in_place(self.buffers.title(room))} now"

    def refresh(self) -> None:
        """Have the line about the rooms say what is so now."""
        self.screen.set_rooms(room_status(self.buffers))

    def fresh_view(self) -> View:
        """How what happens is written, on a screen that is as wide as it is now."""
        self.view.columns = self.screen.columns
        return self.view

    async def _reopen(self, buffer: Buffer, context: Iterable[Event]) -> None:
        dropped, waiting = buffer.dropped, buffer.take()
        view = self.fresh_view()
        if len(self.buffers.rooms) > 1:
            shown = (view.show(event, buffer.texts) for event in context)
            heading = view.heading(buffer.room, buffer.topic)
            await self.screen.show(join_lines([heading, *shown]))
        if dropped:
            lost = f"{dropped} more before these; /history shows them"
            await self.screen.show(fit(view.rule(lost), view.columns))
        await self._show(waiting)

    def _meet(self, batch: Sequence[feed.Item]) -> Iterator[Item]:
        """What is to be shown of it. Done before any of it is shown, or rings."""
        for item in batch:
            match item:
                case Marked():
                    self._mark(item)
                case Called():
                    self._invite(item)
                case Event() | Gap():
                    self._meet_room(item)
                    yield item

    def _meet_room(self, item: Item) -> None:
        if self.buffers.meet_room(item):
            self.screen.set_room(self.current and self.buffers.title(self.current))
            self.on_met(room_of(item), last_seq(item))

    def _invite(self, call: Called) -> None:
        if call.by not in self.buffers.attention.ignored:
            self.screen.tell(invitation(call.by, call.room))
            self.screen.alert(f"{shown_name(call.by)} invites you", call.room)

    def _mark(self, marked: Marked) -> None:
        buffer = self.buffers.rooms.get(marked.room)
        if buffer is not None:
            buffer.mark(marked.seq, self.buffers.attention)

    async def _show(self, items: Sequence[Item]) -> None:
        for part, shown in self._portions(items):
            if shown and not await self.screen.show(join_lines(shown)):
                return
            for item in part:
                if self.buffers.is_shown(item):
                    self._see(room_of(item), last_seq(item))
            await trio.lowlevel.checkpoint()  # where nothing of it is shown, too
        self.refresh()

    def _portions(
        self, items: Sequence[Item]
    ) -> Iterator[tuple[Sequence[Item], Sequence[Fragments]]]:
        """What makes a portion of lines, or is as many items, and how it looks."""
        start, lines, shown = 0, 0, list[Fragments]()
        self.fresh_view()
        for end, item in enumerate(items, 1):
            if fragments := self._take(item):
                shown.append(fragments)
                lines += height(fragments)
            if lines >= PORTION or end == min(start + PORTION, len(items)):
                yield items[start:end], shown
                start, lines, shown = end, 0, []
                self.fresh_view()

    def _see(self, room: str, seq: int) -> None:
        self.journal.see(room, seq)
        self.on_seen(room, seq)

    def _take(self, item: Item) -> Fragments | None:
        """What is to be drawn of it, if anything."""
        buffer = self.buffers.rooms.get(room_of(item))
        if isinstance(item, Event):
            self.buffers.meet([shown_name(item.by)])
        if buffer is None:  # one has left, or does not want to hear of it
            return self._draw(item, UNKNOWN) if self.buffers.is_shown(item) else None
        return self._take_in(item, buffer)

    def _take_in(self, item: Item, buffer: Buffer) -> Fragments | None:
        if not self.buffers.is_shown(item):
            announced = self._announcement(item, buffer)
            buffer.hold(item, self.buffers.attention)
            return announced
        if buffer.is_told(item) or self.buffers.attention.hides(item):
            buffer.pass_over(item, self.view.me)
            return None
        is_first_new = buffer.see(item, self.view.me)
        return self._draw(item, buffer.texts, is_first_new=is_first_new)

    def _draw(
        self, item: Item, known: Known, *, is_first_new: bool = False
    ) -> Fragments | None:
        attention = self.buffers.attention
        if attention.hides(item):
            return None
        calls = attention.calls(item, known)
        return self.view.show(item, known, is_first_new=is_first_new, calls=calls)

    def _alert(self, items: Sequence[Item]) -> None:
        """Ring once for all that has come."""
        called = [item for item in items if self._is_called(item)]
        match called[-1] if called else None:
            case Event(by=by, message=Say(room=room, text=text)):
                where = "in private" if is_private(room) else f"in {room}"
                self.screen.alert(f"{by} {where}", text)
            case _:
                pass

    def _is_called(self, item: Item) -> bool:
        buffer = self.buffers.rooms.get(room_of(item))
        if buffer is None or not buffer.is_unseen(item):
            return False
        return self.buffers.attention.calls(item, buffer.texts)

    def _puts_out(self, item: Item) -> bool:
        """Is one put out of the room? Who has come again since hears of it once more."""
        match item:
            case Event(message=Kick(room, name) | Ban(room, name, off=False)):
                return name == self.view.me and not self.is_in(room)
            case _:
                return False

    def _announcement(self, item: Item, buffer: Buffer) -> Fragments | None:
        """One line for what is for oneself in particular."""
        match item:
            case Event(by=by) if self._puts_out(item):
                wording = self.view.wording
                told = f"{wording.who(by)} {wording.deed(item)} ({wording.room(buffer.room)})"
                return fit(notice(told), self.view.columns)
            case Event() if self._is_called(item):
                return self.view.announce(item)
            case _:
                return None
