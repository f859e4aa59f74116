"""Text in the cells of a screen: how wide it is, and where it is broken. No I/O.

Widths are upper bounds: terminals disagree about emoji that are made of several, and a
line that is a cell too short does no harm where one that is too long would.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from attrs import define, field
from wcwidth import wcwidth

Fragments = list[tuple[str, str]]
"""Pieces of text, each after the name of its style; without a line end at the end."""

LINK = re.compile(r"https?://.")
"""What begins a link. One of ASCII is the only thing that a text can put where a line
begins; as it has no space it can't look like a line of somebody else's."""

CLUSTER_CELLS = 12
"""The widest cluster: a family with the colours of their skin. A longer one is a trick."""

NARROW = re.compile("[ -~\xa1-\xac\xae-\u024f│┌»─…⏎]*")
"""What takes one cell each and has nothing drawn onto it: Latin letters, and what we draw
ourselves. It is counted twenty times as fast as what has to be looked up."""

PORTION = 100
"""Lines that are made, and drawn, at once: two screens. In between, the keyboard is looked at,
which so waits a few milliseconds, however much there is to be shown. With fewer, a flood
would be drawn hardly faster than the prompt below it."""

_PIECES = re.compile(r"[^\S\n]+|\n|[^\s]+")
_JOINER, _VARIANT = "\u200d", "\ufe0f"
_STICKS = frozenset(map(chr, [*range(0x1F3FB, 0x1F400), 0x200D]))  # skin tones, the joiner
_FLAGS = range(0x1F1E6, 0x1F200)


def cells(text: str) -> int:
    """The most cells that a terminal needs for clean text of one line."""
    if NARROW.fullmatch(text):
        return len(text)
    return sum(map(_cells_of_cluster, clusters(text)))


def clusters(text: str) -> Iterator[str]:
    """What must not be torn apart: a character and all that is drawn onto it."""
    cluster, total = "", 0
    for char in text:
        width = _cells_of(char)
        if cluster and (not _belongs(char, cluster) or total + width > CLUSTER_CELLS):
            yield cluster
            cluster, total = "", 0
        cluster += char
        total += width
    if cluster:
        yield cluster


def clip(text: str, columns: int) -> str:
    """As much of the text as fits, with a sign where something was cut."""
    if len(text) <= columns and NARROW.fullmatch(text):
        return text
    kept, left = "", columns
    for cluster in clusters(text):  # no further than it has to be looked at
        left -= _cells_of_cluster(cluster)
        if left < 0:
            return f"{kept}…"
        if left > 0:
            kept += cluster
    return text


def wrap(
    text: Fragments,
    columns: int,
    first: Fragments | None = None,
    below: Fragments | None = None,
) -> Fragments:
    """The text on lines of at most so many cells, broken between words where it can be.

    `first`, `below`: what stands before the first line and before each other one. Only a
    link that is too long for a line stays whole: on lines of its own, which the terminal
    breaks, so that it can still be clicked.
    """
    start, below = first or [], below or []
    if _fits(text, columns - cells(plain(start))):
        return [*start, *text]
    lines = _Lines(columns, list(start), below)
    for style, piece in _pieces(text):
        lines.put(style, piece)
    return lines.done


def fit(fragments: Fragments, columns: int) -> Fragments:
    """The same on lines that are not too long."""
    return wrap(fragments, columns)


def plain(fragments: Fragments) -> str:
    """The text alone."""
    return "".join(text for _, text in fragments)


def height(fragments: Fragments) -> int:
    """The lines of a text."""
    return 1 + sum(text.count("\n") for _, text in fragments)


def portions(fragments: Fragments) -> Iterator[Fragments]:
    """A text in portions, each on lines of its own."""
    if height(fragments) <= PORTION:
        yield fragments
        return
    lines = _split(fragments)
    while some := list(islice(lines, PORTION)):
        yield [fragment for line in some for fragment in line][:-1]


def beginning(fragments: Fragments, lines: int) -> Fragments:
    """As many lines of a text, and how many more there would be."""
    more = height(fragments) - lines
    if more <= 0:
        return fragments
    kept = [fragment for line in islice(_split(fragments), lines) for fragment in line]
    return [*kept, ("dim", f"… {more} more line{'s' * (more > 1)}")]


def _split(fragments: Fragments) -> Iterator[Fragments]:
    """The lines of a text, each with its end."""
    line: Fragments = []
    for style, text in fragments:
        first, *others = text.split("\n")
        line.append((style, first))
        for other in others:
            yield [*line, ("", "\n")]
            line = [(style, other)]
    yield [*line, ("", "\n")]


def _fits(text: Fragments, columns: int) -> bool:
    """Is it so short that there is nothing to do? Most of what people say is."""
    alone = plain(text)
    return len(alone) <= columns and NARROW.fullmatch(alone) is not None


def _belongs(char: str, cluster: str) -> bool:
    if char in _STICKS or cluster[-1] == _JOINER or not _cells_of(char):
        return True
    # Two letters make a flag; the third begins the next one.
    return ord(char) in _FLAGS and len(cluster) == 1 and ord(cluster) in _FLAGS


def _cells_of_cluster(cluster: str) -> int:
    width = sum(map(_cells_of, cluster))
    # It makes what it is drawn onto wide, also if that stands before this text.
    return width + 1 if width < 2 and _VARIANT in cluster else width


@lru_cache(4096)
def _cells_of(char: str) -> int:
    return max(0, wcwidth(char))


def _pieces(text: Fragments) -> Iterator[tuple[str, str]]:
    for style, part in text:
        for piece in _PIECES.findall(part):
            yield style, piece


@define(eq=False)
class _Lines:
    """Lines that are being filled. `left`: cells that are free on the last one; `room`: on
    one with nothing but `below`."""

    columns: int
    done: Fragments
    below: Fragments
    left: int = field(init=False)
    room: int = field(init=False)
    _is_fresh: bool = field(default=True, init=False)  # nothing but what stands before it

    def __attrs_post_init__(self) -> None:
        self.left = self.columns - cells(plain(self.done))
        self.room = self.columns - cells(plain(self.below))

    def put(self, style: str, piece: str) -> None:
        """Put a word, a space or a line end where it fits."""
        if piece == "\n":
            self._end_line()
        elif piece.isspace():
            self._put_space(style, piece)
        elif cells(piece) <= self.left:
            self._add(style, piece)
        else:
            self._break(style, piece)

    def _put_space(self, style: str, piece: str) -> None:
        # Between words it goes where the line is broken; in front of a line it is meant.
        if cells(piece) < self.left:
            self._add(style, piece)
        elif not self._is_fresh:
            self._end_line()

    def _break(self, style: str, piece: str) -> None:
        if cells(piece) <= self.room and not self._is_fresh:
            self._end_line()
            self._add(style, piece)
        elif piece.isascii() and LINK.search(piece):
            self._put_link(style, piece)
        else:
            self._tear(style, piece)

    def _put_link(self, style: str, link: str) -> None:
        self.done += [("", "\n"), (style, link)]
        self.left = 0
        self._is_fresh = False

    def _tear(self, style: str, word: str) -> None:
        part = ""
        for cluster in clusters(word):
            width = _cells_of_cluster(cluster)
            if width > self.left and self.left < self.room:
                self._add(style, part, is_counted=True)
                self._end_line()
                part = ""
            part += cluster
            self.left -= width
        self._add(style, part, is_counted=True)

    def _add(self, style: str, piece: str, *, is_counted: bool = False) -> None:
        if piece:
            self._append(style, piece)
            self.left -= 0 if is_counted else cells(piece)
            self._is_fresh = False

    def _append(self, style: str, piece: str) -> None:
        # What looks alike is drawn as one: a fragment costs as much as some hundred letters.
        before, text = self.done[-1] if self.done and not self._is_fresh else ("", "")
        if text and before == style:
            self.done[-1] = (style, text + piece)
        else:
            self.done.append((style, piece))

    def _end_line(self) -> None:
        self.done += [("", "\n"), *self.below]
        self.left = self.room
        self._is_fresh = True
