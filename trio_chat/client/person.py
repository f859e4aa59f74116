"""The person at a screen: what happens is shown, and what is typed is done."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from textwrap import shorten
from typing import assert_never

import trio
from attrs import define, field

from trio_chat.client import commands, view
from trio_chat.client.chat import Chat
from trio_chat.client.clean import clean
from trio_chat.client.commands import (
    Command,
    Enter,
    Exit,
    ListMembers,
    ListRooms,
    Quit,
    ShowEarlier,
    ShowHelp,
    Talk,
)
from trio_chat.client.feed import Item
from trio_chat.client.journal import Journal, Unsent
from trio_chat.client.plain import race
from trio_chat.client.screen import Screen
from trio_chat.client.view import View, notice
from trio_chat.errors import BadName, ChatError, NotInRoom, Refused, WireError
from trio_chat.names import Name, parse_name

WAITING = 64
"""Commands that wait for the server; beyond that a line stays where it was typed."""

GRACE = 3.0
"""Seconds for what is still under way when a person leaves."""

CONTEXT = 20
"""Events that are shown again when one comes back to a room: what was talked about."""

REPLAY_WITHIN = 1.0
"""Seconds to wait for what happened before one came: a warning above it would be off the
screen before it was read."""

SHOWN_OF_A_TEXT = 60
"""Characters that tell which text is meant; the arrow key brings back the whole."""


@define(eq=False)
class Person:
    """Somebody at a screen: sees what happens in a chat, and has typed lines obeyed.

    Lines are obeyed one after the other; `quit` is heard at once even if the server lets
    the line before it wait. A text is in the journal from when it is typed until it is
    said or refused.
    """

    chat: Chat
    screen: Screen
    journal: Journal
    view: View = field(init=False)
    _from_last_time: list[Unsent] = field(init=False)
    _target: str | None = field(default=None, init=False)
    _wants: trio.MemorySendChannel[Command | Unsent] = field(init=False)
    _commands: trio.MemoryReceiveChannel[Command | Unsent] = field(init=False)
    _has_shown: trio.Event = field(factory=trio.Event, init=False)
    _is_leaving: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.view = View(self.chat.name)
        self._know_welcome()
        self._from_last_time = list(self.journal.unsent.values())
        self._wants, self._commands = trio.open_memory_channel(WAITING)
        self.screen.take = self.take
        self.screen.complete = self.complete
        self.journal.tell = lambda trouble: self.screen.tell(view.warning(trouble))

    def _know_welcome(self) -> None:
        self.view.know_epoch(self.chat.welcome.epoch)
        self.journal.know(self.chat.welcome)

    def take(self, line: str) -> bool:
        """Take a line that was typed; False if too many wait already."""
        try:
            command = commands.parse_command(line)
            if isinstance(command, Quit):
                self._wants.close()
                self._is_leaving.set()
            elif command is not None:
                self._want(command)
        except commands.BadCommand as error:
            self.screen.tell(view.refusal(error))
        except trio.WouldBlock:
            self.screen.tell(notice(f"{WAITING} lines wait for the server; try again later"))
            return False
        except trio.ClosedResourceError:  # leaving already
            return False
        return True

    def _want(self, command: Command) -> None:
        if isinstance(command, Talk) and self._target is not None:
            self._want_to_say(self.journal.add(self._target, command.text))
        else:
            self._wants.send_nowait(command)
            self._foresee(command)

    def _want_to_say(self, unsent: Unsent) -> None:
        try:
            self._wants.send_nowait(unsent)
        except (trio.WouldBlock, trio.ClosedResourceError):
            self.journal.remove(unsent)
            raise

    def _foresee(self, command: Command) -> None:
        """Where the next text will belong, so that the journal knows while the server does
        not answer. Where it is said is decided when its turn has come."""
        match command:
            case Enter(room):
                with suppress(BadName):
                    self._target = parse_name(room)
            case Exit(room) if room is None or room.lower() == self._target:
                self._target = min(self.view.rooms - {self._target}, default=None)

    def complete(self, before: str) -> Sequence[str]:
        """What the text before the cursor may become."""
        return commands.complete(before, self.view.names, self.view.rooms)

    async def show(self, batch: list[Item]) -> None:
        """Show what happened."""
        self._know_welcome()
        if await self.screen.show(view.join_lines(map(self.view.show, batch))):
            for item in batch:
                self.journal.see(view.room_of(item), view.last_seq(item))
        self._has_shown.set()

    async def obey(self) -> None:
        """Do what was typed, until that is to leave."""
        try:
            await race(self._work, self._run_out_of_time)
            await self._tell_what_was_not_said()
            with trio.move_on_after(GRACE):
                await self._leave_all()
        except ChatError:  # raised by `show_all` too, after all that came has been shown
            await trio.sleep_forever()

    async def join(self, room: str) -> None:
        """Enter a room, and talk there from now on. Raises `Refused`."""
        name = parse_name(room)
        await self._enter(name)
        self.screen.set_room(name)
        self._aim()

    async def _enter(self, room: Name) -> None:
        if room in self.view.rooms:
            return
        cursor, after = self.journal.cursors.get(room), None
        if cursor is not None:
            self.view.expect(room, cursor)
            after = max(0, cursor - CONTEXT)
        self.view.arrive(room, await self.chat.join(room, after=after))

    async def _work(self) -> None:
        await self._begin()
        async for command in self._commands:
            await self._attempt(partial(self._do, command), _undone(command))

    def _aim(self) -> None:
        """Where nothing waits to be done, there is nothing to foresee."""
        if not self._commands.statistics().current_buffer_used:
            self._target = self.screen.room

    async def _attempt(self, do: Callable[[], Awaitable[None]], what: str) -> None:
        """Do something; if it is refused, show why, and `what` was not done."""
        try:
            await do()
        except (Refused, WireError) as error:
            if error is self.chat.failure:  # it is not the thing that was refused
                raise
            await self.screen.show(view.refusal(error, what))

    # ------------------------------------------------------------ from last time

    async def _begin(self) -> None:
        """Go on where the last run has ended: in its rooms, with its unsent texts."""
        if self.journal.trouble is not None:
            await self._warn(self.journal.trouble)
        for room in self._rooms_of_last_time():
            await self._attempt(partial(self._come_back, room), f"not back in {clean(room)}")
        if self._from_last_time:
            await self._say_what_is_left()

    async def _warn(self, trouble: str) -> None:
        with trio.move_on_after(REPLAY_WITHIN):
            await self._has_shown.wait()
        await self.screen.show(view.warning(trouble))

    async def _say_what_is_left(self) -> None:
        count = len(self._from_last_time)
        told = f"{_messages(count)} from last time {'is' if count == 1 else 'are'} sent now"
        await self.screen.show(notice(told))
        for unsent in self._from_last_time:
            # The whole text: there is no other place from where it could be had back.
            what = f"not said in {unsent.room}: {clean(unsent.text, lines=True)}"
            await self._attempt(partial(self._say_again, unsent), what)

    def _rooms_of_last_time(self) -> Iterable[str]:
        """Those in which the others still see one, and those where there is something to
        be said."""
        remembered = [state.room for state in self.chat.welcome.rooms]
        return dict.fromkeys([*remembered, *(unsent.room for unsent in self._from_last_time)])

    async def _come_back(self, room: str) -> None:
        await self._enter(parse_name(room))

    async def _say_again(self, unsent: Unsent) -> None:
        with self._until_answered(unsent):
            await self._say(unsent)

    # ------------------------------------------------------------ what was typed

    async def _run_out_of_time(self) -> None:
        await self._is_leaving.wait()
        await trio.sleep(GRACE)

    async def _do(self, command: Command | Unsent) -> None:
        match command:
            case Unsent():
                await self._say_here(command)
            case Talk(text):  # typed where one was in no room
                await self._say_here(self.journal.add(self._which(None), text))
            case Enter(room):
                await self.join(room)
            case Exit(room):
                await self._leave(self._which(room))
            case ListRooms():
                rooms = await self.chat.rooms()
                await self.screen.show(view.room_list(rooms, self.view.rooms))
            case ListMembers(room):
                await self._list_members(self._which(room))
            case ShowEarlier(count):
                await self._show_earlier(self._which(None), count)
            case ShowHelp():
                await self.screen.show(view.help_text())
            case Quit():  # heard as soon as it is typed
                pass
            case _:
                assert_never(command)

    async def _say_here(self, unsent: Unsent) -> None:
        self._aim()
        with self._until_answered(unsent):
            await self._say(self.journal.move(unsent, self._which(None)))

    async def _say(self, unsent: Unsent) -> None:
        await self.journal.save()
        text = commands.sayable(unsent.text, self.chat.welcome.limits.text)
        await self.chat.say(unsent.room, text, id=unsent.id)

    @contextmanager
    def _until_answered(self, unsent: Unsent) -> Iterator[None]:
        """What is acked or refused is done with; what ends otherwise stays in the journal."""
        try:
            yield
        except (Refused, WireError) as error:
            if error is not self.chat.failure:
                self.journal.remove(unsent)
            raise
        self.journal.remove(unsent)

    async def _leave(self, room: str) -> None:
        await self.chat.leave(room)
        self.view.leave(room)
        if self.screen.room == room:
            self.screen.set_room(min(self.view.rooms, default=None))

    async def _list_members(self, room: str) -> None:
        names = await self.chat.who(room)
        self.view.meet(names)
        await self.screen.show(view.member_list(room, names))

    async def _show_earlier(self, room: str, count: int) -> None:
        self.view.know_epoch(self.chat.welcome.epoch)
        limit = min(count, self.chat.welcome.limits.page)
        before = self.view.oldest.get(room)
        page = await self.chat.history(room, before=before, limit=limit)
        await self.screen.show(self.view.page(page))

    async def _leave_all(self) -> None:
        for room in sorted(self.view.rooms):
            await self._attempt(partial(self._leave, room), "")

    async def _tell_what_was_not_said(self) -> None:
        """A line that is lost without a word would be the one that mattered."""
        await self.journal.save()
        texts = [unsent.text for unsent in self.journal.unsent.values()]
        if texts and self.journal.survives:
            text = f"not said yet, and sent at the next start: {_messages(len(texts))}"
            await self.screen.show(notice(text))
            return
        for text in texts:
            told = f"the server does not answer; maybe not said: {_shorten(text)}"
            await self.screen.show(notice(told))

    def _which(self, room: str | None) -> str:
        """The room that is meant. Raises `BadName`, `NotInRoom`."""
        if room is not None:
            return parse_name(room)
        if self.screen.room is None:
            raise NotInRoom("you are in no room; /join ROOM enters one")
        return self.screen.room


def _undone(command: Command | Unsent) -> str:
    if isinstance(command, Talk | Unsent):
        return f"not said: {_shorten(command.text)}"
    return ""


def _shorten(text: str) -> str:
    return clean(shorten(text, SHOWN_OF_A_TEXT, placeholder=" …"))


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
