"""A prompt at the bottom of a terminal, and text above it.

prompt_toolkit runs in a thread of its own: it is asyncio, and trio is outermost here. The
thread is the only thing that is not in a nursery, and it has two seams: what is drawn goes
to its loop with `call_soon_threadsafe`, what is typed comes back with `from_thread`.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from os.path import commonprefix
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

from trio_chat.client.colours import COLOURS
from trio_chat.client.lifeline import State
from trio_chat.client.view import Fragments, notice

STYLE = Style.from_dict(COLOURS)

EXIT_WITHIN = 2.0
"""Seconds for the prompt to clear up behind itself, which takes a few milliseconds."""

HINT = "Ctrl-D or /quit leaves"

T = TypeVar("T")


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
            with patch_stdout(raw=True):  # a stray print must not be drawn over the prompt
                await trio.to_thread.run_sync(
                    prompt, abandon_on_cancel=True, limiter=own_thread
                )
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
