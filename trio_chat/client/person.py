"""The person at a screen: what is typed is done."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import assert_never

import trio
from attrs import define, field, frozen

from trio_chat.client import commands
from trio_chat.client.attention import Attention
from trio_chat.client.buffers import Buffers
from trio_chat.client.chat import Chat
from trio_chat.client.clean import clean
from trio_chat.client.commands import (
    Answer,
    ChangePassword,
    Command,
    Edit,
    EditLast,
    Enter,
    Erase,
    Exit,
    Go,
    GoToUnread,
    Govern,
    ListDevices,
    Lock,
    PutSign,
    Quit,
    Register,
    ShowAccess,
    ShowDeeds,
    ShowHelp,
    ShutOut,
    Talk,
    Tell,
    ThrowOut,
    Wish,
)
from trio_chat.client.display import Display
from trio_chat.client.errands import Errands
from trio_chat.client.feed import Item
from trio_chat.client.governing import Government
from trio_chat.client.journal import Journal, Unsent
from trio_chat.client.notices import help_text, notice, refusal, warning
from trio_chat.client.ownership import Ownership
from trio_chat.client.plain import race
from trio_chat.client.reading import Reading
from trio_chat.client.speech import Speech, messages, short, typed_as
from trio_chat.client.status import SLOW
from trio_chat.client.surface import Surface
from trio_chat.errors import ChatError, NoSuchEvent, NotInRoom, Refused, WireError
from trio_chat.messages import Event, RoomState, Say
from trio_chat.names import parse_name
from trio_chat.pairs import SIGN, is_private, parse_room

WAITING = 64
"""Commands that wait for the server; beyond that a line stays where it was typed."""

GRACE = 3.0
"""Seconds for what is still under way when a person leaves."""

REPLAY_WITHIN = 1.0
"""Seconds to wait for what happened before one came: a warning above it would be off the
screen before it was read."""

LAG_EVERY, SLOW_LAG_EVERY = 30.0, 2.0
"""Seconds between two looks at how long the server takes, and where that is long."""

MET = 16
"""Private rooms of which one has heard just now, and knows not yet what was said before."""

Local = Go | GoToUnread | Wish | Edit | ShowHelp
"""What is done without the server, and so without waiting for it."""

ANYWHERE = Enter | Go | GoToUnread | Tell | Wish | Edit | ShowHelp
"""What means the same wherever one is."""

ELSEWHERE = "you are not any more where you began this; once more, and it is done here"
"""Told to who was put out of a room while typing: what was meant for few may not be for all."""

NOT_THERE = "you did not get to where this may be meant for; once more, and it is done here"
"""Told to who types on behind the name of a person that can't be one."""

Spoken = Talk | Answer | EditLast
"""What is said, or said differently, where one is."""


@frozen
class _Want:
    """Something that waits for its turn. `here`: the room that it is for; None: that is not
    known, but will be where one is when the joins before it have been answered. `line`: what
    was typed."""

    command: Command | Unsent
    here: str | None = None
    line: str = ""


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
    errands: Errands = field(init=False)
    government: Government = field(init=False)
    ownership: Ownership = field(init=False)
    reading: Reading = field(init=False)
    speech: Speech = field(init=False)
    _target: str | None = field(default=None, init=False)  # where the next text will belong
    _unsure: int = field(default=0, init=False)  # that wait, for a room that is not known
    _is_astray: bool = field(default=False, init=False)  # one has meant to be elsewhere
    _undone: int = field(default=0, init=False)  # that wait, or are being done
    _wants: trio.MemorySendChannel[_Want] = field(init=False)
    _wanted: trio.MemoryReceiveChannel[_Want] = field(init=False)
    _locals: trio.MemorySendChannel[Local] = field(init=False)
    _local: trio.MemoryReceiveChannel[Local] = field(init=False)
    _met: trio.MemorySendChannel[tuple[str, int]] = field(init=False)
    _meetings: trio.MemoryReceiveChannel[tuple[str, int]] = field(init=False)
    _has_shown: trio.Event = field(factory=trio.Event, init=False)
    _is_leaving: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        me, lists = self.chat.name, self.journal.wishes
        attention = Attention(me, *(lists.setdefault(kind, set()) for kind in commands.WISHES))
        self.display = Display(
            self.screen,
            self.journal,
            Buffers(attention),
            self.screen.make_view(me),
            self.chat.is_in,
        )
        self.errands = Errands(self.chat, self.display, self.journal)
        self.government = Government(self.chat, self.display)
        self.ownership = Ownership(self.chat, self.display)
        self.speech = Speech(self.chat, self.screen, self.journal)
        self.reading = Reading(self.chat)
        self._know_welcome()
        self._wants, self._wanted = trio.open_memory_channel(WAITING)
        self._locals, self._local = trio.open_memory_channel(WAITING)
        self._met, self._meetings = trio.open_memory_channel(MET)
        self.display.on_seen = self.reading.see
        self.display.on_met = self._meet
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
        welcome = self.chat.welcome
        if self.buffers.know_epoch(welcome.epoch):
            self.reading.forget()
            for state in welcome.rooms:
                self.reading.know(state.room, state.read)
        self.journal.know(welcome)

    def _meet(self, room: str, seq: int) -> None:
        with suppress(trio.WouldBlock):  # /history has it, too
            self._met.send_nowait((room, seq))

    # ------------------------------------------------------------ hearing

    def take(self, line: str) -> bool:
        """Take a line that was typed; False if it is to stay where it was typed."""
        is_taken = self.press(line)
        if is_taken and line.strip() and commands.may_be_kept(line):
            self.journal.recall(line)
        return is_taken

    def press(self, line: str) -> bool:
        """Take a line that a key stands for; False, and a word why, if too many wait already,
        it may be meant for elsewhere, or it leads to whom there can't be."""
        command: Command | None = None
        try:
            command = commands.parse_command(line)
            if isinstance(command, Quit):
                self._wants.close()
                self._is_leaving.set()
            elif command is not None:
                if not isinstance(command, ANYWHERE) and (doubt := self._doubt()):
                    self.screen.tell(notice(f"not done: {doubt}"))
                    return False
                self._want(command, line)
                self._is_astray &= not isinstance(command, Enter | Go | GoToUnread)
        except (commands.BadCommand, Refused) as error:
            self.screen.tell(refusal(error, self.chat.name))
            if isinstance(command, Enter) and is_private(command.room):
                self._is_astray = True  # what comes next is for one
                return False
        except trio.WouldBlock:
            self.screen.tell(notice(f"{WAITING} lines wait for the server; try again later"))
            return False
        except trio.ClosedResourceError:  # leaving already
            return False
        return True

    def _doubt(self) -> str:
        """Why what is typed now may be meant for elsewhere, unless one was told before."""
        if self._is_astray:
            self._is_astray = False
            return NOT_THERE
        return ELSEWHERE if self._was_moved() else ""

    def _was_moved(self) -> bool:
        """Was one put out of where one was, and is asked now for the first time?"""
        if self._unsure:
            return False
        room, self.display.put_out_of = self.display.put_out_of, None
        is_moved = room is not None and room == self._target
        if is_moved:
            self._target = self.display.current or next(iter(self.buffers.rooms), None)
        return is_moved

    def _want(self, command: Command, line: str) -> None:
        if isinstance(command, Enter) and self.buffers.find(command.room) in self.buffers.rooms:
            command = Go(command.room)
        is_sure = not self._unsure
        if self._target is not None:  # a private room may have got its name
            self._target = self.buffers.find(self._target) or self._target
        # What is meant for one is, whatever happens, for nobody else.
        is_for_one = self._target is not None and is_private(self._target)
        here = self._target if is_sure or is_for_one else None
        match command:
            case Tell(name, text):
                meant = f"{SIGN}{parse_name(name)}"
                room = self.buffers.find(meant) or meant
                self._wait_to_say(self.speech.add(room, text), room)
            case Talk(text) if self._target is not None:
                self._wait_to_say(self.speech.add(self._target, text), here, line)
            case Answer() | EditLast() if is_sure and self._target is not None:
                unsent = self._note(command, self._target)
                if unsent is not None:
                    self._wait_to_say(unsent, here)
            case Go(room) if is_sure:
                self._target = self.buffers.find(room) or self._target
                self._locals.send_nowait(command)
            case GoToUnread() if is_sure:
                self._target = self.buffers.next_unread() or self._target
                self._locals.send_nowait(command)
            case Wish() | Edit() | ShowHelp():
                self._locals.send_nowait(command)
            case Enter() | Exit() | Go() | GoToUnread():
                target = self._foresee(command)
                self._wait(_Want(command, line=line))
                self._target = target
            case errand if is_sure and self._target is not None:
                self._wait(_Want(self._settle_text(errand, self._target), here))
            case late:
                self._wait(_Want(late, here, line))

    def _wait(self, want: _Want) -> None:
        self._wants.send_nowait(want)
        self._unsure += want.here is None
        self._undone += not isinstance(want.command, Unsent)

    def _wait_to_say(self, unsent: Unsent, here: str | None, line: str = "") -> None:
        try:
            self._wait(_Want(unsent, here, line))
        except (trio.WouldBlock, trio.ClosedResourceError):
            self.speech.drop(unsent)
            raise

    def _settle_text(self, command: Command, room: str) -> Command:
        """Which text is meant is settled now: others may say something before its turn."""
        match command:
            case Erase(which):
                return Erase(self.errands.text(room, which, is_own=True))
            case PutSign(sign, which):
                return PutSign(sign, self.errands.text(room, which))
            case _:
                return command

    def _note(self, spoken: Spoken, room: str) -> Unsent | None:
        """The text that is to be said; None if one has to go on with it first."""
        match spoken:
            case Talk(text):
                return self.speech.add(room, text)
            case Answer(which, text):
                seq = self.errands.text(room, which)
                return self.speech.add(room, text, reply_to=seq)
            case EditLast(text):
                seq = self._own_last(room)
                if text is not None:
                    return self.speech.add(room, text, edits=seq)
                self.screen.offer(f"{commands.EDITING}{self.buffers.open(room).text(seq)}")
                return None

    def _own_last(self, room: str) -> int:
        if any(unsent.room == room for unsent in self.journal.unsent.values()):
            raise NoSuchEvent(
                "what you have said last is not stored yet; then it can be edited"
            )
        return self.errands.text(room, None, is_own=True)

    def _foresee(self, command: Enter | Exit | Go | GoToUnread) -> str | None:
        """Where the next text will belong, so that the journal knows while the server does
        not answer. Where it is said is decided when its turn has come. Raises `BadName`."""
        match command:
            case Enter(room):
                return parse_room(room)
            case Go(room):
                return self.buffers.find(room) or self._target
            case Exit(room) if room is None or self.buffers.find(room) == self._target:
                return next((name for name in self.buffers.rooms if name != self._target), None)
            case _:
                return self._target

    def complete(self, before: str) -> Sequence[str]:
        """What the text before the cursor may become."""
        mine = [self.buffers.title(room) for room in self.buffers.rooms]
        return commands.complete(before, self.buffers.names, {*self.errands.known, *mine}, mine)

    async def show(self, batch: Sequence[Item]) -> None:
        """Show what happened."""
        self._know_welcome()
        await self.display.show(batch)
        self._has_shown.set()

    # ------------------------------------------------------------ doing

    async def obey(self) -> None:
        """Do what was typed, until that is to leave."""
        try:
            await race(
                self._work,
                self._work_alone,
                self._watch_lag,
                self._have_contexts,
                self.reading.keep_telling,
                self._run_out_of_time,
            )
            await self._tell_what_was_not_done()
            with trio.move_on_after(GRACE):
                await self.reading.tell()
                await self._leave_all()
        except ChatError:  # raised by `show_all` too, after all that came has been shown
            await trio.sleep_forever()

    async def join(self, room: str) -> None:
        """Enter a room, and talk there from now on. Raises `Refused`."""
        self._target = await self.errands.join(room)

    async def _work(self) -> None:
        await self._begin()
        async for want in self._wanted:
            if self._is_out_of_place(want):
                await self._refuse(want)
            else:
                await self._do_in_turn(want)
            self._undone -= not isinstance(want.command, Unsent)

    async def _do_in_turn(self, want: _Want) -> None:
        match want.command:
            case Unsent() as unsent:
                self._settle(want)
                await self._say(unsent, is_sure=want.here is not None)
            case Talk() | Answer() | EditLast() as spoken:  # typed where was not known
                self._settle(want)
                await self._speak(spoken, want)
            case Enter() | Exit() | Go() | GoToUnread() as move:
                await self._attempt(partial(self._do, move, want.here))
                self._settle(want)
            case command:
                self._settle(want)
                await self._attempt(partial(self._do, command, want.here))

    def _settle(self, want: _Want) -> None:
        """What came before is done; where nothing else waits, there is nothing to foresee."""
        self._unsure -= want.here is None
        if want.here is None and not self._unsure:
            self._target = self.display.put_out_of or self.display.current

    def _is_out_of_place(self, want: _Want) -> bool:
        """Was it begun where one was put out since?"""
        is_anywhere = want.here is not None or isinstance(want.command, ANYWHERE)
        return self.display.put_out_of is not None and not is_anywhere

    async def _refuse(self, want: _Want) -> None:
        if self._unsure == 1:  # nothing else waits that was begun there
            self.display.put_out_of = None
        self._settle(want)
        if isinstance(want.command, Unsent):
            self.speech.drop(want.command)
        if isinstance(want.command, Unsent | Spoken):
            self.screen.give_back(want.line)
        what = _what_was_not_done(want)
        await self.display.say(refusal(NotInRoom(ELSEWHERE), self.chat.name, what))

    async def _work_alone(self) -> None:
        async for command in self._local:
            await self._attempt(partial(self._do_here, command))
        await trio.sleep_forever()

    async def _have_contexts(self) -> None:
        async for room, seq in self._meetings:
            await self.errands.have_context(room, seq)

    async def _watch_lag(self) -> None:
        while True:
            lag = await self.chat.ping()
            self.screen.set_lag(lag)
            await trio.sleep(LAG_EVERY if lag < SLOW else SLOW_LAG_EVERY)

    async def _run_out_of_time(self) -> None:
        await self._is_leaving.wait()
        await trio.sleep(GRACE)

    async def _tell_what_was_not_done(self) -> None:
        await self.speech.tell_what_was_not_said()
        if self._undone:
            what = "a command" if self._undone == 1 else f"{self._undone} commands"
            told = f"the server does not answer; maybe not done: {what}"
            await self.screen.show(notice(told))

    async def _attempt(self, do: Callable[[], Awaitable[None]], what: str = "") -> bool:
        """Do something; if it is refused, show why, and `what` was not done."""
        try:
            await do()
        except (Refused, WireError) as error:
            if error is self.chat.failure:  # it is not the thing that was refused
                raise
            await self.display.say(refusal(error, self.chat.name, what))
            return False
        return True

    # ------------------------------------------------------------ from last time

    async def _begin(self) -> None:
        """Go on where the last run has ended: in its rooms, with its unsent texts."""
        if self.journal.trouble is not None:
            await self._warn(self.journal.trouble)
        if self.display.current is not None:
            await self.errands.show_topic(self.display.current)
        for room in self._rooms_of_last_time():
            told = f"not back in {clean(self.buffers.title(room))}"
            await self._attempt(partial(self._come_back, room), told)
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
            where = clean(self.buffers.title(unsent.room))
            what = f"not said in {where}: {clean(unsent.text, lines=True)}"
            await self._attempt(partial(self._say_now, unsent), what)

    def _rooms_of_last_time(self) -> Iterable[str]:
        """Those in which the others still see one, private ones where something is unread,
        and those where there is something to be said."""
        states = self.chat.welcome.rooms
        remembered = [s.room for s in states if not is_private(s.room) or self._is_unread(s)]
        unsent = [unsent.room for unsent in self.speech.left]
        # What is said in private is heard without one's being there.
        return dict.fromkeys([*remembered, *(room for room in unsent if not is_private(room))])

    def _is_unread(self, state: RoomState) -> bool:
        return state.head > self.errands.has_seen(state.room)

    async def _come_back(self, room: str) -> None:
        await self.errands.learn(await self.errands.enter(parse_room(room)))

    # ------------------------------------------------------------ what was typed

    async def _do(self, command: Command, here: str | None) -> None:
        here = here or self.display.current
        match command:
            case Go() | GoToUnread() | Wish() | Edit() | ShowHelp():
                await self._do_here(command)
            case Talk() | Answer() | EditLast() | Tell() | Quit():
                pass  # dealt with before they get here
            case Govern() | ShutOut() | Lock() | ShowAccess() | ShowDeeds():
                await self.government.do(command, self.errands.which(None, here))
            case Register() | ChangePassword() | ListDevices() | ThrowOut():
                await self.ownership.do(command)
            case errand:
                await self.errands.do(errand, here)

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
                await self.display.say(help_text(self.screen.columns))
            case _:
                assert_never(command)

    async def _say(self, unsent: Unsent, *, is_sure: bool) -> None:
        here = unsent.room if is_sure else self.display.current or unsent.room

        async def say() -> None:
            try:
                await self._say_now(self.journal.move(unsent, here))
            except (Refused, WireError) as error:
                if error is not self.chat.failure:
                    self._give_back(unsent, is_sure=is_sure)
                raise

        await self._attempt(say, f"not said: {short(unsent.text)}")

    async def _say_now(self, unsent: Unsent) -> None:
        seq = await self.speech.say(unsent)
        if unsent.edits is None:
            # A private room may have got its name meanwhile.
            room = self.buffers.find(unsent.room) or unsent.room
            say = Say(room, unsent.text, unsent.id, unsent.reply_to)
            await self.display.confirm(Event(seq, datetime.now(UTC), self.chat.name, say))

    def _give_back(self, unsent: Unsent, *, is_sure: bool) -> None:
        # What was typed where that was not known is for where one is.
        current = self.display.current if is_sure else unsent.room
        line = typed_as(unsent, current, self.chat.name)
        if line is not None:
            self.screen.give_back(line)

    async def _speak(self, spoken: Spoken, want: _Want) -> None:
        async def speak() -> None:
            try:
                room = self.errands.which(None, want.here or self.display.current)
                unsent = self._note(spoken, room)
            except Refused:
                if want.here is None:  # what was for one, all would hear
                    self.screen.give_back(want.line)
                raise
            if unsent is not None:
                await self._say(unsent, is_sure=True)

        await self._attempt(speak, _what_was_not_done(want))

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

    async def _wish(self, kind: str, word: str | None) -> None:
        if word is None:
            words = ", ".join(sorted(self.journal.wishes[kind])) or "nothing"
            await self.display.say(notice(f"{kind}: {words}"))
            return
        meant = word if kind == "highlight" else parse_room(word)
        is_on = self.journal.wish(kind, meant)
        self.display.refresh()
        await self.display.say(notice(f"{kind}: {word} is {'on' if is_on else 'off'} the list"))

    async def _leave_all(self) -> None:
        for room in sorted(self.buffers.rooms):
            if not is_private(room):  # which nobody sees one leave
                await self._attempt(partial(self._leave_for_good, room))

    async def _leave_for_good(self, room: str) -> None:
        await self.chat.leave(room)


def _what_was_not_done(want: _Want) -> str:
    match want.command:
        case Unsent(text=text) | Talk(text) | Answer(text=text) | EditLast(str(text)):
            return f"not said: {short(text)}"
        case _:  # but for what may be a secret
            line = want.line
            shown = line if commands.may_be_kept(line) else line.split(maxsplit=1)[0]
            return f"not done: {short(shown)}"
