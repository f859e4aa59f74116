"""A prompt at the bottom of a terminal, and text above it.

prompt_toolkit runs in a thread of its own: it is asyncio, and trio is outermost here. The
thread is the only thing that is not in a nursery, and it has two seams: what is drawn goes
to its loop with `call_soon_threadsafe`, what is typed comes back with `from_thread`.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from os.path import commonprefix
from typing import TypeVar

import trio
from attrs import define, field, frozen
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, get_app_session, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition, emacs_mode, has_focus, vi_navigation_mode
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import Dimension
from prompt_toolkit.layout.screen import Char
from prompt_toolkit.output import Output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.renderer import CPR_Support, print_formatted_text
from prompt_toolkit.styles import Style

from trio_chat.client.clean import clean
from trio_chat.client.colours import COLOURS
from trio_chat.client.commands import EDITING
from trio_chat.client.editor import edited
from trio_chat.client.lifeline import State
from trio_chat.client.notices import notice
from trio_chat.client.notify import notification
from trio_chat.client.reflow import reflows, rows_gained
from trio_chat.client.status import status_line
from trio_chat.client.surface import Keys, complete_nothing, state_text, take_nothing
from trio_chat.client.view import View
from trio_chat.client.wrap import Fragments, cells, clip, fit, portions
from trio_chat.errors import SetupError
from trio_chat.secret import Secret

STYLE = Style.from_dict(COLOURS)

EXIT_WITHIN = 2.0
"""Seconds for the prompt to clear up behind itself, which takes a few milliseconds."""

TURN = 0.001
"""Seconds that one of the two threads may keep the other one waiting. A key goes through a
dozen calls of the system, after each of which the prompt has to have its turn again: with
the 5 ms that Python gives by default, what is typed in a flood takes 60 ms to appear."""

SHOWN_AS_PENDING = 0.5
"""Seconds after which a text that the server has not answered is shown as such: most are
answered before an eye could see it."""

PENDING_LINES = 5
"""The most texts that are shown as pending."""

OFFERED = 60
"""The most words that Tab shows: more than there are commands, which all are to be seen."""

HINT = "dropped; Up brings it back"
"""After Ctrl-C."""

UNSEEN = 1.0
"""Seconds in which nobody has read what has come back into the prompt: what is typed then
was begun before."""

ROW_BELOW, BACK = "\x1b7\x1b[B", "\x1b8"
"""The sequences of a terminal that keep in mind where the cursor is and move it down, unless
it is in the last row; and that move it back."""

T = TypeVar("T")


@frozen
class _Pending:
    """A text that the server has not answered, and when it was typed."""

    id: str
    text: str
    since: float


@frozen
class _Return:
    """A text that has come back into the prompt, and when."""

    text: str
    at: float


@define(eq=False)
class Screen:
    """A prompt that never goes away, and text above it.

    A `Surface`, whose `take`, `press` and `complete` are called in trio. `room`, `state`:
    what the prompt says. `keys`: whose keys edit what is typed.
    """

    take: Callable[[str], bool] = take_nothing
    press: Callable[[str], bool] = take_nothing
    complete: Callable[[str], Sequence[str]] = complete_nothing
    keys: Keys = "emacs"
    typed: Sequence[str] = ()
    room: str | None = field(default=None, init=False)
    state: State = field(default=State.CONNECTED, init=False)
    lag: float | None = field(default=None, init=False)
    rooms: Fragments = field(factory=list, init=False)
    question: "_Question | None" = field(default=None, init=False)
    _pending: tuple[_Pending, ...] = field(default=(), init=False)
    _return: _Return | None = field(default=None, init=False)
    _width: int = field(default=0, init=False)  # of the terminal, when it was drawn last
    _session: PromptSession[str] = field(init=False)
    _token: trio.lowlevel.TrioToken = field(init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _is_up: trio.Event = field(factory=trio.Event, init=False)
    _is_over: bool = field(default=False, init=False)
    _held: "list[_Drawing] | None" = field(default=None, init=False)  # while covered
    _drawn: "list[_Drawing]" = field(factory=list, init=False)  # and the prompt is not yet
    _in_order: trio.Lock = field(factory=trio.Lock, init=False)

    @property
    def columns(self) -> int:
        """The cells of a line."""
        return max(1, get_app_session().output.get_size().columns)

    def make_view(self, me: str) -> View:
        """Columns, and lines that are broken where they have to be."""
        return View(me)

    async def run(self) -> None:
        """Show the prompt until cancelled, or until the terminal is gone."""
        self._token = trio.lowlevel.current_trio_token()
        self._session = _make_session(self)
        async with trio.open_nursery() as nursery:
            if _hears_signals():
                # The thread, which hears none, would look for itself twice a second.
                self._session.app.terminal_size_polling_interval = None
                nursery.start_soon(self._watch_size)
            await self._run()
            nursery.cancel_scope.cancel(reason="the terminal is gone")

    async def _run(self) -> None:
        ended = trio.Event()
        prompt = partial(self._prompt, ended)
        own_thread = trio.CapacityLimiter(1)
        # From here on nothing but the thread's start comes first, so that it will end too.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            # A stray print must not be drawn over the prompt.
            with patch_stdout(raw=True), _short_turns():
                await trio.to_thread.run_sync(
                    prompt, abandon_on_cancel=True, limiter=own_thread
                )
        finally:
            self._stop()
            # Only then is the terminal again what it was before.
            with trio.move_on_after(EXIT_WITHIN, shield=True):
                await ended.wait()

    async def _watch_size(self) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH) as signals:
            async for _ in signals:
                self._call_soon(self._resize)

    async def show(self, fragments: Fragments) -> bool:
        """Print above the prompt; returns when it has been drawn, and the prompt below it:
        False if the prompt is gone, and it has not.

        To wait for that is what keeps a flood from piling up in the prompt's loop, and from
        being computed while a key is: the two threads would have half of the processor each.
        """
        await self._is_up.wait()
        async with self._in_order:
            for portion in portions(fragments):
                if not await self._show(_Drawing(portion)):
                    return False
        return True

    async def _show(self, drawing: "_Drawing") -> bool:
        if self._call_soon(self._draw_or_hold, drawing):
            await drawing.is_done.wait()
        return drawing.was_drawn

    def tell(self, fragments: Fragments) -> None:
        """Print above the prompt, soon."""
        self._call_soon(self._draw_or_hold, _Drawing(fragments))

    def alert(self, title: str, text: str) -> None:
        """Ring the bell, and notify a person who does not look."""
        self._call_soon(self._alert, notification(os.environ, title, text))

    def set_room(self, room: str | None) -> None:
        """Show another room in the prompt."""
        self.room = room
        self._refresh()

    def set_rooms(self, rooms: Fragments) -> None:
        """Show something else of the rooms in the line above the prompt."""
        if rooms != self.rooms:
            self.rooms = rooms
            self._refresh()

    def set_lag(self, lag: float | None) -> None:
        """Show how many seconds it takes to the server and back."""
        self.lag = lag
        self._refresh()

    def set_state(self, state: State) -> None:
        """Show how the connection is: for the `on_state` of `connect`."""
        self.state = state
        self.lag = None
        self._refresh()
        text = state_text(state)
        if text:
            self.tell([("lost", text)])

    def hold(self, id: str, text: str) -> None:
        """Show that a text is under way, as soon as that takes long."""
        self._pending = (*self._pending, _Pending(id, text, time.monotonic()))
        self._call_soon(self._refresh_later)

    def release(self, id: str) -> None:
        """A text is not under way any more."""
        self._pending = tuple(pending for pending in self._pending if pending.id != id)
        self._refresh()

    def give_back(self, text: str) -> None:
        """Put a text into the prompt, unless something is typed there, or just about to be:
        then it is among what was typed before."""
        self._call_soon(self._give_back, text)

    def offer(self, text: str) -> None:
        """Put a text into the prompt, unless something is typed there."""
        self._call_soon(self._offer, text)

    async def ask_unseen(self, what: str) -> Secret | None:
        """Have a secret typed into the prompt, which shows stars; None after Ctrl-C or an
        empty line. What was half typed is there again afterwards."""
        await self._is_up.wait()
        question = _Question(what)
        try:
            if self._call_soon(self._put_question, question):
                await question.is_answered.wait()
        finally:
            self._call_soon(self._end_question, question)
        return question.answer

    def edit(self, text: str) -> None:
        """Let the person write in an editor, beginning with `text`; what comes of it stands
        in the prompt then."""
        self._call_soon(self._edit, text)

    def prompt(self) -> FormattedText:
        """What stands before the typed text; above it the rooms, and what is pending."""
        above = [] if self._is_over else [*self._pending_lines(), *self._status()]
        return FormattedText([*above, *self._invitation()])

    def prefix(self, line: int, wrapped: int) -> FormattedText:
        """What stands before a line of the typed text, or before its rest where that is
        broken."""
        # prompt_toolkit would look for it in all of the prompt, for each of these lines: a
        # key behind a text of 16 KiB took 50 ms.
        invitation = self._invitation()
        if line == wrapped == 0:
            return FormattedText(invitation)
        return FormattedText([("", " " * sum(cells(text) for _, text in invitation))])

    def _invitation(self) -> list[tuple[str, str]]:
        if self.question is not None:
            asked = f"{self.question.what} (nobody sees it; Ctrl-C gives up): "
            return [("class:prompt", asked)]
        is_away = self.state is State.RECONNECTING
        lost = [("class:lost", " (reconnecting)")] * is_away
        return [("class:prompt", self.room or ""), *lost, ("class:prompt", "> ")]

    def _status(self) -> list[tuple[str, str]]:
        # Above the prompt, and no toolbar of prompt_toolkit, which needs to know where the
        # cursor is.
        line = status_line(self.state, self.lag, self.rooms, self.columns - 1)
        return _classes([*line, ("", "\n")])

    def _pending_lines(self) -> list[tuple[str, str]]:
        now, is_away = time.monotonic(), self.state is State.RECONNECTING
        late = [p for p in self._pending if is_away or now >= p.since + SHOWN_AS_PENDING]
        glance = 4 * self.columns  # of each text; it is drawn with each key
        texts = [" ".join(pending.text[:glance].split()) for pending in late[-PENDING_LINES:]]
        more = len(late) - len(texts)
        shown = [f"… and {more} more"] * bool(more) + [f"… {clean(text)}" for text in texts]
        return [("class:pending", f"{clip(line, self.columns - 1)}\n") for line in shown]

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
        self._uncover()
        app = self._session.app
        if app.is_running and not app.is_done:
            # What is half typed stays to be seen; an empty prompt is only in the way.
            app.erase_when_done = not self._session.default_buffer.text
            app.exit()

    def _draw_or_hold(self, drawing: "_Drawing") -> None:
        if self._held is not None:
            self._held.append(drawing)
            return
        self._drawn.append(drawing)
        try:
            drawing.was_drawn = self._draw(drawing.fragments)
        finally:
            if not drawing.was_drawn:
                self.tell_drawn()

    def tell_drawn(self, _: object = None) -> None:
        """The prompt stands below what was drawn."""
        drawn, self._drawn = self._drawn, []
        for drawing in drawn:
            self._token.run_sync_soon(drawing.is_done.set)

    def _draw(self, fragments: Fragments) -> bool:
        # Not `run_in_terminal`: it gives the keyboard back to the terminal for the moment,
        # which then echoes what is typed just now into the midst of the text.
        app = self._session.app
        if not app.is_running or app.is_done:
            return False
        self.rise()
        app.renderer.erase()
        text = FormattedText([*_classes(fragments), ("", "\n")])
        print_formatted_text(app.output, text, STYLE, color_depth=app.color_depth)
        app.renderer.reset()
        app.invalidate()
        return True

    def _resize(self) -> None:
        app = self._session.app
        if self._held is not None or not app.is_running or app.is_done:
            return
        self.rise()
        app.renderer.erase()
        app.invalidate()

    def rise(self, _: object = None) -> None:
        """Where the terminal has broken lines anew since they were drawn, go up by the rows
        that there are more. A key or a text may come before it is told that it did."""
        before, self._width = self._width, self.columns
        app = self._session.app
        drawn = app.renderer.last_rendered_screen
        if drawn is not None and self._width != before and reflows(os.environ):
            cursor = drawn.get_cursor_position(app.layout.current_window)
            widths = [_width(drawn.data_buffer[row]) for row in range(cursor.y)]
            app.output.cursor_up(rows_gained(widths, cursor.x, self._width))

    def _alert(self, sequence: str) -> None:
        app = self._session.app
        if app.is_running and not app.is_done:
            app.output.bell()
            app.output.write_raw(sequence)
            app.output.flush()

    def _refresh_later(self) -> None:
        self._refresh()
        if self._loop is not None:
            self._loop.call_later(SHOWN_AS_PENDING, self._refresh)

    def _give_back(self, text: str) -> None:
        if self._offer(text):
            self._return = _Return(text, time.monotonic())

    def _offer(self, text: str) -> bool:
        """Is it in the prompt now?"""
        if self.question is not None:  # it is what is typed afterwards
            before = self.question.before
            self.question.before = before if before.text else Document(text)
            return False
        buffer = self._session.default_buffer
        if buffer.text:
            return False
        buffer.insert_text(text)
        return True

    def set_aside(self, buffer: Buffer) -> None:
        """Something was inserted. Behind a text that has come back just now it would be said
        together with that, unseen."""
        back, self._return = self._return, None
        if back is None or time.monotonic() >= back.at + UNSEEN:
            return
        if buffer.text.startswith(back.text):
            typed = buffer.text.removeprefix(back.text)
            buffer.text = back.text
            _drop(buffer)
            buffer.insert_text(typed)

    def _edit(self, text: str) -> None:
        self._offer(text)
        self._open_editor()

    def _open_editor(self) -> None:
        """What happens meanwhile is drawn afterwards."""
        self._held = [] if self._held is None else self._held
        self._session.app.create_background_task(self._let_edit())

    async def _let_edit(self) -> None:
        # Not `open_in_editor`, which takes another editor than the one that was named if
        # that is not there, and says nothing.
        buffer = self._session.default_buffer
        let_edit = partial(edited, buffer.text, os.environ)
        try:
            text = await run_in_terminal(let_edit, in_executor=True)
            buffer.document = Document(text)
        except SetupError as error:
            shown = fit([("error", clean(str(error)))], self.columns)
            self._held = [*(self._held or ()), _Drawing(shown)]
        finally:
            self._uncover()

    def _uncover(self) -> None:
        held, self._held = self._held or [], None
        for drawing in held:
            self._draw_or_hold(drawing)

    def _put_question(self, question: "_Question") -> None:
        question.before = self._session.default_buffer.document
        self._session.default_buffer.reset()
        self.question = question
        self._session.is_password = True
        self._refresh()

    def _end_question(self, question: "_Question", answer: Secret | None = None) -> None:
        if self.question is not question:
            return
        self.question = None
        self._session.is_password = False
        self._session.default_buffer.reset(question.before)
        question.answer = answer
        self._token.run_sync_soon(question.is_answered.set)
        self._refresh()

    def enter(self, event: KeyPressEvent) -> None:
        """The key Enter: the whole text, of however many lines, is one."""
        buffer = event.current_buffer
        if self.question is not None:
            self._end_question(self.question, Secret(buffer.text) if buffer.text else None)
            return
        if self._ask(self.take, buffer.text):
            _drop(buffer)

    def interrupt(self, event: KeyPressEvent) -> None:
        """The key Ctrl-C, as in a shell: what is half typed is not to be said, but not lost;
        a question need not be answered; and where there is nothing to drop, it leaves."""
        if self.question is not None:
            self._end_question(self.question)
        elif event.current_buffer.text:
            _drop(event.current_buffer)
            self._draw(notice(HINT))
        else:
            self._ask(self.press, "/quit")

    def command(self, line: str) -> Callable[[KeyPressEvent], None]:
        """A key that does what a command does, and leaves alone what is typed."""

        def obey(_: KeyPressEvent) -> None:
            self._ask(self.press, line)

        return obey

    def open_editor(self, _: KeyPressEvent) -> None:
        """The keys that go on in an editor with what is typed."""
        self._open_editor()

    def suspend(self, _: KeyPressEvent) -> None:
        """The key Ctrl-Z, as the terminal would do it."""
        # In the main thread, which is stopped when this returns there. In another one it
        # would go on for a moment, and the keyboard be set as a shell wants it too early.
        stop = partial(os.kill, 0, signal.SIGTSTP)
        run_in_terminal(partial(trio.from_thread.run_sync, stop, trio_token=self._token))

    def tab(self, event: KeyPressEvent) -> None:
        """The key Tab: as far as it is clear what is meant, and then what it could be."""
        buffer = event.current_buffer
        before = buffer.document.text_before_cursor
        options = list(self._ask(self.complete, before))
        clear = commonprefix(options)[len(before) :]  # noqa: RUF071 # characters are meant
        if clear:
            buffer.insert_text(clear)
        elif len(options) > 1:
            skip = before.rfind(" ") + 1
            words = [option[skip:].strip() for option in options[:OFFERED]]
            more = len(options) - len(words)
            shown = "  ".join([*words, *[f"… and {more} more"] * bool(more)])
            self._draw(fit(notice(shown), self.columns))

    def _ask(self, question: Callable[[str], T], text: str) -> T:
        return trio.from_thread.run_sync(question, text, trio_token=self._token)


@contextmanager
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(TURN, before))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _hears_signals() -> bool:
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and hasattr(signal, "SIGWINCH")


def _width(row: Mapping[int, Char]) -> int:
    """The cells of a row that was drawn, without the spaces at its end."""
    ends = (column + char.width for column, char in row.items() if not char.char.isspace())
    return max(ends, default=0)


def _classes(fragments: Fragments) -> list[tuple[str, str]]:
    return [(f"class:{style}" if style else "", text) for style, text in fragments]


@define(eq=False)
class _Question:
    """Something that is to be typed unseen; `before`: what was half typed."""

    what: str
    before: Document = field(factory=Document, init=False, repr=False)
    answer: Secret | None = field(default=None, init=False)
    is_answered: trio.Event = field(factory=trio.Event, init=False)


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
        history=InMemoryHistory(screen.typed),
        editing_mode=EditingMode(screen.keys.upper()),
    )
    session.default_buffer.on_text_insert += screen.set_aside
    # Never ask the terminal where its cursor is: what arrives before the answer moves it,
    # and the prompt, which believes the answer, would push everything off the screen.
    session.app.renderer.cpr_support = CPR_Support.NOT_SUPPORTED
    session.layout.current_window.height = _prompt_height
    session.layout.current_window.get_line_prefix = screen.prefix
    if reflows(os.environ):
        _draw_as_it_breaks(session.app.output)
    session.app.before_render += screen.rise
    session.app.after_render += screen.tell_drawn
    return session


def _draw_as_it_breaks(output: Output) -> None:
    """Have prompt_toolkit draw for a terminal that breaks lines anew."""

    def erase_down() -> None:
        # From the first row of its screen on, tmux keeps in the scroll-back what is erased:
        # after a few resizes that was one prompt below the other.
        output.erase_end_of_line()
        output.write_raw(ROW_BELOW)
        erase()
        output.write_raw(BACK)

    def leave_wrapping_on() -> None:
        # What is still on its way while the width changes is broken like all else, then.
        pass

    erase = output.erase_down
    output.erase_down = erase_down  # type: ignore[method-assign]
    output.disable_autowrap = leave_wrapping_on  # type: ignore[method-assign]


def _prompt_height() -> Dimension:
    """A long text scrolls in half of the screen. What others say stays in sight; and were
    all of the screen erased for it, some terminals would keep that in their scroll-back."""
    return Dimension(max=max(3, get_app().output.get_size().rows // 2))


def _make_keys(screen: Screen) -> KeyBindings:
    keys = KeyBindings()
    is_answering = Condition(lambda: screen.question is not None)
    is_typing = has_focus(DEFAULT_BUFFER)
    is_talking = is_typing & ~is_answering
    for key in ("up", "down", "c-p", "c-n", "c-r", "c-s", "tab"):
        keys.add(key, filter=is_typing & is_answering)(_do_nothing)
    keys.add("enter", filter=is_typing)(screen.enter)
    keys.add("escape", "enter", filter=is_typing)(_break_line)
    keys.add("c-c", filter=is_typing)(screen.interrupt)
    keys.add("c-d", filter=is_typing & Condition(_is_empty))(screen.command("/quit"))
    keys.add("tab", filter=is_talking)(screen.tab)
    keys.add("c-u", filter=is_talking & emacs_mode & Condition(_is_editing))(_begin_anew)
    keys.add("c-x", "c-e", filter=is_talking & emacs_mode)(screen.open_editor)
    keys.add("v", filter=is_talking & vi_navigation_mode)(screen.open_editor)
    if hasattr(signal, "SIGTSTP"):  # there is none on Windows
        keys.add("c-z", filter=is_typing)(screen.suspend)
    # In vi's keys Escape and a digit is something else.
    keys.add("escape", "a", filter=is_typing & emacs_mode)(screen.command("/unread"))
    for number in range(1, 10):
        go = screen.command(f"/go {number}")
        keys.add("escape", str(number), filter=is_typing & emacs_mode)(go)
    return keys


def _drop(buffer: Buffer) -> None:
    """Empty the prompt; what stood there can be had back."""
    buffer.reset(append_to_history=bool(buffer.text.strip()))
    buffer.load_history_if_not_yet_loaded()


def _break_line(event: KeyPressEvent) -> None:
    event.current_buffer.insert_text("\n")


def _is_editing() -> bool:
    """Does one edit what one said, in the first line?"""
    before = get_app().current_buffer.document.text_before_cursor
    return before.startswith(EDITING) and before != EDITING and "\n" not in before


def _begin_anew(event: KeyPressEvent) -> None:
    """The key Ctrl-U, once: what is typed next is still said instead of the old text."""
    buffer = event.current_buffer
    erased = buffer.delete_before_cursor(buffer.cursor_position - len(EDITING))
    event.app.clipboard.set_text(erased)


def _do_nothing(_: KeyPressEvent) -> None:
    """A key that would show, or keep, what is not to be seen."""


def _is_empty() -> bool:
    return not get_app().current_buffer.text
