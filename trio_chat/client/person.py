"""The person at a screen: what is typed is done."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import assert_never

import trio
from attrs import define, evolve, field, frozen

from trio_chat.client import commands
from trio_chat.client.attention import Attention
from trio_chat.client.buffers import Buffers, Item
from trio_chat.client.chat import Chat
from trio_chat.client.clean import clean
from trio_chat.client.commands import (
    Command,
    Edit,
    Enter,
    Exit,
    Go,
    GoToUnread,
    ListMembers,
    ListRooms,
    Quit,
    ShowAround,
    ShowEarlier,
    ShowHelp,
    Talk,
    Wish,
)
from trio_chat.client.display import Display
from trio_chat.client.journal import Journal, Unsent
from trio_chat.client.notices import (
    help_text,
    member_list,
    notice,
    refusal,
    room_list,
    warning,
)
from trio_chat.client.plain import race
from trio_chat.client.speech import Speech, messages, short
from trio_chat.client.status import SLOW
from trio_chat.client.surface import Surface
from trio_chat.errors import BadName, ChatError, NotInRoom, Refused, WireError
from trio_chat.names import parse_name

WAITING = 64
"""Commands that wait for the server; beyond that a line stays where it was typed."""

GRACE = 3.0
"""Seconds for what is still under way when a person leaves."""

CONTEXT = 20
"""Events that are shown again when one comes back: what was talked about."""

REPLAY_WITHIN = 1.0
"""Seconds to wait for what happened before one came: a warning above it would be off the
screen before it was read."""

ROOMS_KNOWN = 1000
"""The most rooms that are offered for completion."""

AROUND = 10
"""Events before the one that is jumped to."""

LAG_EVERY, SLOW_LAG_EVERY = 30.0, 2.0
"""Seconds between two looks at how long the server takes, and where that is long."""

Local = Go | GoToUnread | Wish | Edit | ShowHelp
"""What is done without the server, and so without waiting for it."""


@frozen
class _Want:
    """Something that waits for its turn. `is_sure`: the room that a text is for is known;
    otherwise it is where one is when the joins before it have been answered."""

    command: Command | Unsent
    is_sure: bool = True


@define(eq=False)
class Person:
    """Somebody at a screen: sees what happens in a chat, and has typed lines obeyed.

    What needs the server is done one after the other; `quit` is heard at once even if the
    server lets the line before it wait.
    """

    chat: Chat
    screen: Surface
    journal: Journal
    display: Display = field(init=False)
    speech: Speech = field(init=False)
    _target: str | None = field(default=None, init=False)  # where the next text will belong
    _known: set[str] = field(factory=set, init=False)  # rooms, for completion
    _unsure: int = field(default=0, init=False)  # that wait, and on which the target depends
    _wants: trio.MemorySendChannel[_Want] = field(init=False)
    _wanted: trio.MemoryReceiveChannel[_Want] = field(init=False)
    _locals: trio.MemorySendChannel[Local] = field(init=False)
    _local: trio.MemoryReceiveChannel[Local] = field(init=False)
    _has_shown: trio.Event = field(factory=trio.Event, init=False)
    _is_leaving: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        me, lists = self.chat.name, self.journal.wishes
        attention = Attention(me, *(lists.setdefault(kind, set()) for kind in commands.WISHES))
        self.display = Display(
            self.screen, self.journal, Buffers(attention), self.screen.make_view(me)
        )
        self.speech = Speech(self.chat, self.screen, self.journal)
        self._know_welcome()
        self._wants, self._wanted = trio.open_memory_channel(WAITING)
        self._locals, self._local = trio.open_memory_channel(WAITING)
        self.screen.take = self.take
        self.screen.press = self.press
        self.screen.complete = self.complete
        self.screen.typed = list(self.journal.typed.values())
        self.journal.tell = lambda trouble: self.screen.tell(warning(trouble))

    @property
    def buffers(self) -> Buffers:
        """The rooms that one is in."""
        return self.display.buffers

    def _know_welcome(self) -> None:
        self.buffers.know_epoch(self.chat.welcome.epoch)
        self.journal.know(self.chat.welcome)

    # ------------------------------------------------------------ hearing

    def take(self, line: str) -> bool:
        """Take a line that was typed; False if too many wait already."""
        is_taken = self.press(line)
        if is_taken and line.strip():
            self.journal.recall(line)
        return is_taken

    def press(self, line: str) -> bool:
        """Take a line that a key stands for; False if too many wait already."""
        try:
            command = commands.parse_command(line)
            if isinstance(command, Quit):
                self._wants.close()
                self._is_leaving.set()
            elif command is not None:
                self._want(command)
        except commands.BadCommand as error:
            self.screen.tell(refusal(error))
        except trio.WouldBlock:
            self.screen.tell(notice(f"{WAITING} lines wait for the server; try again later"))
            return False
        except trio.ClosedResourceError:  # leaving already
            return False
        return True

    def _want(self, command: Command) -> None:
        if isinstance(command, Enter) and command.room.lower() in self.buffers.rooms:
            command = Go(command.room)
        is_sure = not self._unsure
        match command:
            case Talk(text) if self._target is not None:
                self._want_to_say(self._target, text, is_sure=is_sure)
            case Go(room) if is_sure:
                self._target = self.buffers.find(room) or self._target
                self._locals.send_nowait(command)
            case GoToUnread() if is_sure:
                self._target = self.buffers.next_unread() or self._target
                self._locals.send_nowait(command)
            case Wish() | Edit() | ShowHelp():
                self._locals.send_nowait(command)
            case Enter() | Exit() | Go() | GoToUnread() | Talk():
                self._wait(_Want(command, is_sure=False))
                self._foresee(command)
            case _:
                self._wait(_Want(command))

    def _wait(self, want: _Want) -> None:
        self._wants.send_nowait(want)
        self._unsure += not want.is_sure

    def _want_to_say(self, room: str, text: str, *, is_sure: bool) -> None:
        unsent = self.speech.add(room, text)
        try:
            self._wait(_Want(unsent, is_sure))
        except (trio.WouldBlock, trio.ClosedResourceError):
            self.speech.drop(unsent)
            raise

    def _foresee(self, command: Command) -> None:
        """Where the next text will belong, so that the journal knows while the server does
        not answer. Where it is said is decided when its turn has come."""
        match command:
            case Enter(room):
                with suppress(BadName):
                    self._target = parse_name(room)
            case Exit(room) if room is None or room.lower() == self._target:
                others = [name for name in self.buffers.rooms if name != self._target]
                self._target = next(iter(others), None)

    def complete(self, before: str) -> Sequence[str]:
        """What the text before the cursor may become."""
        mine = self.buffers.rooms
        known = self._known | set(mine)
        return commands.complete(before, self.buffers.names, map(clean, known), mine)

    async def show(self, batch: list[Item]) -> None:
        """Show what happened."""
        self._know_welcome()
        await self.display.show(batch)
        self._has_shown.set()

    # ------------------------------------------------------------ doing

    async def obey(self) -> None:
        """Do what was typed, until that is to leave."""
        try:
            await race(self._work, self._work_alone, self._watch_lag, self._run_out_of_time)
            await self.speech.tell_what_was_not_said()
            with trio.move_on_after(GRACE):
                await self._leave_all()
        except ChatError:  # raised by `show_all` too, after all that came has been shown
            await trio.sleep_forever()

    async def join(self, room: str) -> None:
        """Enter a room, and talk there from now on. Raises `Refused`."""
        name = parse_name(room)
        await self._enter(name)
        await self.display.go(name)
        self._target = name

    async def _enter(self, room: str) -> None:
        if room in self.buffers.rooms:
            return
        buffer, after = self.buffers.open(room), None
        cursor = self.journal.cursors.get(room)
        if cursor is not None:
            buffer.expect(cursor)
            after = max(0, cursor - CONTEXT)
        try:
            buffer.arrive(await self.chat.join(room, after=after))
        except BaseException:
            self.buffers.close(room)
            raise
        self.display.refresh()

    async def _work(self) -> None:
        await self._begin()
        async for want in self._wanted:
            match want.command:
                case Unsent() as unsent:
                    self._settle(want)
                    await self._say(unsent, is_sure=want.is_sure)
                case Talk(text):  # typed where one was in no room
                    self._settle(want)
                    await self._attempt(partial(self._talk, text), f"not said: {short(text)}")
                case command:
                    await self._attempt(partial(self._do, command))
                    self._settle(want)

    def _settle(self, want: _Want) -> None:
        """What came before is done; where nothing else waits, there is nothing to foresee."""
        self._unsure -= not want.is_sure
        if not want.is_sure and not self._unsure:
            self._target = self.display.current

    async def _work_alone(self) -> None:
        async for command in self._local:
            await self._attempt(partial(self._do_here, command))
        await trio.sleep_forever()

    async def _watch_lag(self) -> None:
        while True:
            lag = await self.chat.ping()
            self.screen.set_lag(lag)
            await trio.sleep(LAG_EVERY if lag < SLOW else SLOW_LAG_EVERY)

    async def _run_out_of_time(self) -> None:
        await self._is_leaving.wait()
        await trio.sleep(GRACE)

    async def _attempt(self, do: Callable[[], Awaitable[None]], what: str = "") -> bool:
        """Do something; if it is refused, show why, and `what` was not done."""
        try:
            await do()
        except (Refused, WireError) as error:
            if error is self.chat.failure:  # it is not the thing that was refused
                raise
            await self.display.say(refusal(error, what))
            return False
        return True

    # ------------------------------------------------------------ from last time

    async def _begin(self) -> None:
        """Go on where the last run has ended: in its rooms, with its unsent texts."""
        if self.journal.trouble is not None:
            await self._warn(self.journal.trouble)
        for room in self._rooms_of_last_time():
            await self._attempt(partial(self._come_back, room), f"not back in {clean(room)}")
        if self.speech.left:
            await self._say_what_is_left()

    async def _warn(self, trouble: str) -> None:
        with trio.move_on_after(REPLAY_WITHIN):
            await self._has_shown.wait()
        await self.display.say(warning(trouble))

    async def _say_what_is_left(self) -> None:
        count = len(self.speech.left)
        told = f"{messages(count)} from last time {'is' if count == 1 else 'are'} sent now"
        await self.display.say(notice(told))
        for unsent in self.speech.left:
            # The whole text: there is no other place from where it could be had back.
            what = f"not said in {unsent.room}: {clean(unsent.text, lines=True)}"
            await self._attempt(partial(self.speech.say, unsent), what)

    def _rooms_of_last_time(self) -> Iterable[str]:
        """Those in which the others still see one, and those where there is something to
        be said."""
        remembered = [state.room for state in self.chat.welcome.rooms]
        return dict.fromkeys([*remembered, *(unsent.room for unsent in self.speech.left)])

    async def _come_back(self, room: str) -> None:
        await self._enter(parse_name(room))

    # ------------------------------------------------------------ what was typed

    async def _do(self, command: Command | Unsent) -> None:
        match command:
            case Enter(room):
                await self.join(room)
            case Exit(room):
                await self._leave(self._which(room))
            case ListRooms():
                await self._list_rooms()
            case ListMembers(room):
                await self._list_members(self._which(room))
            case ShowEarlier(count):
                await self._show_earlier(self._which(None), count)
            case ShowAround(seq):
                await self._show_around(self._which(None), seq)
            case Go() | GoToUnread() | Wish() | Edit() | ShowHelp():
                await self._do_here(command)
            case Quit() | Talk() | Unsent():  # dealt with before they get here
                pass
            case _:
                assert_never(command)

    async def _do_here(self, command: Local) -> None:
        match command:
            case Go(room):
                await self._go(self.buffers.find(room), room)
            case GoToUnread():
                await self._go_to_unread()
            case Wish(kind, word):
                await self._wish(kind, word)
            case Edit(text):
                self.screen.edit(text)
            case ShowHelp():
                await self.display.say(help_text())
            case _:
                assert_never(command)

    async def _say(self, unsent: Unsent, *, is_sure: bool) -> None:
        room = unsent.room if is_sure else self.display.current or unsent.room

        async def say() -> None:
            try:
                await self.speech.say(self.journal.move(unsent, room))
            except (Refused, WireError) as error:
                if error is not self.chat.failure:
                    self.screen.give_back(unsent.text)
                raise

        await self._attempt(say, f"not said: {short(unsent.text)}")

    async def _talk(self, text: str) -> None:
        await self.speech.say(self.speech.add(self._which(None), text))

    async def _go(self, room: str | None, wanted: str) -> None:
        if room is None:
            raise NotInRoom(f"you are in no room {clean(wanted)}; /join ROOM enters one")
        await self.display.go(room)

    async def _go_to_unread(self) -> None:
        room = self.buffers.next_unread()
        if room is None:
            await self.display.say(notice("nothing is unread"))
        else:
            await self.display.go(room)

    async def _leave(self, room: str) -> None:
        await self.chat.leave(room)
        await self.display.close(room)

    async def _list_rooms(self) -> None:
        rooms = await self.chat.rooms()
        self._known = {info.room for info in rooms[:ROOMS_KNOWN]}
        await self.display.say(room_list(rooms, self.buffers.numbers()))

    async def _list_members(self, room: str) -> None:
        names = await self.chat.who(room)
        self.buffers.meet(map(clean, names))
        await self.display.say(member_list(room, names))

    async def _show_earlier(self, room: str, count: int) -> None:
        self.buffers.know_epoch(self.chat.welcome.epoch)
        limit = min(count, self.chat.welcome.limits.page)
        buffer = self.buffers.rooms.get(room)
        before = None if buffer is None else buffer.oldest
        await self.display.page(await self.chat.history(room, before=before, limit=limit))

    async def _show_around(self, room: str, seq: int) -> None:
        page = await self.chat.history(
            room, before=None, after=max(0, seq - AROUND), limit=2 * AROUND
        )
        await self.display.page(evolve(page, more=False))

    async def _wish(self, kind: str, word: str | None) -> None:
        if word is None:
            words = ", ".join(sorted(self.journal.wishes[kind])) or "nothing"
            await self.display.say(notice(f"{kind}: {words}"))
            return
        is_on = self.journal.wish(kind, word if kind == "highlight" else parse_name(word))
        self.display.refresh()
        await self.display.say(notice(f"{kind}: {word} is {'on' if is_on else 'off'} the list"))

    async def _leave_all(self) -> None:
        for room in sorted(self.buffers.rooms):
            await self._attempt(partial(self._leave_for_good, room))

    async def _leave_for_good(self, room: str) -> None:
        await self.chat.leave(room)

    def _which(self, room: str | None) -> str:
        """The room that is meant. Raises `BadName`, `NotInRoom`."""
        if room is not None:
            return parse_name(room)
        if self.display.current is None:
            raise NotInRoom("you are in no room; /join ROOM enters one")
        return self.display.current
