"""What may be called what.

A name is parsed once, where it comes in, and is a `Name` from then on. Everything that
differs only in case is one name, so that nobody can pass for `alice` as `Alice`.
"""

import re
from typing import NewType

from trio_chat.errors import BadName

NAME_CHARS = 32
"""The longest name: what fits beside a message on a terminal of 80 columns."""

Name = NewType("Name", str)
"""The name of a person or a room in the form in which names are compared."""

# ASCII only, as Ergo's default has become: among these letters none looks like another
# but l, 1 and I, and folding the case takes care of the last. A letter first, so that no
# name can be taken for a command, an option or a number.
_NAME = re.compile(rf"[a-z][a-z0-9_-]{{0,{NAME_CHARS - 1}}}")


def parse_name(raw: str) -> Name:
    """The name in `raw`, folded to lower case.

    Raises `BadName`.
    """
    name = raw.lower()
    # U+212A KELVIN SIGN and its like become ASCII when they are folded.
    if not raw.isascii() or not _NAME.fullmatch(name):
        raise BadName(
            f"a name is a letter, then up to {NAME_CHARS - 1} letters, digits, - or _;"
            f" {raw[:NAME_CHARS]!a} is not"
        )
    return Name(name)
