"""What a person reads."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat.client.clean import REPLACED, clean
from trio_chat.client.notices import (
    NAME_COLOURS,
    help_text,
    join_lines,
    member_list,
    name_style,
    notice,
    refusal,
    room_list,
    topic_line,
    warning,
)
from trio_chat.client.view import BESIDE_LINES, View
from trio_chat.client.wording import GLIMPSE
from trio_chat.client.wrap import Fragments, cells, plain
from trio_chat.errors import Refused
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
    RoomInfo,
    Say,
    Topic,
)
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
    view.show(event("first"))
    return view


BOB = "@alice,bob:k7Jx2mQ9"
"""The private room with bob."""

KNOWN = {
    4: event("shall we ship it?", "bob", seq=4),
    5: event("in five minutes\n(coffee)", seq=5),
    6: evolve(event("", "carol", seq=6), changed=7),
}
"""What was said before."""


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


@pytest.mark.parametrize(
    ("post", "line"),
    [
        (Edit("lobby", 4, "ship it?\nnow?"), "12:00    bob ~ ship it?|now? (edits 12:00)"),
        (Edit("lobby", 9, "what"), "12:00    bob ~ what (edits event 9)"),
        (Delete("lobby", 4), "12:00    ---   bob deleted the text of 12:00"),
        (Delete("lobby", 9), "12:00    ---   bob deleted event 9"),
        (
            React("lobby", 5, "👍"),
            '12:00    -+-   bob put 👍 on your "in five minutes ⏎ (coffee)"',
        ),
        (React("lobby", 4, "👍"), '12:00    -+-   bob put 👍 on bob\'s "shall we ship it?"'),
        (
            React("lobby", 6, "+1", off=True),
            '12:00    -+-   bob took +1 off carol\'s "(deleted)"',
        ),
        (React("lobby", 9, "👍"), "12:00    -+-   bob put 👍 on event 9"),
        (Topic("lobby", "release"), "12:00    ---   bob set the topic: release"),
        (Topic("lobby", ""), "12:00    ---   bob took the topic away"),
    ],
)
def test_what_is_done_is_one_line(view: View, post: Post, line: str) -> None:
    shown = plain(view.show(event(post, "bob"), KNOWN)).replace("\n             │ ", "|")
    assert shown == line


def test_an_answer_stands_below_what_it_answers(view: View) -> None:
    assert plain(view.show(event(Say("lobby", "yes", reply_to=4)), KNOWN)).split("\n") == [
        "             ┌ bob: shall we ship it?",
        "12:00  alice » yes",
    ]
    view.columns = 40
    assert plain(view.show(event(Say("lobby", "yes", reply_to=5)), KNOWN)).split("\n") == [
        "             ┌ alice: in five minutes ⏎…",
        "12:00  alice » yes",
    ]
    assert shown(view, event(Say("lobby", "yes", reply_to=9))).startswith(
        "             ┌ event 9; /jump 9 shows"
    )
    view.columns = 30
    assert plain(view.show(event(Say("lobby", "yes", reply_to=6)), KNOWN)).split("\n") == [
        "┌ carol: (deleted)",
        "12:00 alice",
        "» yes",
    ]


def test_what_was_changed_before_one_came_says_so(view: View) -> None:
    assert shown(view, evolve(event("hi", "bob"), changed=9)) == "12:00    bob │ hi (edited)"
    assert shown(view, evolve(event("", "bob"), changed=9)) == "12:00    bob │ (deleted)"


def test_a_text_cant_look_like_what_somebody_else_said(view: View) -> None:
    forged = shown(view, event("well\n12:00  carol │ I resign", "bob"))
    assert all(" │ " in line for line in forged.split("\n"))
    assert forged.split("\n")[1].startswith(" " * 12)


def test_names_stand_in_a_column_that_grows(view: View) -> None:
    view.columns = 100
    assert shown(view, event("hi", "bob")).index("│") == 13
    assert shown(view, event("hi", "maximilian")).index("│") == 17
    assert shown(view, event("hi", "bob")).index("│") == 17
    shown(view, event("hi", "x" * NAME_CHARS))
    assert shown(view, event("hi", "bob")).index("│") == 23


def test_names_of_wide_letters_stand_in_the_column(view: View) -> None:
    assert shown(view, event("hi", "王明")) == "12:00   王明 │ hi"


def test_a_name_that_is_written_from_the_right_stays_in_its_place(view: View) -> None:
    """Or a terminal that knows how draws the bar and the number between two such words."""
    assert shown(view, event("5 עוגות", "עמית")) == "12:00   עמית\u200e │ 5 עוגות"
    assert "עמית\u200e │ " in plain(view.announce(event("5 עוגות", "עמית")))


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
        refusal(Refused(EVIL), "alice"),
        member_list(EVIL, [EVIL], EVIL),
        room_list([room], {}, EVIL),
        view.announce(event(EVIL, EVIL)),
        warning(EVIL),
        view.rule(EVIL),
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


# ---------------------------------------------------------------- widths


def widest(text: str) -> int:
    return max(cells(line) for line in text.split("\n"))


WORDS = (
    st.text(st.sampled_from("ab  \nß日本👩\u200d💻❤\ufe0f🇩🇪e\u0301\x1b\u202e─│»")) | st.text()
)


@example("\u0301\ufe0faaaa", "aa", 21)  # the sign makes the space before it wide
@given(WORDS, WORDS, st.integers(20, 130))
def test_no_line_is_wider_than_the_screen(text: str, by: str, columns: int) -> None:
    view = View("alice", UTC, columns)
    items = [event(text, by), event(Join(by), by), event(Leave(text, lost=True), by)]
    items += [event(text, "alice", at=NOON + timedelta(days=1))]
    assert all(widest(shown(view, item)) <= columns for item in items)
    assert widest(shown(view, Gap(text, 1, 2**53))) <= columns
    assert widest(plain(view.page(Page(by, (event(text, by),), more=True)))) <= columns
    assert widest(plain(view.announce(event(text, by)))) <= columns


@given(WORDS, st.integers(20, 130))
def test_every_line_of_a_text_has_its_bar(text: str, columns: int) -> None:
    view = View("alice", UTC, columns)
    view.show(event("first"))
    head, *rest = shown(view, event(text, "bob")).split("\n")
    if columns < 39:  # then the text stands below the name
        assert head == "12:00 bob"
        assert all(line.startswith("│ ") for line in rest)
    else:
        assert head.startswith("12:00    bob │ ")
        assert all(line.startswith("             │ ") for line in rest)


def test_a_long_text_hangs_below_its_first_line(view: View) -> None:
    view.columns = 40
    assert shown(view, event("the quick brown fox jumps over a dog", "bob")).split("\n") == [
        "12:00    bob │ the quick brown fox jumps",
        "             │ over a dog",
    ]


def test_on_a_narrow_screen_the_text_stands_below_the_name(view: View) -> None:
    view.columns = 20
    assert shown(view, event("the quick brown fox", "bob")).split("\n") == [
        "12:00 bob",
        "│ the quick brown ",
        "│ fox",
    ]
    assert shown(view, event("mine")).split("\n") == ["12:00 alice", "» mine"]
    assert shown(view, event(Join("lobby"), "bob")) == "12:00 --> bob joined\n    lobby"
    tomorrow = event("x", "bob", at=NOON + timedelta(days=1))
    assert shown(view, tomorrow).startswith("── 2026-11-21 ──\n")


def test_a_link_stays_whole(view: View) -> None:
    link = "https://example.org/" + "x" * 90
    assert shown(view, event(f"see {link} there", "bob")).split("\n") == [
        "12:00    bob │ see ",
        link,
        "             │ there",
    ]


def test_a_link_that_fits_below_stands_below(view: View) -> None:
    link = "https://example.org/" + "x" * 40
    assert shown(view, event(f"so many words {link}", "bob")).split("\n")[1] == (
        f"             │ {link}"
    )


def test_what_calls_has_a_style_of_its_own(view: View) -> None:
    called = view.show(event("alice!", "bob"), calls=True)
    assert called[-1] == ("called", "alice!")


def test_a_line_stands_above_the_first_that_is_new(view: View) -> None:
    assert plain(view.show(event("x", "bob"), is_first_new=True)).split("\n") == [
        "── new ──",
        "12:00    bob │ x",
    ]


def test_what_was_said_elsewhere_is_one_line_that_says_where(view: View) -> None:
    said = event(Say("garden", "alice:\nlook at " + "x" * 200), "bob")
    assert plain(view.announce(said)).startswith("12:00 garden bob │ alice: ⏎ look at xxx")
    assert cells(plain(view.announce(said))) == 80


def test_of_a_text_that_is_only_mentioned_no_more_is_looked_at_than_the_beginning(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a hundred answers to a long text took a second."""
    cleaned = list[str]()

    def note(text: str, *, lines: bool = False) -> str:
        cleaned.append(text)
        return clean(text, lines=lines)

    monkeypatch.setattr("trio_chat.client.wording.clean", note)
    long = event("日本 " * 5000, "bob", seq=4)
    assert plain(view.announce(long)).endswith("日本 …")
    answer = view.show(event(Say("lobby", "yes", reply_to=4), "bob", seq=5), {4: long})
    assert plain(answer).split("\n")[0].endswith("…")
    view.show(event(React("lobby", 4, "👍"), "bob", seq=6), {4: long})
    assert max(map(len, cleaned)) <= GLIMPSE


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


def test_beside_the_text_that_is_looked_for_long_ones_are_cut(view: View) -> None:
    paste = "\n".join(map(str, range(200)))
    events = event(paste, "bob", seq=4), event(paste, "carol", seq=5), event("x", "bob", seq=6)
    shown = plain(view.page(Page("lobby", events, more=False), meant=5)).split("\n")
    assert len(shown) == 1 + 1 + 200 + 1 + 1 + BESIDE_LINES
    assert shown[BESIDE_LINES + 1] == "… 196 more lines"  # the day is one that is shown
    assert len(plain(view.page(Page("lobby", events, more=False))).split("\n")) > 400


def test_a_page_has_each_text_as_it_is_now(view: View) -> None:
    events = (
        evolve(event("now", "bob", seq=1), changed=3),
        evolve(event(Edit("lobby", 1, ""), "bob", seq=2), changed=3),
        event(Edit("lobby", 1, "now"), "bob", seq=3),
        event(Say("lobby", "yes", reply_to=1), seq=4),
        event(Say("lobby", "no", reply_to=8), seq=5),
    )
    known = {8: event("before", "bob", seq=8)}
    page = view.page(Page("lobby", events, more=False), known, meant=4)
    assert plain(page).split("\n")[2:-1] == [
        "12:00    bob │ now (edited)",
        "             ┌ bob: now (edited)",
        "12:00  alice » yes",
        "             ┌ bob: before",
        "12:00  alice » no",
    ]
    assert ("called", "yes") in page


def test_a_private_room_is_called_by_the_other(view: View) -> None:
    assert (
        shown(view, Gap(BOB, 1, 2)) == "── 2 events of @bob can't be had any more (1 to 2) ──"
    )
    assert plain(view.heading(BOB, "")) == "── @bob ──"
    assert plain(view.heading("lobby", "a b")) == "── lobby: a b ──"
    assert plain(view.announce(event(Say(BOB, "hi"), "bob"))) == "12:00 @bob │ hi"
    assert plain(view.announce(event(Say(BOB, "hi"), "alice"))) == "12:00 @bob alice │ hi"
    assert plain(view.announce(event(Say("lobby", "hi"), "bob"))) == "12:00 lobby bob │ hi"


def test_an_empty_page_says_so(view: View) -> None:
    page = Page("lobby", (), more=False)
    assert plain(view.page(page)) == "there is nothing earlier in lobby"


def test_members_and_rooms_are_listed() -> None:
    assert plain(member_list("lobby", ["bob", "alice"], "carol")) == "2 in lobby: alice, bob"
    rooms = [RoomInfo("lobby", 2, 30), RoomInfo("den", 1, 4)]
    assert plain(room_list(rooms, {"lobby": (1, 3)}, "alice")).split("\n") == [
        "   den    1 here, 4 events",
        " 1 lobby  2 here, 30 events, 3 unread",
    ]
    assert "/join" in plain(room_list([], {}, "alice"))
    private = [RoomInfo("@alice,zoe:x", 2, 30), RoomInfo("zoo", 1, 4)]
    assert plain(room_list(private, {"@alice,zoe:x": (1, 2)}, "alice")).split("\n") == [
        "   zoo   1 here, 4 events",
        " 1 @zoe  private, 30 events, 2 unread",
    ]
    assert plain(topic_line("lobby", "a \x1b b", "alice")) == "lobby is about: a \ufffd b"
    assert plain(topic_line("@alice,zoe:x", "", "alice")) == "@zoe has no topic"


def test_rooms_with_wide_names_stand_in_columns() -> None:
    rooms = [RoomInfo("lobby", 2, 30), RoomInfo("王明", 1, 4), RoomInfo("גן", 1, 4)]
    assert plain(room_list(rooms, {}, "alice")).split("\n") == [
        "   lobby  2 here, 30 events",
        "   גן\u200e     1 here, 4 events",
        "   王明   1 here, 4 events",
    ]


def test_parts_stand_on_lines_of_their_own() -> None:
    assert plain(join_lines([notice("a"), notice("b\nc"), notice("d")])) == "a\nb\nc\nd"


def test_a_refusal_says_what_was_not_done() -> None:
    assert plain(refusal(Refused("no"), "alice")) == "no"
    assert plain(refusal(Refused("no"), "alice", "not said: hi")) == "not said: hi: no"


def test_a_refusal_calls_a_private_room_as_people_do() -> None:
    text = "not for you in @alice,bob:k7Jx2mQ9; nor @bob,carol:x, nor @a,b"
    mine = plain(refusal(Refused(text), "alice"))
    assert mine == "not for you in @bob; nor @bob,carol:x, nor @a,b"


def test_a_server_cant_keep_one_busy_with_what_looks_like_private_rooms() -> None:
    start = time.process_time()
    refusal(Refused("@a," * 20_000), "alice")
    refusal(Refused("@" * 60_000), "alice")
    assert time.process_time() - start < 1  # without a bound it is a minute


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


def test_help_is_for_narrow_terminals_too() -> None:
    assert len(plain(help_text(80)).splitlines()) * 2 == len(plain(help_text(40)).splitlines())
    assert "/rooms\n  which rooms there are\n" in plain(help_text(40))


def test_help_names_every_command() -> None:
    text = plain(help_text(80))
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
