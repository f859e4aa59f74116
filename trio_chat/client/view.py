"""What happened → what a person reads. No I/O.

A view makes *fragments*: pairs of a style's name and a text. Nothing of what others wrote
is ever parsed as markup, and all of it goes through `clean`; a name can't be a colour and
a text can't be a line that somebody else seems to have said.
"""

from collections.abc import Iterable
from datetime import date, datetime, tzinfo
from typing import assert_never
from zlib import crc32

from attrs import define, evolve, field, frozen

from trio_chat.client.clean import clean
from trio_chat.client.commands import usages
from trio_chat.errors import ChatError
from trio_chat.messages import Event, Gap, Join, Leave, Page, RoomInfo, Say
from trio_chat.names import NAME_CHARS

Fragments = list[tuple[str, str]]
"""Pieces of text, each after the name of its style; without a line end at the end."""

NAME_COLOURS = 12
"""Styles for names: `name-0`, `name-1` …; more of them could not be told apart."""

NARROWEST, WIDEST = 6, 16
"""The column of names grows within these, so that most names stand in line and a single
long one does not push the texts away."""

NAMES_KNOWN = 1000
"""The most names that are offered for completion."""


@frozen
class _Missed:
    """What happened in a room while one was away: after event `after`, up to `until`, which
    is None while one does not know."""

    after: int
    until: int | None = None


@define(eq=False)
class View:
    """What one person sees.

    `me`: one's own name. `zone`: for the times; None is this machine's. `rooms`: those
    joined; with more than one, each line says which. `oldest`: the first `seq` shown of
    each room. `names`: those that have been seen.
    """

    me: str
    zone: tzinfo | None = None
    rooms: set[str] = field(factory=set, init=False)
    oldest: dict[str, int] = field(factory=dict, init=False)
    names: set[str] = field(factory=set, init=False)
    _missed: dict[str, _Missed] = field(factory=dict, init=False)
    _epoch: str | None = field(default=None, init=False)
    _day: date | None = field(default=None, init=False)
    _width: int = field(default=NARROWEST, init=False)

    def expect(self, room: str, after: int) -> None:
        """One is about to join a room, where one has seen everything up to event `after`."""
        self._missed[room] = _Missed(after)

    def arrive(self, room: str, seq: int) -> None:
        """One has joined with event `seq`; what happens later is seen as it happens."""
        self.rooms.add(room)
        if room in self._missed:
            self._missed[room] = evolve(self._missed[room], until=seq)

    def show(self, item: Event | Gap) -> Fragments:
        """The line or lines for what happened, with a line above the first that was missed."""
        room = room_of(item)
        if not self._begins_news(room, item):
            return self._lines(item)
        del self._missed[room]
        where = f" in {_name(room)}" if len(self.rooms | {room}) > 1 else ""
        return [("new", f"──── new{where} ────\n"), *self._lines(item)]

    def _begins_news(self, room: str, item: Event | Gap) -> bool:
        """Is it something that others did while one was away?"""
        missed, last = self._missed.get(room), last_seq(item)
        if missed is None or last <= missed.after:
            return False
        if missed.until is not None and last > missed.until:
            return False
        return isinstance(item, Gap) or item.by != self.me

    def _lines(self, item: Event | Gap) -> Fragments:
        match item:
            case Event():
                return self._event(item)
            case Gap():
                return [("gap", f"── {_gap(item)} ──")]
            case _:
                assert_never(item)

    def page(self, page: Page) -> Fragments:
        """A page of what happened earlier, with its own dates and a frame around it."""
        room, now = _name(page.room), self._day
        if not page.events and page.gap is None:
            return notice(f"there is nothing earlier in {room}")
        self._day = None
        items: list[Event | Gap] = [*filter(None, [page.gap]), *page.events]
        start: Fragments = [("gap", f"── earlier in {room} ──")]
        end = f"── that was earlier in {room}{'; /history for more' * page.more} ──"
        shown = join_lines([start, *map(self._lines, items), [("gap", end)]])
        self._day = now
        return shown

    def meet(self, names: Iterable[str]) -> None:
        """Know these names, for completion."""
        for name in names:
            if len(self.names) < NAMES_KNOWN:
                self.names.add(_name(name))

    def leave(self, room: str) -> None:
        """One is not in that room any more."""
        self.rooms.discard(room)
        self.oldest.pop(room, None)
        self._missed.pop(room, None)

    def know_epoch(self, epoch: str) -> None:
        """Which history this is; with another one the numbers mean something else."""
        if epoch != self._epoch:
            self._epoch = epoch
            self.oldest.clear()
            self._missed.clear()

    def line(self, item: Event | Gap) -> str:
        """One line without style, for a pipe or a file."""
        if isinstance(item, Gap):
            return f"* {_gap(item)}"
        stamp = f"{self._local(item.at):%Y-%m-%d %H:%M:%S}"
        by, post = _name(item.by), item.message
        match post:
            case Say():
                body = " ⏎ ".join(clean(post.text, lines=True).split("\n"))
                return f"{stamp} {by}: {body}"
            case Join() | Leave():
                return f"{stamp} * {by} {_moved(post)}"
            case _:
                assert_never(post)

    def _event(self, event: Event) -> Fragments:
        self._note(event)
        at = self._local(event.at)
        day = (
            [] if at.date() == self._day else [("day", f"── {at:%A}, {at.day} {at:%B %Y} ──\n")]
        )
        self._day = at.date()
        margin = [("time", f"{at:%H:%M} "), *self._room(event.message.room)]
        return day + margin + self._post(event, indent=sum(len(text) for _, text in margin))

    def _post(self, event: Event, *, indent: int) -> Fragments:
        post, by = event.message, _name(event.by)
        match post:
            case Say():
                return self._say(by, clean(post.text, lines=True), indent)
            case Join():
                return self._move("dim", "-->", by, post)
            case Leave(lost=True):
                return self._move("lost", "-!-", by, post)
            case Leave():
                return self._move("dim", "<--", by, post)
            case _:
                assert_never(post)

    def _say(self, by: str, text: str, indent: int) -> Fragments:
        is_mine = by == self.me
        style, bar = ("own", " » ") if is_mine else (name_style(by), " │ ")
        name = f"{by:>{self._width}}"
        first, *rest = text.split("\n")
        # The bar on each line keeps a second line from looking like the next message.
        below = " " * (indent + len(name)) + " │ "
        shown: Fragments = [(style, name), (style if is_mine else "bar", bar), ("text", first)]
        for line in rest:
            shown += [("bar", f"\n{below}"), ("text", line)]
        return shown

    def _move(self, style: str, arrow: str, by: str, post: Join | Leave) -> Fragments:
        who = "you" if by == self.me else by
        return [(style, f"{arrow:>{self._width}}   {who} {_moved(post)}")]

    def _room(self, room: str) -> Fragments:
        rooms = self.rooms | {room}
        if len(rooms) < 2:
            return []
        width = min(WIDEST, max(map(len, rooms)))
        return [("room", f"{'#' + _name(room):<{width + 1}} ")]

    def _note(self, event: Event) -> None:
        room, name = event.message.room, _name(event.by)
        self.oldest[room] = min(event.seq, self.oldest.get(room, event.seq))
        self._width = max(self._width, min(len(name), WIDEST))
        self.meet([name])

    def _local(self, at: datetime) -> datetime:
        try:
            return at.astimezone(self.zone)
        except (OverflowError, ValueError, OSError):  # the year 1, from a server that lies
            return at


def room_of(item: Event | Gap) -> str:
    """Where it happened."""
    return item.room if isinstance(item, Gap) else item.message.room


def last_seq(item: Event | Gap) -> int:
    """The number of what happened, or of the last thing that a gap hides."""
    return item.last if isinstance(item, Gap) else item.seq


def notice(text: str) -> Fragments:
    """What the program itself has to say."""
    return [("notice", clean(text, lines=True))]


def warning(text: str) -> Fragments:
    """What goes wrong, though the chat goes on."""
    return [("lost", clean(text))]


def refusal(error: ChatError, what: str = "") -> Fragments:
    """An answer that is no; `what`: what was not done."""
    return [("error", ": ".join(filter(None, [what, clean(str(error))])))]


def member_list(room: str, names: Iterable[str]) -> Fragments:
    """Who is in a room."""
    shown = sorted(map(_name, names))
    start: Fragments = [("notice", f"{len(shown)} in {_name(room)}: ")]
    for number, name in enumerate(shown):
        start += [("notice", ", ")] * (number > 0) + [(name_style(name), name)]
    return start


def room_list(rooms: Iterable[RoomInfo], mine: Iterable[str]) -> Fragments:
    """Which rooms there are; one's own are marked."""
    mine, rooms = set(mine), sorted(rooms, key=lambda info: info.room)
    width = max((len(_name(info.room)) for info in rooms), default=0)
    lines = [
        f"{'*' if info.room in mine else ' '} {_name(info.room):<{width}}"
        f"  {info.members} here, {info.head} events"
        for info in rooms
    ]
    return [("notice", "\n".join(lines) or "there is no room yet; /join makes one")]


def join_lines(parts: Iterable[Fragments]) -> Fragments:
    """Several parts, each on lines of its own."""
    joined: Fragments = []
    for part in parts:
        joined += [("", "\n")] * bool(joined) + part
    return joined


def plain(fragments: Fragments) -> str:
    """The text alone."""
    return "".join(text for _, text in fragments)


def name_style(name: str) -> str:
    """The style of a name: the same at any time, on any machine."""
    return f"name-{crc32(name.encode('utf-8', 'replace')) % NAME_COLOURS}"


def _name(raw: str) -> str:
    """A name, of a person or a room, from a server that may lie."""
    name = clean(raw)
    return name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 1]}…"


def _moved(post: Join | Leave) -> str:
    match post:
        case Join():
            verb = "joined"
        case Leave(lost=True):
            verb = "lost the connection to"
        case Leave():
            verb = "left"
        case _:
            assert_never(post)
    return f"{verb} {_name(post.room)}"


def _gap(gap: Gap) -> str:
    many = gap.last - gap.first + 1
    events = "one event" if many == 1 else f"{many} events"
    return f"{events} of {_name(gap.room)} can't be had any more ({gap.first} to {gap.last})"


def help_text() -> Fragments:
    """The commands, and the keys."""
    return [("notice", "\n".join(f"{usage:<16}{help}" for usage, help in usages()))]
