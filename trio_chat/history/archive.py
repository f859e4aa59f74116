"""What goes out of the durable history, and comes back: export, import, backup.

An export is the events as they were sent, a line each: the rooms in order of name, each by
`seq`; and besides, who they are by and how the rooms stand (`annex.py`). A backup is the file
itself. Both are made beside a running server, within one read
transaction: what is written meanwhile is not in them, and nobody waits for them.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from attrs import define, field, frozen

from trio_chat.errors import ChatError, LineTooLong, NoSuchRoom, SetupError
from trio_chat.history import RANDOM_BITS, SLICE_BYTES, annex, index
from trio_chat.history.file import (
    connect,
    hold_folder,
    make_epoch,
    reading,
    refuse_strange_wal,
    to_ms,
    transaction,
    translate,
)
from trio_chat.messages import (
    Ban,
    Deed,
    Delete,
    Edit,
    Event,
    Mute,
    React,
    Restrict,
    Say,
    Topic,
)
from trio_chat.names import Name, parse_name
from trio_chat.pairs import is_private
from trio_chat.roles import Access

Report = Callable[[int, int | None], object]
"""Is told how much is done, and of how much where that is known."""

REPORT_EVERY = 1000
"""The events between two reports."""

COPIED_PAGES = 1000
"""The pages that are copied between two reports: 4 MB."""

AUTHOR_BYTES = len(annex.sign(b"{}\n", 2**RANDOM_BITS))
"""What the author adds to the line of an event, at most."""

MOST_FAULTS = 5
"""Where a file is damaged, nobody reads the whole list."""


def _tell_nobody(_done: int, _total: int | None) -> None:
    pass


# ---------------------------------------------------------------- export


def export_lines(
    path: Path, rooms: Collection[Name] = (), report: Report = _tell_nobody
) -> Iterator[bytes]:
    """The lines of all events in the file `path`, or of those of some rooms, and of what
    belongs to them.

    Raises `NoSuchRoom`, and `SetupError` if the file can't be read.
    """
    with reading(path) as db:
        db.execute("BEGIN")  # what the first SELECT sees is what all of them see
        ids = _find_rooms(db, rooms)
        total = sum(_count(db, id) for id in ids)
        for number, line in enumerate(_lines_of(db, ids), 1):
            yield line
            if number % REPORT_EVERY == 0:
                report(number, total)


def _lines_of(db: sqlite3.Connection, ids: Iterable[int]) -> Iterator[bytes]:
    yield from annex.holder_lines(db)
    for id in ids:
        rows = db.execute("SELECT line, author FROM events WHERE room = ? ORDER BY seq", [id])
        yield from (annex.sign(line, author) for line, author in rows)
        yield from annex.standing_lines(db, id)


def _find_rooms(db: sqlite3.Connection, wanted: Collection[Name]) -> Sequence[int]:
    """The rooms that are wanted, or all; in order of name."""
    ids = dict(db.execute("SELECT name, id FROM rooms ORDER BY name"))
    for name in wanted:
        if name not in ids:
            raise NoSuchRoom(f"there is no room {name}")
    return [id for name, id in ids.items() if name in wanted or not wanted]


def _count(db: sqlite3.Connection, room: int) -> int:
    # There are no holes. Each of the two is found at once; together, by reading them all.
    (count,) = db.execute(
        "SELECT COALESCE((SELECT MAX(seq) FROM events WHERE room = :room)"
        " - (SELECT MIN(seq) FROM events WHERE room = :room) + 1, 0)",
        {"room": room},
    ).fetchone()
    return int(count)


# ---------------------------------------------------------------- import


@frozen
class Imported:
    """How many events were new, and how many had been there already."""

    new: int
    known: int


def import_lines(path: Path, lines: Iterable[bytes], report: Report = _tell_nobody) -> Imported:
    """Add the events in `lines` to the history in the file `path`, which is made if it does
    not exist: all of them or, if one does not fit, none.

    In each room they have to go on where the history ends, or to repeat what it has; a room
    that is new may begin at any `seq`.

    How a room stands is taken over if there is news of it.

    Nobody is in a room by an import. Who has joined and not left by these events was there
    once, on another server perhaps, and has no token to come back with: this server would
    hold the name for a while, and then log a leave that nobody took.

    Raises `SetupError`, which names the line, or says what uses the file; and `NotStored`.
    """
    try:
        with hold_folder(path), closing(connect(path)) as db, transaction(db):
            return _take_all(_Intake(db), lines, report)
    except sqlite3.Error as exc:
        raise translate(exc) from exc


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of `file`. None is longer than what tells that it is too long; the last one
    gets an end if it has none, and the ends of Windows become ours."""
    while line := file.readline(SLICE_BYTES + AUTHOR_BYTES + 2):
        yield line.rstrip(b"\r\n") + b"\n"


def _take_all(intake: "_Intake", lines: Iterable[bytes], report: Report) -> Imported:
    for number, line in enumerate(lines, 1):
        try:
            intake.take(line)
        except ChatError as exc:
            raise SetupError(f"line {number}: {exc}; nothing was imported") from exc
        if number % REPORT_EVERY == 0:
            report(number, None)
    intake.finish()
    return Imported(intake.new, intake.known)


@define(eq=False)
class _Room:
    """Where a room stands; `at` in milliseconds since 1970. `has_news`: it was new, or has
    got events."""

    id: int
    head: int
    at: int
    has_news: bool = False


@define(eq=False)
class _Intake:
    """Takes events into `db`, within a transaction of the caller's."""

    db: sqlite3.Connection
    new: int = field(default=0, init=False)
    known: int = field(default=0, init=False)
    _rooms: dict[str, _Room] = field(factory=dict, init=False)
    _texts: int = field(init=False)  # the number of the newest

    def __attrs_post_init__(self) -> None:
        self._texts = index.newest(self.db)
        for name, *stand in self.db.execute("SELECT name, id, head, at FROM rooms"):
            self._rooms[name] = _Room(*stand)

    def take(self, line: bytes) -> None:
        """Store what is in `line`, unless it is there.

        Raises `WireError`, `BadName` or `SetupError` if it does not fit.
        """
        plain, author = annex.unsign(line)
        found = _decode(plain)
        match found:
            case Event():
                self._take_event(found, plain, author)
            case annex.Holder():
                annex.take_holder(self.db, found)
            case _:
                self._take_standing(found)

    def _take_standing(self, told: annex.Standing) -> None:
        room = self._rooms.get(told.room)
        if room is None:
            raise SetupError(f"{told.room} has no events before this")
        if room.has_news:
            annex.take_standing(self.db, room.id, told)

    def _take_event(self, event: Event, line: bytes, author: int | None) -> None:
        room = self._rooms.get(event.message.room) or self._add_room(event)
        if event.seq <= room.head:
            self._compare(room, event, line)
            self.known += 1
        else:
            self._append(room, event, line, author)
            self.new += 1

    def finish(self) -> None:
        """Write down where the rooms stand now."""
        self.db.executemany(
            "UPDATE rooms SET head = ?, at = ? WHERE id = ?",
            [(room.head, room.at, room.id) for room in self._rooms.values()],
        )

    def _add_room(self, event: Event) -> _Room:
        name, at = event.message.room, to_ms(event.at)
        head = event.seq - 1  # what came before is not kept, as if it had been pruned
        (id,) = self.db.execute(
            "INSERT INTO rooms (name, head, at) VALUES (?, ?, ?) RETURNING id",
            [name, head, at],
        ).fetchone()
        room = self._rooms[name] = _Room(id, head, at)
        return room

    def _compare(self, room: _Room, event: Event, line: bytes) -> None:
        row = self.db.execute(
            "SELECT line FROM events WHERE room = ? AND seq = ?", [room.id, event.seq]
        ).fetchone()
        if row is None:
            raise SetupError(f"{_what(event)} is older than what is kept here")
        if row[0] != line:
            raise SetupError(f"{_what(event)} is another one here")

    def _append(self, room: _Room, event: Event, line: bytes, author: int | None) -> None:
        if event.seq > room.head + 1:
            raise SetupError(f"{_what(event)} can't follow event {room.head}")
        at = to_ms(event.at)
        if at < room.at:  # what is too old to be kept is taken for the beginning of a room
            raise SetupError(f"{_what(event)} is earlier than the one before it")
        post = event.message
        id = post.id if isinstance(post, Say | Edit | Delete | React | Topic) else None
        try:
            self.db.execute(
                "INSERT INTO events (room, seq, at, sender, id, line, author, number)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [room.id, event.seq, at, event.by, id, line, author, self._number(room, event)],
            )
        except sqlite3.IntegrityError as exc:
            raise SetupError(
                f"{_what(event)} has an id that {event.by} has used before"
            ) from exc
        room.head, room.at, room.has_news = event.seq, at, True
        self._govern(room, event)

    def _govern(self, room: _Room, event: Event) -> None:
        """What the event has done to the room, for an archive that does not say how it stands.
        Of a key nothing is known, so the room is for the invited."""
        post = event.message
        if isinstance(post, Deed):
            self.db.execute("INSERT INTO deeds VALUES (?, ?)", [room.id, event.seq])
        match post:
            case Topic(text=text):
                self.db.execute("UPDATE rooms SET topic = ? WHERE id = ?", [text, room.id])
            case Restrict(access=access):
                closed = Access.PUBLIC if access == "public" else Access.INVITATION
                self.db.execute("UPDATE rooms SET access = ? WHERE id = ?", [closed, room.id])
            case Ban() | Mute():
                self._sanction(room, post)
            case _:
                pass

    def _sanction(self, room: _Room, post: Ban | Mute) -> None:
        row = [room.id, post.name, isinstance(post, Ban)]
        freed = "DELETE FROM sanctions WHERE room = ? AND name = ? AND is_ban = ?"
        self.db.execute(freed, row)
        if not post.off:
            until = None if post.until is None else to_ms(post.until)
            sanctioned = "INSERT INTO sanctions VALUES (?, ?, ?, ?, ?)"
            self.db.execute(sanctioned, [*row, until, post.reason])

    def _number(self, room: _Room, event: Event) -> int | None:
        """That of a text, by which it will be found."""
        if not isinstance(event.message, Say):
            return None
        self._texts += 1
        row = [self._texts, room.id, event.seq]
        self.db.execute("INSERT INTO texts VALUES (?, ?, ?)", row)
        return self._texts


def _decode(line: bytes) -> "Event | annex.Holder | annex.Standing":
    if len(line) > SLICE_BYTES:
        raise LineTooLong(f"an event may have {SLICE_BYTES} bytes, its end included")
    found = annex.ARCHIVE.decode(line)
    if isinstance(found, Event):
        _check(found)
    return found


def _check(event: Event) -> None:
    names = [event.by] if is_private(event.message.room) else [event.by, event.message.room]
    for name in names:
        if parse_name(name) != name:
            raise SetupError(f"the name {name} has to be in lower case")
    if event.seq == 0:
        raise SetupError("the first event of a room is number 1")


def _what(event: Event) -> str:
    return f"event {event.seq} of {event.message.room}"


# ---------------------------------------------------------------- backup


def back_up(path: Path, target: Path, report: Report = _tell_nobody) -> None:
    """Copy the history in the file `path` to the new file `target`; `report` gets bytes.

    The copy is checked before it gets its name. It has an epoch of its own: the history
    goes on, and who knows more of it than the copy has must not take what happens after a
    restore, under the same numbers, for what it knows.

    Raises `SetupError` if that can't be done, and `target` does not exist then.
    """
    with reading(path) as source, fresh_file(target) as temporary:
        try:
            _copy(source, temporary, report)
        except sqlite3.Error as exc:
            raise SetupError(f"can't copy {path} to {target}: {exc}") from exc


def _copy(source: sqlite3.Connection, temporary: Path, report: Report) -> None:
    (page_size,) = source.execute("PRAGMA page_size").fetchone()

    def tell(_status: int, left: int, total: int) -> None:
        report((total - left) * page_size, total * page_size)

    # The transaction keeps the copying from starting again with every commit of a server:
    # under load it would never end. VACUUM INTO does as well, at half the speed and
    # without a word until it is done.
    source.execute("BEGIN")
    source.execute("SELECT * FROM meta").fetchone()
    with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")  # it is synced at the end, as a whole
        source.backup(copy, pages=COPIED_PAGES, progress=tell, sleep=0)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, even on a disk to read only
        copy.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", [make_epoch()])
        faults = _find_faults(copy)
    if faults:
        raise SetupError(f"the history is damaged, there is no backup of it: {faults[0]}")


@contextmanager
def fresh_file(target: Path) -> Iterator[Path]:
    """A private file that becomes `target` when it is complete, and has reached the disk.

    Raises `SetupError` if there is a `target`, or it can't be written.
    """
    if os.path.lexists(target):
        raise _exists(target)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            _rename(temporary, target)
            _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as exc:
        raise SetupError(f"can't write {target}: {exc.strerror}") from exc


def _rename(temporary: Path, target: Path) -> None:
    """Unlike `rename`, a link does not replace what has come there meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError as exc:
        raise _exists(target) from exc
    except OSError:  # a file system without links, as on a USB stick
        temporary.rename(target)


def _exists(target: Path) -> SetupError:
    return SetupError(f"{target} exists, and is not overwritten; name another file")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# ---------------------------------------------------------------- a look at it


@frozen
class Condition:
    """What is in a file, and the first of its `faults`, as SQLite names them."""

    size: int
    rooms: int
    events: int
    faults: Sequence[str]


def inspect(path: Path) -> Condition:
    """Look through the history in the file `path`, and write nothing.

    Raises `SetupError` if it is not ours, or can't be read at all.
    """
    if path.exists():
        refuse_strange_wal(path)
    wal = path.with_name(f"{path.name}-wal")
    was_in_use = wal.exists()
    condition = _inspect(path)
    # A server that has started meanwhile was writing while we looked, without a lock.
    return _inspect(path) if wal.exists() and not was_in_use else condition


def _inspect(path: Path) -> Condition:
    with reading(path, touch=False) as db:
        db.execute("BEGIN")
        faults = _find_faults(db)
        ids = [] if faults else _find_rooms(db, ())
        events = sum(_count(db, id) for id in ids)
        return Condition(path.stat().st_size, len(ids), events, faults)


def _find_faults(db: sqlite3.Connection) -> Sequence[str]:
    rows = db.execute(f"PRAGMA quick_check({MOST_FAULTS})")
    faults = [" ".join(fault.split()) for (fault,) in rows]
    return [] if faults == ["ok"] else faults
