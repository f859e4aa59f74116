"""What the program itself has to say, as fragments. No I/O."""

import re
from collections.abc import Collection, Iterable, Mapping
from unicodedata import bidirectional
from zlib import crc32

from trio_chat.client.clean import clean
from trio_chat.client.commands import usages
from trio_chat.client.wrap import Fragments, cells
from trio_chat.errors import ChatError
from trio_chat.messages import RoomInfo
from trio_chat.names import NAME_CHARS
from trio_chat.pairs import SIGN, is_private, partner

NAME_COLOURS = 12
"""Styles for names: `name-0`, `name-1` …; more of them could not be told apart."""

LEFT_TO_RIGHT = "\u200e"
"""Looks like nothing and counts as a Latin letter."""

_NAME = rf"[^\s,:]{{1,{NAME_CHARS}}}"
_PRIVATE_ROOM = re.compile(rf"{SIGN}{_NAME},{_NAME}:[\w-]{{1,{NAME_CHARS}}}")
"""The name of a private room in full, amid other words. With bounds, as a server that means
it ill could otherwise have it looked for at length."""


def shown_name(raw: str) -> str:
    """A name, of a person or a room, from a server that may lie."""
    name = clean(raw)
    return name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 1]}…"


def shown_room(raw: str, me: str) -> str:
    """The name of a room; of a private one that of the other person."""
    other = partner(raw, me)
    return shown_name(raw if other is None else f"{SIGN}{other}")


def in_place(name: str) -> str:
    """A name that is shown, in front of what must not change places with it: a terminal
    that knows Hebrew and Arabic writes them, and the numbers behind them, from the right."""
    is_from_right = any(bidirectional(char) in ("R", "AL") for char in name)
    return f"{name}{LEFT_TO_RIGHT}" if is_from_right else name


def name_style(name: str) -> str:
    """The style of a name: the same at any time, on any machine."""
    return f"name-{crc32(name.encode('utf-8', 'replace')) % NAME_COLOURS}"


def notice(text: str) -> Fragments:
    """What there is to know."""
    return [("notice", clean(text, lines=True))]


def invitation(by: str, room: str) -> Fragments:
    """Somebody lets one into a room."""
    return notice(f"{shown_name(by)} invites you; /join {shown_name(room)} enters that room")


def warning(text: str) -> Fragments:
    """What goes wrong, though the chat goes on."""
    return [("lost", clean(text))]


def refusal(error: ChatError, me: str, what: str = "") -> Fragments:
    """An answer that is no, to oneself; `what`: what was not done."""
    # The server knows no other name of a private room than that for both of the two.
    why = _PRIVATE_ROOM.sub(lambda found: shown_room(found[0], me), str(error))
    return [("error", ": ".join(filter(None, [what, clean(why)])))]


def member_list(
    room: str, names: Iterable[str], me: str, moderators: Collection[str] = ()
) -> Fragments:
    """Who is in a room, and who of them looks after it."""
    known = sorted(names, key=shown_name)
    start: Fragments = [("notice", f"{len(known)} in {shown_room(room, me)}: ")]
    for number, name in enumerate(known):
        shown = shown_name(name)
        start += [("notice", ", ")] * (number > 0) + [(name_style(shown), shown)]
        start += [("notice", " (moderator)")] * (name in moderators)
    return start


def room_list(
    rooms: Iterable[RoomInfo], mine: Mapping[str, tuple[int, int]], me: str
) -> Fragments:
    """Which rooms there are, the private ones at the end; `mine`: the number of each that
    one is in, and how much in it is unread."""
    rooms = sorted(rooms, key=lambda info: (is_private(info.room), shown_room(info.room, me)))
    width = max((cells(shown_room(info.room, me)) for info in rooms), default=0)
    lines = [_room_line(info, width, *mine.get(info.room, (0, 0)), me) for info in rooms]
    return [("notice", "\n".join(lines) or "there is no room yet; /join makes one")]


def _room_line(info: RoomInfo, width: int, number: int, unread: int, me: str) -> str:
    news = f", {unread} unread" if unread else ""
    name = shown_room(info.room, me)
    where = f"{number or '':>2} {in_place(name)}{' ' * (width - cells(name))}"
    who = "private" if is_private(info.room) else f"{info.members} here"
    return f"{where}  {who}, {info.head} events{news}"


def topic_line(room: str, topic: str, me: str) -> Fragments:
    """What a room is about."""
    about = f"is about: {clean(topic)}" if topic else "has no topic"
    return [("notice", f"{in_place(shown_room(room, me))} {about}")]


def help_text(columns: int) -> Fragments:
    """The commands, and the keys; on a narrow terminal in two lines each."""
    rows = list(usages())
    width = max(len(usage) for usage, _ in rows) + 2
    if any(width + len(help) > columns for _, help in rows):
        lines = [f"{usage}\n  {help}" for usage, help in rows]
    else:
        lines = [f"{usage:<{width}}{help}" for usage, help in rows]
    return [("notice", "\n".join(lines))]


def join_lines(parts: Iterable[Fragments]) -> Fragments:
    """Several parts, each on lines of its own."""
    joined: Fragments = []
    for part in parts:
        joined += [("", "\n")] * bool(joined) + part
    return joined
