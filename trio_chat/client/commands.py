"""What a person typed → what is wanted. No I/O.

One table has every slash command; parsing, completion and help are made from it.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
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
class Go:
    """Switch to a room that one is in: its name or number."""

    room: str


@frozen
class GoToUnread:
    """Switch to the next room with something unread."""


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
class ShowAround:
    """Show what happened around event `seq` of the current room."""

    seq: int


@frozen
class Wish:
    """Change what one is called for. `kind`: one of `WISHES`; `word`: put on its list, or
    taken off it; None shows the list."""

    kind: str
    word: str | None


@frozen
class Edit:
    """Write in an editor, beginning with `text`."""

    text: str


@frozen
class ShowHelp:
    """Show the commands."""


@frozen
class Quit:
    """Leave everything."""


Command = (
    Talk
    | Enter
    | Go
    | GoToUnread
    | Exit
    | ListRooms
    | ListMembers
    | ShowEarlier
    | ShowAround
    | Wish
    | Edit
    | ShowHelp
    | Quit
)
"""What a person can want."""


class BadCommand(ChatError):
    """What was typed begins like a command and is none; the text says what could be meant."""


class UnknownCommand(BadCommand):
    """There is no command of that name."""


class WrongUse(BadCommand):
    """The command needs something else behind its name."""


EARLIER = 20
"""Events that `/history` shows if nobody says how many: about a screen."""

WISHES = ("highlight", "ignore", "mute")
"""The lists of what one is called for, and what not."""


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 16 and int(word) > 0):
        raise ValueError(word)
    return int(word)


@frozen
class _Row:
    """One command of the table: what it takes, and what it makes of it.

    `takes`: a word of each kind; one in brackets may be left out, and TEXT is all the rest.
    """

    name: str
    takes: str
    help: str
    make: Callable[..., Command]

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.takes}".rstrip()

    def parse(self, rest: str) -> Command:
        """The command with these arguments. Raises `WrongUse`."""
        kinds = self.takes.split()
        has_text = bool(kinds) and "TEXT" in kinds[-1]
        words = rest.split(None, len(kinds) - 1) if has_text else rest.split()
        needed = sum(not kind.startswith("[") for kind in kinds)
        if needed <= len(words) <= len(kinds):
            with suppress(ValueError):
                return self.make(*words)
        raise WrongUse(f"it is used like this: {self.usage}")

    def kind(self, number: int) -> str:
        """What the word of that number is, counted from 0."""
        kinds = self.takes.split()
        return kinds[number].strip("[]") if number < len(kinds) else ""


def _wish(kind: str) -> Callable[..., Command]:
    return lambda word=None: Wish(kind, word)


_ROWS = (
    _Row("join", "ROOM", "enter a room, or go back to it", Enter),
    _Row("leave", "[ROOM]", "leave this room, or another one", lambda room=None: Exit(room)),
    _Row("go", "ROOM", "go to a room that you are in; a number will do", Go),
    _Row("unread", "", "go to the next room with something unread", GoToUnread),
    _Row("rooms", "", "which rooms there are", ListRooms),
    _Row("who", "[ROOM]", "who is here", lambda room=None: ListMembers(room)),
    _Row(
        "history",
        "[N]",
        "what was said earlier",
        lambda count=str(EARLIER): ShowEarlier(_number(count)),
    ),
    _Row("jump", "N", "what happened around event N", lambda seq: ShowAround(_number(seq))),
    _Row(
        "highlight", "[WORD]", "be called for a word, too; again: no more", _wish("highlight")
    ),
    _Row("ignore", "[NAME]", "don't show what somebody says; again: do", _wish("ignore")),
    _Row("mute", "[ROOM]", "don't be called by a room; again: do", _wish("mute")),
    _Row("edit", "[TEXT]", "write in your $EDITOR", lambda text="": Edit(text)),
    _Row("help", "", "this list", ShowHelp),
    _Row("quit", "", "leave; so does quit, or Ctrl-D", Quit),
)
_TABLE = {row.name: row for row in _ROWS}


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
    name, _, rest = word[1:].partition(" ")
    if name.isascii() and name.isdigit() and not rest:
        return Go(name)
    row = _TABLE.get(name.lower())
    if row is None:
        raise UnknownCommand(_suggest(name))
    return row.parse(rest)


def _suggest(name: str) -> str:
    near = get_close_matches(name.lower()[:NAME_CHARS], _TABLE, n=1)
    meant = f"did you mean /{near[0]}?" if near else "/help lists the commands;"
    return f"there is no command /{name[:NAME_CHARS]}; {meant} //… says a text with a slash"


def usages() -> list[tuple[str, str]]:
    """The commands and the keys, and what they are for."""
    return [
        *((row.usage, row.help) for row in _ROWS),
        ("//TEXT", "say a text that begins with a slash"),
        *KEYS,
    ]


KEYS = (
    ("Alt-Enter", "begin a new line"),
    ("Tab", "complete a name, a room or a command"),
    ("Up, Ctrl-R", "what you have typed before; search in it"),
    ("Alt-1 … Alt-9", "go to a room by its number"),
    ("Alt-A", "go to the next room with something unread"),
    ("Ctrl-_", "undo"),
    ("Ctrl-X Ctrl-E", "go on with this text in your $EDITOR"),
    ("Ctrl-Z", "suspend; fg comes back"),
)
"""The keys that nobody guesses."""


def complete(
    before: str, names: Iterable[str], rooms: Iterable[str], mine: Iterable[str] = ()
) -> list[str]:
    """What the last word before the cursor may become, as the whole text before it.

    `rooms`: all that are known; `mine`: those that one is in.
    """
    start, space, word = before.rpartition(" ")
    start += space
    full = [option for option in _words(start, names, rooms, mine) if option.startswith(word)]
    return [start + option for option in sorted(full)]


def _words(
    start: str, names: Iterable[str], rooms: Iterable[str], mine: Iterable[str]
) -> list[str]:
    if not start.startswith("/"):
        commands = [] if start else [f"/{row.name}{' ' * bool(row.takes)}" for row in _ROWS]
        return commands + [f"{name}{' ' if start else ': '}" for name in names]
    command, *words = start[1:].split() or [""]
    row = _TABLE.get(command)
    match row.kind(len(words)) if row else "":
        case "ROOM":
            return [f"{room} " for room in (mine if command in {"go", "leave"} else rooms)]
        case "NAME" | "TEXT":
            return [f"{name} " for name in names]
        case _:
            return []


def sayable(text: str, limit: int) -> str:
    """`text` in a form that can be sent; `limit`: bytes that the server takes.

    Raises `TextTooLong`, here already: a line that is too long would end the connection.
    """
    encoded = text.replace("\0", REPLACED).encode("utf-8", "replace")
    if len(encoded) > limit:
        raise TextTooLong(f"a text may have {limit} bytes")
    return encoded.decode()
