"""The durable history: its file, its faults, and what it forgets on purpose."""

import os
import sqlite3
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_chat.charter import Identity
from trio_chat.errors import Busy, SetupError, StorageFailed, StorageFull
from trio_chat.history import (
    Account,
    Came,
    Change,
    DeviceId,
    Entry,
    Head,
    Keep,
    Key,
    Place,
    Registered,
    Rewritten,
    Stay,
    Token,
    Went,
)
from trio_chat.history import file as file_module
from trio_chat.history import index as index_module
from trio_chat.history import sqlite as sqlite_module
from trio_chat.history.sqlite import Retention, SqliteHistory, open_sqlite
from trio_chat.names import Name

LOBBY, ATTIC = Name("lobby"), Name("attic")
ALICE, BOB = Name("alice"), Name("bob")
DAWN = datetime(2026, 11, 21, 6, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def entry(seq: int, room: Name = LOBBY, *, by: Name = ALICE) -> Entry:
    at = DAWN + timedelta(hours=seq)
    return Entry(Place(room, seq), at, by, f"line {seq}\n".encode())


def keep(number: int, name: Name, token: Token) -> Keep:
    return Keep(DeviceId(number), Identity(number * 10), name, token)


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
    path: Path, sync: file_module.Sync, number: int
) -> None:
    async with open_sqlite(path, sync=sync) as history:
        db = database_of(history)
        assert db.execute("PRAGMA synchronous").fetchone() == (number,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def database_of(history: SqliteHistory) -> sqlite3.Connection:
    return history._db  # noqa: SLF001 # what SQLite was told can be seen nowhere else


async def test_who_is_in_which_room_is_what_the_log_says(path: Path) -> None:
    token = Token(b"current", b"previous")
    one, two = DeviceId(1), DeviceId(2)
    came = [Came(one, LOBBY), Came(two, LOBBY), Came(one, ATTIC)]
    async with open_sqlite(path) as history:
        keeps = [keep(1, ALICE, token), keep(2, BOB, token)]
        await history.append([entry(1), entry(2), entry(1, ATTIC)], [*keeps, *came])
        await history.append([entry(3), entry(2, ATTIC)], [Went(two, LOBBY), Went(one, ATTIC)])
    async with open_sqlite(path) as history:
        assert await history.stays() == [Stay(one, Identity(10), ALICE, token, [LOBBY])]
        names = database_of(history).execute("SELECT name FROM devices").fetchall()
        assert names == [("alice",)], "who is in no room can't come back to one"


async def test_who_leaves_and_joins_in_one_batch_can_come_back(path: Path) -> None:
    token, one = Token(b"new"), DeviceId(1)
    async with open_sqlite(path) as history:
        await history.append([entry(1)], [keep(1, ALICE, Token(b"old")), Came(one, LOBBY)])
        again: list[Change] = [Went(one, LOBBY), keep(1, ALICE, token), Came(one, LOBBY)]
        await history.append([entry(2), entry(3)], again)
        assert await history.stays() == [Stay(one, Identity(10), ALICE, token, [LOBBY])]


# ---------------------------------------------------------------- what is not ours


def other_application(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE somebody_elses (x)")
    db.close()


def newer_version(path: Path) -> None:
    trio_application = file_module.APPLICATION_ID
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
    monkeypatch.setattr(file_module, "BUSY_SECONDS", 0.0)
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
    monkeypatch.setattr(file_module, "BUSY_SECONDS", 0.2)
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
    for page in range(len(data) // 4096):
        if b"line 1" in data[page * 4096 : (page + 1) * 4096]:  # events, and nothing else
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


# ---------------------------------------------------------------- versions, and the index


def version_1(path: Path) -> None:
    """A file as the first version has made it, with somebody in the lobby."""
    with sqlite3.connect(path) as db:
        for statement in file_module.SINCE_1.split(";\n"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('epoch', 'old')")
        db.execute("INSERT INTO rooms VALUES (1, 'lobby', 2, 0)")
        line = b'{"type":"event","message":{"type":"say","room":"lobby","text":"the key"}}\n'
        rows = [(1, 1, 0, "alice", None, b"{}\n"), (1, 2, 0, "alice", "c1", line)]
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
        db.execute("INSERT INTO members VALUES ('alice', 1)")
        db.execute("INSERT INTO tokens VALUES ('alice', x'AA', NULL)")
        db.execute(f"PRAGMA application_id = {file_module.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
    db.close()


async def test_a_file_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    version_1(path)
    async with open_sqlite(path) as history:
        assert history.epoch == "old"
        (stay,) = await history.stays()
        assert (stay.name, stay.token, stay.rooms) == (ALICE, Token(b"\xaa"), [LOBBY])
        assert len((await history.search(["key"], [LOBBY], None, 10)).lines) == 1
        await history.append([entry(3)])
    async with open_sqlite(path) as history:
        assert (await history.heads())[LOBBY].seq == 3
        assert len(await history.stays()) == 1


async def test_a_file_that_can_not_be_brought_up_to_date_is_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_1(path)
    broken = f"{file_module.SINCE_2}\nINSERT INTO nowhere VALUES (1);\n"
    monkeypatch.setattr(file_module, "STEPS", (file_module.SINCE_1, broken))
    with pytest.raises(SetupError, match="nowhere"):
        async with open_sqlite(path):
            pass
    monkeypatch.undo()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM members").fetchall() == [("alice",)]
    db.close()
    async with open_sqlite(path) as history:
        assert len(await history.stays()) == 1


def line_of_text(text: str) -> bytes:
    return f'{{"type":"event","message":{{"type":"say","text":"{text}"}}}}\n'.encode()


def said(seq: int, text: str) -> Entry:
    line = line_of_text(text)
    at = DAWN + timedelta(hours=seq)
    return Entry(Place(LOBBY, seq), at, ALICE, line, f"c{seq}", text, Identity(1))


async def test_what_is_pruned_is_not_found_any_more_and_leaves_no_word(path: Path) -> None:
    retention = Retention(events=1)
    async with open_sqlite(path, retention=retention) as history:
        await history.append([said(1, "first"), said(2, "second")])
        assert len((await history.search(["first"], [LOBBY], None, 10)).lines) == 1
        assert await history.prune(DAWN) == 1
        assert (await history.search(["first"], [LOBBY], None, 10)).lines == []
        assert len((await history.search(["second"], [LOBBY], None, 10)).lines) == 1
        words = database_of(history).execute(
            "SELECT count(*) FROM words WHERE words MATCH 'first'"
        )
        assert words.fetchone() == (0,)
        assert database_of(history).execute("SELECT count(*) FROM texts").fetchone() == (1,)


async def test_texts_are_indexed_while_nobody_says_anything(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    count = "SELECT count(*) FROM words WHERE words MATCH 'word'"
    async with open_sqlite(path) as history, trio.open_nursery() as nursery:
        nursery.start_soon(history.maintain)
        await trio.testing.wait_all_tasks_blocked()
        await history.append([said(seq, "word") for seq in range(1, 1000)])
        for _ in range(1000):  # each is a wait for the thread, and so for what it does before
            mock_clock.jump(sqlite_module.INDEX_AFTER)
            await history.look_up([Place(LOBBY, 1)])
            if database_of(history).execute(count).fetchone() == (999,):
                break
        assert database_of(history).execute(count).fetchone() == (999,)
        nursery.cancel_scope.cancel()


async def test_a_search_that_takes_too_long_is_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "SEARCH_WITHIN", -1.0)
    monkeypatch.setattr(index_module, "STEPS", 1)
    async with open_sqlite(path) as history:
        await history.append([said(1, "word")])
        with pytest.raises(Busy, match="too many"):
            await history.search(["word"], [LOBBY], None, 10)
        await history.append([said(2, "word")])


async def test_no_commit_waits_for_a_search(path: Path) -> None:
    async with open_sqlite(path) as history:
        await history.append([said(1, "word")])
        assert len((await history.search(["word"], [LOBBY], None, 10)).lines) == 1
        with file_module.reading(path) as db:
            db.execute("BEGIN")
            assert db.execute("SELECT count(*) FROM events").fetchone() == (1,)
            assert await history.append([said(2, "word")]) == {}


async def test_what_was_deleted_and_pruned_does_not_harm_the_index(path: Path) -> None:
    async with open_sqlite(path, retention=Retention(events=2)) as history:
        await history.append([said(seq, "word") for seq in range(1, 5)])
        await history.search(["word"], [LOBBY], None, 10)
        gone = [Rewritten(Place(LOBBY, seq), line_of_text(""), None) for seq in range(1, 5)]
        await history.append([entry(5), entry(6)], gone)
        assert await history.prune(DAWN) == 4
        await history.append([said(7, "word")])
        assert len((await history.search(["word"], [LOBBY], None, 10)).lines) == 1
        check = "INSERT INTO words (words) VALUES ('integrity-check')"
        database_of(history).execute(check)


async def test_what_is_said_after_all_was_pruned_is_found(path: Path) -> None:
    async with open_sqlite(path, retention=Retention(events=1)) as history:
        await history.append([said(1, "word"), said(2, "word"), entry(3)])
        await history.search(["word"], [LOBBY], None, 10)
        assert await history.prune(DAWN) == 2
    async with open_sqlite(path) as history:
        await history.append([said(4, "another")])
        assert len((await history.search(["another"], [LOBBY], None, 10)).lines) == 1


async def test_an_account_that_another_program_has_made_hurts_nobody_else(path: Path) -> None:
    first = Account(Identity(1), ALICE, "alice", None)
    async with open_sqlite(path) as history:
        await history.append([], [Registered(first)])
        second = Account(Identity(2), ALICE, "alice", "hash")
        assert await history.append([entry(1)], [Registered(second)]) == {}
        assert await history.accounts() == [first]
