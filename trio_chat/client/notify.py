"""How a terminal is asked to tell a person something that does not look at it. No I/O."""

from collections.abc import Mapping

from trio_chat.client.clean import clean
from trio_chat.client.wrap import clip

NOTE_COLUMNS = 120
"""The most cells of a notification."""

_KNOW_9 = {"iTerm.app", "WezTerm", "ghostty", "WarpTerminal"}
_KNOW_777 = ("rxvt", "foot", "ghostty")


def notification(environ: Mapping[str, str], title: str, text: str) -> str:
    """What to write to the terminal of that environment for a notification to appear; empty
    if it knows none. Never has more of `title` and `text` than characters that do nothing.
    """
    shown_title = clip(clean(title), NOTE_COLUMNS).replace(";", ",")
    shown_text = clip(clean(" ".join(text.split())), NOTE_COLUMNS)
    match _kind(environ):
        case 9:
            # Behind a name: some terminals take a number there for a command.
            return f"\x1b]9;{shown_title}: {shown_text}\x1b\\"
        case 777:
            return f"\x1b]777;notify;{shown_title};{shown_text}\x1b\\"
        case _:
            return ""


def _kind(environ: Mapping[str, str]) -> int | None:
    """The number of the sequence that the terminal knows."""
    term = environ.get("TERM", "")
    if "TMUX" in environ or term.startswith(("screen", "tmux")):
        return None  # they tell of the bell themselves, and let nothing else through
    if environ.get("TERM_PROGRAM") in _KNOW_9 or term.startswith("xterm-kitty"):
        return 9
    if term.startswith(_KNOW_777) or "VTE_VERSION" in environ:
        return 777
    return None
