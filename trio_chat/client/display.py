"""What a person sees of the rooms: all that happens in the current one, as it happens, and
of the others how much is unread and who calls."""

from collections.abc import Iterable, Iterator, Sequence

import trio
from attrs import define, field

from trio_chat.client.buffers import Buffer, Buffers, Item
from trio_chat.client.journal import Journal
from trio_chat.client.notices import join_lines, shown_name
from trio_chat.client.status import room_status
from trio_chat.client.surface import Surface
from trio_chat.client.view import View, last_seq, room_of
from trio_chat.client.wrap import Fragments, fit
from trio_chat.messages import Event, Page, Say

SLICE = 100
"""Items that are drawn at once: what is typed meanwhile waits a few milliseconds. With
fewer, a flood would be drawn hardly faster than the prompt below it."""


@define(eq=False)
class Display:
    """Shows one room on a screen, and keeps the others for later."""

    screen: Surface
    journal: Journal
    buffers: Buffers
    view: View
    _in_order: trio.Lock = field(factory=trio.Lock, init=False)

    @property
    def current(self) -> str | None:
        """The room that is shown."""
        return self.buffers.current

    async def show(self, batch: Sequence[Item]) -> None:
        """Show what happened, or keep it if it was elsewhere."""
        async with self._in_order:
            self._alert(batch)
            await self._show(batch)

    async def say(self, fragments: Fragments) -> None:
        """Show something else."""
        await self.screen.show(fit(fragments, self._fresh_view().columns))

    async def go(self, room: str) -> None:
        """Show another room, and what has waited there."""
        async with self._in_order:
            if room == self.current:
                return
            context = self.buffers.open(room).context()
            buffer = self.buffers.go(room)
            self.screen.set_room(room)
            await self._reopen(buffer, context)

    async def page(self, page: Page) -> None:
        """Show a page of what happened earlier."""
        async with self._in_order:
            buffer = self.buffers.rooms.get(page.room)
            for event in page.events if buffer else ():
                assert buffer is not None
                buffer.note(event)
            events = tuple(e for e in page.events if not self.buffers.attention.hides(e))
            shown = Page(page.room, events, page.more, page.gap)
            await self.screen.show(self._fresh_view().page(shown))

    async def close(self, room: str) -> None:
        """One is not in that room any more; if it was the current one, another one is."""
        self.buffers.close(room)
        if self.current is None:
            self.screen.set_room(None)
            if self.buffers.rooms:
                await self.go(next(iter(self.buffers.rooms)))
        self.refresh()

    def refresh(self) -> None:
        """Have the line about the rooms say what is so now."""
        self.screen.set_rooms(room_status(self.buffers))

    def _fresh_view(self) -> View:
        self.view.columns = self.screen.columns
        return self.view

    async def _reopen(self, buffer: Buffer, context: Iterable[Event]) -> None:
        dropped, waiting = buffer.dropped, buffer.take()
        view = self._fresh_view()
        if len(self.buffers.rooms) > 1:
            top = [view.rule(shown_name(buffer.room)), *(view.show(event) for event in context)]
            await self.screen.show(join_lines(top))
        if dropped:
            lost = f"{dropped} more before these; /history shows them"
            await self.screen.show(fit(view.rule(lost), view.columns))
        await self._show(waiting)

    async def _show(self, items: Sequence[Item]) -> None:
        for part in _slices(items):
            self._fresh_view()
            shown = [fragments for item in part if (fragments := self._take(item))]
            if shown and not await self.screen.show(join_lines(shown)):
                return
            for item in part:
                if self.buffers.is_shown(item):
                    self.journal.see(room_of(item), last_seq(item))
        self.refresh()

    def _take(self, item: Item) -> Fragments | None:
        """What is to be drawn of it, if anything."""
        buffer = self.buffers.rooms.get(room_of(item))
        if isinstance(item, Event):
            self.buffers.meet([shown_name(item.by)])
        if self.buffers.is_shown(item):
            is_first_new = buffer is not None and buffer.see(item, self.view.me)
            return self._draw(item, is_first_new=is_first_new)
        assert buffer is not None  # what is in no buffer is shown
        is_called = self._is_called(item)
        buffer.hold(item, self.buffers.attention)
        return self.view.announce(item) if is_called and isinstance(item, Event) else None

    def _draw(self, item: Item, *, is_first_new: bool) -> Fragments | None:
        attention = self.buffers.attention
        if attention.hides(item):
            return None
        calls = attention.calls(item)
        return self.view.show(item, is_first_new=is_first_new, calls=calls)

    def _alert(self, batch: Sequence[Item]) -> None:
        """Ring once for all that has come."""
        called = [item for item in batch if self._is_called(item)]
        match called[-1] if called else None:
            case Event(by=by, message=Say(room=room, text=text)):
                self.screen.alert(f"{by} in {room}", text)
            case _:
                pass

    def _is_called(self, item: Item) -> bool:
        buffer = self.buffers.rooms.get(room_of(item))
        is_new = buffer is not None and buffer.is_unseen(item)
        return is_new and self.buffers.attention.calls(item)


def _slices(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), SLICE):
        yield items[start : start + SLICE]
