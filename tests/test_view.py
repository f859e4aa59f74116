"""What a person reads."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.client.clean import REPLACED
from trio_chat.client.view import (
    NAME_COLOURS,
    Fragments,
    View,
    help_text,
    join_lines,
    member_list,
    name_style,
    notice,
    plain,
    refusal,
    room_list,
)
from trio_chat.errors import Refused
from trio_chat.messages import Event, Gap, Join, Leave, Page, Post, RoomInfo, Say
from trio_chat.names import NAME_CHARS

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def event(
    message: Post | str, by: str = "alice", *, at: datetime = NOON, seq: int = 1
) -> Event:
    post = Say("lobby", message) if isinstance(message, str) else message
    return Event(seq, at, by, post)


def shown(view: View, item: Event | Gap) -> str:
    return plain(view.show(item))


def styles(fragments: Fragments) -> dict[str, str]:
    return {text.strip(): style for style, text in fragments}


@pytest.fixture
def view() -> View:
    """Alice's, after the line with the date."""
    view = View("alice", UTC)
    view.rooms.add("lobby")
    view.show(event("first"))
    return view


# ---------------------------------------------------------------- events


def test_a_text_has_its_time_and_its_speaker(view: View) -> None:
    assert shown(view, event("hi", "bob")) == "12:00    bob │ hi"


def test_ones_own_text_is_marked_without_colours_too(view: View) -> None:
    assert shown(view, event("hi")) == "12:00  alice » hi"
    assert styles(view.show(event("hi")))["alice"] == "own"


def test_times_are_local() -> None:
    view = View("alice", timezone(timedelta(hours=13)))
    assert shown(view, event("hi")) == "── Saturday, 21 November 2026 ──\n01:00  alice » hi"


def test_the_zone_of_this_machine_is_the_default() -> None:
    assert f"{NOON.astimezone():%H:%M}" in shown(View("alice"), event("hi"))


def test_a_new_day_is_announced_once(view: View) -> None:
    tomorrow = NOON + timedelta(days=1)
    assert shown(view, event("a", at=tomorrow)).startswith("── Saturday, 21 November 2026")
    assert shown(view, event("b", at=tomorrow)) == "12:00  alice » b"


@pytest.mark.parametrize("year", [1, 9999])
def test_a_year_that_no_clock_knows_is_shown(year: int) -> None:
    for hours in (-14, 14):
        view = View("alice", timezone(timedelta(hours=hours)))
        for at in (datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, tzinfo=UTC)):
            assert "hi" in shown(view, event("hi", at=at))
            assert "hi" in View("alice").line(event("hi", at=at))


def test_later_lines_stand_below_the_first(view: View) -> None:
    assert shown(view, event("def f():\n    return 1", "bob")).split("\n") == [
        "12:00    bob │ def f():",
        "             │     return 1",
    ]


def test_a_text_cant_look_like_what_somebody_else_said(view: View) -> None:
    forged = shown(view, event("well\n12:00  carol │ I resign", "bob"))
    assert all(" │ " in line for line in forged.split("\n"))
    assert forged.split("\n")[1].startswith(" " * 12)


def test_names_stand_in_a_column_that_grows(view: View) -> None:
    assert shown(view, event("hi", "bob")).index("│") == 13
    assert shown(view, event("hi", "maximilian")).index("│") == 17
    assert shown(view, event("hi", "bob")).index("│") == 17
    shown(view, event("hi", "x" * NAME_CHARS))
    assert shown(view, event("hi", "bob")).index("│") == 23


def test_rooms_are_named_where_there_are_several(view: View) -> None:
    view.rooms.add("garden")
    assert shown(view, event("hi", "bob")) == "12:00 #lobby     bob │ hi"
    view.leave("garden")
    assert shown(view, event("hi", "bob")) == "12:00    bob │ hi"


def test_a_room_that_one_has_just_left_is_named(view: View) -> None:
    assert "#garden" in shown(view, event(Say("garden", "bye"), "bob"))


@pytest.mark.parametrize(
    ("post", "by", "text", "style"),
    [
        (Join("lobby"), "bob", "12:00    -->   bob joined lobby", "dim"),
        (Join("lobby"), "alice", "12:00    -->   you joined lobby", "dim"),
        (Leave("lobby"), "bob", "12:00    <--   bob left lobby", "dim"),
        (
            Leave("lobby", lost=True),
            "bob",
            "12:00    -!-   bob lost the connection to lobby",
            "lost",
        ),
    ],
)
def test_who_comes_and_goes(view: View, post: Post, by: str, text: str, style: str) -> None:
    fragments = view.show(event(post, by))
    assert plain(fragments) == text
    assert fragments[-1][0] == style


def test_a_gap_says_what_is_missing(view: View) -> None:
    text = "── 12 events of lobby can't be had any more (5 to 16) ──"
    assert shown(view, Gap("lobby", 5, 16)) == text
    assert "one event of" in shown(view, Gap("lobby", 5, 5))


def test_the_colour_of_a_name_is_always_the_same() -> None:
    assert name_style("alice") == "name-11"
    names = {name_style(f"name{number}") for number in range(500)}
    assert names == {f"name-{number}" for number in range(NAME_COLOURS)}


def test_markup_is_not_parsed(view: View) -> None:
    text = "[bold]x[/] <b>y</b> %[ {0} {1}"
    assert view.show(event(text, "bob"))[-1] == ("text", text)


EVIL = "x\x1b[2J\x9b\u202e\r\b"


def test_a_server_cant_reach_the_terminal_through_any_field(view: View) -> None:
    room = RoomInfo(EVIL, 1, 1)
    evil = [
        view.show(event(EVIL, EVIL)),
        view.show(event(Join(EVIL), EVIL)),
        view.show(event(Leave(EVIL), EVIL)),
        view.show(Gap(EVIL, 1, 2)),
        view.page(Page(EVIL, (event(EVIL, EVIL),), more=True, gap=Gap(EVIL, 1, 2))),
        view.page(Page(EVIL, (), more=False)),
        notice(EVIL),
        refusal(Refused(EVIL)),
        member_list(EVIL, [EVIL]),
        room_list([room], []),
        [("", view.line(event(EVIL, EVIL)))],
        [("", view.line(event(Leave(EVIL), EVIL)))],
        [("", view.line(Gap(EVIL, 1, 2)))],
    ]
    for fragments in evil:
        text = plain(fragments)
        assert not set(EVIL[1:]) & {"\x1b", "\x9b", "\u202e", "\r", "\b"} & set(text)
        assert REPLACED in text


def test_a_name_that_is_no_name_takes_no_more_room_than_one(view: View) -> None:
    assert len(shown(view, event("hi", "x" * 60_000))) < 60
    assert "\n" not in shown(view, event("hi", "a\nb"))


@given(st.text(), st.text())
def test_every_line_of_a_text_has_its_bar(text: str, by: str) -> None:
    view = View("alice", UTC)
    view.show(event("first"))
    for line in shown(view, event(text, by)).split("\n"):
        assert "│" in line or "»" in line


# ---------------------------------------------------------------- what was missed

NEW = "──── new ────"


def told(view: View, *items: Event | Gap) -> list[str]:
    """The lines of these, without times: the text, or what moved."""
    lines = "\n".join(shown(view, item) for item in items).split("\n")
    return [line.replace("12:00", "").strip() for line in lines]


def test_a_line_stands_above_the_first_that_was_missed(view: View) -> None:
    view.expect("lobby", 5)
    view.arrive("lobby", 9)
    assert told(
        view,
        event("seen", "bob", seq=5),
        event("missed", "bob", seq=6),
        event("this too", "bob", seq=7),
        event(Join("lobby"), seq=8),
        event("live", "bob", seq=9),
    ) == [
        "bob │ seen",
        NEW,
        "bob │ missed",
        "bob │ this too",
        "-->   you joined lobby",
        "bob │ live",
    ]


def test_the_line_has_a_style_of_its_own(view: View) -> None:
    view.expect("lobby", 5)
    assert view.show(event("missed", "bob", seq=6))[0] == ("new", f"{NEW}\n")


def test_ones_own_coming_and_going_is_no_news(view: View) -> None:
    view.expect("lobby", 5)
    view.arrive("lobby", 8)
    mine = (event(Leave("lobby"), seq=6), event("me", seq=7), event(Join("lobby"), seq=8))
    assert NEW not in told(view, event("seen", "bob", seq=5), *mine, event("hi", "bob", seq=9))


def test_others_coming_and_going_is_news(view: View) -> None:
    view.expect("lobby", 5)
    view.arrive("lobby", 7)
    left = told(view, event(Leave("lobby"), seq=6), event(Leave("lobby"), "bob", seq=7))
    assert left == ["<--   you left lobby", NEW, "<--   bob left lobby"]


def test_a_gap_may_hide_news(view: View) -> None:
    view.expect("lobby", 5)
    assert NEW not in told(view, Gap("lobby", 1, 5))
    assert told(view, Gap("lobby", 6, 9))[0] == NEW


def test_the_news_of_each_room_have_a_line_that_names_it(view: View) -> None:
    view.arrive("garden", 1)
    view.expect("lobby", 5)
    view.expect("den", 2)
    assert told(view, event("x", "bob", seq=6))[0] == "──── new in lobby ────"
    assert "new" not in told(view, event(Say("garden", "x"), "bob", seq=6))[0]
    assert told(view, event(Say("den", "x"), "bob", seq=3))[0] == "──── new in den ────"


def test_without_a_cursor_nothing_counts_as_missed(view: View) -> None:
    view.arrive("lobby", 9)
    assert NEW not in told(view, event("x", "bob", seq=6))


def test_what_one_asks_for_is_no_news(view: View) -> None:
    view.expect("lobby", 5)
    page = Page("lobby", (event("x", "bob", seq=6),), more=False)
    assert "new" not in plain(view.page(page))
    assert told(view, event("y", "bob", seq=7))[0] == NEW


def test_leaving_a_room_or_another_history_ends_it(view: View) -> None:
    view.expect("lobby", 5)
    view.leave("lobby")
    assert NEW not in told(view, event("x", "bob", seq=6))
    view.expect("lobby", 5)
    view.know_epoch("two")
    assert NEW not in told(view, event("x", "bob", seq=7))


# ---------------------------------------------------------------- other things shown


def test_a_page_has_its_own_dates_and_a_frame(view: View) -> None:
    earlier = event("old", "bob", at=NOON - timedelta(days=1))
    page = Page("lobby", (earlier,), more=True)
    assert plain(view.page(page)).split("\n") == [
        "── earlier in lobby ──",
        "── Thursday, 19 November 2026 ──",
        "12:00    bob │ old",
        "── that was earlier in lobby; /history for more ──",
    ]
    assert shown(view, event("new")) == "12:00  alice » new"


def test_an_empty_page_says_so(view: View) -> None:
    page = Page("lobby", (), more=False)
    assert plain(view.page(page)) == "there is nothing earlier in lobby"


def test_the_oldest_event_shown_is_known_for_each_room(view: View) -> None:
    for seq in (7, 5, 9):
        view.show(event(Say("garden", "x"), seq=seq))
    assert view.oldest == {"lobby": 1, "garden": 5}
    view.leave("garden")
    assert view.oldest == {"lobby": 1}


def test_numbers_of_another_history_are_forgotten(view: View) -> None:
    view.know_epoch("one")
    view.show(event("x", seq=5))
    view.know_epoch("one")
    assert view.oldest == {"lobby": 5}
    view.know_epoch("two")
    assert view.oldest == {}


def test_members_and_rooms_are_listed() -> None:
    assert plain(member_list("lobby", ["bob", "alice"])) == "2 in lobby: alice, bob"
    rooms = [RoomInfo("lobby", 2, 30), RoomInfo("den", 1, 4)]
    assert plain(room_list(rooms, ["lobby"])).split("\n") == [
        "  den    1 here, 4 events",
        "* lobby  2 here, 30 events",
    ]
    assert "/join" in plain(room_list([], []))


def test_parts_stand_on_lines_of_their_own() -> None:
    assert plain(join_lines([notice("a"), notice("b\nc"), notice("d")])) == "a\nb\nc\nd"


def test_a_refusal_says_what_was_not_done() -> None:
    assert plain(refusal(Refused("no"))) == "no"
    assert plain(refusal(Refused("no"), "not said: hi")) == "not said: hi: no"


# ---------------------------------------------------------------- plain lines


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (event("a\nb", "bob"), "2026-11-20 12:00:00 bob: a ⏎ b"),
        (event(Join("lobby"), "bob"), "2026-11-20 12:00:00 * bob joined lobby"),
        (event(Leave("lobby"), "bob"), "2026-11-20 12:00:00 * bob left lobby"),
        (Gap("lobby", 1, 2), "* 2 events of lobby can't be had any more (1 to 2)"),
    ],
)
def test_one_event_is_one_line(item: Event | Gap, line: str) -> None:
    assert View("alice", UTC).line(item) == line


@given(st.text(), st.text())
def test_a_plain_line_is_one_line(text: str, by: str) -> None:
    assert View("alice", UTC).line(event(text, by)).splitlines()[1:] == []


def test_help_names_every_command() -> None:
    text = plain(help_text())
    for name in (
        "/join ROOM",
        "/leave [ROOM]",
        "/rooms",
        "/who",
        "/history [N]",
        "/quit",
        "//",
    ):
        assert name in text
