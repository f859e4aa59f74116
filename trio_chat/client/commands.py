"""What a person typed → what is wanted. No I/O.

One table has every slash command; parsing, completion and help are made from it.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches

from attrs import frozen

from trio_chat.client.clean import REPLACED
from trio_chat.errors import ChatError, TextTooLong
from trio_chat.names import NAME_CHARS


@frozen
class Talk:
    """Say `text` in the current room."""

    text: str


@frozen
class Enter:
    """Join `room`, or switch to it."""

    room: str


@frozen
class Exit:
    """Leave `room`; None is the current one."""

    room: str | None


@frozen
class ListRooms:
    """Show which rooms there are."""


@frozen
class ListMembers:
    """Show who is in `room`; None is the current one."""

    room: str | None


@frozen
class ShowEarlier:
    """Show `count` events before the first that is shown of the current room."""

    count: int


@frozen
class ShowHelp:
    """Show the commands."""


@frozen
class Quit:
    """Leave everything."""


Command = Talk | Enter | Exit | ListRooms | ListMembers | ShowEarlier | ShowHelp | Quit
"""What a person can want."""


class BadCommand(ChatError):
    """What was typed begins like a command and is none; the text says what could be meant."""


class UnknownCommand(BadCommand):
    """There is no command of that name."""


class WrongUse(BadCommand):
    """The command needs something else behind its name."""


EARLIER = 20
"""Events that `/history` shows if nobody says how many: about a screen."""


def _number(word: str) -> Command:
    if not (word.isascii() and word.isdigit() and len(word) < 10 and int(word) > 0):
        raise ValueError(word)
    return ShowEarlier(int(word))


@frozen
class _Row:
    """One command of the table. `bare`: made without an argument; `given`: with one."""

    name: str
    argument: str
    help: str
    bare: Callable[[], Command] | None = None
    given: Callable[[str], Command] | None = None

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.argument}".rstrip()

    def make(self, words: list[str]) -> Command:
        """The command with these arguments. Raises `WrongUse`."""
        try:
            match words:
                case [] if self.bare is not None:
                    return self.bare()
                case [word] if self.given is not None:
                    return self.given(word)
        except ValueError:
            pass
        raise WrongUse(f"it is used like this: {self.usage}")


_ROWS = (
    _Row("join", "ROOM", "enter a room, or go back to it", given=Enter),
    _Row("leave", "[ROOM]", "leave this room, or another one", lambda: Exit(None), Exit),
    _Row("rooms", "", "which rooms there are", ListRooms),
    _Row("who", "[ROOM]", "who is here", lambda: ListMembers(None), ListMembers),
    _Row("history", "[N]", "what was said earlier", lambda: ShowEarlier(EARLIER), _number),
    _Row("help", "", "this list", ShowHelp),
    _Row("quit", "", "leave; so does quit, or Ctrl-D", Quit),
)
_TABLE = {row.name: row for row in _ROWS}

_TAKES_ROOM = {row.name for row in _ROWS if "ROOM" in row.argument}


def parse_command(typed: str) -> Command | None:
    """What `typed` asks for; None if it is blank.

    Raises `UnknownCommand`, `WrongUse`.
    """
    word = typed.strip()
    if not word:
        return None
    if word == "quit":
        return Quit()
    if not word.startswith("/") or "\n" in word:  # a pasted block is never a command
        return Talk(typed.strip("\n").rstrip())
    if word.startswith("//"):
        return Talk(word[1:])
    name, *words = word[1:].split() or [""]
    row = _TABLE.get(name.lower())
    if row is None:
        raise UnknownCommand(_suggest(name))
    return row.make(words)


def _suggest(name: str) -> str:
    near = get_close_matches(name.lower()[:NAME_CHARS], _TABLE, n=1)
    meant = f"did you mean /{near[0]}?" if near else "/help lists the commands;"
    return f"there is no command /{name[:NAME_CHARS]}; {meant} //… says a text with a slash"


def usages() -> list[tuple[str, str]]:
    """The commands and the keys, and what they are for."""
    return [
        *((row.usage, row.help) for row in _ROWS),
        ("//TEXT", "say a text that begins with a slash"),
        ("Alt-Enter", "begin a new line"),
        ("Tab", "complete a name, a room or a command"),
    ]


def complete(before: str, names: Iterable[str], rooms: Iterable[str]) -> list[str]:
    """What the last word before the cursor may become, as the whole text before it."""
    start, space, word = before.rpartition(" ")
    start += space
    full = [option for option in _words(start, names, rooms) if option.startswith(word)]
    return [start + option for option in sorted(full)]


def _words(start: str, names: Iterable[str], rooms: Iterable[str]) -> list[str]:
    command = start.strip().removeprefix("/")
    if start.startswith("/"):
        return [f"{room} " for room in rooms] if command in _TAKES_ROOM else []
    after = " " if start else ": "
    commands = [] if start else [f"/{row.name}{' ' * bool(row.argument)}" for row in _ROWS]
    return commands + [f"{name}{after}" for name in names]


def sayable(text: str, limit: int) -> str:
    """`text` in a form that can be sent; `limit`: bytes that the server takes.

    Raises `TextTooLong`, here already: a line that is too long would end the connection.
    """
    encoded = text.replace("\0", REPLACED).encode("utf-8", "replace")
    if len(encoded) > limit:
        raise TextTooLong(f"a text may have {limit} bytes")
    return encoded.decode()
