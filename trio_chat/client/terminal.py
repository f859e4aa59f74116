"""The person at a terminal: a prompt at the bottom, and what happens above it.

prompt_toolkit runs in a thread of its own: it is asyncio, and trio is outermost here. The
thread is the only thing that is not in a nursery, and it has two seams: what is drawn goes
to its loop with `call_soon_threadsafe`, what is typed comes back with `from_thread`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from os.path import commonprefix
from textwrap import shorten
from typing import TypeVar, assert_never

import trio
from attrs import define, field
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.renderer import CPR_Support, print_formatted_text
from prompt_toolkit.styles import Style

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
from trio_chat.client.journal import Journal, Unsent
from trio_chat.client.lifeline import State
from trio_chat.client.plain import Item, race, show_all
from trio_chat.client.view import Fragments, View, notice
from trio_chat.errors import BadName, ChatError, NotInRoom, Refused, WireError
from trio_chat.names import Name, parse_name

NAMES = (
    "#af5f5f", "#d75f00", "#878700", "#5f8700", "#00875f", "#008787",
    "#0087d7", "#5f5fff", "#875fd7", "#af5faf", "#d70087", "#d75f5f",
)  # fmt: skip
"""Colours that every terminal of 256 has, each at least 3.6 : 1 on black and on white."""

STYLE = Style.from_dict(
    {
        "time": "#808080",
        "room": "#808080",
        "bar": "#808080",
        "dim": "#808080",
        "day": "#808080",
        "lost": "#d75f00",
        "gap": "#d75f00",
        "new": "bold #0087d7",
        "error": "#d70000",
        "notice": "italic",
        "own": "bold",
        "prompt": "bold",
        **{f"name-{number}": colour for number, colour in enumerate(NAMES)},
    }
)

WAITING = 64
"""Commands that wait for the server; beyond that a line stays where it was typed."""

GRACE = 3.0
"""Seconds for what is still under way when a person leaves."""

EXIT_WITHIN = 2.0
"""Seconds for the prompt to clear up behind itself, which takes a few milliseconds."""

CONTEXT = 20
"""Events that are shown again when one comes back to a room: what was talked about."""

REPLAY_WITHIN = 1.0
"""Seconds to wait for what happened before one came: a warning above it would be off the
screen before it was read."""

SHOWN_OF_A_TEXT = 60
"""Characters that tell which text is meant; the arrow key brings back the whole."""

HINT = "Ctrl-D or /quit leaves"

T = TypeVar("T")


# ---------------------------------------------------------------- the screen


def _take_nothing(_: str) -> bool:
    return True


def _complete_nothing(_: str) -> Sequence[str]:
    return ()


@define(eq=False)
class Screen:
    """A prompt that never goes away, and text above it.

    `room`, `state`: what the prompt says. `take`: called in trio with each line that is
    typed; False leaves it in the prompt. `complete`: likewise, with the text before the
    cursor; returns what it may become. Neither may wait.
    """

    take: Callable[[str], bool] = _take_nothing
    complete: Callable[[str], Sequence[str]] = _complete_nothing
    room: str | None = field(default=None, init=False)
    state: State = field(default=State.CONNECTED, init=False)
    _session: PromptSession[str] = field(init=False)
    _token: trio.lowlevel.TrioToken = field(init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _is_up: trio.Event = field(factory=trio.Event, init=False)
    _is_over: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Show the prompt until cancelled, or until the terminal is gone."""
        self._token = trio.lowlevel.current_trio_token()
        self._session = _make_session(self)
        ended = trio.Event()
        prompt = partial(self._prompt, ended)
        own_thread = trio.CapacityLimiter(1)
        # From here on nothing but the thread's start comes first, so that it will end too.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            await trio.to_thread.run_sync(prompt, abandon_on_cancel=True, limiter=own_thread)
        finally:
            self._stop()
            # Only then is the terminal again what it was before.
            with trio.move_on_after(EXIT_WITHIN, shield=True):
                await ended.wait()

    async def show(self, fragments: Fragments) -> bool:
        """Print above the prompt; returns when it has been drawn: False if the prompt is
        gone, and it has not.

        To wait for that is what keeps a flood from piling up in the prompt's loop.
        """
        await self._is_up.wait()
        drawing = _Drawing(fragments)
        if self._call_soon(self._draw_and_tell, drawing):
            await drawing.is_done.wait()
        return drawing.was_drawn

    def tell(self, fragments: Fragments) -> None:
        """Print above the prompt, soon."""
        self._call_soon(self._draw, fragments)

    def set_room(self, room: str | None) -> None:
        """Show another room in the prompt."""
        self.room = room
        self._refresh()

    def set_state(self, state: State) -> None:
        """Show how the connection is: for the `on_state` of `connect`."""
        self.state = state
        self._refresh()
        text = _state_text(state)
        if text:
            self.tell([("lost", text)])

    def prompt(self) -> FormattedText:
        """What stands before the typed text."""
        is_away = self.state is State.RECONNECTING
        lost = [("class:lost", " (reconnecting)")] * is_away
        return FormattedText([("class:prompt", self.room or ""), *lost, ("class:prompt", "> ")])

    def _refresh(self) -> None:
        if self._is_up.is_set():
            self._session.app.invalidate()

    def _stop(self) -> None:
        self._is_over = True
        self._call_soon(self._exit)

    def _call_soon(self, do: Callable[..., object], *args: object) -> bool:
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(do, *args)
        except RuntimeError:  # the prompt is gone, and its loop with it
            return False
        return True

    # ------------------------------------------------------------ in the thread

    def _prompt(self, ended: trio.Event) -> None:
        try:
            self._session.prompt(self.prompt, pre_run=self._start)
        except EOFError:  # the terminal is gone
            pass
        finally:
            self._is_over = True
            self._token.run_sync_soon(ended.set)

    def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._token.run_sync_soon(self._is_up.set)
        if self._is_over:  # `_stop` came before there was a loop to tell
            self._loop.call_soon(self._exit)

    def _exit(self) -> None:
        app = self._session.app
        if app.is_running and not app.is_done:
            # What is half typed stays to be seen; an empty prompt is only in the way.
            app.erase_when_done = not self._session.default_buffer.text
            app.exit()

    def _draw_and_tell(self, drawing: "_Drawing") -> None:
        try:
            drawing.was_drawn = self._draw(drawing.fragments)
        finally:
            self._token.run_sync_soon(drawing.is_done.set)

    def _draw(self, fragments: Fragments) -> bool:
        # Not `run_in_terminal`: it gives the keyboard back to the terminal for the moment,
        # which then echoes what is typed just now into the midst of the text.
        app = self._session.app
        if not app.is_running or app.is_done:
            return False
        app.renderer.erase()
        styled = [(f"class:{style}" if style else "", text) for style, text in fragments]
        print_formatted_text(app.output, FormattedText([*styled, ("", "\n")]), STYLE)
        app.renderer.reset()
        app.invalidate()
        return True

    def enter(self, event: KeyPressEvent) -> None:
        """The key Enter: the whole text, of however many lines, is one."""
        buffer = event.current_buffer
        if self._ask(self.take, buffer.text):
            buffer.reset(append_to_history=bool(buffer.text.strip()))
            buffer.load_history_if_not_yet_loaded()

    def interrupt(self, _: KeyPressEvent) -> None:
        """The key Ctrl-C: out of habit, and no reason to lose what is half typed."""
        self._draw(notice(HINT))

    def leave(self, _: KeyPressEvent) -> None:
        """The key Ctrl-D, where nothing is typed."""
        self._ask(self.take, "/quit")

    def tab(self, event: KeyPressEvent) -> None:
        """The key Tab: as far as it is clear what is meant, and then what it could be."""
        buffer = event.current_buffer
        before = buffer.document.text_before_cursor
        options = list(self._ask(self.complete, before))
        more = commonprefix(options)[len(before) :]  # noqa: RUF071 # characters are meant
        if more:
            buffer.insert_text(more)
        elif len(options) > 1:
            skip = before.rfind(" ") + 1
            self._draw(notice("  ".join(option[skip:].strip() for option in options)))

    def _ask(self, question: Callable[[str], T], text: str) -> T:
        return trio.from_thread.run_sync(question, text, trio_token=self._token)


@define(eq=False)
class _Drawing:
    """Something that somebody waits to see drawn."""

    fragments: Fragments
    is_done: trio.Event = field(factory=trio.Event, init=False)
    was_drawn: bool = field(default=False, init=False)


def _make_session(screen: Screen) -> PromptSession[str]:
    session: PromptSession[str] = PromptSession(
        multiline=True,  # a pasted block stays as it is, and Enter is ours
        key_bindings=_make_keys(screen),
        style=STYLE,
    )
    # Never ask the terminal where its cursor is: what arrives before the answer moves it,
    # and the prompt, which believes the answer, would push everything off the screen.
    session.app.renderer.cpr_support = CPR_Support.NOT_SUPPORTED
    return session


def _make_keys(screen: Screen) -> KeyBindings:
    keys = KeyBindings()
    is_typing = has_focus(DEFAULT_BUFFER)
    keys.add("enter", filter=is_typing)(screen.enter)
    keys.add("escape", "enter", filter=is_typing)(_break_line)
    keys.add("c-c", filter=is_typing)(screen.interrupt)
    keys.add("c-d", filter=is_typing & Condition(_is_empty))(screen.leave)
    keys.add("tab", filter=is_typing)(screen.tab)
    return keys


def _break_line(event: KeyPressEvent) -> None:
    event.current_buffer.insert_text("\n")


def _is_empty() -> bool:
    return not get_app().current_buffer.text


def _state_text(state: State) -> str:
    match state:
        case State.CONNECTED:
            return ""
        case State.RECONNECTING:
            return "the connection is lost; reconnecting …"
        case State.RESUMED:
            return "connected again; what was missed follows"
        case State.AFRESH:
            return "connected again, but the server has another history now"
        case _:
            assert_never(state)


# ---------------------------------------------------------------- the person


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


async def run_terminal(
    chat: Chat, room: str, *, screen: Screen | None = None, journal: Journal | None = None
) -> None:
    """Join `room`, show what happens in the chat and do what is typed, until the person
    leaves with `/quit`, `quit` or Ctrl-D.

    `screen`: one whose `set_state` was given to `connect`, so that it can show when the
    connection is lost. `journal`: what is remembered of the last run, and for the next; to
    write it down, with `keep`, is up to the caller.

    Raises what the join is refused with, and `LinkLost`.
    """
    screen = screen or Screen()
    person = Person(chat, screen, journal or Journal())
    await person.join(room)
    with patch_stdout(raw=True):  # a stray print must not be drawn over the prompt either
        await race(screen.run, partial(show_all, chat, person.show), person.obey)
