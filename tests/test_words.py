"""What a text is found by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.history.words import EXCERPT_CHARS, WORDS, excerpt, matches, split


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("where is the key", "key"),
        ("where is the key", "KEY where"),
        ("a keyboard", "key"),
        ("Où est l'été?", "ete"),
        ("it's a:b \"un* NEAR(", "it's a:b \"un* NEAR("),
        ("我们明天去公园", "明天"),
        ("明日は公園", "公園"),
        ("straße", "STRASSE"),
    ],
)
def test_a_text_has_the_words_of_a_question(text: str, question: str) -> None:
    assert matches(text, split(question))


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("a monkey", "key"),
        ("a key", "ke"),
        ("where", "where key"),
        ("我们明天", "公园"),
        ("", "a"),
    ],
)
def test_a_text_has_not_all_words_of_a_question(text: str, question: str) -> None:
    assert not matches(text, split(question))


def test_there_are_only_so_many_words() -> None:
    assert split(" ".join(map(str, range(100)))) == [str(number) for number in range(WORDS)]
    assert split('"*(): ') == []


def test_an_excerpt_is_around_the_first_word_on_one_line() -> None:
    text = f"{'before ' * 50}\nthe key {'after ' * 50}"
    piece = excerpt(text, ["key"])
    assert "the key after" in piece
    assert "\n" not in piece
    assert piece[0] == piece[-1] == "…"
    assert len(piece) == EXCERPT_CHARS + 2
    assert excerpt("the key", ["key"]) == "the key"


@given(st.text(), st.text())
def test_any_text_can_be_asked_for_in_any_text(text: str, question: str) -> None:
    words = split(question)
    matches(text, words)
    assert len(excerpt(text, words)) <= EXCERPT_CHARS + 2
