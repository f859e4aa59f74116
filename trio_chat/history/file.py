"""The file of a durable history: made, opened, refused, brought up to date.

Whatever opens it does so through here, so that nothing is ever written to a file that is
not ours, is damaged, or is newer than this program.
"""

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

from trio_chat.errors import Busy, NotStored, SetupError, StorageFailed, StorageFull

Sync = Literal["full", "normal"]

APPLICATION_ID = 0x7472696F
"""`trio`: what tells our files from other SQLite files."""

VERSION = 5
"""The version of the schema below."""

BUSY_SECONDS = 5.0
"""How long a commit waits for another program that holds the file."""

SINCE_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    head INTEGER NOT NULL,  -- the newest seq, also when its event has been pruned
    at INTEGER NOT NULL     -- of that event: milliseconds since 1970
) STRICT;
CREATE TABLE events (
    room INTEGER NOT NULL REFERENCES rooms,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    sender TEXT NOT NULL,
    id TEXT,
    line BLOB NOT NULL,     -- as it was sent, its end included
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX events_key ON events (sender, id) WHERE id IS NOT NULL;
CREATE TABLE members (
    name TEXT NOT NULL,
    room INTEGER NOT NULL REFERENCES rooms,
    PRIMARY KEY (name, room)
) STRICT, WITHOUT ROWID;
CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    current BLOB NOT NULL,  -- hashes: who reads this file can't come back as somebody
    previous BLOB
) STRICT, WITHOUT ROWID;
"""

SINCE_2 = """
ALTER TABLE rooms ADD COLUMN topic TEXT NOT NULL DEFAULT '';
ALTER TABLE rooms ADD COLUMN maker INTEGER;  -- of a private room: who has begun it,
ALTER TABLE rooms ADD COLUMN other INTEGER;  -- and the other one
CREATE INDEX rooms_maker ON rooms (maker) WHERE maker IS NOT NULL;
CREATE INDEX rooms_other ON rooms (other) WHERE other IS NOT NULL;
ALTER TABLE events ADD COLUMN author INTEGER;  -- who it was, whatever the name
ALTER TABLE events ADD COLUMN number INTEGER;  -- of a text, among those of all rooms
CREATE TABLE texts (
    number INTEGER PRIMARY KEY,
    room INTEGER NOT NULL REFERENCES rooms,
    seq INTEGER NOT NULL
) STRICT;
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = '', tokenize = 'unicode61 remove_diacritics 2'
);  -- its rowid is the number of a text; it has those up to the one called `indexed`
INSERT INTO meta VALUES ('indexed', '0');
INSERT INTO texts (room, seq) SELECT room, seq FROM events WHERE id IS NOT NULL ORDER BY at;
UPDATE events SET number = texts.number FROM texts
    WHERE texts.room = events.room AND texts.seq = events.seq;
CREATE TABLE devices (
    id INTEGER PRIMARY KEY,
    identity INTEGER NOT NULL,
    name TEXT NOT NULL,
    current BLOB NOT NULL,
    previous BLOB
) STRICT;
CREATE INDEX devices_name ON devices (name);
CREATE INDEX devices_identity ON devices (identity);
INSERT INTO devices (id, identity, name, current, previous)
    SELECT abs(random()) >> 10, abs(random()) >> 10, name, current, previous FROM tokens;
CREATE TABLE follows (
    device INTEGER NOT NULL REFERENCES devices,
    room INTEGER NOT NULL REFERENCES rooms,
    PRIMARY KEY (device, room)
) STRICT, WITHOUT ROWID;
INSERT INTO follows SELECT devices.id, room FROM members JOIN devices USING (name);
DROP TABLE members;
DROP TABLE tokens;
CREATE TABLE reads (
    identity INTEGER NOT NULL,
    room INTEGER NOT NULL REFERENCES rooms,
    seq INTEGER NOT NULL,
    PRIMARY KEY (identity, room)
) STRICT, WITHOUT ROWID;
"""

SINCE_3 = """
ALTER TABLE rooms ADD COLUMN access INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN key BLOB;  -- a hash
CREATE TABLE ranks (
    room INTEGER NOT NULL REFERENCES rooms,
    identity INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    PRIMARY KEY (room, identity)
) STRICT, WITHOUT ROWID;
CREATE INDEX ranks_identity ON ranks (identity);
CREATE TABLE sanctions (
    room INTEGER NOT NULL REFERENCES rooms,
    name TEXT NOT NULL,
    is_ban INTEGER NOT NULL,
    until INTEGER,
    reason TEXT NOT NULL,
    PRIMARY KEY (room, name, is_ban)
) STRICT, WITHOUT ROWID;
CREATE TABLE deeds (
    room INTEGER NOT NULL REFERENCES rooms,
    seq INTEGER NOT NULL,
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;
"""

SINCE_4 = """
CREATE TABLE accounts (
    identity INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    skeleton TEXT NOT NULL UNIQUE,  -- what looks like the name
    password TEXT,                  -- a hash; none of a bot
    is_operator INTEGER NOT NULL
) STRICT;
ALTER TABLE devices ADD COLUMN client TEXT;
ALTER TABLE devices ADD COLUMN at INTEGER;
ALTER TABLE devices ADD COLUMN verbs TEXT;  -- of a bot's: what it is good for
ALTER TABLE devices ADD COLUMN places TEXT;  -- and in which rooms
CREATE INDEX devices_current ON devices (current);
CREATE INDEX devices_previous ON devices (previous) WHERE previous IS NOT NULL;
DROP INDEX devices_name;
"""

SINCE_5 = """
CREATE TABLE banished (
    what TEXT PRIMARY KEY,  -- a name or a network
    until INTEGER,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

STEPS = (SINCE_1, SINCE_2, SINCE_3, SINCE_4, SINCE_5)
"""What brings a file from one version to the next; all of it happens, or nothing."""

WAL_PAGES = 4000
"""How long the write-ahead log grows, 16 MB, before it is written into the file. Each commit
writes the newest page of each room that is spoken in, so it has the same pages many times:
with a hundred rooms a say takes 15 µs of CPU to store and not 20, as with 1000 pages."""

_MAGIC = b"SQLite format 3\0"


@contextmanager
def hold_folder(path: Path) -> Iterator[None]:
    """Keep a second server away from the file `path`: both would number the same events.

    The lock is on the folder, for SQLite loses its own locks on a file of which anybody
    in the process closes another descriptor (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as exc:
        raise SetupError(f"can't use the folder {path.parent}: {exc.strerror}") from exc
    try:
        _lock(folder, path.parent)
        yield
    finally:
        os.close(folder)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise SetupError(
            f"another server uses {folder}; stop it, or choose another folder with --data"
        ) from exc


def is_held(path: Path) -> bool:
    """Is a server, or whatever else writes, at work on the file `path`?"""
    try:
        with hold_folder(path):
            return False
    except SetupError as exc:
        return isinstance(exc.__cause__, BlockingIOError)


def connect(path: Path, sync: Sync = "full") -> sqlite3.Connection:
    """The one connection that writes, for whoever holds the folder.

    Raises `SetupError`.
    """
    _refuse_foreign(path)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as exc:
        raise SetupError(f"can't open {path}: {exc}") from exc
    try:
        _prepare(db, sync)
    except sqlite3.Error as exc:
        db.close()
        raise SetupError(damaged(path, str(exc))) from exc
    return db


@contextmanager
def reading(path: Path, *, touch: bool = True) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, beside that of a server or without one.

    `touch`: SQLite may make its files beside `path`, and clean up after a crash. Without,
    nothing at all is written, and what is read is void if a server starts meanwhile.

    Raises `SetupError` if there is no such file, or it is not ours, or can't be read.
    """
    if not path.exists():
        raise SetupError(f"there is no history in {path.parent}; --data names another folder")
    # Not `_refuse_foreign`, which opens the file by itself: closing it would take away the
    # locks of a server in the same process.
    uri = f"{path.absolute().as_uri()}?{_access(path, touch=touch)}"
    try:
        with closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        ) as db:
            db.execute("PRAGMA query_only = ON")
            _refuse(path, _pragma(db, "application_id"), _pragma(db, "user_version"))
            yield db
    except sqlite3.Error as exc:
        raise SetupError(_unreadable(path, exc)) from exc


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that writes a little, beside a server or without one; the file is made
    if there is none.

    Raises `SetupError`, also if the disk refuses.
    """
    try:
        with closing(_open_to_write(path)) as db, transaction(db):
            yield db
    except sqlite3.Error as exc:
        raise SetupError(f"can't write {path}: {exc}") from exc


def _open_to_write(path: Path) -> sqlite3.Connection:
    try:
        with hold_folder(path):  # only while the file is made, or brought up to date
            return connect(path)
    except SetupError as exc:
        if not isinstance(exc.__cause__, BlockingIOError):
            raise
    uri = f"{path.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        version = _pragma(db, "user_version")
        _refuse(path, _pragma(db, "application_id"), version)
        if version < VERSION:
            raise SetupError(f"an older trio_chat uses {path}; stop it first")
    except BaseException:
        db.close()
        raise
    return db


def data_version(db: sqlite3.Connection) -> int:
    """Another one after each change that another connection has made."""
    return _pragma(db, "data_version")


def _unreadable(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return damaged(path, str(error))
    return f"can't read {path}: {error}"


def _access(path: Path, *, touch: bool) -> str:
    if touch:
        # With mode=ro the files beside it are made, too, but not removed at the end.
        return "mode=rw"
    in_use = path.with_name(f"{path.name}-wal").exists()  # or was, before a crash
    return "mode=ro" if in_use else "immutable=1"


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def refuse_strange_wal(path: Path) -> None:
    """See that what a crash left beside the file `path` is not that of another file.

    Whoever puts a backup in the place of a history after a crash may leave the rest of the
    old one beside it. SQLite can't tell, and would write that into the backup; we can, for
    a backup is no WAL file, and what has a WAL beside it is one.

    Raises `SetupError`.
    """
    wal, shm = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    if not wal.exists():
        return
    with path.open("rb") as file:
        header = file.read(20)
    if header[18:19] == b"\1":
        raise SetupError(
            f"{path} was put beside what is left of another history; remove {wal} and {shm}"
        )


def _refuse_foreign(path: Path) -> None:
    """Look before SQLite does: it would write to the file."""
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as exc:
        raise SetupError(
            f"can't read {path}: {exc.strerror}; mend that, or choose a folder with --data"
        ) from exc
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise SetupError(damaged(path, "it is not a SQLite database"))
    _refuse(path, int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))
    refuse_strange_wal(path)


def _refuse(path: Path, application_id: int, version: int) -> None:
    if application_id != APPLICATION_ID:
        raise SetupError(f"{path} is not a history of trio_chat; choose another with --data")
    if version > VERSION:
        raise SetupError(f"{path} was written by a newer trio_chat; use that one")


def damaged(path: Path, why: str) -> str:
    """What to say of a file that can't be used."""
    return (
        f"can't use {path}: {why}. It was not touched: put a backup in its place,"
        f" or move it away and start anew"
    )


def _prepare(db: sqlite3.Connection, sync: Sync) -> None:
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    version = _pragma(db, "user_version")
    if version < VERSION:
        _bring_up(
            db, version
        )  # before it is WAL: a file with a header but no tables is not ours
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {'FULL' if sync == 'full' else 'NORMAL'}")
    db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")


def _bring_up(db: sqlite3.Connection, version: int) -> None:
    with transaction(db):
        for step in STEPS[version:]:
            _run(db, step)
        if version == 0:
            db.execute("INSERT INTO meta VALUES ('epoch', ?)", [make_epoch()])
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")


def _run(db: sqlite3.Connection, statements: str) -> None:
    """Not `executescript`, which would commit first."""
    statement = ""
    for line in statements.splitlines():
        statement += f"{line}\n"
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""


def make_epoch() -> str:
    """The name of a history that nobody has seen anything of yet."""
    return secrets.token_urlsafe(12)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that is written within is stored, or nothing."""
    db.execute("BEGIN IMMEDIATE")  # a read that turns into a write would not wait its turn
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # what failed may have rolled back already
            db.execute("ROLLBACK")
        raise


def translate(error: sqlite3.Error) -> NotStored:
    """What the one who asked is told of what SQLite says."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("the server's disk is full")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Busy("the history is in use by another program")
    return StorageFailed(f"the history can't be used: {error}")


@lru_cache(16)  # all events of a batch have one time: 0.1 µs instead of 0.5
def to_ms(at: datetime) -> int:
    """A time as it is stored."""
    return round(at.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """A stored time."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
