"""Lists of texts."""

from datetime import UTC, datetime

from attrs import evolve

from trio_chat.client.listings import hit_list, plain_hit, text_list
from trio_chat.client.wording import Wording
from trio_chat.client.wrap import plain
from trio_chat.messages import Event, Found, Hit, Say

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

WORDING = Wording("alice", UTC)

HITS = (
    Hit("lobby", 812, NOON, "bob", "about Soup\nand soups"),
    Hit("@alice,bob:x", 7, NOON, "alice", "soup?"),
)


def test_what_is_found_ends_with_the_newest_and_its_words_are_marked() -> None:
    shown = hit_list(Found(HITS, next=5), "soup (and)", WORDING, 80)
    assert plain(shown).split("\n") == [
        "2026-11-20 12:00 @bob 7 alice │ soup?",
        "2026-11-20 12:00 lobby 812 bob │ about Soup ⏎ and soups",
        "/jump ROOM N shows what happened there; /search shows older ones",
    ]
    marked = [text for style, text in shown if style == "found"]
    assert marked == ["soup", "Soup", "and", "soup"]


def test_nothing_found_says_so() -> None:
    assert plain(hit_list(Found(()), "soup", WORDING, 80)) == "nothing is found: soup"
    assert "older" not in plain(hit_list(Found(HITS), "?", WORDING, 80))


def test_a_long_hit_is_broken_and_each_line_is_seen_to_be_its() -> None:
    hit = Hit("lobby", 812, NOON, "bob", "word " * 30)
    lines = plain(hit_list(Found((hit,)), "word", WORDING, 60)).split("\n")[:-1]
    assert len(lines) > 2
    assert all(line.startswith("   │ word") for line in lines[1:])


def test_a_hit_is_one_line_in_a_pipe() -> None:
    assert [plain_hit(hit, WORDING) for hit in HITS] == [
        "2026-11-20 12:00:00 lobby 812 bob: about Soup ⏎ and soups",
        "2026-11-20 12:00:00 @bob 7 alice: soup?",
    ]


def test_texts_have_the_numbers_by_which_they_are_meant() -> None:
    text = Event(812, NOON, "bob", Say("lobby", "one\ntwo"))
    edited = evolve(text, seq=813, changed=814)
    assert plain(text_list([text, edited], 30)).split("\n") == [
        ">812 bob: one ⏎ two",
        ">813 bob: one ⏎ two (edited)",
    ]
    assert plain(text_list([text], 12)) == ">812 bob: o…"
    assert "no text here" in plain(text_list([], 30))
