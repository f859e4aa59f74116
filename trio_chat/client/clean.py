"""Text of others → text that is safe on a terminal. The one place where that is decided.

A terminal obeys what is written to it: a text can clear the screen, set the title, fill
the clipboard, or draw itself over what somebody else said. So all that came over the wire
goes through here on its way to an eye. What is stored and sent stays as it was written.

What is refused is replaced, not deleted, so that the eye sees that there was something.
"""

import re
from functools import lru_cache
from unicodedata import category

REPLACED = "\ufffd"
"""Stands for a character that is not shown."""

INVISIBLE = (
    "\u3164\u115f\u1160\uffa0\u2800\u034f\u17b4\u17b5"
    "\u180b\u180c\u180d\u180f\U0001d159\U00016fe4"
)
"""Letters, marks and symbols, says Unicode, that look like nothing at all."""

MARKS = 4
"""The most combining marks on one character: Vietnamese needs two, Thai three, Hebrew
with its accents four. A pile of them is drawn over the lines above."""

REPLACED_RUN = 8
"""The most that are shown side by side of what is not shown. Of more the number is told:
thousands would push off the screen what others have said."""

TAB = " " * 4

# Cc controls, Cf bidi and zero width, Cs lone surrogates, Co private, Cn unassigned,
# Zl and Zp line and paragraph separators.
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_JOINER = "\u200d"
_VARIANT = "\ufe0f"  # "drawn as an emoji"
_EMOJI = "[\u2190-\u2bff\U0001f000-\U0001faff]"

_ODD = re.compile(rf"(?:[^\w\n -~]|[{INVISIBLE}])+")  # \w: letters and digits of any script
_STRAY_JOINER = re.compile(
    rf"(?:(?<!{_EMOJI})(?<!{_EMOJI}{_VARIANT}){_JOINER})|{_JOINER}(?!{_EMOJI})"
)
# How a character is drawn can be chosen for emoji, keycaps and ideographs.
_STRAY_VARIANT = re.compile(
    r"(?<![^\x00-\x22\x24-\x29\x2b-\x2f\x3a-\x7f\s])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_NOT_ASCII = re.compile(r"[^\n -~]")
_REPLACED_RUN = re.compile(f"{REPLACED}{{{REPLACED_RUN + 1},}}")


def clean(text: str, *, lines: bool = False) -> str:
    """`text` without anything that a terminal would obey, or an eye be deceived by.

    `lines`: it may have several lines and tabs, which become spaces; otherwise no
    character of it ends a line.
    """
    if text.isascii() and text.isprintable():
        return text
    if lines:
        text = text.replace("\r\n", "\n").replace("\t", TAB)
    else:
        text = text.replace("\n", REPLACED)
    text = _STRAY_VARIANT.sub(REPLACED, text)
    text = _ODD.sub(_clean_run, text)
    text = _STRAY_JOINER.sub(REPLACED, text) if _JOINER in text else text
    return _REPLACED_RUN.sub(lambda run: f"{REPLACED}({len(run[0])})", text)


def clean_json(line: bytes) -> bytes:
    """A line of JSON that says the same, with what `clean` refuses written as escapes."""
    if line.isascii() and b"\x7f" not in line:
        return line
    # Whatever is not ASCII stands inside a string, where an escape means the same.
    return _NOT_ASCII.sub(_escape, line.decode()).encode()


def _clean_run(run: re.Match[str]) -> str:
    shown = []
    marks = 0
    for char in run[0]:
        looks, is_mark = _look(char)
        marks = marks + 1 if is_mark else 0
        if marks <= MARKS:
            shown.append(looks)
    return "".join(shown)


@lru_cache(4096)
def _look(char: str) -> tuple[str, bool]:
    """What to show for one character, and whether it is a combining mark."""
    if char in INVISIBLE:
        return "·", False
    kind = category(char)
    if kind in _REFUSED and char != _JOINER:
        return REPLACED, False
    return char, kind[0] == "M"


def _escape(char: re.Match[str]) -> str:
    if category(char[0]) not in _REFUSED and char[0] not in INVISIBLE:
        return char[0]
    units = char[0].encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
