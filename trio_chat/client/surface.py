"""What a person looks at and types into, as far as the rest of the client knows it."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, assert_never

from trio_chat.client.lifeline import State
from trio_chat.client.view import View
from trio_chat.client.wrap import Fragments
from trio_chat.secret import Secret

Keys = Literal["emacs", "vi"]
"""Whose keys edit what is typed."""


class Surface(Protocol):
    """Where there is text to read, and a place to type.

    `take`: called with each line that is typed; False leaves it there, if that can be.
    `press`: likewise, with what a key stands for. `complete`: likewise, with the text
    before the cursor; returns what it may become. None of them may wait. `typed`: what was
    typed in earlier runs.
    """

    take: Callable[[str], bool]
    press: Callable[[str], bool]
    complete: Callable[[str], Sequence[str]]
    typed: Sequence[str]

    @property
    def columns(self) -> int:
        """The cells of a line."""
        ...

    def make_view(self, me: str) -> View:
        """How what happens is written here."""
        ...

    async def run(self) -> None:
        """Read and write until cancelled, or until the terminal is gone."""
        ...

    async def show(self, fragments: Fragments) -> bool:
        """Write a text; returns when it is there: False if it never will be."""
        ...

    def tell(self, fragments: Fragments) -> None:
        """Write a text, soon."""
        ...

    def alert(self, title: str, text: str) -> None:
        """Ring the bell, and notify a person who does not look."""
        ...

    def set_room(self, room: str | None) -> None:
        """Another room is the current one."""
        ...

    def set_rooms(self, rooms: Fragments) -> None:
        """This is so now of all rooms."""
        ...

    def set_lag(self, lag: float | None) -> None:
        """So many seconds it takes to the server and back."""
        ...

    def set_state(self, state: State) -> None:
        """This is how the connection is: for the `on_state` of `connect`."""
        ...

    def hold(self, id: str, text: str) -> None:
        """A text is under way."""
        ...

    def release(self, id: str) -> None:
        """A text is not under way any more."""
        ...

    def give_back(self, text: str) -> None:
        """Put a text that was typed back where one types, unless something else is typed
        there: then it is among what was typed before."""
        ...

    def offer(self, text: str) -> None:
        """Put another text there, to go on with, or show it."""
        ...

    async def ask_unseen(self, what: str) -> Secret | None:
        """Have a secret typed where nobody can read it; None if the person would rather not.
        It is not among what was typed."""
        ...

    def edit(self, text: str) -> None:
        """Let the person write in an editor, beginning with `text`."""
        ...


def take_nothing(_: str) -> bool:
    """Nobody listens yet."""
    return True


def complete_nothing(_: str) -> Sequence[str]:
    """Nobody knows anything yet."""
    return ()


def state_text(state: State) -> str:
    """What to tell of it."""
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
