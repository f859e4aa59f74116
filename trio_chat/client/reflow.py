"""What becomes of lines that are on a terminal when it gets another width. No I/O.

Most terminals break lines anew that do not fit any more. So what was drawn at the bottom
stands higher up than whoever has drawn it would think.
"""

from collections.abc import Mapping, Sequence

_OF_THEMSELVES = frozenset(
    {"TMUX", "VTE_VERSION", "KITTY_WINDOW_ID", "KONSOLE_VERSION", "ALACRITTY_WINDOW_ID"}
    | {"WT_SESSION", "ITERM_SESSION_ID", "WEZTERM_PANE", "GHOSTTY_RESOURCES_DIR"}
)
"""Variables by which such a terminal is known; ssh does not pass them on."""

_BY_TERM = ("tmux", "foot", "xterm-kitty", "xterm-ghostty", "alacritty", "wezterm")
"""How their TERM begins, which ssh passes on."""


def reflows(environ: Mapping[str, str]) -> bool:
    """Does the terminal of that environment break lines anew? Where nobody knows, what is
    left of a line does less harm than one that is erased."""
    return bool(_OF_THEMSELVES & environ.keys()) or environ.get("TERM", "").startswith(_BY_TERM)


def rows_gained(widths: Sequence[int], before: int, columns: int) -> int:
    """How many more rows stand above the cursor once a line has so many columns.

    `widths`: the cells of each line above that of the cursor; `before`: those in front of
    it in its own line.
    """
    return sum(max(0, width - 1) // columns for width in widths) + before // columns
