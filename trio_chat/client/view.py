"""What happened → what a person reads. No I/O.

A view makes *fragments*: pairs of a style's name and a text. Nothing of what others wrote
is ever parsed as markup, and all of it goes through `clean`; a name can't be a colour and
a text can't be a line that somebody else seems to have said.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, tzinfo
from typing import assert_never

from attrs import define, field

from trio_chat.client.clean import clean
from trio_chat.client.notices import in_place, join_lines, name_style, notice, shown_name
from trio_chat.client.wording import (
    DELETED,
    EDITED,
    UNKNOWN,
    Known,
    Wording,
    glimpse,
    is_deleted,
    is_told,
    said,
)
from trio_chat.client.wrap import Fragments, beginning, cells, clip, fit, plain, wrap
from trio_chat.messages import Edit, Event, Gap, Join, Leave, Page, Post, React, Say
from trio_chat.pairs import partner

NARROWEST, WIDEST = 6, 16
"""The column of names grows within these, so that most names stand in line and a single
long one does not push the texts away."""

TEXT_COLUMNS = 24
"""Where beside a name there are fewer cells than these for the text, it stands below."""

DAY_COLUMNS = 36
"""Where there are fewer, a day is written short."""

BESIDE_LINES = 5
"""The most lines of a text beside the one that is looked for, which would go off the screen."""

ANNOUNCED_COLUMNS = 500
"""The most cells of an announcement on a line without bound."""


@define(eq=False)
class View:
    """What one person sees.

    `me`: one's own name. `zone`: for the times; None is this machine's. `columns`: the
    cells of a line. `known`, wherever it is asked for: what was said before in the room.
    """

    me: str
    zone: tzinfo | None = None
    columns: int = 80
    wording: Wording = field(init=False)
    _day: date | None = field(default=None, init=False)
    _width: int = field(default=NARROWEST, init=False)

    def __attrs_post_init__(self) -> None:
        self.wording = Wording(self.me, self.zone)

    def show(
        self,
        item: Event | Gap,
        known: Known = UNKNOWN,
        *,
        is_first_new: bool = False,
        calls: bool = False,
    ) -> Fragments:
        """The line or lines for what happened.

        `is_first_new`: with a line above it. `calls`: it is for oneself in particular.
        """
        lines = self._lines(item, known, calls=calls)
        return [("new", f"{plain(self.rule('new'))}\n"), *lines] if is_first_new else lines

    def rule(self, text: str) -> Fragments:
        """A line that stands above what it speaks of."""
        return [("gap", f"── {clean(text)} ──")]

    def heading(self, room: str, topic: str) -> Fragments:
        """A line that stands above what is shown of another room than before."""
        name = self.wording.room(room)
        return clip_line(self.rule(f"{name}: {topic}" if topic else name), self.columns)

    def page(
        self, page: Page, known: Known = UNKNOWN, *, meant: int | None = None
    ) -> Fragments:
        """A page of what happened earlier, with its own dates and a frame around it.
        `meant`: the event that is looked for, if it is one."""
        room, now = self.wording.room(page.room), self._day
        if not page.events and page.gap is None:
            return notice(f"there is nothing earlier in {room}")
        self._day = None
        end = f"that was earlier in {room}{'; /history for more' * page.more}"
        shown = join_lines(
            [
                fit(self.rule(f"earlier in {room}"), self.columns),
                *([self.show(page.gap)] if page.gap else []),
                *self._page_lines(page.events, known, meant),
                fit(self.rule(end), self.columns),
            ]
        )
        self._day = now
        return shown

    def _page_lines(
        self, events: Sequence[Event], known: Known, meant: int | None
    ) -> Iterator[Fragments]:
        texts = {event.seq: event for event in events if isinstance(event.message, Say)}
        known = {**known, **texts}
        for event in events:
            if not is_told(event, known):
                shown = self.show(event, known, calls=event.seq == meant)
                is_beside = meant is not None and event.seq != meant
                yield beginning(shown, BESIDE_LINES) if is_beside else shown

    def announce(self, event: Event) -> Fragments:
        """One line for what was said in a room that is not shown."""
        by, room = shown_name(event.by), event.message.room
        where, is_private = self.wording.room(room), partner(room, self.me) == event.by
        who = [] if is_private else [("called", " "), (name_style(by), in_place(by))]
        margin: Fragments = [
            ("time", f"{self.wording.local(event.at):%H:%M} "),
            ("called", where),
            *who,
            ("bar", " │ "),
        ]
        columns = min(self.columns, ANNOUNCED_COLUMNS)
        return clip_line([*margin, ("text", glimpse(event))], columns)

    def line(self, item: Event | Gap) -> str:
        """One line without style, for a pipe or a file."""
        if isinstance(item, Gap):
            return f"* {self.wording.gap(item)}"
        stamp = f"{self.wording.local(item.at):%Y-%m-%d %H:%M:%S}"
        by = shown_name(item.by)
        match item.message:
            case Say(reply_to=None):
                return f"{stamp} {by}: {said(item)}"
            case Say(reply_to=seq):
                return f"{stamp} {by}, to event {seq}: {said(item)}"
            case _:
                return f"{stamp} * {by} {self.wording.deed(item)}"

    def _lines(self, item: Event | Gap, known: Known, *, calls: bool) -> Fragments:
        match item:
            case Event():
                return self._event(item, known, calls=calls)
            case Gap():
                return fit(self.rule(self.wording.gap(item)), self.columns)
            case _:
                assert_never(item)

    def _event(self, event: Event, known: Known, *, calls: bool) -> Fragments:
        by = shown_name(event.by)
        self._width = max(self._width, min(cells(by), WIDEST))
        at = self.wording.local(event.at)
        day = [] if at.date() == self._day else [*self._day_line(at), ("", "\n")]
        self._day = at.date()
        return [*day, *self._post(event, ("time", f"{at:%H:%M} "), known, calls=calls)]

    def _day_line(self, at: datetime) -> Fragments:
        is_wide = self.columns >= DAY_COLUMNS
        day = f"{at:%A}, {at.day} {at:%B %Y}" if is_wide else f"{at:%Y-%m-%d}"
        return [("day", plain(self.rule(day)))]

    def _post(
        self, event: Event, time: tuple[str, str], known: Known, *, calls: bool
    ) -> Fragments:
        match event.message:
            case Say(reply_to=reply_to) as say:
                quote = None if reply_to is None else self.wording.quote(reply_to, known)
                text = _text(say.text, event, "called" if calls else "text")
                return self._say(time, event.by, text, quote=quote)
            case Edit(seq=seq, text=text_now):
                edited = ("dim", f" (edits {self.wording.place(seq, known)})")
                text = [("text", clean(text_now, lines=True)), edited]
                return self._say(time, event.by, text, bar="~")
            case _:
                return self._move(time, event, known)

    def _say(
        self,
        time: tuple[str, str],
        raw: str,
        text: Fragments,
        *,
        bar: str | None = None,
        quote: str | None = None,
    ) -> Fragments:
        by = shown_name(raw)
        is_mine = by == self.me
        style, bar = ("own", bar or "»") if is_mine else (name_style(by), bar or "│")
        name = (style, " " * (self._width - cells(by)) + in_place(by))
        # The bar on each line keeps a second line from looking like the next message.
        first: Fragments = [time, name, (style if is_mine else "bar", f" {bar} ")]
        below: Fragments = [("bar", " " * (cells(plain(first)) - 3) + " │ ")]
        if self.columns - cells(plain(below)) >= TEXT_COLUMNS:
            above = self._quote(" " * (cells(plain(first)) - 2), quote)
            return [*above, *wrap(text, self.columns, first, below)]
        who = wrap([(style, by)], self.columns, [time], [("", " " * 6)])
        stacked = wrap(text, self.columns, [("bar", f"{bar} ")], [("bar", "│ ")])
        return [*self._quote("", quote), *who, ("", "\n"), *stacked]

    def _quote(self, margin: str, quote: str | None) -> Fragments:
        """The line above an answer."""
        if quote is None:
            return []
        return [("dim", f"{clip(f'{margin}┌ {quote}', self.columns)}\n")]

    def _move(self, time: tuple[str, str], event: Event, known: Known) -> Fragments:
        style, arrow = _arrow(event.message)
        first: Fragments = [time, (style, f"{arrow:>{self._width}}   ")]
        below = [("", " " * cells(plain(first)))]
        text = [(style, f"{self.wording.who(event.by)} {self.wording.deed(event, known)}")]
        if self.columns - cells(plain(first)) < TEXT_COLUMNS:
            first, below = [time, (style, f"{arrow} ")], [("", " " * 4)]
        return wrap(text, self.columns, first, below)


def _arrow(post: Post) -> tuple[str, str]:
    """What tells at first sight what somebody did, and its style."""
    match post:
        case Leave(lost=True):
            return "lost", "-!-"
        case Leave():
            return "dim", "<--"
        case Join():
            return "dim", "-->"
        case React():
            return "dim", "-+-"
        case _:
            return "dim", "---"


def _text(text: str, event: Event, style: str) -> Fragments:
    """What was said, and whether it was changed."""
    if is_deleted(event):
        return [("dim", DELETED)]
    return [(style, clean(text, lines=True)), *([("dim", EDITED)] if event.changed else [])]


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
