"""What a person typed → what is wanted. No I/O.

One table has every slash command; parsing, completion and help are made from it.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from difflib import get_close_matches

from attrs import field, frozen

from trio_chat.ages import parse_age
from trio_chat.client.clean import REPLACED
from trio_chat.errors import ChatError, TextTooLong
from trio_chat.messages import (
    Appoint,
    Ban,
    Banish,
    Deed,
    Invite,
    Kick,
    Mute,
    RankName,
    Restrict,
)
from trio_chat.names import NAME_CHARS
from trio_chat.pairs import SIGN

Which = int | str | None
"""A text of the current room: its number; the last one of somebody with that name; or the
last one that is possible."""


@frozen
class Talk:
    """Say `text` in the current room."""

    text: str


@frozen
class Tell:
    """Say `text` to one person, in private."""

    name: str
    text: str


@frozen
class Answer:
    """Say `text` in the current room as the answer to another text."""

    which: Which
    text: str


@frozen
class EditLast:
    """Say `text` instead of what one has said last in the current room; None: have that
    back to go on with."""

    text: str | None


@frozen
class Erase:
    """Take back one's own text."""

    which: Which


@frozen
class PutSign:
    """Put `sign` beside a text of the current room, or take it away again."""

    sign: str
    which: Which


@frozen
class ListTexts:
    """Show the newest texts of the current room, and their numbers."""


@frozen
class SetTopic:
    """Say what the current room is about; None: show it."""

    text: str | None


@frozen
class Enter:
    """Join `room`, or switch to it. One of two is meant by `@` and the other's name. `key`:
    what opens it."""

    room: str
    key: str | None = field(default=None, repr=False)


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
    """Show what happened around event `seq` of `room`; None is the current one."""

    seq: int
    room: str | None


@frozen
class Find:
    """Show where `words` have been said; None: go on with the last ones."""

    words: str | None


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
class Govern:
    """Do what moderators do in the current room, which stands in no `deed` yet. `lasts`: how
    long it holds; None is for ever."""

    deed: Deed
    lasts: timedelta | None = None


@frozen
class ShutOut:
    """Keep somebody out of the whole server, or let it come again. `lasts`: as in `Govern`."""

    request: Banish
    lasts: timedelta | None = None


@frozen
class Lock:
    """Let into the current room who has its key; None: have one typed where nobody sees it."""

    key: str | None = field(default=None, repr=False)


@frozen
class ShowAccess:
    """Show who gets into the current room."""


@frozen
class ShowDeeds:
    """Show the newest `count` things that moderators have done in the current room."""

    count: int


@frozen
class Register:
    """Make one's name one's own."""


@frozen
class ChangePassword:
    """Have another password."""


@frozen
class ListDevices:
    """Show with which devices one can come in."""


@frozen
class ThrowOut:
    """Have the device of that number in the list not come in any more."""

    number: int


@frozen
class ShowHelp:
    """Show the commands."""


@frozen
class Quit:
    """Leave everything."""


Command = (
    Talk
    | Tell
    | Answer
    | EditLast
    | Erase
    | PutSign
    | ListTexts
    | SetTopic
    | Enter
    | Go
    | GoToUnread
    | Exit
    | ListRooms
    | ListMembers
    | ShowEarlier
    | ShowAround
    | Find
    | Wish
    | Edit
    | Govern
    | ShutOut
    | Lock
    | ShowAccess
    | ShowDeeds
    | Register
    | ChangePassword
    | ListDevices
    | ThrowOut
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

SUGGESTED = 3
"""The most commands that could be meant by one that there is not."""

WISHES = ("highlight", "ignore", "mute")
"""The lists of what one is called for, and what not."""


POINTER = ">"
"""Stands before a number or a name, to tell from the text behind it which one is answered.
A text that begins like that is a quotation, which has a space there."""

EDITING = "/edit-last "
"""What stands before the text that one edits."""

NO_TOPIC = "-"
"""The topic that takes the topic away."""


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 16 and int(word) > 0):
        raise ValueError(word)
    return int(word)


def _which(word: str) -> Which:
    word = word.removeprefix(POINTER)
    if word[:1].isdigit():
        return _number(word)
    if not word:
        raise ValueError(word)
    return word


def _answer(text: str | None = None) -> Command:
    if text is None:
        return ListTexts()
    if not text.startswith(POINTER) or text[1:2].isspace():
        return Answer(None, text)
    word, rest = text.split(None, 1)
    return Answer(_which(word), rest)


def _put_sign(sign: str | None = None, which: str | None = None) -> Command:
    if sign is None:
        return ListTexts()
    return PutSign(sign, None if which is None else _which(which))


def _around(*words: str) -> Command:
    *room, seq = words
    return ShowAround(_number(seq), room[0] if room else None)


def _whom(name: str) -> str:
    return name.removeprefix(SIGN)


def _for_a_while(deed: type[Ban | Mute]) -> Callable[..., Command]:
    """With a name, and then for how long or why, or both."""

    def make(name: str, rest: str = "") -> Command:
        lasts, reason = _term(rest)
        return Govern(deed("", _whom(name), reason=reason), lasts)

    return make


def _term(rest: str) -> tuple[timedelta | None, str]:
    """How long, and why. Raises `WrongUse` for what may be a mistyped time: it would be for
    ever."""
    first, _, reason = rest.partition(" ")
    try:
        return parse_age(first), reason.strip()
    except ValueError as exc:
        if first[:1].isdigit():
            raise WrongUse(
                f"{first[:12]} is no time: write a number and s, m, h, d or w, as in 7d"
            ) from exc
        return None, rest


def _shut_out(*, where: bool) -> Callable[..., Command]:
    def make(name: str, rest: str = "") -> Command:
        lasts, reason = _term(rest)
        return ShutOut(Banish(_whom(name), where=where, reason=reason), lasts)

    return make


def _no_more(deed: type[Ban | Mute]) -> Callable[..., Command]:
    return lambda name: Govern(deed("", _whom(name), off=True))


def _appoint(rank: RankName) -> Callable[..., Command]:
    return lambda name: Govern(Appoint("", _whom(name), rank))


def _access(access: str | None = None, key: str | None = None) -> Command:
    if access is None:
        return ShowAccess()
    if access == "key":
        return Lock(key)
    if access not in {"public", "invitation"} or key is not None:
        raise ValueError(access)
    return Govern(Restrict("", "public" if access == "public" else "invitation"))


def _private(name: str) -> str:
    return f"{SIGN}{name.removeprefix(SIGN)}"


@frozen
class _Row:
    """One command of the table: what it takes, and what it makes of it.

    `takes`: a word of each kind; one in brackets may be left out, and TEXT is all the rest.
    `shown`: the same for people, where `make` takes the TEXT apart. `is_open`: one may read
    later what was typed; not so where it may have been a secret.
    """

    name: str
    takes: str
    help: str
    make: Callable[..., Command]
    shown: str | None = None
    is_open: bool = True

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.shown or self.takes}".rstrip()

    @property
    def has_text(self) -> bool:
        """Is it a text that it takes, which may have several lines?"""
        return "TEXT" in self.takes

    def parse(self, rest: str) -> Command:
        """The command with these arguments. Raises `WrongUse`."""
        kinds = self.takes.split()
        words = _split(rest, len(kinds)) if self.has_text else rest.split()
        needed = sum(not kind.startswith("[") for kind in kinds)
        if needed <= len(words) <= len(kinds):
            with suppress(ValueError):
                return self.make(*words)
        raise WrongUse(f"it is used like this: {self.usage} ({self.help})")

    def kind(self, number: int) -> str:
        """What the word of that number is, counted from 0."""
        kinds = self.takes.split()
        if number >= len(kinds) and not self.has_text:
            return ""
        return kinds[min(number, len(kinds) - 1)].strip("[]")


def _split(rest: str, count: int) -> list[str]:
    """So many words, the last of which is a text: it keeps its ends of line."""
    return [word.rstrip() for word in rest.split(None, count - 1)]


def _wish(kind: str) -> Callable[..., Command]:
    return lambda word=None: Wish(kind, word)


_ROWS = (
    _Row("join", "ROOM [KEY]", "enter a room, or go back to it", Enter, is_open=False),
    _Row("leave", "[ROOM]", "leave this room, or another one", lambda room=None: Exit(room)),
    _Row("go", "ROOM", "go to a room that you are in; a number will do", Go),
    _Row("unread", "", "go to the next room with something unread", GoToUnread),
    _Row("rooms", "", "which rooms there are", ListRooms),
    _Row("who", "[ROOM]", "who is here", lambda room=None: ListMembers(room)),
    _Row(
        "msg",
        "NAME TEXT",
        "say something to one person, and nobody else",
        lambda name, text: Tell(name.removeprefix(SIGN), text),
    ),
    _Row(
        "query",
        "NAME",
        "go to the room of you two, @NAME",
        lambda name: Enter(_private(name)),
    ),
    _Row(
        "reply",
        "[TEXT]",
        "answer what was said last; alone: show the texts",
        _answer,
        "[>WHICH] [TEXT]",
    ),
    _Row(
        "react",
        "[SIGN] [WHICH]",
        "put a sign, as 👍, on a text; again: off",
        _put_sign,
        "[SIGN] [>WHICH]",
    ),
    _Row(
        "edit-last",
        "[TEXT]",
        "say what you said last differently; alone: edit it",
        lambda text=None: EditLast(text),
    ),
    _Row(
        "delete",
        "[WHICH]",
        "take back what you said last, or another text",
        lambda which=None: Erase(None if which is None else _which(which)),
        "[>WHICH]",
    ),
    _Row(
        "topic",
        "[TEXT]",
        f"what this room is about; {NO_TOPIC} takes it away",
        lambda text=None: SetTopic(text),
    ),
    _Row(
        "history",
        "[N]",
        "what was said earlier",
        lambda count=str(EARLIER): ShowEarlier(_number(count)),
    ),
    _Row(
        "search",
        "[TEXT]",
        "where these words were said; alone: older ones",
        lambda words=None: Find(words),
        "[WORDS]",
    ),
    _Row("jump", "[ROOM] N", "what happened around number N", _around),
    _Row(
        "highlight", "[WORD]", "be called for a word, too; again: no more", _wish("highlight")
    ),
    _Row("ignore", "[NAME]", "don't show what somebody says; again: do", _wish("ignore")),
    _Row("mute", "[ROOM]", "don't be called by a room; again: do", _wish("mute")),
    _Row(
        "invite",
        "NAME",
        "let somebody into this room, and say so",
        lambda name: Govern(Invite("", _whom(name))),
    ),
    _Row(
        "kick",
        "NAME [TEXT]",
        "put somebody out of this room",
        lambda name, reason="": Govern(Kick("", _whom(name), reason)),
        "NAME [WHY]",
    ),
    _Row(
        "ban",
        "NAME [TEXT]",
        "put somebody out, and keep out",
        _for_a_while(Ban),
        "NAME [7d] [WHY]",
    ),
    _Row("unban", "NAME", "let somebody come again", _no_more(Ban)),
    _Row(
        "silence",
        "NAME [TEXT]",
        "let somebody listen and not speak",
        _for_a_while(Mute),
        "NAME [1h] [WHY]",
    ),
    _Row("unsilence", "NAME", "let somebody speak again", _no_more(Mute)),
    _Row("op", "NAME", "make somebody a moderator of this room", _appoint("moderator")),
    _Row("deop", "NAME", "make somebody a mere member again", _appoint("member")),
    _Row("owner", "NAME", "make somebody an owner of this room", _appoint("owner")),
    _Row(
        "access",
        "[WHO] [TEXT]",
        "who gets in: public, invitation or key; alone: show",
        _access,
        "[WHO] [KEY]",
        is_open=False,
    ),
    _Row(
        "log",
        "[N]",
        "what moderators have done here",
        lambda count=str(EARLIER): ShowDeeds(_number(count)),
    ),
    _Row(
        "banish",
        "NAME [TEXT]",
        "keep a name or an address out of the whole server",
        _shut_out(where=False),
        "NAME [7d] [WHY]",
    ),
    _Row(
        "banish-ip",
        "NAME [TEXT]",
        "keep out whoever comes from where somebody is",
        _shut_out(where=True),
        "NAME [7d]",
    ),
    _Row(
        "unbanish",
        "NAME",
        "let a name or an address come again",
        lambda name: ShutOut(Banish(_whom(name), off=True)),
    ),
    _Row("register", "", "make your name yours, with a password", Register, is_open=False),
    _Row("password", "", "have another password", ChangePassword, is_open=False),
    _Row("devices", "", "where you are logged in", ListDevices),
    _Row(
        "revoke",
        "N",
        "log out the device of that number",
        lambda number: ThrowOut(_number(number)),
    ),
    _Row("edit", "[TEXT]", "write in your $EDITOR", lambda text="": Edit(text)),
    _Row("help", "", "this list", ShowHelp),
    _Row("quit", "", "leave; so do quit and Ctrl-D", Quit),
)
_TABLE = {row.name: row for row in _ROWS}

_COMMAND = re.compile(r"/(\S*)\s*(.*)", re.DOTALL)


def parse_command(typed: str) -> Command | None:
    """What `typed` asks for; None if it is blank.

    Raises `UnknownCommand`, `WrongUse`.
    """
    word = typed.strip()
    if not word:
        return None
    if word == "quit":
        return Quit()
    slash = _COMMAND.fullmatch(word)
    name, rest = slash.groups() if slash else ("", "")
    row = _TABLE.get(name.lower())
    # A pasted block is no command, unless it is one that takes a text of several lines.
    if not slash or ("\n" in word and not (row and row.has_text)):
        return Talk(typed.strip("\n").rstrip())
    if word.startswith("//"):
        return Talk(word[1:])
    if name.isascii() and name.isdigit() and not rest:
        return Go(name)
    if row is None:
        raise UnknownCommand(_suggest(name))
    return row.parse(rest)


def may_be_kept(typed: str) -> bool:
    """May one have it back later? Not what may have a secret in it, also by mistake: what
    begins like a command and is none may be a password behind a slip of the finger."""
    name = _COMMAND.fullmatch(typed.strip())
    if name is None or typed.strip().startswith("//"):
        return True
    row = _TABLE.get(name[1].lower())
    if row is None:
        return name[1].isdigit()
    return row.is_open or (row.name == "join" and len(name[2].split()) <= 1)


def _suggest(name: str) -> str:
    typed = name.lower()[:NAME_CHARS]
    longer = [each for each in _TABLE if typed and each.startswith(typed)]
    near = list(dict.fromkeys([*longer, *get_close_matches(typed, _TABLE)]))[:SUGGESTED]
    meant = " or ".join(f"/{each}" for each in near)
    advice = f"did you mean {meant}?" if near else "/help lists the commands;"
    return f"there is no command /{name[:NAME_CHARS]}; {advice} //… says a text with a slash"


def usages() -> list[tuple[str, str]]:
    """The commands and the keys, and what they are for."""
    return [
        *((row.usage, row.help) for row in _ROWS),
        (f"{POINTER}812 {POINTER}bob", "which text is meant: number 812, or the last of bob"),
        ("//TEXT", "say a text that begins with a slash"),
        *KEYS,
    ]


KEYS = (
    ("Alt-Enter", "begin a new line"),
    ("Ctrl-C", "drop what is typed (Up has it), or leave"),
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
    if word.startswith(SIGN) and not start.startswith("/"):  # somebody is called by name
        options = [f"{_private(name)} " for name in names]
    else:
        options = _words(start, names, rooms, mine)
    return [start + option for option in sorted(options) if option.startswith(word)]


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
            return [f"{sign}{name} " for name in names for sign in ("", POINTER, SIGN)]
        case "WHICH":
            return [f"{POINTER}{name} " for name in names]
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
