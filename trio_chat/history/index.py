"""The full-text index over a history's texts, in the same file.

Indexing a text takes ten times as long as storing it, so it does not happen in the commit:
it is done while nobody says anything, and what is missing is done before a search.
The index has no copy of the texts (`content = ''`), so whoever changes one has to bring
along the old one (https://sqlite.org/fts5.html, section 4.4.3).
"""

import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trio_chat.errors import Busy, SetupError, StorageFailed
from trio_chat.history import Finds
from trio_chat.history.file import reading, translate
from trio_chat.history.words import expression, searchable

INDEXED_ROWS = 100
"""How many texts are indexed in one transaction: a few ms in which nobody is acked."""

SCANNED = 20_000
"""The most texts with the right words that are looked at in one search, some 50 ms: most of
them may stand in rooms that the asker may not read."""

SEARCH_WITHIN = 2.0
"""Seconds after which a search is given up: one for the beginnings of very common words."""

STEPS = 10_000
"""Instructions of SQLite between two looks at the time: less than a millisecond."""

TEXT = "json_extract(CAST(line AS TEXT), '$.message.text')"
"""The text of an event, in SQL."""


def add_missing(db: sqlite3.Connection) -> bool:
    """Index the next texts, in a transaction of the caller's; False if there were none."""
    rows = db.execute(
        f"SELECT texts.number, {TEXT} FROM texts JOIN events USING (room, seq)"  # noqa: S608
        " WHERE texts.number > ? ORDER BY texts.number LIMIT ?",
        [indexed(db), INDEXED_ROWS],
    ).fetchall()
    if not rows:
        return False
    _insert(db, rows)
    db.execute("UPDATE meta SET value = ? WHERE key = 'indexed'", [str(rows[-1][0])])
    return True


def newest(db: sqlite3.Connection) -> int:
    """The highest number that any text ever had: those of the newest may have been pruned."""
    (number,) = db.execute("SELECT COALESCE(MAX(number), 0) FROM texts").fetchone()
    return max(int(number), indexed(db))


def indexed(db: sqlite3.Connection) -> int:
    """The number of the newest text that is in the index, as all before it are."""
    (number,) = db.execute("SELECT value FROM meta WHERE key = 'indexed'").fetchone()
    return int(number)


def change(db: sqlite3.Connection, number: int, old: str, new: str | None) -> None:
    """Another text has that number now, or none."""
    if number <= indexed(db):
        remove(db, [(number, old)])
        # Also if there is no text any more: the index counts its rows, and this one will be
        # taken out when it is pruned.
        _insert(db, [(number, new or "")])


def remove(db: sqlite3.Connection, texts: Iterable[tuple[int, str]]) -> None:
    """Take texts out of the index, which has them."""
    db.executemany(
        "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)",
        [(number, searchable(text)) for number, text in texts],
    )


def search(
    path: Path,
    words: Sequence[str],
    rooms: Collection[int],
    before: int | None,
    limit: int,
) -> Finds:
    """The newest texts in `rooms` that have all of `words`, in the file `path`.

    By a connection of its own, so that no commit waits for it. Raises `NotStored`.
    """
    try:
        with reading(path) as db, _limited(db):
            return _search(db, words, rooms, before, limit)
    except SetupError as exc:  # no descriptor is left, say
        raise StorageFailed(str(exc)) from exc


@contextmanager
def _limited(db: sqlite3.Connection) -> Iterator[None]:
    end = time.monotonic() + SEARCH_WITHIN
    db.set_progress_handler(lambda: time.monotonic() > end, STEPS)
    try:
        yield
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise Busy("there are too many texts with these words; add another one") from exc
        raise translate(exc) from exc
    except sqlite3.Error as exc:
        raise translate(exc) from exc


def _search(
    db: sqlite3.Connection,
    words: Sequence[str],
    rooms: Collection[int],
    before: int | None,
    limit: int,
) -> Finds:
    rows = db.execute(
        "SELECT texts.number, texts.room, line FROM words"
        " JOIN texts ON texts.number = words.rowid JOIN events USING (room, seq)"
        " WHERE words MATCH ? AND words.rowid < ? ORDER BY words.rowid DESC LIMIT ?",
        [expression(words), 2**62 if before is None else before, SCANNED],
    )
    lines: list[bytes] = []
    for scanned, (number, room, line) in enumerate(rows, 1):
        if room in rooms:
            lines.append(line)
        if len(lines) == limit or scanned == SCANNED:
            return Finds(lines, number)
    return Finds(lines, None)


def _insert(db: sqlite3.Connection, texts: Iterable[tuple[int, str]]) -> None:
    db.executemany(
        "INSERT INTO words (rowid, text) VALUES (?, ?)",
        [(number, searchable(text)) for number, text in texts],
    )
