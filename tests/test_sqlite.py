"""The durable history: its file, its faults, and what it forgets on purpose."""

import os
import sqlite3
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from trio_chat.errors import Busy, SetupError, StorageFailed, StorageFull
from trio_chat.history import Entry, Head, Key, Move, Place, Stay, Token
from trio_chat.history import sqlite as sqlite_module
from trio_chat.history.sqlite import Retention, SqliteHistory, open_sqlite
from trio_chat.names import Name

LOBBY, ATTIC = Name("lobby"), Name("attic")
ALICE, BOB = Name("alice"), Name("bob")
DAWN = datetime(2026, 11, 21, 6, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def entry(seq: int, room: Name = LOBBY, *, by: Name = ALICE, move: Move | None = None) -> Entry:
    at = DAWN + timedelta(hours=seq)
    return Entry(Place(room, seq), at, by, f"line {seq}\n".encode(), None, move)


async def test_what_was_stored_is_there_when_it_is_opened_again(path: Path) -> None:
    said = Entry(Place(LOBBY, 1), DAWN, ALICE, b"line\n", "c1")
    async with open_sqlite(path) as history:
        epoch = history.epoch
        await history.append([said])
    async with open_sqlite(path) as history:
        assert history.epoch == epoch
        assert await history.heads() == {LOBBY: Head(1, DAWN)}
        assert list((await history.after(LOBBY, 0, 10)).lines) == [b"line\n"]
        again = Entry(Place(LOBBY, 2), DAWN, ALICE, b"again\n", "c1")
        assert await history.append([again]) == {Key(ALICE, "c1"): Place(LOBBY, 1)}


async def test_only_the_owner_may_read_the_files(path: Path) -> None:
    async with open_sqlite(path) as history:
        await history.append([entry(1)])
        files = list(path.parent.iterdir())
        assert len(files) == 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert [file.name for file in path.parent.iterdir()] == ["chat.db"], "one file in the end"


@pytest.mark.parametrize(("sync", "number"), [("full", 2), ("normal", 1)])
async def test_how_safe_a_commit_is_can_be_chosen(
    path: Path, sync: sqlite_module.Sync, number: int
) -> None:
    async with open_sqlite(path, sync=sync) as history:
        db = database_of(history)
        assert db.execute("PRAGMA synchronous").fetchone() == (number,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def database_of(history: SqliteHistory) -> sqlite3.Connection:
    return history._db  # noqa: SLF001 # what SQLite was told can be seen nowhere else


async def test_who_is_in_which_room_is_what_the_log_says(path: Path) -> None:
    token = Token(b"current", b"previous")
    came, went = Move.CAME, Move.WENT
    async with open_sqlite(path) as history:
        batch = [entry(1, move=came), entry(2, by=BOB, move=came), entry(1, ATTIC, move=came)]
        await history.append(batch, {ALICE: token, BOB: token})
        await history.append([entry(3, by=BOB, move=went), entry(2, ATTIC, move=went)])
    async with open_sqlite(path) as history:
        assert await history.stays() == [Stay(ALICE, token, [LOBBY])]
        tokens = database_of(history).execute("SELECT name FROM tokens").fetchall()
        assert tokens == [("alice",)], "who is in no room can't come back to one"


async def test_who_leaves_and_joins_in_one_batch_can_come_back(path: Path) -> None:
    token = Token(b"new")
    async with open_sqlite(path) as history:
        await history.append([entry(1, move=Move.CAME)], {ALICE: Token(b"old")})
        again = [entry(2, move=Move.WENT), entry(3, move=Move.CAME)]
        await history.append(again, {ALICE: token})
        assert await history.stays() == [Stay(ALICE, token, [LOBBY])]


# ---------------------------------------------------------------- what is not ours


def other_application(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE somebody_elses (x)")
    db.close()


def newer_version(path: Path) -> None:
    trio_application = sqlite_module.APPLICATION_ID
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA application_id = {trio_application}")
        db.execute("PRAGMA user_version = 99")
    db.close()


def damaged_page(path: Path) -> None:
    newer_version(path)
    data = bytearray(path.read_bytes())
    data[60:64] = (1).to_bytes(4, "big")  # the version
    data[100:200] = b"\xff" * 100
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_bytes(b"Dear diary, " * 100), "not a SQLite database"),
        (lambda path: path.write_bytes(b"short"), "not a SQLite database"),
        (other_application, "not a history of trio_chat"),
        (newer_version, "newer trio_chat"),
        (damaged_page, "can't use"),
    ],
)
async def test_a_file_that_is_not_ours_is_refused_and_not_touched(
    path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    spoil(path)
    before = path.read_bytes()

    with pytest.raises(SetupError, match=why) as refusal:
        async with open_sqlite(path):
            raise AssertionError("it must not open")

    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["chat.db"]


async def test_a_file_that_can_not_be_read_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(SetupError, match=r"can't read .*chat\.db"):
        async with open_sqlite(path):
            raise AssertionError("it is a folder")


async def test_a_second_server_on_the_same_folder_is_kept_away(path: Path) -> None:
    async with open_sqlite(path):
        with pytest.raises(SetupError, match="another server"):
            async with open_sqlite(path):
                raise AssertionError("two would number the same events")


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="nowhere"):
        async with open_sqlite(tmp_path / "nowhere" / "chat.db"):
            raise AssertionError("there is no folder")


# ---------------------------------------------------------------- faults


async def test_a_full_disk_is_a_typed_refusal_and_passes(path: Path) -> None:
    async with open_sqlite(path) as history:
        await history.append([entry(1)])
        db = database_of(history)
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to have it full
        big = Entry(Place(LOBBY, 2), DAWN, ALICE, b"x" * 60_000)
        with pytest.raises(StorageFull):
            await history.append([big])
        assert (await history.heads())[LOBBY].seq == 1
        fences = db.execute("SELECT count(*) FROM meta WHERE key = 'fence'").fetchone()
        assert fences == (1,), "what is left of it in the log has been overwritten"

        db.execute("PRAGMA max_page_count = 100000")
        assert await history.append([big]) == {}
        assert (await history.heads())[LOBBY].seq == 2


async def test_a_file_that_another_program_holds_is_busy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_SECONDS", 0.0)
    async with open_sqlite(path) as history:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy):
            await history.append([entry(1)])
        assert await history.heads() == {}
        holder.execute("ROLLBACK")
        holder.close()
        assert await history.append([entry(1)]) == {}


async def test_only_the_first_batch_waits_for_another_program(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_SECONDS", 0.2)
    async with open_sqlite(path) as history:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        waited = []
        for _ in range(3):
            start = trio.current_time()
            with pytest.raises(Busy):
                await history.append([entry(1)])
            waited.append(database_of(history).execute("PRAGMA busy_timeout").fetchone())
            assert trio.current_time() - start < 5
        assert waited == [(0,)] * 3
        holder.execute("ROLLBACK")
        holder.close()
        assert await history.append([entry(1)]) == {}
        assert database_of(history).execute("PRAGMA busy_timeout").fetchone() == (200,)


async def test_a_damaged_page_is_a_typed_refusal(path: Path) -> None:
    async with open_sqlite(path) as history:
        await history.append([entry(number) for number in range(1, 2000)])
    data = bytearray(path.read_bytes())
    for page in range(5, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = os.urandom(200)
    path.write_bytes(data)
    async with open_sqlite(path) as history:
        with pytest.raises(StorageFailed):
            await read_all(history)


async def read_all(history: SqliteHistory) -> None:
    for seq in range(0, 2000, 100):
        await history.after(LOBBY, seq, 100)


async def test_a_commit_that_is_cancelled_is_finished(path: Path) -> None:
    async with open_sqlite(path) as history:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(history.append, [entry(1)])
                nursery.start_soon(trio.lowlevel.checkpoint)
                scope.cancel()
        heads = await history.heads()
        assert heads in ({}, {LOBBY: Head(1, DAWN + timedelta(hours=1))}), "all or nothing"


# ---------------------------------------------------------------- what is not kept


@pytest.mark.parametrize(
    ("retention", "oldest"),
    [
        (Retention(), 1),
        (Retention(age=timedelta(hours=5)), 6),
        (Retention(events=3), 8),
        (Retention(age=timedelta(hours=5), events=7), 6),
        (Retention(age=timedelta(0)), 11),
    ],
)
async def test_what_is_older_than_is_kept_is_pruned(
    path: Path, retention: Retention, oldest: int
) -> None:
    async with open_sqlite(path, retention=retention) as history:
        await history.append([entry(number) for number in range(1, 11)])
        now = DAWN + timedelta(hours=11)

        assert await history.prune(now) == oldest - 1

        assert (await history.after(LOBBY, 0, 100)).first == oldest
        assert (await history.before(LOBBY, 11, 100)).first == oldest
        assert (await history.heads())[LOBBY].seq == 10, "numbers are never given twice"


async def test_pruning_goes_on_to_the_end_in_small_steps(path: Path) -> None:
    async with open_sqlite(path, retention=Retention(events=10)) as history:
        total = sqlite_module.PRUNED_ROWS * 3
        await history.append([entry(number) for number in range(1, total + 1)])
        assert await history.prune(DAWN) == total - 10
