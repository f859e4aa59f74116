"""What a text is found by. Pure.

SQLite's full-text search takes a text apart where there are spaces, which is not how
Chinese, Japanese and Thai are written. So a space is put around each of their characters,
in what is indexed and in what is asked for, and a word of theirs is a phrase of characters.
"""

import re
import unicodedata
from collections.abc import Sequence

WORDS = 16
"""The most words of a question: more than anybody remembers of a text."""

WORD_CHARS = 64
"""The longest word that is asked for."""

BEGINNING_CHARS = 3
"""The shortest word that stands for longer ones, too: with fewer letters there are too many."""

EXCERPT_CHARS = 160
"""How much of a text is shown that was found: two lines of a terminal."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003134f]"
)
_WORD = re.compile(r"\w+")


def split(question: str) -> list[str]:
    """The words of a question: at most `WORDS`, each of at most `WORD_CHARS`."""
    return [word[:WORD_CHARS] for word in _WORD.findall(_fold(question))][:WORDS]


def searchable(text: str) -> str:
    """A text in the form in which it is indexed."""
    return _UNSPACED.sub(r" \g<0> ", _fold(text))


def expression(words: Sequence[str]) -> str:
    """The question for FTS5 (https://sqlite.org/fts5.html, section 3): all of the words.
    Quoted, so that none of them is an operator."""
    return " ".join(map(_term, words))


def matches(text: str, words: Sequence[str]) -> bool:
    """Has the text all of the words? One of three letters and more may be the beginning of a
    longer one."""
    folded = _fold(text)
    return all(_find(folded, word) is not None for word in words)


def _term(word: str) -> str:
    quoted = searchable(word).strip().replace('"', '""')
    return f'"{quoted}" *' if len(word) >= BEGINNING_CHARS else f'"{quoted}"'


def excerpt(text: str, words: Sequence[str]) -> str:
    """The piece of a text around the first of the words, on one line."""
    line = " ".join(text.split())
    folded = _fold(line)
    # Folding may change how long a text is; then the place is a little off.
    found = min((at for word in words if (at := _find(folded, word)) is not None), default=0)
    start = max(0, min(found - EXCERPT_CHARS // 3, len(line) - EXCERPT_CHARS))
    piece = line[start : start + EXCERPT_CHARS]
    return f"{'…' * (start > 0)}{piece}{'…' * (start + len(piece) < len(line))}"


def _find(folded: str, word: str) -> int | None:
    begin = "" if _UNSPACED.match(word) else r"(?<!\w)"
    end = "" if len(word) >= BEGINNING_CHARS or _UNSPACED.match(word) else r"(?!\w)"
    found = re.search(f"{begin}{re.escape(word)}{end}", folded)
    return None if found is None else found.start()


def _fold(text: str) -> str:
    """Without accents, case and width. The index gets what is folded already, as SQLite's own
    folding knows fewer scripts."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()
