"""What a person hears: one line an event."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.client.lineview import LineView
from trio_chat.client.wrap import plain
from trio_chat.messages import (
    Delete,
    Edit,
    Event,
    Gap,
    Join,
    Leave,
    Page,
    Post,
    React,
    Say,
    Topic,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def event(post: Post | str, by: str = "bob", at: datetime = NOON) -> Event:
    return Event(1, at, by, Say("lobby", post) if isinstance(post, str) else post)


@pytest.fixture
def view() -> LineView:
    """Alice's, after the line with the date."""
    view = LineView("alice", UTC, columns=1000)
    view.show(event("first"))
    return view


@pytest.mark.parametrize(
    ("post", "by", "line"),
    [
        ("a\nb", "bob", "12:00 bob: a ⏎ b"),
        ("hi", "alice", "12:00 you: hi"),
        (Join("lobby"), "bob", "12:00 * bob joined lobby"),
        (Leave("lobby", lost=True), "alice", "12:00 * you lost the connection to lobby"),
    ],
)
def test_an_event_is_a_line(view: LineView, post: Post | str, by: str, line: str) -> None:
    assert plain(view.show(event(post, by))) == line


KNOWN = {4: event("shall we?"), 5: event("well", "alice")}


@pytest.mark.parametrize(
    ("post", "line"),
    [
        (Say("lobby", "yes", reply_to=4), 'bob, to bob\'s "shall we?": yes'),
        (Say("lobby", "yes", reply_to=5), 'bob, to your "well": yes'),
        (Say("lobby", "yes", reply_to=9), "bob, to event 9: yes"),
        (Edit("lobby", 4, "a\nb"), "* bob edited the text of 12:00: a ⏎ b"),
        (Delete("lobby", 9), "* bob deleted event 9"),
        (React("lobby", 5, "👍"), '* bob put 👍 on your "well"'),
        (Topic("lobby", "tea"), "* bob set the topic: tea"),
    ],
)
def test_what_is_done_to_a_text_is_a_line(view: LineView, post: Post, line: str) -> None:
    assert plain(view.show(event(post), KNOWN)) == f"12:00 {line}"


def test_who_talks_in_private_is_said(view: LineView) -> None:
    room = "@alice,bob:k7Jx2mQ9"
    assert plain(view.announce(event(Say(room, "hi")))) == "bob, in private to you: hi"
    for room in ("@alice,bob:k7Jx2mQ9", "@bob"):  # the second while it has no other name
        mine = view.announce(event(Say(room, "hi"), "alice"))
        assert plain(mine) == "you, in private to bob: hi"


def test_there_are_no_drawn_lines(view: LineView) -> None:
    tomorrow = event("x", at=NOON + timedelta(days=1))
    page = Page("lobby", (event("x"),), more=False)
    shown = [
        view.show(tomorrow, is_first_new=True),
        view.show(Gap("lobby", 1, 2)),
        view.page(page),
        view.announce(event("x\ny")),
    ]
    assert plain(shown[0]).split("\n") == [
        "--- new ---",
        "--- Saturday, 21 November 2026 ---",
        "12:00 bob: x",
    ]
    assert plain(shown[3]) == "in lobby: bob: x ⏎ y"
    assert not set("│─»") & set("".join(map(plain, shown)))


@given(st.text(), st.text())
def test_nothing_makes_a_line_of_its_own(text: str, by: str) -> None:
    view = LineView("alice", UTC, columns=1_000_000)
    view.show(event("first"))
    assert plain(view.show(event(text, by))).splitlines()[1:] == []
    assert plain(view.announce(event(text, by))).splitlines()[1:] == []
