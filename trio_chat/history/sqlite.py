"""The durable history: one SQLite file.

One connection, used by one thread at a time. A batch of the sequencer is one transaction;
with WAL and `synchronous=FULL` it has reached the disk when `append` returns, and a crash
at any moment leaves all of a batch or nothing (https://sqlite.org/wal.html).

Who is in which room is kept with the events, in the same transaction, so that after a
restart it is what the log says.
"""

import logging
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TypeVar, assert_never

import trio
from attrs import define, field, frozen

from trio_chat.charter import OPEN, Charter, Identity, Sanction
from trio_chat.errors import Busy, NotStored, SetupError
from trio_chat.history import (
    SLICE_BYTES,
    Account,
    Banished,
    Came,
    Change,
    Entry,
    Finds,
    HasRead,
    Head,
    Keep,
    Key,
    Paired,
    Place,
    Probe,
    Ranked,
    Record,
    Registered,
    Rehashed,
    Restricted,
    Revoked,
    Rewritten,
    Sanctioned,
    Slice,
    Stay,
    Titled,
    Went,
    index,
    page_of_deeds,
    people,
)
from trio_chat.history.file import (
    BUSY_SECONDS,
    Sync,
    connect,
    damaged,
    data_version,
    from_ms,
    hold_folder,
    to_ms,
    transaction,
    translate,
)
from trio_chat.history.thread import OneThread, one_thread
from trio_chat.names import Name
from trio_chat.roles import Access, Role
from trio_chat.veil import KEY_BYTES

T = TypeVar("T")

log = logging.getLogger(__name__)

CLOSE_WITHIN = 10.0
"""Seconds for a commit that is under way, and for writing everything into the one file."""

PRUNE_EVERY = 60.0
"""Seconds between two looks for what is too old to be kept."""

PRUNED_ROWS = 100
"""How many events are deleted in one transaction, and from the index: a few ms in which
nobody is acked."""

INDEX_AFTER = 1.0
"""Seconds without a commit after which there is time to index what was said."""

INDEX_AT_ONCE = 50
"""How many times `INDEXED_ROWS` texts are indexed before a search, at most: half a second
or so. Where more is missing, as after an import, what was said last is found later."""

ROWS_AT_ONCE = 64
"""The most rows that one statement inserts. Each inserts a power of two, so that a batch needs
a few, and all that there are stay prepared."""

LOOK_EVERY = 0.25
"""Seconds between two looks for what was changed on the command line: less than a client
takes to start, so that who was just given an account can use it."""


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
    with hold_folder(path), one_thread("history") as thread:
        history = await thread.run(lambda: _open(path, sync, retention, thread))
        try:
            yield history
        finally:
            with trio.move_on_after(CLOSE_WITHIN, shield=True):
                await history.close()


def _open(path: Path, sync: Sync, retention: Retention, thread: OneThread) -> "SqliteHistory":
    db = connect(path, sync)
    try:
        (epoch,) = db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        veil = _find_veil(db)
        texts = index.newest(db)
        rooms = {Name(name): id for id, name in db.execute("SELECT id, name FROM rooms")}
        version = data_version(db)
    except sqlite3.Error as exc:
        db.close()
        raise SetupError(damaged(path, str(exc))) from exc
    return SqliteHistory(path, db, epoch, veil, rooms, texts, version, retention, thread)


def _find_veil(db: sqlite3.Connection) -> bytes:
    made = secrets.token_hex(KEY_BYTES)
    db.execute("INSERT OR IGNORE INTO meta VALUES ('veil', ?)", [made])
    (kept,) = db.execute("SELECT value FROM meta WHERE key = 'veil'").fetchone()
    return bytes.fromhex(kept)


@define(eq=False)
class SqliteHistory:
    """The events of all rooms, in one file. Made by `open_sqlite`."""

    _path: Path
    _db: sqlite3.Connection
    epoch: str
    veil: bytes = field(repr=False)
    _rooms: dict[Name, int]
    _texts: int  # the number of the newest
    _seen_version: int  # of what other programs have changed
    _retention: Retention
    _thread: OneThread
    _has_committed: trio.Event = field(factory=trio.Event, init=False)
    _patience: float = field(default=BUSY_SECONDS, init=False)
    _one_search: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))

    async def maintain(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_pruning)
            nursery.start_soon(self._keep_indexing)

    async def _keep_pruning(self) -> None:
        while True:
            try:
                await self.prune(datetime.now(UTC))
            except NotStored as exc:
                log.warning("not pruned", extra={"error": str(exc)})
            await trio.sleep(PRUNE_EVERY)

    async def _keep_indexing(self) -> None:
        """Whenever nothing has been stored for a moment."""
        while True:
            self._has_committed = trio.Event()
            await trio.sleep(INDEX_AFTER)
            try:
                # A commit that has come meanwhile goes first.
                while not self._has_committed.is_set() and await self._run(self._index):
                    pass
            except NotStored as exc:
                log.warning("not indexed", extra={"error": str(exc)})
            await self._has_committed.wait()

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
        return await self._run(lambda: people.stays(self._db))

    async def recognise(self, token: bytes) -> Stay | None:
        return await self._run(lambda: people.recognise(self._db, token))

    async def accounts(self) -> Sequence[Account]:
        return await self._run(lambda: people.accounts(self._db))

    async def banished(self) -> Mapping[str, Sanction]:
        return await self._run(lambda: people.banished(self._db))

    async def wait_for_change(self) -> None:
        version = await self._run(self._version)
        while version == self._seen_version:
            await trio.sleep(LOOK_EVERY)
            version = await self._run(self._version)
        self._seen_version = version

    async def devices(self, identity: Identity) -> Sequence[Stay]:
        return await self._run(lambda: people.devices(self._db, identity))

    async def append(
        self, entries: Sequence[Entry], changes: Sequence[Change] = ()
    ) -> Mapping[Key, Place]:
        self._has_committed.set()
        return await self._run(lambda: self._append(entries, changes))

    async def find(self, keys: Sequence[Key]) -> Mapping[Key, Place]:
        return await self._run(lambda: self._find(keys))

    async def look_up(self, places: Collection[Place]) -> Mapping[Place, Record]:
        return await self._run(lambda: self._look_up(places))

    async def after(self, room: Name, seq: int, limit: int) -> Slice:
        return await self._run(lambda: self._after(room, seq, limit))

    async def before(self, room: Name, seq: int, limit: int) -> Slice:
        return await self._run(lambda: self._before(room, seq, limit))

    async def deeds(self, room: Name, before: int, limit: int) -> Finds:
        return await self._run(lambda: self._deeds(room, before, limit))

    async def forget(self, room: Name) -> None:
        id = self._rooms.get(room)
        if id is None:
            return
        while await self._run(partial(self._delete, id, "seq > :bound", 0)):
            pass
        await self._run(lambda: self._forget(id))
        del self._rooms[room]

    async def search(
        self, words: Sequence[str], rooms: Collection[Name], before: int | None, limit: int
    ) -> Finds:
        for _ in range(INDEX_AT_ONCE):
            if not await self._run(self._index):
                break
        ids = {self._rooms[room] for room in rooms if room in self._rooms}
        search = partial(index.search, self._path, words, ids, before, limit)
        return await trio.to_thread.run_sync(search, limiter=self._one_search)

    async def close(self) -> None:
        """Write everything into the one file, and let go of it."""
        await self._run(self._db.close)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await self._thread.run(work)
        except sqlite3.Error as exc:
            raise translate(exc) from exc

    # ------------------------------------------------------------ in the thread

    def _heads(self) -> Mapping[Name, Head]:
        charters = self._charters()
        rows = self._db.execute("SELECT id, name, head, at, topic, maker, other FROM rooms")
        return {
            Name(name): Head(
                head,
                from_ms(at),
                topic,
                None if maker is None else (maker, other),
                charters.get(id, OPEN),
            )
            for id, name, head, at, topic, maker, other in rows
        }

    def _charters(self) -> Mapping[int, Charter]:
        """Of the rooms that are not open."""
        ranks: dict[int, dict[Identity, Role]] = {}
        for room, identity, rank in self._db.execute("SELECT * FROM ranks"):
            ranks.setdefault(room, {})[identity] = Role(rank)
        bans, mutes = self._sanctions(is_ban=True), self._sanctions(is_ban=False)
        closed = {
            id: (Access(access), key)
            for id, access, key in self._db.execute(
                "SELECT id, access, key FROM rooms WHERE access > 0"
            )
        }
        everybody = Access.PUBLIC, None
        return {
            id: Charter(
                *closed.get(id, everybody),
                ranks=ranks.get(id, {}),
                bans=bans.get(id, {}),
                mutes=mutes.get(id, {}),
            )
            for id in {*closed, *ranks, *bans, *mutes}
        }

    def _sanctions(self, *, is_ban: bool) -> Mapping[int, dict[Name, Sanction]]:
        found: dict[int, dict[Name, Sanction]] = {}
        rows = self._db.execute(
            "SELECT room, name, until, reason FROM sanctions WHERE is_ban = ?", [is_ban]
        )
        for room, name, until, reason in rows:
            end = None if until is None else from_ms(until)
            found.setdefault(room, {})[Name(name)] = Sanction(end, reason)
        return found

    def _version(self) -> int:
        return data_version(self._db)

    def _append(
        self, entries: Sequence[Entry], changes: Sequence[Change]
    ) -> Mapping[Key, Place]:
        try:
            with transaction(self._db):
                rooms = self._advance_rooms(entries)
                texts = self._insert_events(entries, rooms)
                for change in changes:
                    self._make(change, rooms)
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
        self._texts = texts
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
            self._set_fence()

    def _set_fence(self) -> None:
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
        which = f"room = :room AND seq IN ({oldest}) AND {condition}"
        values = {"room": room, "bound": bound, "rows": PRUNED_ROWS}
        with transaction(self._db):
            values["indexed"] = index.indexed(self._db)
            self._forget_texts(which, values)
            # Our own words: none of it came from outside.
            deleted = self._db.execute(f"DELETE FROM events WHERE {which}", values).rowcount  # noqa: S608
            self._db.execute(
                "DELETE FROM deeds WHERE room = :room"
                " AND seq < (SELECT MIN(seq) FROM events WHERE room = :room)",
                {"room": room},
            )
            return deleted

    def _forget(self, room: int) -> None:
        with transaction(self._db):
            people.forget_room(self._db, room)

    def _forget_texts(self, which: str, values: Mapping[str, int]) -> None:
        texts = self._db.execute(
            f"SELECT number, {index.TEXT} FROM events WHERE {which} AND number <= :indexed",  # noqa: S608
            values,
        ).fetchall()
        index.remove(self._db, texts)
        forget = f"SELECT number FROM events WHERE {which} AND number IS NOT NULL"  # noqa: S608
        self._db.execute(f"DELETE FROM texts WHERE number IN ({forget})", values)  # noqa: S608

    def _advance_rooms(self, entries: Iterable[Entry]) -> dict[Name, int]:
        """The ids of the rooms of `entries`, which they move on."""
        newest = {entry.place.room: entry for entry in entries}
        rooms = {name: self._rooms.get(name) or self._add_room(name) for name in newest}
        self._db.executemany(
            "UPDATE rooms SET head = ?, at = ? WHERE id = ?",
            [(e.place.seq, to_ms(e.at), rooms[name]) for name, e in newest.items()],
        )
        return rooms

    def _add_room(self, name: Name) -> int:
        (id,) = self._db.execute(
            "INSERT INTO rooms (name, head, at) VALUES (?, 0, 0) RETURNING id", [name]
        ).fetchone()
        return int(id)

    def _insert_events(self, entries: Iterable[Entry], rooms: Mapping[Name, int]) -> int:
        """Returns the number of the newest text."""
        newest = self._texts
        events, texts, deeds = [], [], []
        for entry in entries:
            room, seq = rooms[entry.place.room], entry.place.seq
            number = None
            if entry.text is not None:
                newest = number = newest + 1
                texts.append((number, room, seq))
            if entry.is_deed:
                deeds.append((room, seq))
            at = to_ms(entry.at)
            # Of `bytes` sqlite3 asks first how they are to be adapted, which takes 1 µs.
            line = bytearray(entry.line)
            events.append((room, seq, at, entry.by, entry.id, line, entry.author, number))
        self._insert("events", events)
        self._insert("texts", texts)
        self._insert("deeds", deeds)
        return newest

    def _insert(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """By as few statements as can be: for each row that `executemany` steps to, the
        thread lets go of Python's lock, and waits for it while the other one is busy."""
        while rows:
            many = min(ROWS_AT_ONCE, 1 << (len(rows).bit_length() - 1))
            some, rows = rows[:many], rows[many:]
            statement = _insertion(table, len(some[0]), many)
            self._db.execute(statement, list(chain.from_iterable(some)))

    def _make(self, change: Change, new: Mapping[Name, int]) -> None:
        """Store one change; `new`: the rooms of this batch."""
        match change:
            case Keep() | Registered() | Rehashed() | Revoked() | Banished():
                people.store(self._db, change)
            case Probe():
                self._set_fence()
            case Came(device, room):
                row = [device, self._id_of(room, new)]
                self._db.execute("INSERT OR REPLACE INTO follows VALUES (?, ?)", row)
            case Went(device, room):
                row = [device, self._id_of(room, new)]
                self._db.execute("DELETE FROM follows WHERE device = ? AND room = ?", row)
                people.forget(self._db, device)
            case Paired(room, maker, other):
                pair = "UPDATE rooms SET maker = ?, other = ? WHERE id = ?"
                self._db.execute(pair, [maker, other, self._id_of(room, new)])
            case HasRead(identity, room, seq):
                people.mark(self._db, identity, self._id_of(room, new), seq)
            case Rewritten(place, line, text):
                self._rewrite(self._id_of(place.room, new), place.seq, line, text)
            case Titled(room, topic):
                title = "UPDATE rooms SET topic = ? WHERE id = ?"
                self._db.execute(title, [topic, self._id_of(room, new)])
            case Ranked() | Sanctioned() | Restricted():
                self._govern(change, self._id_of(change.room, new))
            case _:
                assert_never(change)

    def _govern(self, change: Ranked | Sanctioned | Restricted, room: int) -> None:
        match change:
            case Ranked(_, identity, None):
                unranked = "DELETE FROM ranks WHERE room = ? AND identity = ?"
                self._db.execute(unranked, [room, identity])
            case Ranked(_, identity, rank):
                ranked = "INSERT OR REPLACE INTO ranks VALUES (?, ?, ?)"
                self._db.execute(ranked, [room, identity, rank])
            case Sanctioned(_, name, is_ban, sanction):
                freed = "DELETE FROM sanctions WHERE room = ? AND name = ? AND is_ban = ?"
                self._db.execute(freed, [room, name, is_ban])
                if sanction is not None:
                    end = None if sanction.until is None else to_ms(sanction.until)
                    row = [room, name, is_ban, end, sanction.reason]
                    self._db.execute("INSERT INTO sanctions VALUES (?, ?, ?, ?, ?)", row)
            case Restricted(_, access, key):
                restricted = "UPDATE rooms SET access = ?, key = ? WHERE id = ?"
                self._db.execute(restricted, [access, key, room])

    def _id_of(self, room: Name, new: Mapping[Name, int]) -> int:
        return new[room] if room in new else self._rooms[room]

    def _rewrite(self, room: int, seq: int, line: bytes, text: str | None) -> None:
        row = self._db.execute(
            f"SELECT number, {index.TEXT} FROM events WHERE room = ? AND seq = ?",  # noqa: S608
            [room, seq],
        ).fetchone()
        if row is None:  # pruned meanwhile
            return
        statement = "UPDATE events SET line = ? WHERE room = ? AND seq = ?"
        self._db.execute(statement, [line, room, seq])
        number, old = row
        if number is not None:
            index.change(self._db, number, old, text)

    def _index(self) -> bool:
        if self._texts == index.indexed(self._db):  # no need to wait for whoever writes
            return False
        with transaction(self._db):
            return index.add_missing(self._db)

    def _look_up(self, places: Iterable[Place]) -> Mapping[Place, Record]:
        found = {}
        for place in places:
            row = self._db.execute(
                "SELECT line, author FROM events WHERE room = ? AND seq = ?",
                [self._rooms.get(place.room), place.seq],
            ).fetchone()
            if row is not None:
                found[place] = Record(*row)
        return found

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

    def _deeds(self, room: Name, before: int, limit: int) -> Finds:
        rows = self._db.execute(
            "SELECT seq, line FROM deeds JOIN events USING (room, seq)"
            " WHERE room = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
            [self._rooms.get(room), before, limit + 1],
        )
        return page_of_deeds(rows, limit)

    def _head(self, room: Name) -> int:
        row = self._db.execute("SELECT head FROM rooms WHERE name = ?", [room]).fetchone()
        return 0 if row is None else int(row[0])

    def _oldest(self, room: Name) -> int:
        """The oldest event that is kept; if there is none, the next that could be."""
        (oldest,) = self._db.execute(
            "SELECT MIN(seq) FROM events WHERE room = ?", [self._rooms.get(room)]
        ).fetchone()
        return self._head(room) + 1 if oldest is None else int(oldest)


@cache  # one for each table and number of rows
def _insertion(table: str, columns: int, rows: int) -> str:
    row = f" ({', '.join('?' * columns)})"
    return f"INSERT INTO {table} VALUES{','.join([row] * rows)}"


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
