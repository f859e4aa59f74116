"""What a person's client remembers between two runs: its token, how far it has shown each
room, what was typed and is not acked yet, what was typed before, and what the person wants
to be called for.

One small SQLite file for each identity, a name at a server. It is held locked as long as
the client runs: with the same token, two clients would cut each other off for ever. So a
second one goes on without a journal, and hears from the server that the name is taken.

Whatever is to be remembered is noted at once, in memory, and `keep` writes it down. Where
the file can't be used the chat goes on without it, and `trouble` says so: a person wants
to talk. A file that we can't read may hold lines that nobody has heard yet, so it is left
where it is, untouched.
"""

import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import platformdirs
import trio
from attrs import astuple, define, evolve, field, frozen

from trio_chat.messages import Welcome
from trio_chat.names import parse_name

SAVE_EVERY = 1.0
"""The most seconds for which something stays unwritten that does no harm if it is lost: a
cursor that is too old shows some lines twice, and a text sent twice is said once."""

CLOSE_WITHIN = 5.0
"""Seconds for the last notes to reach the disk."""

LOCK_WITHIN = 0.3
"""Seconds to wait for the file: two clients that start in the same moment hinder each
other, and then one of them has it."""

APPLICATION_ID = 0x7472696A
"""`trij`: what tells our files from other SQLite files."""

VERSION = 3
"""The version of the schema below."""

TYPED = 500
"""The newest lines that can be had back with the arrow keys."""

SMALLEST = 512
"""Bytes of the smallest SQLite file; what is shorter is taken for empty, and overwritten."""

SCHEMA = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE cursors (room TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE unsent (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    room TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
"""

SINCE_2 = """
CREATE TABLE typed (number INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE wishes (
    kind TEXT NOT NULL,
    word TEXT NOT NULL,
    PRIMARY KEY (kind, word)
) STRICT, WITHOUT ROWID;
"""
"""What version 2 has besides."""

SINCE_3 = """
ALTER TABLE unsent ADD COLUMN reply_to INTEGER;
ALTER TABLE unsent ADD COLUMN edits INTEGER;
"""
"""What version 3 has besides."""

LOSS = "what you type is lost if this program is killed before the server has it"

_SET_FACT = "REPLACE INTO facts VALUES (?, ?)"
_SET_CURSOR = "REPLACE INTO cursors VALUES (?, ?)"
_SET_UNSENT = "REPLACE INTO unsent VALUES (?, ?, ?, ?, ?, ?)"
_DROP_CURSORS = "DELETE FROM cursors"
_DROP_UNSENT = "DELETE FROM unsent WHERE number = ?"
_SET_TYPED = "REPLACE INTO typed VALUES (?, ?)"
_DROP_TYPED = "DELETE FROM typed WHERE number = ?"
_SET_WISH = "REPLACE INTO wishes VALUES (?, ?)"
_DROP_WISH = "DELETE FROM wishes WHERE kind = ? AND word = ?"

_Value = str | int | None

_Change = tuple[str, Sequence[_Value]]
"""A statement, and what is put into it."""


def journal_path(name: str, host: str, port: int) -> Path:
    """Where the journal of `name` at a server is. Raises `BadName`."""
    server = f"{quote(host.lower(), safe='')}-{port}"
    return platformdirs.user_state_path("trio_chat") / f"{parse_name(name)}@{server}.db"


@frozen
class Unsent:
    """A text that is not acked yet; `number` tells which came first. `reply_to`: the event
    that it answers; `edits`: the one that it replaces."""

    number: int
    id: str
    room: str
    text: str
    reply_to: int | None = None
    edits: int | None = None


class Connected(Protocol):
    """A chat, as far as a journal knows it."""

    @property
    def welcome(self) -> Welcome:
        """The server's answer to the newest hello."""
        ...


def _tell_nobody(_: str) -> None:
    pass


@define(eq=False)
class Journal:
    """What is remembered: in a file if `open_journal` has made it, else in memory only.

    `trouble`: what is wrong with the file. `tell`: called with a trouble that begins later.
    `token`: what brings the name back. `cursors`:
    the newest `seq` shown of each room, in the history that is called `epoch`. `unsent`:
    by id, in the order in which they were typed. `typed`: the newest lines that were typed,
    by number. `wishes`: lists of words, by their kind.
    """

    trouble: str | None = None
    tell: Callable[[str], None] = _tell_nobody
    token: str | None = None
    epoch: str | None = None
    cursors: dict[str, int] = field(factory=dict)
    unsent: dict[str, Unsent] = field(factory=dict)
    typed: dict[int, str] = field(factory=dict)
    wishes: dict[str, set[str]] = field(factory=dict)
    _file: "_File | None" = None
    _changes: dict[str, _Change] = field(factory=dict, init=False)
    _is_changed: trio.Event = field(factory=trio.Event, init=False)
    _is_urgent: trio.Event = field(factory=trio.Event, init=False)
    _one_writer: trio.Lock = field(factory=trio.Lock, init=False)

    @property
    def survives(self) -> bool:
        """Will the next run know of what has been saved?"""
        return self._file is not None and self.trouble is None

    # ------------------------------------------------------------ noting, in memory

    def know(self, welcome: Welcome) -> None:
        """Note the token; and with another epoch, that all numbers of events are void."""
        if welcome.token != self.token:
            self.token = welcome.token
            self._note("token", _SET_FACT, "token", welcome.token)
            self.wake()
        if welcome.epoch != self.epoch:
            self._forget_numbers()
            self.epoch = welcome.epoch
            self._note("epoch", _SET_FACT, "epoch", welcome.epoch)

    def see(self, room: str, seq: int) -> None:
        """Note that the room has been shown up to event `seq`."""
        self.cursors[room] = seq
        self._note(f"cursor {room}", _SET_CURSOR, room, seq)

    def add(
        self, room: str, text: str, *, reply_to: int | None = None, edits: int | None = None
    ) -> Unsent:
        """Note a text that is to be said."""
        number = max((unsent.number for unsent in self.unsent.values()), default=0) + 1
        # Bytes that are no text can be typed, but neither stored nor sent.
        text = text.encode("utf-8", "replace").decode()
        id = secrets.token_urlsafe(12)
        return self._set_unsent(Unsent(number, id, room, text, reply_to, edits))

    def move(self, unsent: Unsent, room: str) -> Unsent:
        """Note that a text is for another room than it seemed."""
        return unsent if unsent.room == room else self._set_unsent(evolve(unsent, room=room))

    def remove(self, unsent: Unsent) -> None:
        """Note that a text has been said, or will not be."""
        del self.unsent[unsent.id]
        self._note(f"unsent {unsent.number}", _DROP_UNSENT, unsent.number)

    def recall(self, line: str) -> None:
        """Note a line that was typed, to be had back."""
        if line in list(self.typed.values())[-1:]:
            return
        number = max(self.typed, default=0) + 1
        self.typed[number] = line.encode("utf-8", "replace").decode()
        self._note(f"typed {number}", _SET_TYPED, number, self.typed[number])
        while len(self.typed) > TYPED:
            oldest = min(self.typed)
            del self.typed[oldest]
            self._note(f"typed {oldest}", _DROP_TYPED, oldest)

    def wish(self, kind: str, word: str) -> bool:
        """Note that a word is on a list, or that it is not any more; is it?"""
        words = self.wishes.setdefault(kind, set())
        words ^= {word}
        is_on = word in words
        self._note(f"wish {kind} {word}", _SET_WISH if is_on else _DROP_WISH, kind, word)
        return is_on

    def _set_unsent(self, unsent: Unsent) -> Unsent:
        self.unsent[unsent.id] = unsent
        self._note(f"unsent {unsent.number}", _SET_UNSENT, *astuple(unsent))
        self.wake()
        return unsent

    def _forget_numbers(self) -> None:
        """They mean something else in another history; what is to be said, is said there."""
        for unsent in list(self.unsent.values()):
            if unsent.reply_to is not None or unsent.edits is not None:
                self._set_unsent(evolve(unsent, reply_to=None, edits=None))
        for room in self.cursors:
            self._changes.pop(f"cursor {room}", None)
        self.cursors.clear()
        self._note("cursors", _DROP_CURSORS)

    def _note(self, key: str, statement: str, *values: _Value) -> None:
        """Only the newest change of a thing is to be written."""
        if self._file is not None:
            self._changes[key] = (statement, values)
            self._is_changed.set()

    # ------------------------------------------------------------ writing it down

    async def keep(self, chat: Connected) -> None:
        """Write down what is noted, and the tokens of `chat`, until cancelled."""
        while True:
            self.know(chat.welcome)
            self._is_changed, self._is_urgent = trio.Event(), trio.Event()
            await self.save()
            await self._is_changed.wait()
            with trio.move_on_after(SAVE_EVERY):
                await self._is_urgent.wait()

    def wake(self) -> None:
        """Have `keep` write at once. To be called when the chat has a new connection, and
        so a new token."""
        self._is_changed.set()
        self._is_urgent.set()

    async def save(self) -> None:
        """Write down what is noted; returns when it is on the disk, or in trouble."""
        async with self._one_writer:
            changes = dict(self._changes)
            if self._file is not None and changes:
                await self._save(self._file, changes)

    async def _save(self, file: "_File", changes: dict[str, _Change]) -> None:
        try:
            await file.write(changes.values())
        except (OSError, sqlite3.Error) as error:
            # The changes stay noted, and are tried again together with the next one.
            was_told, self.trouble = self.trouble, f"can't write {file.path}: {error}; {LOSS}"
            if was_told is None:
                self.tell(self.trouble)
            return
        self.trouble = None
        for key, change in changes.items():
            if self._changes.get(key) is change:
                del self._changes[key]

    async def close(self) -> None:
        """Write down the rest, and let go of the file."""
        await self.save()
        if self._file is not None:
            await self._file.close()
            self._file = None


@asynccontextmanager
async def open_journal(path: Path) -> AsyncIterator[Journal]:
    """What is remembered in the file `path`, which is made if there is none.

    Never fails: where the file can't be used, the journal has a `trouble`.
    """
    try:
        journal = await trio.to_thread.run_sync(_load, path)
    except (OSError, sqlite3.Error) as error:
        yield Journal(_why_not(path, error))
        return
    try:
        yield journal
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_WITHIN):
            await journal.close()


# ---------------------------------------------------------------- the file, in a thread


@define(eq=False)
class _File:
    """The file of a journal, used by one thread at a time."""

    path: Path
    _db: sqlite3.Connection
    _one_thread: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))

    async def write(self, changes: Iterable[_Change]) -> None:
        """Make changes, all or none; they are on the disk when this returns."""
        await trio.to_thread.run_sync(_write, self._db, changes, limiter=self._one_thread)

    async def close(self) -> None:
        """Let go of it."""
        await trio.to_thread.run_sync(self._db.close, limiter=self._one_thread)


def _load(path: Path) -> Journal:
    db = _open(path)
    try:
        _prepare(db)
        return _read(path, db)
    except BaseException:
        db.close()
        raise


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    if 0 < path.stat().st_size < SMALLEST:
        raise sqlite3.DatabaseError("it is no journal of trio_chat")
    return sqlite3.connect(
        path, timeout=LOCK_WITHIN, isolation_level=None, check_same_thread=False
    )


def _prepare(db: sqlite3.Connection) -> None:
    """Lock the file before anything is read, make it if it is new, and look at it."""
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    with _transaction(db):
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            _run(db, SCHEMA)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("PRAGMA user_version = 1")
        _migrate(db, _check(db))
    # One write to the disk for each commit instead of three.
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")


def _run(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";\n"):
        db.execute(statement)


def _check(db: sqlite3.Connection) -> int:
    """The version of the schema. Raises what keeps us from using the file."""
    if db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise sqlite3.DatabaseError("it is no journal of trio_chat")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise sqlite3.DatabaseError("it was written by a newer trio_chat")
    return int(version)


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """From the versions before; in the transaction that has looked at it."""
    for since, statements in ((2, SINCE_2), (3, SINCE_3)):
        if version < since:
            _run(db, statements)
            db.execute(f"PRAGMA user_version = {since}")


def _read(path: Path, db: sqlite3.Connection) -> Journal:
    facts = dict(db.execute("SELECT key, value FROM facts"))
    rows = db.execute("SELECT * FROM unsent ORDER BY number")
    return Journal(
        trouble=None,
        token=facts.get("token"),
        epoch=facts.get("epoch"),
        cursors=dict(db.execute("SELECT room, seq FROM cursors")),
        unsent={unsent.id: unsent for unsent in (Unsent(*row) for row in rows)},
        typed=dict(db.execute("SELECT number, text FROM typed ORDER BY number")),
        wishes=_read_wishes(db),
        file=_File(path, db),
    )


def _read_wishes(db: sqlite3.Connection) -> dict[str, set[str]]:
    wishes: dict[str, set[str]] = {}
    for kind, word in db.execute("SELECT kind, word FROM wishes"):
        wishes.setdefault(kind, set()).add(word)
    return wishes


def _write(db: sqlite3.Connection, changes: Iterable[_Change]) -> None:
    with _transaction(db):
        for statement, values in changes:
            db.execute(statement, values)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN EXCLUSIVE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # what failed may have rolled back already
            db.execute("ROLLBACK")
        raise


def _why_not(path: Path, error: Exception) -> str:
    """What to tell the person, and what to do."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return f"another program uses {path}, you are here twice perhaps; {LOSS}"
    todo = "it is left as it is, move it away to begin a new one"
    return f"can't use {path}: {error}; {todo}; until then {LOSS}"
