"""What may be called what.

A name is parsed once, where it comes in, and is a `Name` from then on: the form in which
names are compared, and shown. What differs only in case, in width or in how an accent is
written is one name (PRECIS, RFC 8265), so that nobody can pass for `alice` as `Alice`.
What only looks the same is another name with the same `skeleton`, so that whoever gives
names away can see to it that these have one owner.

Whoever keeps a name for years keeps the form beside what was typed: what the form of a
text is, depends on the Unicode tables of this Python.

Names of plain ASCII need no tables. Those of other names are imported when the first such
name comes, so that most clients start without them.
"""

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NewType
from unicodedata import category, normalize

from trio_chat.errors import BadName

if TYPE_CHECKING:
    from precis_i18n.profile import Profile

NAME_CHARS = 32
"""The longest name: what fits beside a message on a terminal of 80 columns."""

NAME_BYTES = 64
"""The longest name in UTF-8: 32 letters of two bytes, or 21 of three. Another program has
a longest name, too, and counts in bytes: file systems, the column of a database, IRC."""

RAW_CHARS = 4 * NAME_CHARS
"""The longest text that is looked at: what a name can have at most that is written with
each accent by itself."""

MARKS = 4
"""The most combining marks on one letter: as many as a client shows."""

RECENT = 1024
"""Names that are known without asking the tables; each post to a room has its name."""

Name = NewType("Name", str)
"""The name of a person or a room in the form in which names are compared."""

# A letter first, so that no name can be taken for a command, an option or a number. All
# that means something to a shell, to IRC, to a URL or to markup is left out.
_PLAIN = re.compile(rf"[a-z][a-z0-9_-]{{0,{NAME_CHARS - 1}}}")
_RULE = f"a name is a letter, then up to {NAME_CHARS - 1} letters, digits, - or _"


@lru_cache(RECENT)  # 0.1 µs instead of 0.7 for a plain one
def parse_name(raw: str) -> Name:
    """The name in `raw`, in the form in which names are compared.

    Raises `BadName`.
    """
    name = raw.lower()
    if raw.isascii() and _PLAIN.fullmatch(name):
        return Name(name)
    return _parse(raw)


def _parse(raw: str) -> Name:
    if not 0 < len(raw) <= RAW_CHARS:
        raise _refusal(raw, _RULE)
    # What Unicode makes of the Turkish capital is an i with two dots, one over the other.
    text = normalize("NFC", raw).replace("\u0130", "i")
    try:
        name = _profile().enforce(text)
    except UnicodeEncodeError as exc:
        raise _refusal(raw, _RULE) from exc
    fault = _fault(name)
    if fault is not None:
        raise _refusal(raw, fault)
    return Name(name)


def _refusal(raw: str, why: str) -> BadName:
    return BadName(f"{why}; {raw[:NAME_CHARS]!a} is not one")


@cache
def _profile() -> "Profile":
    from precis_i18n import get_profile  # noqa: PLC0415 # see above

    return get_profile("UsernameCaseMapped")


# ---------------------------------------------------------------- what PRECIS lets through

_SHAPE = re.compile(rf"LM{{0,{MARKS}}}(?:LM{{0,{MARKS}}}|[N_-])*")

_EVERYDAY = frozenset(
    "ARABIC ARMENIAN BENGALI BOPOMOFO CYRILLIC DEVANAGARI"  # noqa: SIM905 # can be read
    " ETHIOPIC GEORGIAN GREEK GUJARATI GURMUKHI HAN HANGUL HEBREW HIRAGANA KANNADA KATAKANA"
    " KHMER LAO LATIN MALAYALAM MYANMAR ORIYA SINHALA TAMIL TELUGU THAANA THAI TIBETAN".split()
)
"""The scripts in everyday use (UAX #31, table 5). The others are used by few, and are full
of letters that look like those of others: Cherokee has half of the Latin capitals."""

_TOGETHER = (
    {"HAN", "HIRAGANA", "KATAKANA"},
    {"HAN", "HANGUL"},
    {"HAN", "BOPOMOFO"},
)
"""Scripts that are one to those who write them (UTS #39, section 5.1)."""

_WITH_CAPITALS = {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN"}

_PROLONGED = "\u30fc"
"""Makes a vowel of kana long. It counts as common to all scripts, and looks like a dash."""

_DOT_ABOVE = "\u0307"
"""Can't be seen on a j; where it is of use, it is one character with its letter."""


def _fault(name: str) -> str | None:
    """What is wrong with a name that PRECIS has nothing against."""
    if len(name) > NAME_CHARS or not _SHAPE.fullmatch("".join(map(_kind, name))):
        return _RULE
    if len(name.encode()) > NAME_BYTES:
        return f"a name has at most {NAME_BYTES} bytes"
    if not _is_of_one_script({_script(char) for char in name} - {"INHERITED", None}):
        return "the letters of a name are of one script, and of one in everyday use"
    if _DOT_ABOVE in name or any(map(_is_notation, name)):
        return "the letters of a name are those of an alphabet"
    return None


def _kind(char: str) -> str:
    return char if char in "-_" else category(char)[0]


def _script(char: str) -> str | None:
    """The script of a character; None for what may stand beside any."""
    from confusable_homoglyphs.categories import alias  # noqa: PLC0415 # see above

    if char == _PROLONGED:
        return "KATAKANA"
    script: str = alias(char)
    return None if script == "COMMON" and not char.isalpha() else script


def _is_of_one_script(scripts: set[str | None]) -> bool:
    is_one = len(scripts) == 1 or any(scripts <= together for together in _TOGETHER)
    return is_one and scripts <= _EVERYDAY


def _is_notation(char: str) -> bool:
    """Is it a letter of a script with capitals that has none? Such are the signs of
    phonetics; among them are small capitals, which look like nothing but letters."""
    return char.isalpha() and char.upper() == char and _script(char) in _WITH_CAPITALS


# ---------------------------------------------------------------- what looks the same


_PALOCHKA = "\u04cf"
"""A letter of the Caucasus that looks like an l. The table of Unicode has it as an i."""


@lru_cache(1024)  # who comes in and joins is looked at a few times: 3 µs each
def skeleton(name: Name) -> str:
    """What all names have in common that look like this one (UTS #39, section 4).

    For comparing only, and not for keeping: it depends on the version of the tables.
    """
    # Twice, for what looks like a capital looks like the small letter to whoever remembers
    # no case: 0, O and o.
    return _prototype(_prototype(name.replace(_PALOCHKA, "l")).lower())


def _prototype(text: str) -> str:
    return normalize("NFD", normalize("NFD", text).translate(_prototypes()))


@cache
def _prototypes() -> dict[int, str]:
    """For each character that looks like something else what that is, for `str.translate`."""
    # Not the ready-made table of the package: that stays in memory, with all the names.
    from confusable_homoglyphs.utils import load  # noqa: PLC0415 # see above

    prototypes: dict[str, str] = {}
    # The table of Unicode has lines `character → what it looks like`, and what stands on
    # the right never stands on the left. The package has both directions of each line, in
    # order; so the left is what comes first and has one line only. Letters that are written
    # from right to left stand between marks that say so.
    for raw, lines in load("confusables.json").items():
        char, looks = raw.strip("\u200e"), lines[0]["c"].strip("\u200e")
        if len(char) == len(lines) == 1 and looks not in prototypes:
            prototypes[char] = looks
    return str.maketrans(prototypes)


OFFICIAL = frozenset(
    "abuse admin administrator botserv chanserv"  # noqa: SIM905 # can be read
    " helpserv hostmaster hostserv memoserv mod moderator nickserv null oper operator"
    " operserv owner postmaster root saslserv server service services statserv sysop system"
    " trio-chat trio_chat webmaster".split()
)
"""Words for who is in charge, for the server and its parts, and the service names of IRC
networks: what is said there would seem to be said by them. No person can be called so, and
only an operator can make a room of that name."""

RESERVED = OFFICIAL | frozenset(
    "all anonymous channel everybody everyone global"  # noqa: SIM905 # can be read
    " here help host myself nobody security support you".split()
)
"""What no person can be called: besides, words for all who are here. Rooms may."""


_READINGS = tuple(str.maketrans("013457", f"o{one}east") for one in "li")
"""Digits that stand for letters, to whoever wants to read it so: adm1n, m0d3rat0r. Among
people they do not count: al1ce is somebody else than alice, and does not look like her."""


def is_reserved(name: Name) -> bool:
    """Is it a name that no person can have, or can it be read as one?"""
    return _can_be_read_as(RESERVED, name)


def is_official(name: Name) -> bool:
    """Is it the name of somebody in charge, or can it be read as one?"""
    return _can_be_read_as(OFFICIAL, name)


def _can_be_read_as(words: frozenset[str], name: Name) -> bool:
    readings = {name, *(Name(name.translate(reading)) for reading in _READINGS)}
    return any(skeleton(reading) in _skeletons(words) for reading in readings)


@cache
def _skeletons(names: frozenset[str]) -> frozenset[str]:
    return frozenset(skeleton(Name(name)) for name in names)
