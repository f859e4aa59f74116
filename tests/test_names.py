"""Tests of what may be called what."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat.errors import BadName
from trio_chat.names import NAME_CHARS, parse_name

GOOD = [
    ("one letter", "a", "a"),
    ("upper case", "Alice", "alice"),
    ("all that may stand in one", "a-b_9", "a-b_9"),
    ("the longest", "A" * NAME_CHARS, "a" * NAME_CHARS),
    ("a hyphen at the end", "a-", "a-"),
]

BAD = [
    ("nothing", ""),
    ("too long by one", "a" * (NAME_CHARS + 1)),
    ("a digit first", "1a"),
    ("a hyphen first, like an option", "-a"),
    ("an underscore first", "_a"),
    ("a slash first, like a command", "/quit"),
    ("a space", "a b"),
    ("a space around it", " alice "),
    ("a line end", "alice\n"),
    ("NUL", "a\0"),
    ("an escape sequence", "a\x1b[2J"),
    ("a dot", "a.b"),
    ("an umlaut", "jürgen"),
    ("a Cyrillic a", "\u0430lice"),
    ("a KELVIN SIGN, which folds to k", "\u212aate"),
    ("a dotted capital I, which folds to two characters", "\u0130da"),
    ("full-width letters", "\uff41lice"),
    ("a lone surrogate", "a\ud800"),
]


@pytest.mark.parametrize(("raw", "name"), [row[1:] for row in GOOD], ids=[r[0] for r in GOOD])
def test_a_name_is_folded(raw: str, name: str) -> None:
    assert parse_name(raw) == name


@pytest.mark.parametrize("raw", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_no_name_is_refused(raw: str) -> None:
    with pytest.raises(BadName):
        parse_name(raw)


@given(st.text())
@example("\u212a")
def test_any_text_is_a_name_of_ascii_or_refused(raw: str) -> None:
    try:
        name = parse_name(raw)
    except BadName:
        return
    assert re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name)


@given(st.from_regex(r"\A[a-zA-Z][a-zA-Z0-9_-]{0,31}\Z"))
def test_names_that_differ_in_case_only_are_one(raw: str) -> None:
    assert parse_name(raw) == parse_name(raw.swapcase()) == parse_name(parse_name(raw))


@given(st.text())
def test_the_refusal_is_short_and_fit_for_a_terminal(raw: str) -> None:
    try:
        parse_name(raw)
    except BadName as refusal:
        text = str(refusal)
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 500
