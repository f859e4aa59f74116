"""What happened, in words. No I/O."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from types import MappingProxyType
from typing import assert_never

from attrs import evolve, frozen

from trio_chat.client.clean import clean
from trio_chat.client.deeds import told
from trio_chat.client.notices import in_place, shown_name, shown_room
from trio_chat.client.wrap import clip
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
    React,
    Restrict,
    Say,
    Topic,
)

Known = Mapping[int, Event]
"""What was said in a room, as it is now, by its `seq`: so much of it as is remembered."""

UNKNOWN: Known = MappingProxyType({})

QUOTED_COLUMNS = 40
"""The most cells of a text that is only mentioned."""

GLIMPSE = 1000
"""Characters that are looked at of a text of which one line is shown: more than a line has."""

SIGN_COLUMNS = 32
"""The most cells of a sign: no server takes more than half as many characters."""

EDITED, DELETED = " (edited)", "(deleted)"
"""Stands behind a text that was changed; stands for one that was taken back."""


@frozen
class Wording:
    """How one person is told. `me`: one's own name. `zone`: for the times; None is this
    machine's."""

    me: str
    zone: tzinfo | None = None

    def local(self, at: datetime) -> datetime:
        """A time, where that person is."""
        try:
            return at.astimezone(self.zone)
        except (OverflowError, ValueError, OSError):  # the year 1, from a server that lies
            return at

    def who(self, by: str) -> str:
        """Somebody; oneself is `you`."""
        name = shown_name(by)
        return "you" if name == self.me else name

    def room(self, raw: str) -> str:
        """A room, in front of other words."""
        return in_place(shown_room(raw, self.me))

    def deed(self, event: Event, known: Known = UNKNOWN) -> str:
        """What somebody did besides saying something; who it was stands before that."""
        post = event.message
        assert not isinstance(post, Say)
        match post:
            case Join() | Leave():
                return f"{_moved(post)} {self.room(post.room)}"
            case Edit(seq=seq, text=text):
                now = "and then again" if event.changed else one_line(text)
                return f"edited {self._text_of(seq, known)}: {now}"
            case Delete(seq=seq):
                return f"deleted {self._text_of(seq, known)}"
            case React(seq=seq, sign=sign, off=off):
                shown = clip(clean(sign), SIGN_COLUMNS)
                put = f"took {shown} off" if off else f"put {shown} on"
                return f"{put} {self.mention(seq, known)}"
            case Topic(text=text):
                return f"set the topic: {clean(text)}" if text else "took the topic away"
            case Invite() | Kick() | Ban() | Mute() | Appoint() | Restrict():
                return told(post, self.zone, self.who)
            case _:
                assert_never(post)

    def place(self, seq: int, known: Known) -> str:
        """Which text is meant, without what it says: by its time, which stands before it."""
        event = known.get(seq)
        return f"event {seq}" if event is None else f"{self.local(event.at):%H:%M}"

    def _text_of(self, seq: int, known: Known) -> str:
        return f"{'the text of ' * (seq in known)}{self.place(seq, known)}"

    def mention(self, seq: int, known: Known) -> str:
        """A text, and whose it is."""
        event = known.get(seq)
        if event is None:
            return f"event {seq}"
        whose = "your" if shown_name(event.by) == self.me else f"{shown_name(event.by)}'s"
        return f'{whose} "{clip(glimpse(event), QUOTED_COLUMNS)}"'

    def quote(self, seq: int, known: Known) -> str:
        """A text that is answered: who has said it, and as much of it as one line holds."""
        event = known.get(seq)
        if event is None:
            return f"event {seq}; /jump {seq} shows it"
        return f"{in_place(shown_name(event.by))}: {glimpse(event)}"

    def gap(self, gap: Gap) -> str:
        """What can't be had."""
        many = gap.last - gap.first + 1
        events = "one event" if many == 1 else f"{many} events"
        where = f"{self.room(gap.room)} can't be had any more ({gap.first} to {gap.last})"
        return f"{events} of {where}"


def said(event: Event) -> str:
    """What was said, on one line."""
    text = event.message.text if isinstance(event.message, Say) else ""
    if is_deleted(event):
        return DELETED
    return f"{one_line(text)}{EDITED}" if event.changed else one_line(text)


def glimpse(event: Event) -> str:
    """The beginning of what was said, which takes no longer where that is long."""
    post = event.message
    if not isinstance(post, Say) or len(post.text) <= GLIMPSE:
        return said(event)
    return f"{one_line(post.text[:GLIMPSE])}…"


def is_deleted(event: Event) -> bool:
    """Was it said, and taken back?"""
    post = event.message
    return isinstance(post, Say) and event.changed is not None and not post.text


def changed(event: Event, text: str, by: int) -> Event:
    """What was said, as event `by` has left it: with another text, or with none."""
    if not isinstance(event.message, Say) or (event.changed or 0) >= by:
        return event
    return evolve(event, message=evolve(event.message, text=text), changed=by)


def is_told(event: Event, known: Known) -> bool:
    """Does the text that it has changed say so already, where it is shown?"""
    match event:
        case Event(message=Edit(), changed=int()):
            return True
        case Event(seq=seq, message=Edit(seq=which) | Delete(seq=which)):
            text = known.get(which)
            return text is not None and (text.changed or 0) >= seq
        case _:
            return False


def one_line(text: str) -> str:
    """A text of several lines on one."""
    return " ⏎ ".join(clean(text, lines=True).split("\n"))


def _moved(post: Join | Leave) -> str:
    match post:
        case Join():
            return "joined"
        case Leave(lost=True):
            return "lost the connection to"
        case Leave():
            return "left"
        case _:
            assert_never(post)
