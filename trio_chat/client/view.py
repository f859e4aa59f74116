"""What happened → what a person reads. No I/O.

A view makes *fragments*: pairs of a style's name and a text. Nothing of what others wrote
is ever parsed as markup, and all of it goes through `clean`; a name can't be a colour and
a text can't be a line that somebody else seems to have said.
"""

from datetime import date, datetime, tzinfo
from typing import assert_never

from attrs import define, field

from trio_chat.client.clean import clean
from trio_chat.client.deeds import told
from trio_chat.client.notices import in_place, join_lines, name_style, notice, shown_name
from trio_chat.client.wrap import Fragments, cells, clip, fit, plain, wrap
from trio_chat.messages import (
    Appoint,
    Ban,
    Delete,
    Edit,
    Event,
    Gap,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Page,
    React,
    Restrict,
    Say,
    Topic,
)

NARROWEST, WIDEST = 6, 16
"""The column of names grows within these, so that most names stand in line and a single
long one does not push the texts away."""

TEXT_COLUMNS = 24
"""Where beside a name there are fewer cells than these for the text, it stands below."""

DAY_COLUMNS = 36
"""Where there are fewer, a day is written short."""

ANNOUNCED_COLUMNS = 500
"""The most cells of an announcement on a line without bound."""


@define(eq=False)
class View:
    """What one person sees.

    `me`: one's own name. `zone`: for the times; None is this machine's. `columns`: the
    cells of a line.
    """

    me: str
    zone: tzinfo | None = None
    columns: int = 80
    _day: date | None = field(default=None, init=False)
    _width: int = field(default=NARROWEST, init=False)

    def show(
        self, item: Event | Gap, *, is_first_new: bool = False, calls: bool = False
    ) -> Fragments:
        """The line or lines for what happened.

        `is_first_new`: with a line above it. `calls`: it is for oneself in particular.
        """
        lines = self._lines(item, calls=calls)
        return [("new", f"{plain(self.rule('new'))}\n"), *lines] if is_first_new else lines

    def rule(self, text: str) -> Fragments:
        """A line that stands above what it speaks of."""
        return [("gap", f"── {clean(text)} ──")]

    def page(self, page: Page) -> Fragments:
        """A page of what happened earlier, with its own dates and a frame around it."""
        room, now = shown_name(page.room), self._day
        if not page.events and page.gap is None:
            return notice(f"there is nothing earlier in {room}")
        self._day = None
        items: list[Event | Gap] = [*filter(None, [page.gap]), *page.events]
        end = f"that was earlier in {room}{'; /history for more' * page.more}"
        shown = join_lines(
            [
                fit(self.rule(f"earlier in {room}"), self.columns),
                *map(self.show, items),
                fit(self.rule(end), self.columns),
            ]
        )
        self._day = now
        return shown

    def announce(self, event: Event) -> Fragments:
        """One line for what was said in a room that is not shown."""
        text = event.message.text if isinstance(event.message, Say) else ""
        by = shown_name(event.by)
        margin: Fragments = [
            ("time", f"{self._local(event.at):%H:%M} "),
            ("called", f"{in_place(shown_name(event.message.room))} "),
            (name_style(by), in_place(by)),
            ("bar", " │ "),
        ]
        line = " ⏎ ".join(clean(text, lines=True).split("\n"))
        return clip_line([*margin, ("text", line)], min(self.columns, ANNOUNCED_COLUMNS))

    def line(self, item: Event | Gap) -> str:
        """One line without style, for a pipe or a file."""
        if isinstance(item, Gap):
            return f"* {_gap(item)}"
        stamp = f"{self._local(item.at):%Y-%m-%d %H:%M:%S}"
        by, post = shown_name(item.by), item.message
        match post:
            case Say():
                body = " ⏎ ".join(clean(post.text, lines=True).split("\n"))
                return f"{stamp} {by}: {body}"
            case Join() | Leave():
                return f"{stamp} * {by} {moved(post)}"
            case Edit() | Delete() | React() | Topic():
                return f"{stamp} * {by} {done(post)}"
            case Invite() | Kick() | Ban() | Mute() | Appoint() | Restrict():
                return f"{stamp} * {by} {told(post, self.zone)}"
            case _:
                assert_never(post)

    def _lines(self, item: Event | Gap, *, calls: bool) -> Fragments:
        match item:
            case Event():
                return self._event(item, calls=calls)
            case Gap():
                return fit(self.rule(_gap(item)), self.columns)
            case _:
                assert_never(item)

    def _event(self, event: Event, *, calls: bool) -> Fragments:
        by = shown_name(event.by)
        self._width = max(self._width, min(cells(by), WIDEST))
        at = self._local(event.at)
        day = [] if at.date() == self._day else [*self._day_line(at), ("", "\n")]
        self._day = at.date()
        return [*day, *self._post(event, ("time", f"{at:%H:%M} "), by, calls=calls)]

    def _day_line(self, at: datetime) -> Fragments:
        is_wide = self.columns >= DAY_COLUMNS
        day = f"{at:%A}, {at.day} {at:%B %Y}" if is_wide else f"{at:%Y-%m-%d}"
        return [("day", plain(self.rule(day)))]

    def _post(self, event: Event, time: tuple[str, str], by: str, *, calls: bool) -> Fragments:
        post = event.message
        match post:
            case Say():
                text: Fragments = [
                    ("called" if calls else "text", clean(post.text, lines=True))
                ]
                return self._say(time, by, text)
            case Join():
                return self._move(time, "dim", "-->", by, post)
            case Leave(lost=True):
                return self._move(time, "lost", "-!-", by, post)
            case Leave():
                return self._move(time, "dim", "<--", by, post)
            case Edit() | Delete() | React() | Topic():
                return self._say(time, by, [("dim", done(post))])
            case Invite() | Kick() | Ban() | Mute() | Appoint() | Restrict():
                return self._say(time, by, [("dim", told(post, self.zone))])
            case _:
                assert_never(post)

    def _say(self, time: tuple[str, str], by: str, text: Fragments) -> Fragments:
        is_mine = by == self.me
        style, bar = ("own", "»") if is_mine else (name_style(by), "│")
        name = (style, " " * (self._width - cells(by)) + in_place(by))
        # The bar on each line keeps a second line from looking like the next message.
        first: Fragments = [time, name, (style if is_mine else "bar", f" {bar} ")]
        below: Fragments = [("bar", " " * (cells(plain(first)) - 3) + " │ ")]
        if self.columns - cells(plain(below)) >= TEXT_COLUMNS:
            return wrap(text, self.columns, first, below)
        who = wrap([(style, by)], self.columns, [time], [("", " " * 6)])
        stacked = wrap(text, self.columns, [("bar", f"{bar} ")], [("bar", "│ ")])
        return [*who, ("", "\n"), *stacked]

    def _move(
        self, time: tuple[str, str], style: str, arrow: str, by: str, post: Join | Leave
    ) -> Fragments:
        who = "you" if by == self.me else by
        first: Fragments = [time, (style, f"{arrow:>{self._width}}   ")]
        below = [("", " " * cells(plain(first)))]
        text = [(style, f"{who} {moved(post)}")]
        if self.columns - cells(plain(first)) < TEXT_COLUMNS:
            first, below = [time, (style, f"{arrow} ")], [("", " " * 4)]
        return wrap(text, self.columns, first, below)

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


def clip_line(line: Fragments, columns: int) -> Fragments:
    """As much of a line as fits."""
    clipped: Fragments = []
    for style, text in line:
        part = clip(text, columns)
        clipped.append((style, part))
        columns -= cells(part)
        if part != text or columns <= 0:
            break
    return clipped


def moved(post: Join | Leave) -> str:
    """What somebody did who came or went."""
    match post:
        case Join():
            verb = "joined"
        case Leave(lost=True):
            verb = "lost the connection to"
        case Leave():
            verb = "left"
        case _:
            assert_never(post)
    return f"{verb} {shown_name(post.room)}"


def done(post: Edit | Delete | React | Topic) -> str:
    """What somebody did to what was said, or to the room."""
    match post:
        case Edit(seq=seq, text=text):
            return f"edited {seq}: {' ⏎ '.join(clean(text, lines=True).split(chr(10)))}"
        case Delete(seq=seq):
            return f"deleted {seq}"
        case React(seq=seq, sign=sign, off=off):
            return f"{'took away' if off else 'put'} {clean(sign)} at {seq}"
        case Topic(text=text):
            return f"topic: {clean(text)}"
        case _:
            assert_never(post)


def _gap(gap: Gap) -> str:
    many = gap.last - gap.first + 1
    events = "one event" if many == 1 else f"{many} events"
    return (
        f"{events} of {shown_name(gap.room)} can't be had any more ({gap.first} to {gap.last})"
    )
