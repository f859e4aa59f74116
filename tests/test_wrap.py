"""Where text is broken, and how wide it is."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcwidth

from trio_chat.client.clean import clean
from trio_chat.client.wrap import (
    CLUSTER_CELLS,
    NARROW,
    PORTION,
    Fragments,
    cells,
    clip,
    clusters,
    fit,
    height,
    plain,
    portions,
    wrap,
)

FAMILY = "👨\u200d👩\u200d👧"

texts = st.text(st.sampled_from("ab \nß日本👩🏽\u200d❤\ufe0f🇩🇪e\u0301")) | st.text()


def wrapped(text: str, columns: int) -> list[str]:
    return plain(wrap([("", text)], columns, [("", "> ")], [("", "| ")])).split("\n")


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("日本", 4), ("e\u0301", 1), ("❤\ufe0f", 2), ("👍🏽", 4), ("🇩🇪", 4), ("", 0)],
)
def test_cells(text: str, width: int) -> None:
    assert cells(text) == width


def test_what_is_counted_without_looking_it_up_takes_one_cell_each() -> None:
    narrow = [char for char in map(chr, range(0x110000)) if NARROW.fullmatch(char)]
    assert set("aÄő │") < set(narrow)
    assert list(clusters("".join(narrow))) == narrow
    assert {wcwidth(char) for char in narrow} == {1}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("abc", ["a", "b", "c"]),
        (f"x{FAMILY}y", ["x", FAMILY, "y"]),
        ("👍🏽👍", ["👍🏽", "👍"]),
        ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
        ("e\u0301e", ["e\u0301", "e"]),
        ("\u0301e", ["\u0301", "e"]),
        ("\u200d".join("👩" * 9), ["\u200d".join("👩" * 6) + "\u200d", "👩\u200d👩\u200d👩"]),
    ],
)
def test_what_is_drawn_as_one_is_not_torn_apart(text: str, parts: list[str]) -> None:
    assert list(clusters(text)) == parts


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two", ["> one two"]),
        ("one two three", ["> one two", "| three"]),
        ("a\n\n  b", ["> a", "| ", "|   b"]),
        ("abcdefghijklmno", ["> abcdefgh", "| ijklmno"]),
        ("one abcdefghijk", ["> one abcd", "| efghijk"]),
        ("日本語日本語", ["> 日本語日", "| 本語"]),
        ("12345678 x", ["> 12345678", "| x"]),
        ("a http://x.example b", ["> a ", "http://x.example", "| b"]),
        ("", ["> "]),
    ],
)
def test_lines_are_broken_between_words_where_that_can_be(text: str, lines: list[str]) -> None:
    assert wrapped(text, 10) == lines


@given(texts, st.integers(2 + CLUSTER_CELLS, 60))
def test_no_line_is_too_wide_and_nothing_but_space_is_lost(text: str, columns: int) -> None:
    text = clean(text, lines=True)
    lines = wrapped(text, columns)
    assert all(cells(line) <= columns for line in lines)
    assert all(line.startswith("| ") for line in lines[1:])
    assert "".join("".join(line[2:] for line in lines).split()) == "".join(text.split())


@given(texts)
def test_even_on_a_screen_without_room_it_ends(text: str) -> None:
    assert "".join("".join(wrapped(text, 1)).split()) is not None


def test_styles_go_on_across_lines() -> None:
    styled: Fragments = [("red", "one two "), ("blue", "three")]
    assert ("blue", "three") in wrap(styled, 8)
    assert plain(fit(styled, 8)) == "one two\nthree"


@pytest.mark.parametrize(
    ("text", "columns", "clipped"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 5, "日本…"), (f"a{FAMILY}", 4, "a…")],
)
def test_what_is_too_long_is_cut(text: str, columns: int, clipped: str) -> None:
    assert clip(text, columns) == clipped


def test_of_a_long_text_no_more_is_looked_at_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    def note(text: str) -> Iterator[str]:
        for cluster in clusters(text):
            looked_at.append(cluster)
            yield cluster

    monkeypatch.setattr("trio_chat.client.wrap.clusters", note)
    assert clip("日本" * 10_000, 21) == f"{'日本' * 5}…"
    assert len(looked_at) == 11


def test_what_looks_alike_is_one_piece_of_a_line() -> None:
    """A fragment costs as much to draw as a hundred letters."""
    broken = wrap(
        [("red", "a " * 5000), ("blue", "b " * 5000)], 100, [("", "> ")], [("", "| ")]
    )
    assert len(broken) <= 3 * height(broken) + 1
    assert plain(broken).count("a") == plain(broken).count("b") == 5000


@pytest.mark.parametrize(
    "text",
    [
        [("red", "one line")],
        [("red", "\n".join(map(str, range(PORTION))))],
        [("red", "\n".join(map(str, range(5 * PORTION + 1))))],
        [(style, f"{n}\n") for n in range(PORTION) for style in ("red", "blue")],
        [("", "\n" * 3 * PORTION)],
    ],
)
def test_a_text_of_many_lines_comes_in_portions(text: Fragments) -> None:
    parts = list(portions(text))
    assert max(map(height, parts)) <= PORTION
    assert len(parts) == -(-height(text) // PORTION)
    assert "\n".join(map(plain, parts)) == plain(text)
    assert {style for part in parts for style, _ in part} <= {"", "red", "blue"}
