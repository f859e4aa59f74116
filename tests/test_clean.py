"""What reaches an eye: nothing that a terminal obeys."""

import json
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.client.clean import (
    INVISIBLE,
    MARKS,
    REPLACED,
    REPLACED_RUN,
    clean,
    clean_json,
)
from trio_chat.messages import Gap
from trio_chat.wire import SERVER

TRICKS = {
    "clear the screen": "\x1b[2J\x1b[H",
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;pwned\x07",
    "title reported back": "\x1b[21t",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "false link": "\x1b]8;;http://evil.example\x1b\\bank\x1b]8;;\x1b\\",
    "status string": "\x1bP$qm\x1b\\",
    "answerback": "\x05",
    "bell": "\a",
    "eight-bit CSI": "\x9b2J",
    "eight-bit OSC": "\x9d0;pwned\x9c",
    "next line": "\x85fake",
    "delete": "abc\x7f\x7f",
    "backspace": "abc\b\b\bxyz",
    "carriage return": "hello\rbob: I resign",
    "vertical tab and form feed": "a\vb\fc",
    "shift out": "\x0eabc\x0f",
    "nul": "a\0b",
    "bidi override": "\u202egnp.exe",
    "bidi isolates": "\u2067abc\u2069\u2066",
    "zero width": "adm\u200bin",
    "joiner between letters": "adm\u200din",
    "byte order mark": "\ufeffabc",
    "soft hyphen": "ad\xadmin",
    "tags": "a\U000e0041\U000e0042",
    "line separators": "a\u2028b\u2029c",
    "private": "\ue000\U000f0000",
    "lone surrogate": "a\udc80b",
    "unassigned": "\U000e0fff\U0003fffd",
    "variation selectors": "adm\ufe0fi\U000e0100n\ufe00",
}

REFUSED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

anything = st.text(st.characters(exclude_categories=()))  # surrogates too
nasty = st.text(
    st.sampled_from("a é\n\r\t\x1b\x9b\u202e\u200d\ufe0f\u0301\u0489❤👩💻🏽\u2800\ue000")
)


def obeyed(text: str) -> set[str]:
    return {char for char in text if category(char) in REFUSED}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
def test_no_trick_reaches_the_terminal(trick: str) -> None:
    shown = clean(trick, lines=True)
    assert not obeyed(shown)
    assert REPLACED in shown
    assert REPLACED in clean(trick)


@given(anything | nasty)
def test_a_field_has_nothing_that_a_terminal_obeys(text: str) -> None:
    assert obeyed(clean(text)) <= {"\u200d"}


@given(anything | nasty)
def test_a_text_keeps_its_lines_and_nothing_else_that_a_terminal_obeys(text: str) -> None:
    shown = clean(text, lines=True)
    assert obeyed(shown) <= {"\u200d", "\n"}
    assert shown.count("\n") == text.count("\n")


@given(anything | nasty)
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    shown = clean(text, lines=True)
    assert clean(shown, lines=True) == shown


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "Grüße, naïve café",
        "e\u0301 decomposed",
        "שָׁלוֹם عليكم",
        "日本語　한국어 中文",
        "ไม่ใช่ผู้ใหญ่",
        "👍🏽 ❤️ 1️⃣ 🇩🇪",
        "👩‍💻 👨‍👩‍👧‍👦 🏳️‍🌈 🧔🏽‍♀️ ❤️‍🔥",
        "x ≤ y → z \xa0 “q” €",
        "[bold]x[/] <b> %[ {0} &amp;",
    ],
)
def test_what_people_write_is_left_alone(text: str) -> None:
    assert clean(text) == text
    assert clean(f"{text}\n  {text}", lines=True) == f"{text}\n  {text}"


def test_every_character_there_is() -> None:
    shown = clean("a".join(map(chr, range(0x110000))))
    assert not obeyed(shown)
    assert not set(INVISIBLE) & set(shown)


@pytest.mark.parametrize("text", ["a\u200db", "👩\u200d", "\u200d💻", "👩\u200d\u200d💻"])
def test_a_joiner_stands_between_emoji_only(text: str) -> None:
    assert "\u200d" not in clean(text)


@pytest.mark.parametrize("letter", INVISIBLE)
def test_invisible_letters_are_seen(letter: str) -> None:
    assert clean(f"ad{letter}min") == "ad·min"


def test_of_many_characters_that_are_not_shown_the_number_is() -> None:
    assert clean("\x1b" * REPLACED_RUN) == REPLACED * REPLACED_RUN
    assert clean(f"a{chr(27) * 10_700}b\x1b") == f"a{REPLACED}(10700)b{REPLACED}"


def test_a_pile_of_marks_is_cut() -> None:
    pile = "".join(map(chr, range(0x300, 0x300 + 30)))
    assert clean(f"Z{pile}algo{pile}") == f"Z{pile[:MARKS]}algo{pile[:MARKS]}"


def test_how_a_character_is_drawn_is_chosen_for_those_that_have_a_choice() -> None:
    for text in ("❤\ufe0f", "1\ufe0f\u20e3", "#\ufe0f\u20e3", "葛\U000e0100"):
        assert clean(text) == text
    for text in ("\ufe0f", "a\ufe0f", " \ufe0f", "\xa0\ufe0f", "\n\ufe0f"):
        assert clean(text, lines=True) == f"{text[:-1]}{REPLACED}"


def test_marks_of_all_kinds_count() -> None:
    pile = "\u0301\u0489\u0903\ufe0f\U0001d165" * 3
    assert len(clean(f"x{pile}")) == 1 + MARKS


def test_tabs_and_dos_lines_are_shown_as_what_they_mean() -> None:
    assert clean("if x:\r\n\treturn", lines=True) == "if x:\n    return"
    assert clean("a\r\n\tb") == f"a{REPLACED * 3}b"


# ---------------------------------------------------------------- JSON


@given(anything | nasty)
def test_json_says_the_same_with_escapes(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    line = json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"
    shown = clean_json(line)
    assert json.loads(shown) == {"text": text}
    assert obeyed(shown.decode()) == {"\n"}


def test_plain_json_is_left_alone() -> None:
    line = SERVER.encode(Gap("lobby", 1, 2))
    assert clean_json(line) is line


def test_json_without_an_end_of_line_is_cleaned_too() -> None:
    assert clean_json(b'"\xc2\x9b"') == b'"\\u009b"'


def test_astral_characters_become_pairs() -> None:
    assert clean_json('"\U000e0041"\n'.encode()) == b'"\\udb40\\udc41"\n'
