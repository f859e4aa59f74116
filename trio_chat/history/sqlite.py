"""The durable history: one SQLite file.

One connection, used by one thread at a time. A batch of the sequencer is one transaction;
with WAL and `synchronous=FULL` it has reached the disk when `append` returns, and a crash
at any moment leaves all of a batch or nothing (https://sqlite.org/wal.html).

Who is in which room is kept with the events, in the same transaction, so that after a
restart it is what the log says.
"""

import fcntl
import logging
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import trio
from attrs import define, field, frozen

from trio_chat.errors import Busy, NotStored, SetupError, StorageFailed, StorageFull
from trio_chat.history import (
    NO_TOKENS,
    SLICE_BYTES,
    Entry,
    Head,
    Key,
    Move,
    Place,
    Slice,
    Stay,
    Token,
)
from trio_chat.names import Name

T = TypeVar("T")

log = logging.getLogger(__name__)

Sync = Literal["full", "normal"]

APPLICATION_ID = 0x7472696F
"""`trio`: what tells our files from other SQLite files."""

VERSION = 1
"""The version of the schema below."""

BUSY_SECONDS = 5.0
"""How long a commit waits for another program that holds the file."""

SCHEMA = """
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

CLOSE_WITHIN = 10.0
"""Seconds for a commit that is under way, and for writing everything into the one file."""

PRUNE_EVERY = 60.0
"""Seconds between two looks for what is too old to be kept."""

PRUNED_ROWS = 500
"""How many events are deleted in one transaction: a few ms in which nobody is acked."""

_MAGIC = b"SQLite format 3\0"


@frozen
class Retention:
    """What is kept: events younger than `age`, and the newest `events` of each room; None
    keeps all."""

    age: timedelta | None = None
    events: int | None = None


KEEP_ALL = Retention()


@asynccontextmanager
async def open_sqlite(
    path: Path, *, sync: Sync = "full", retention: Retention = KEEP_ALL
) -> AsyncIterator["SqliteHistory"]:
    """The history in the file `path`, which is made if it does not exist.

    `sync`: "full" survives a power cut; with "normal" the last commits may be lost in one,
    though never in a crash of the program. `retention`: what is kept.

    Raises `SetupError` if the file is not ours, is damaged, or is in use.
    """
    with hold_folder(path):
        history = await trio.to_thread.run_sync(_open, path, sync, retention)
        try:
            yield history
        finally:
            with trio.move_on_after(CLOSE_WITHIN, shield=True):
                await history.close()


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


def _open(path: Path, sync: Sync, retention: Retention) -> "SqliteHistory":
    db = connect(path, sync)
    try:
        (epoch,) = db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        rooms = {Name(name): id for id, name in db.execute("SELECT id, name FROM rooms")}
    except sqlite3.Error as exc:
        db.close()
        raise SetupError(_damaged(path, str(exc))) from exc
    return SqliteHistory(db, epoch, rooms, retention)


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
        raise SetupError(_damaged(path, str(exc))) from exc
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


def _unreadable(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return _damaged(path, str(error))
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
        raise SetupError(_damaged(path, "it is not a SQLite database"))
    _refuse(path, int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"))
    refuse_strange_wal(path)


def _refuse(path: Path, application_id: int, version: int) -> None:
    if application_id != APPLICATION_ID:
        raise SetupError(f"{path} is not a history of trio_chat; choose another with --data")
    if version > VERSION:
        raise SetupError(f"{path} was written by a newer trio_chat; use that one")


def _damaged(path: Path, why: str) -> str:
    return (
        f"can't use {path}: {why}. It was not touched: put a backup in its place,"
        f" or move it away and start anew"
    )


def _prepare(db: sqlite3.Connection, sync: Sync) -> None:
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    if db.execute("PRAGMA user_version").fetchone() == (0,):
        _create(db)  # before it is WAL: a file that has a header but no tables is not ours
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {'FULL' if sync == 'full' else 'NORMAL'}")


def _create(db: sqlite3.Connection) -> None:
    with transaction(db):
        for statement in SCHEMA.split(";\n"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('epoch', ?)", [make_epoch()])
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")


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


@define(eq=False)
class SqliteHistory:
    """The events of all rooms, in one file. Made by `open_sqlite`."""

    _db: sqlite3.Connection
    epoch: str
    _rooms: dict[Name, int]
    _retention: Retention
    _patience: float = field(default=BUSY_SECONDS, init=False)
    _one_thread: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))

    async def maintain(self) -> None:
        while True:
            try:
                await self.prune(datetime.now(UTC))
            except NotStored as exc:
                log.warning("not pruned", extra={"error": str(exc)})
            await trio.sleep(PRUNE_EVERY)

    async def prune(self, now: datetime) -> int:
        """Delete what is not kept any longer; how many events that were."""
        deleted = 0
        if self._retention == KEEP_ALL:
            return deleted
        for room in list(self._rooms.values()):
            for delete in (self._delete_old, self._delete_excess):
                while count := await self._run(partial(delete, room, now)):
                    deleted += count
        return deleted

    async def heads(self) -> Mapping[Name, Head]:
        return await self._run(self._heads)

    async def stays(self) -> Sequence[Stay]:
        return await self._run(self._stays)

    async def append(
        self, entries: Sequence[Entry], tokens: Mapping[Name, Token] = NO_TOKENS
    ) -> Mapping[Key, Place]:
        return await self._run(lambda: self._append(entries, tokens))

    async def find(self, keys: Sequence[Key]) -> Mapping[Key, Place]:
        return await self._run(lambda: self._find(keys))

    async def after(self, room: Name, seq: int, limit: int) -> Slice:
        return await self._run(lambda: self._after(room, seq, limit))

    async def before(self, room: Name, seq: int, limit: int) -> Slice:
        return await self._run(lambda: self._before(room, seq, limit))

    async def close(self) -> None:
        """Write everything into the one file, and let go of it."""
        await self._run(self._db.close)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=self._one_thread)
        except sqlite3.Error as exc:
            raise translate(exc) from exc

    # ------------------------------------------------------------ in the thread

    def _heads(self) -> Mapping[Name, Head]:
        rows = self._db.execute("SELECT name, head, at FROM rooms")
        return {Name(name): Head(head, _from_ms(at)) for name, head, at in rows}

    def _stays(self) -> Sequence[Stay]:
        rows = self._db.execute(
            "SELECT tokens.name, current, previous, group_concat(rooms.name, ' ')"
            " FROM tokens JOIN members USING (name) JOIN rooms ON rooms.id = members.room"
            " GROUP BY tokens.name"
        )
        return [
            Stay(Name(name), Token(current, previous), [Name(room) for room in rooms.split()])
            for name, current, previous, rooms in rows
        ]

    def _append(
        self, entries: Sequence[Entry], tokens: Mapping[Name, Token]
    ) -> Mapping[Key, Place]:
        try:
            with transaction(self._db):
                rooms = self._advance_rooms(entries)
                self._insert_events(entries, rooms)
                self._move(entries, rooms)
                self._store_tokens(tokens)  # after it: who leaves loses the old one
        except sqlite3.IntegrityError:
            standing = self._find([entry.key for entry in entries if entry.key is not None])
            if not standing:
                raise
            return standing
        except sqlite3.Error as exc:
            self._clear_up_after(exc)
            raise
        self._wait_for_others(BUSY_SECONDS)
        self._rooms |= rooms
        return {}

    def _clear_up_after(self, failure: sqlite3.Error) -> None:
        if isinstance(translate(failure), Busy):
            # What has piled up meanwhile has waited, too: no further five seconds for it.
            self._wait_for_others(0.0)
        else:
            self._fence()

    def _wait_for_others(self, seconds: float) -> None:
        if seconds != self._patience:
            self._db.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
            self._patience = seconds

    def _fence(self) -> None:
        """Overwrite what a failed commit has left in the write-ahead log.

        SQLite takes such a commit back in its memory; but where only the last step failed,
        the sync, it stands whole in the file, and a crash before the next commit would
        bring to light what was refused. So make a next commit. (If the disk refuses that
        one, too, only the same id can tell: a resend is recognised.)
        """
        with suppress(sqlite3.Error), transaction(self._db):
            fence = secrets.token_urlsafe(12)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('fence', ?)", [fence])

    def _delete_old(self, room: int, now: datetime) -> int:
        if self._retention.age is None:
            return 0
        # Within a room time never goes back, so what is old comes first.
        return self._delete(room, "at < :bound", to_ms(now - self._retention.age))

    def _delete_excess(self, room: int, _: datetime) -> int:
        if self._retention.events is None:
            return 0
        bound = "(SELECT head - :bound FROM rooms WHERE id = :room)"
        return self._delete(room, f"seq <= {bound}", self._retention.events)

    def _delete(self, room: int, condition: str, bound: int) -> int:
        oldest = "SELECT seq FROM events WHERE room = :room ORDER BY seq LIMIT :rows"
        statement = (
            f"DELETE FROM events WHERE room = :room AND seq IN ({oldest}) AND {condition}"  # noqa: S608 # our own words
        )
        with transaction(self._db):
            values = {"room": room, "bound": bound, "rows": PRUNED_ROWS}
            return self._db.execute(statement, values).rowcount

    def _advance_rooms(self, entries: Iterable[Entry]) -> dict[Name, int]:
        newest = {entry.place.room: entry for entry in entries}
        rooms = {}
        for name, entry in newest.items():
            (rooms[name],) = self._db.execute(
                "INSERT INTO rooms (name, head, at) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET head = excluded.head, at = excluded.at"
                " RETURNING id",
                [name, entry.place.seq, to_ms(entry.at)],
            ).fetchone()
        return rooms

    def _insert_events(self, entries: Iterable[Entry], rooms: Mapping[Name, int]) -> None:
        self._db.executemany(
            "INSERT INTO events (room, seq, at, sender, id, line) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (rooms[e.place.room], e.place.seq, to_ms(e.at), e.by, e.id, e.line)
                for e in entries
            ],
        )

    def _store_tokens(self, tokens: Mapping[Name, Token]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?)",
            [(name, token.current, token.previous) for name, token in tokens.items()],
        )

    def _move(self, entries: Iterable[Entry], rooms: Mapping[Name, int]) -> None:
        for entry in entries:
            row = [entry.by, rooms[entry.place.room]]
            if entry.move is Move.CAME:
                self._db.execute("INSERT OR REPLACE INTO members VALUES (?, ?)", row)
            elif entry.move is Move.WENT:
                self._db.execute("DELETE FROM members WHERE name = ? AND room = ?", row)
                self._db.execute(
                    "DELETE FROM tokens WHERE name = ?"
                    " AND NOT EXISTS (SELECT 1 FROM members WHERE members.name = tokens.name)",
                    [entry.by],
                )

    def _find(self, keys: Iterable[Key]) -> Mapping[Key, Place]:
        found = {}
        for key in keys:
            row = self._db.execute(
                "SELECT name, seq FROM events JOIN rooms ON rooms.id = events.room"
                " WHERE sender = ? AND events.id = ?",
                [key.sender, key.id],
            ).fetchone()
            if row is not None:
                found[key] = Place(Name(row[0]), row[1])
        return found

    def _after(self, room: Name, seq: int, limit: int) -> Slice:
        rows = self._db.execute(
            "SELECT seq, line FROM events WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?",
            [self._rooms.get(room), seq, limit + 1],
        )
        found, more = _fitting(rows, limit)
        first = found[0][0] if found else max(seq, self._head(room)) + 1
        return Slice(first, _lines(found), more)

    def _before(self, room: Name, seq: int, limit: int) -> Slice:
        rows = self._db.execute(
            "SELECT seq, line FROM events WHERE room = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
            [self._rooms.get(room), seq, limit + 1],
        )
        found, more = _fitting(rows, limit)
        found.reverse()
        first = found[0][0] if found else self._oldest(room)
        return Slice(first, _lines(found), more)

    def _head(self, room: Name) -> int:
        row = self._db.execute("SELECT head FROM rooms WHERE name = ?", [room]).fetchone()
        return 0 if row is None else int(row[0])

    def _oldest(self, room: Name) -> int:
        """The oldest event that is kept; if there is none, the next that could be."""
        (oldest,) = self._db.execute(
            "SELECT MIN(seq) FROM events WHERE room = ?", [self._rooms.get(room)]
        ).fetchone()
        return self._head(room) + 1 if oldest is None else int(oldest)


def _fitting(
    rows: Iterable[tuple[int, bytes]], limit: int
) -> tuple[list[tuple[int, bytes]], bool]:
    """As many rows as a slice may have, and whether there are more."""
    found: list[tuple[int, bytes]] = []
    size = 0
    for seq, line in rows:
        size += len(line)
        if len(found) == limit or size > SLICE_BYTES:
            return found, True
        found.append((seq, line))
    return found, False


def _lines(rows: Iterable[tuple[int, bytes]]) -> list[bytes]:
    return [line for _, line in rows]


def to_ms(at: datetime) -> int:
    """A time as it is stored."""
    return round(at.timestamp() * 1000)


def _from_ms(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
