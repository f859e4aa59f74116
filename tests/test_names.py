"""Tests of what may be called what."""

import re
import subprocess
import sys
from unicodedata import category, normalize

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from trio_chat.client import clean as display
from trio_chat.client.clean import clean
from trio_chat.errors import BadName
from trio_chat.framing import LINE_BYTES
from trio_chat.messages import ID_CHARS, MAX_INT, RoomInfo, RoomList
from trio_chat.names import (
    MARKS,
    NAME_BYTES,
    NAME_CHARS,
    RAW_CHARS,
    RESERVED,
    Name,
    is_reserved,
    parse_name,
    skeleton,
)
from trio_chat.questions import LISTED
from trio_chat.wire import SERVER

GOOD = [
    ("one letter", "a", "a"),
    ("upper case", "Alice", "alice"),
    ("all that may stand in one", "a-b_9", "a-b_9"),
    ("the longest", "A" * NAME_CHARS, "a" * NAME_CHARS),
    ("a hyphen at the end", "a-", "a-"),
    ("an umlaut", "Jürgen", "jürgen"),
    ("an umlaut of two characters", "Ju\u0308rgen", "jürgen"),
    ("a sharp s", "Weiß", "weiß"),
    ("the KELVIN SIGN", "\u212aate", "kate"),
    ("full width", "\uff21\uff4c\uff49\uff43\uff45", "alice"),
    ("half width", "\uff71\uff6f", "アッ"),
    ("the Turkish capital", "İrem", "irem"),
    ("the Turkish capital of two characters", "I\u0307rem", "irem"),
    ("the Turkish small letter", "Işıl", "işıl"),
    ("Azerbaijani, whose schwa looks like a sign of phonetics", "Əli", "əli"),
    ("Vietnamese, with two accents on a letter", "Nguyễn", "nguyễn"),
    ("Cyrillic", "Ольга-2", "ольга-2"),
    ("Greek, with its other s at the end", "ΣΊΣΥΦΟΣ", "σίσυφος"),
    ("Hebrew", "עמית", "עמית"),
    ("Hebrew with a number", "עמית5", "עמית5"),
    ("Arabic, with its own digits", "سعيد٥", "سعيد٥"),
    ("Devanagari, with a vowel sign", "नेहा", "नेहा"),
    ("Thai, with marks over each other", "เจ้าหน้าที่", "เจ้าหน้าที่"),
    ("Chinese", "王明", "王明"),
    ("Japanese, of three scripts that are one", "山田さんユーザー", "山田さんユーザー"),
    ("Korean", "김철수", "김철수"),
    ("Korean, spelled out", normalize("NFD", "김철수"), "김철수"),
    ("the most bytes", "я" * NAME_CHARS, "я" * NAME_CHARS),
]

BAD = [
    ("nothing", ""),
    ("too long by one", "a" * (NAME_CHARS + 1)),
    ("too long by one, not of ASCII", "ü" * (NAME_CHARS + 1)),
    ("too long in bytes", "王" * (NAME_BYTES // 3 + 1)),
    ("more than is looked at", "u\u0308" * RAW_CHARS),
    ("a digit first", "1a"),
    ("a digit of another script first", "५ने"),
    ("a hyphen first, like an option", "-a"),
    ("a hyphen first, not of ASCII", "-ü"),
    ("an underscore first", "_a"),
    ("a slash first, like a command", "/quit"),
    ("a space", "a b"),
    ("a space around it", " alice "),
    ("a space that does not break", "jürgen\u00a0b"),
    ("a line end", "alice\n"),
    ("a line separator", "alice\u2028"),
    ("NUL", "a\0"),
    ("an escape sequence", "a\x1b[2J"),
    ("an escape sequence of one character", "a\x9b2J"),
    ("a dot", "a.b"),
    ("a dot in the middle", "ü·b"),
    ("a dot of full width", "ü\uff0eb"),
    ("a lone surrogate", "a\ud800"),
    ("an emoji", "a🐟"),
    ("a private character", "a\ue000"),
    ("no character yet", "a\U000e0fff"),
    ("a mark first", "\u0301a"),
    ("a mark on a hyphen", "a-\u0336"),
    ("a pile of marks", "q" + "\u0316" * (MARKS + 1)),
    ("zero width", "adm\u200bin"),
    ("zero width, where Persian has it", "نامه\u200cای"),
    ("zero width, where Hindi has it", "क्\u200dष"),
    ("no character, the grapheme joiner", "adm\u034fin"),
    ("a letter that looks like nothing", "a\u3164"),
    ("a soft hyphen", "ad\u00admin"),
    ("a byte order mark", "\ufeffadmin"),
    ("from right to left by force", "\u202ealice"),
    ("isolated", "\u2066alice\u2069"),
    ("two directions", "aliceעמית"),
    ("a number before Hebrew", "5עמית"),
    ("a ligature", "\ufb01n"),
    ("a letter of mathematics", "𝐚lice"),
    ("a Cyrillic a", "\u0430lice"),
    ("a Greek o", "b\u03bfb"),
    ("Latin and Chinese", "alice王"),
    ("Korean and Japanese", "김さん"),
    ("a dash that makes kana long", "aliceー"),
    ("an apostrophe that is a letter", "oʻbrien"),
    ("a script that looks like Latin capitals", "ꭺꮮꭵꮯꭼ"),
    ("a dead script", "𐌰𐌻"),
    ("a small capital", "ᴀlice"),
    ("a click, which looks like a bar", "aǀice"),
    ("a click, which looks like an exclamation mark", "aliceǃ"),
    ("a dotless j", "\u0237an"),
    ("a second dot on an i", "ali\u0307ce"),
    ("a second dot on a j", "j\u0307an"),
]


@pytest.mark.parametrize(("raw", "name"), [row[1:] for row in GOOD], ids=[r[0] for r in GOOD])
def test_a_name_has_one_form(raw: str, name: str) -> None:
    assert parse_name(raw) == name
    assert parse_name(name) == name


@pytest.mark.parametrize("raw", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_no_name_is_refused(raw: str) -> None:
    with pytest.raises(BadName):
        parse_name(raw)


LATIN_1_LETTERS = {chr(code) for code in range(0xC0, 0x100)} - {"×", "÷"}
"""What else of the 256 may stand in a name; ª, º and µ are only compatible with letters."""


@pytest.mark.parametrize("code", range(256))
def test_any_of_256_characters_at_any_position(code: int) -> None:
    char = chr(code)
    is_letter = (char.isascii() and char.isalpha()) or char in LATIN_1_LETTERS
    may_follow = is_letter or (char.isascii() and char.isdigit()) or char in "-_"
    for before, after in [("", ""), ("", "lice"), ("al", "ce"), ("alic", "")]:
        may_stand = may_follow if before else is_letter
        assert is_name(f"{before}{char}{after}") is may_stand
        assert is_name(f"{before}{char}ü{after}") is may_stand


def is_name(raw: str) -> bool:
    try:
        parse_name(raw)
    except BadName:
        return False
    return True


NAMES = st.text(
    st.characters(categories=["L", "M", "Nd"]) | st.sampled_from("-_09az"), min_size=1
).filter(is_name) | st.from_regex(r"\A[a-zA-Z][a-zA-Z0-9_-]{0,31}\Z")
"""Texts that are names; of letters only, or next to none would be."""

skeleton(parse_name("ü"))  # imports the tables, for which an example has no time

SHAPE = re.compile(r"[^\W\d_][^\s,*?.!@:#$&+~%/\\'\"`<>()\[\]{}|;=^\x00-\x20\x7f-\xa0]*")


@given(NAMES | st.text())
@example("\u212a")
@example("\u0130")
def test_any_text_is_a_name_or_refused(raw: str) -> None:
    try:
        name = parse_name(raw)
    except BadName:
        return
    assert SHAPE.fullmatch(name)
    assert len(name) <= NAME_CHARS
    assert len(name.encode()) <= NAME_BYTES


@given(NAMES)
def test_the_form_of_a_name_is_its_own_form(raw: str) -> None:
    assert parse_name(parse_name(raw)) == parse_name(raw)


@given(NAMES)
def test_a_terminal_shows_a_name_exactly(raw: str) -> None:
    assert clean(parse_name(raw)) == parse_name(raw)


def test_a_client_shows_all_marks_of_a_name() -> None:
    assert MARKS <= display.MARKS


def test_a_terminal_shows_each_letter_and_mark_exactly() -> None:
    """Of what may stand in a name; of each character of the world but the ideographs."""
    chars = filter(lambda char: category(char)[0] in "LMN", map(chr, range(0x20000)))
    for char in (char for char in chars if not ("\u3400" <= char < "\ua000")):
        for raw in (char, f"a{char}"):
            assert not is_name(raw) or clean(parse_name(raw)) == parse_name(raw)


@given(st.from_regex(r"\A[a-zA-Z][a-zA-Z0-9_-]{0,31}\Z"))
def test_names_that_differ_in_case_only_are_one(raw: str) -> None:
    assert parse_name(raw) == parse_name(raw.swapcase()) == parse_name(parse_name(raw))


@given(NAMES)
def test_names_of_any_script_that_differ_in_case_only_are_one(raw: str) -> None:
    name = parse_name(raw)
    upper = name.upper()
    assume(upper.lower() == name and len(upper) == len(name))  # no ß, which is SS
    assert parse_name(upper) == name


@given(NAMES)
def test_names_that_differ_only_in_how_an_accent_is_written_are_one(raw: str) -> None:
    name = parse_name(raw)
    assert parse_name(normalize("NFD", name)) == name


@given(NAMES | st.text())
def test_the_refusal_is_short_and_fit_for_a_terminal(raw: str) -> None:
    try:
        parse_name(raw)
    except BadName as refusal:
        text = str(refusal)
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 500


def test_a_full_line_of_the_longest_names_is_no_longer_than_a_line_may_be() -> None:
    longest = parse_name("\U00020000" * (NAME_BYTES // 4))
    rooms = (RoomInfo(longest, MAX_INT, MAX_INT),) * LISTED
    assert len(SERVER.encode(RoomList(rooms, more=True, id="🐟" * ID_CHARS))) <= LINE_BYTES


# ---------------------------------------------------------------- what looks the same

ALIKE = [
    ("a digit for a letter", "alice", "a1ice"),
    ("a digit for a letter that was a capital", "bob", "b0b"),
    ("an m", "mona", "rnona"),
    ("Greek small letters", "\u03bf", "o"),
    ("all Cyrillic", "\u0441\u043e\u0441\u043e", "coco"),
    ("a Cyrillic letter of the Caucasus", "\u0430\u0440\u0440\u04cf\u0435", "apple"),
    ("Hebrew", "ססו", "ool"),
    ("Armenian", "\u0578\u0585", "no"),
    ("a dotless i", "irem", "\u0131rem"),
    ("a digraph", "\u00e6sop", "aesop"),
    ("an a without its hook", "\u0251lice", "alice"),
    ("a stroke that is a mark", "\u0142ukasz", "l\u0338ukasz"),
]


@pytest.mark.parametrize(
    ("one", "other"), [row[1:] for row in ALIKE], ids=[row[0] for row in ALIKE]
)
def test_names_that_look_the_same_have_one_skeleton(one: str, other: str) -> None:
    assert skeleton(parse_name(one)) == skeleton(parse_name(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "alicia"),
        ("jurgen", "jürgen"),
        ("anna", "hanna"),
        ("bob", "b-b"),
        ("a1", "a2"),
    ],
)
def test_names_that_can_be_told_apart_have_two(one: str, other: str) -> None:
    assert skeleton(parse_name(one)) != skeleton(parse_name(other))


def test_of_plain_letters_only_these_look_alike() -> None:
    plain = [Name(char) for char in "abcdefghijklmnopqrstuvwxyz0123456789-_"]
    skeletons = {name: skeleton(name) for name in plain}
    odd = {name: looks for name, looks in skeletons.items() if looks != name}
    assert odd == {"m": "rn", "0": "o", "1": "l"}


@given(NAMES)
def test_a_skeleton_looks_like_itself(raw: str) -> None:
    looks = skeleton(parse_name(raw))
    assert skeleton(Name(looks)) == looks


@pytest.mark.parametrize(
    "raw", ["Admin", "\uff41dmin", "\u0430dmin", "adm\u200bin", "adrnin", "\u0251dmin", "ADMIN"]
)
def test_nobody_is_admin_in_any_way(raw: str) -> None:
    assert not is_name(raw) or is_reserved(parse_name(raw))


DIGITS = ["adm1n", "Mod3ra7or", "own3r", "sy5tem", "sys0p", "ch4n5erv", "globa1"]


@pytest.mark.parametrize("raw", [*sorted(RESERVED), "r00t", "he1p", "SERVER", *DIGITS])
def test_reserved_names_are_names(raw: str) -> None:
    assert is_reserved(parse_name(raw))


@pytest.mark.parametrize(
    "raw", ["alice", "ali", "admiral", "mode", "serverin", "rooty", "echo", "все"]
)
def test_others_are_not_reserved(raw: str) -> None:
    assert not is_reserved(parse_name(raw))


# ---------------------------------------------------------------- what it costs

START = """
import sys
import trio_chat.cli, trio_chat.client.screen, trio_chat.client.terminal
from trio_chat.names import parse_name
parse_name("Alice")
print(*{name.partition(".")[0] for name in sys.modules})
parse_name("J\\xfcrgen")
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_a_plain_name_needs_no_tables() -> None:
    """In a process of its own: here all is imported already."""
    run = subprocess.run([sys.executable, "-c", START], capture_output=True, check=True)
    before, after = (set(line.split()) for line in run.stdout.decode().splitlines())
    tables = {"precis_i18n", "confusable_homoglyphs"}
    assert before & tables == set()
    assert after & tables == tables
