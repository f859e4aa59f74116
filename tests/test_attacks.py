"""Every trick that texts play on terminals, at every place where text of others is shown."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from unicodedata import category

import pytest
from hypothesis import given, settings

from tests.test_clean import REFUSED, TRICKS, anything, nasty
from trio_chat.client.attention import Attention
from trio_chat.client.buffers import Buffers
from trio_chat.client.clean import INVISIBLE
from trio_chat.client.lifeline import State
from trio_chat.client.lineview import LineView
from trio_chat.client.listings import device_list, hit_list, plain_hit, text_list
from trio_chat.client.notices import (
    LEFT_TO_RIGHT,
    invitation,
    member_list,
    notice,
    refusal,
    room_list,
    topic_line,
    warning,
)
from trio_chat.client.notify import notification
from trio_chat.client.speech import short
from trio_chat.client.status import room_status, status_line
from trio_chat.client.view import View
from trio_chat.client.wording import Wording
from trio_chat.client.wrap import Fragments, plain
from trio_chat.errors import Refused
from trio_chat.messages import (
    Appoint,
    Ban,
    Deed,
    Delete,
    DeviceInfo,
    Edit,
    Event,
    Found,
    Gap,
    Hit,
    Invite,
    Join,
    Kick,
    Leave,
    Mute,
    Page,
    Post,
    React,
    Restrict,
    RoomInfo,
    Say,
    Topic,
)

EXAMPLES = int(os.environ.get("ATTACKS", "100"))
"""Random strings; `ATTACKS=100000 pytest tests/test_attacks.py` takes a while."""

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

JOINER = "\u200d"


def event(text: str, by: str = "bob", room: str = "lobby") -> Event:
    return Event(1, NOON, by, Say(room, text))


def rooms_of(text: str) -> Fragments:
    buffers = Buffers(Attention("alice"))
    buffers.open(text)
    return room_status(buffers)


def note(environ: dict[str, str], text: str) -> str:
    """What a notification has of others: all but its own beginning and end."""
    return notification(environ, text, text)[2:-2]


def done(post: Post, by: str = "bob") -> Event:
    return Event(2, NOON, by, post)


def found(text: str) -> Found:
    return Found((Hit(text, 1, NOON, text, text),))


def private(text: str) -> Event:
    return event(text, text, f"@alice,{text}:x")


def about(text: str) -> Fragments:
    buffers = Buffers(Attention("alice"))
    buffers.go("lobby").topic = text
    return room_status(buffers)


WORDING = Wording("alice", UTC)

DEEDS: list[Callable[[str], Deed]] = [
    lambda text: Invite(text, text),
    lambda text: Kick(text, text, text),
    lambda text: Ban(text, text, NOON, text),
    lambda text: Mute(text, text, reason=text),
    lambda text: Appoint(text, text, "owner"),
    lambda text: Restrict(text, "key", text),
]


def _log_line(deed: Callable[[str], Deed], text: str) -> Fragments:
    """What `/log` shows of it, or what the room does."""
    return View("alice", UTC).show(done(deed(text), text))


PLACES: dict[str, Callable[[str], Fragments]] = {
    "text": lambda text: View("alice", UTC).show(event(text)),
    "own text": lambda text: View("bob", UTC).show(event(text)),
    "text on a narrow screen": lambda text: View("alice", UTC, 20).show(event(text)),
    "name": lambda text: View("alice", UTC).show(event("hi", text)),
    "room": lambda text: View("alice", UTC).show(Event(1, NOON, "bob", Join(text))),
    "edit": lambda text: View("alice", UTC).show(done(Edit("lobby", 1, text), text)),
    "reaction": lambda text: View("alice", UTC).show(
        done(React("lobby", 1, text)), {1: event(text, text)}
    ),
    "topic": lambda text: View("alice", UTC).show(done(Topic("lobby", text), text)),
    **{
        f"/log of {type(deed('')).__name__.lower()}": partial(_log_line, deed) for deed in DEEDS
    },
    "/log in a pipe": lambda text: [
        ("", View("alice", UTC).line(done(Kick(text, text, text))))
    ],
    "invitation": lambda text: invitation(text, text),
    "reason": lambda text: View("alice", UTC).show(done(Kick("lobby", text, text), text)),
    "topic in the status": about,
    "topic in a heading": lambda text: View("alice", UTC).heading(text, text),
    "topic that is asked for": lambda text: topic_line(text, text, "alice"),
    "deletion": lambda text: View("alice", UTC).show(
        done(Delete(text, 1), text), {1: event(text, text)}
    ),
    "quotation": lambda text: View("alice", UTC).show(
        done(Say("lobby", "well", reply_to=1)), {1: event(text, text)}
    ),
    "private room": lambda text: View("alice", UTC).heading(f"@alice,{text}:x", ""),
    "private announcement": lambda text: View("alice", UTC).announce(private(text)),
    "plain private announcement": lambda text: LineView("alice", UTC).announce(private(text)),
    "plain quotation": lambda text: LineView("alice", UTC).show(
        done(Say("lobby", "well", reply_to=1)), {1: event(text, text)}
    ),
    "plain reaction": lambda text: LineView("alice", UTC).show(
        done(React("lobby", 1, text)), {1: event(text, text)}
    ),
    "reaction in a pipe": lambda text: [
        ("", View("alice", UTC).line(done(React("lobby", 1, text), text)))
    ],
    "edit in a pipe": lambda text: [
        ("", View("alice", UTC).line(done(Edit("lobby", 1, text), text)))
    ],
    "what was found": lambda text: hit_list(found(text), text, WORDING, 60),
    "what was not found": lambda text: hit_list(Found(()), text, WORDING, 60),
    "what was found in a pipe": lambda text: [("", plain_hit(found(text).hits[0], WORDING))],
    "list of texts": lambda text: text_list([event(text, text)], 500),
    "leave": lambda text: View("alice", UTC).show(Event(1, NOON, text, Leave(text, lost=True))),
    "gap": lambda text: View("alice", UTC).show(Gap(text, 1, 2)),
    "page": lambda text: View("alice", UTC).page(Page(text, (event(text),), more=True)),
    "announcement": lambda text: View("alice", UTC).announce(event(text, text, text)),
    "heading": lambda text: View("alice", UTC).rule(text),
    "plain text": lambda text: LineView("alice", UTC).show(event(text, text)),
    "plain announcement": lambda text: LineView("alice", UTC).announce(event(text, text, text)),
    "line in a pipe": lambda text: [("", View("alice", UTC).line(event(text, text)))],
    "members": lambda text: member_list(text, [text], "alice", [text]),
    "devices": lambda text: device_list([DeviceInfo("1", text, NOON)], UTC),
    "list of rooms": lambda text: room_list([RoomInfo(text, 1, 1)], {}, "alice"),
    "status": lambda text: status_line(State.CONNECTED, None, rooms_of(text), 500),
    "error": lambda text: refusal(Refused(text), "alice", short(text)),
    "notice": notice,
    "warning": warning,
    "notification": lambda text: [("", note({"TERM": "foot"}, text))],
    "notification of another kind": lambda text: [("", note({"TERM": "xterm-kitty"}, text))],
}


def reaches(shown: Fragments) -> set[str]:
    """What a terminal would obey, or an eye not see."""
    text = plain(shown).replace("\n", "")
    bad = {char for char in text if category(char) in REFUSED or char in INVISIBLE}
    return bad - {JOINER, LEFT_TO_RIGHT}  # the latter is ours, behind a name


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
def test_no_trick_works_anywhere(place: Callable[[str], Fragments], trick: str) -> None:
    assert reaches(place(trick)) == set()
    assert reaches(place(f"hi {trick} there\r\n{trick}")) == set()


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@settings(max_examples=EXAMPLES)
@given(text=anything | nasty)
def test_nothing_works_anywhere(place: Callable[[str], Fragments], text: str) -> None:
    assert reaches(place(text)) == set()


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("markup", ["[bold]x[/]", "<b>x</b>", "%[x", "{0}", "&amp;"])
def test_markup_is_shown_as_it_is(place: Callable[[str], Fragments], markup: str) -> None:
    assert markup in plain(place(markup))
