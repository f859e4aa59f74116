"""What a client remembers between two runs, and that it is there after `kill -9`."""

import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import trio
import trio.testing
from attrs import define, evolve

from tests.conftest import REAL_SECONDS
from trio_chat import talking
from trio_chat.client import journal as module
from trio_chat.client.journal import (
    SAVE_EVERY,
    TYPED,
    Journal,
    Unsent,
    journal_path,
    open_journal,
)
from trio_chat.client.lifeline import State
from trio_chat.errors import BadName
from trio_chat.messages import Welcome
from trio_chat.session import Settings

LIMITS = Settings(rate=0).limits
WELCOME = Welcome(1, "a server", "alice", "token one", "epoch one", LIMITS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "alice@localhost-8765.db"


async def survivors(path: Path) -> Journal:
    """What the next run would know if this one was killed now."""
    folder = path.parent / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, folder)
    async with open_journal(folder / path.name) as journal:
        assert journal.trouble is None
    return journal


def texts(journal: Journal) -> list[str]:
    return [unsent.text for unsent in journal.unsent.values()]


# ---------------------------------------------------------------- what is remembered


async def test_at_first_nothing_is_known(path: Path) -> None:
    async with open_journal(path) as journal:
        assert (journal.token, journal.epoch) == (None, None)
        assert (journal.cursors, journal.unsent) == ({}, {})
        assert journal.trouble is None
        assert journal.survives


async def test_what_is_noted_is_known_the_next_time(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.know(WELCOME)
        journal.see("lobby", 7)
        journal.see("garden", 3)
        journal.see("lobby", 8)
        journal.add("lobby", "one")
        journal.remove(journal.add("lobby", "said"))
        second = journal.add("lobby", "two")
        journal.move(second, "garden")
        unsent = list(journal.unsent.values())
    async with open_journal(path) as journal:
        assert (journal.token, journal.epoch) == ("token one", "epoch one")
        assert journal.cursors == {"lobby": 8, "garden": 3}
        assert list(journal.unsent.values()) == unsent
        assert [(one.room, one.text) for one in unsent] == [("lobby", "one"), ("garden", "two")]
        assert journal.unsent[second.id].id == second.id


async def test_new_texts_come_after_those_from_last_time(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.add("lobby", "one")
        journal.add("lobby", "two")
    async with open_journal(path) as journal:
        journal.remove(next(iter(journal.unsent.values())))
        journal.add("lobby", "three")
    async with open_journal(path) as journal:
        assert texts(journal) == ["two", "three"]


async def test_another_history_makes_the_cursors_void_and_nothing_else(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.know(WELCOME)
        journal.see("lobby", 7)
        journal.add("lobby", "still to be said")
    async with open_journal(path) as journal:
        journal.see("den", 5)
        journal.know(evolve(WELCOME, epoch="epoch two"))
        assert journal.cursors == {}
        journal.see("garden", 2)
    async with open_journal(path) as journal:
        assert journal.epoch == "epoch two"
        assert journal.cursors == {"garden": 2}
        assert texts(journal) == ["still to be said"]


@pytest.mark.parametrize("text", ["a\nb\n", "nul\0", "grüße 👋", "it's; DROP--", "x" * 10**6])
async def test_any_text_comes_back_as_it_was(path: Path, text: str) -> None:
    async with open_journal(path) as journal:
        journal.add("lobby", text)
    async with open_journal(path) as journal:
        assert texts(journal) == [text]


async def test_what_a_text_answers_or_replaces_is_remembered_for_that_history(
    path: Path,
) -> None:
    async with open_journal(path) as journal:
        journal.know(WELCOME)
        unsent = [
            journal.add("lobby", "yes", reply_to=4),
            journal.add("lobby", "no", edits=7),
            journal.move(journal.add("den", "no", reply_to=5), "lobby"),
        ]
        assert [(text.reply_to, text.edits) for text in unsent] == [
            (4, None),
            (None, 7),
            (5, None),
        ]
    async with open_journal(path) as journal:
        assert list(journal.unsent.values()) == unsent
        journal.know(evolve(WELCOME, epoch="epoch two"))
    async with open_journal(path) as journal:
        assert texts(journal) == ["yes", "no", "no"]
        assert {(text.reply_to, text.edits) for text in journal.unsent.values()} == {
            (None, None)
        }


async def test_lines_that_were_typed_come_back_and_are_bounded(path: Path) -> None:
    async with open_journal(path) as journal:
        for number in range(TYPED + 3):
            journal.recall(f"line {number}")
        journal.recall(f"line {TYPED + 2}")
        journal.recall("no text: \udc80")
    async with open_journal(path) as journal:
        lines = list(journal.typed.values())
    assert lines == [*(f"line {n}" for n in range(4, TYPED + 3)), "no text: ?"]


async def test_lists_of_words_come_back(path: Path) -> None:
    async with open_journal(path) as journal:
        assert [journal.wish("mute", room) for room in ("a", "b", "a")] == [True, True, False]
        assert journal.wish("ignore", "a")
    async with open_journal(path) as journal:
        assert journal.wishes == {"mute": {"b"}, "ignore": {"a"}}


def make_first_version(path: Path) -> None:
    """As the first version of the program has left it."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(module.SCHEMA)
        db.execute(f"PRAGMA application_id = {module.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO unsent VALUES (1, 'id', 'lobby', 'precious')")
        db.commit()


async def test_a_journal_of_the_first_version_goes_on(path: Path) -> None:
    make_first_version(path)
    async with open_journal(path) as journal:
        assert texts(journal) == ["precious"]
        journal.recall("a line")
        journal.add("lobby", "yes", reply_to=4)
    async with open_journal(path) as journal:
        assert texts(journal) == ["precious", "yes"]
        assert [text.reply_to for text in journal.unsent.values()] == [None, 4]
        assert list(journal.typed.values()) == ["a line"]


async def test_what_cant_be_made_new_stays_old(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_first_version(path)
    monkeypatch.setattr(module, "SINCE_2", f"{module.SINCE_2}; CREATE nonsense")
    async with open_journal(path) as journal:
        assert journal.trouble is not None
    monkeypatch.undo()
    async with open_journal(path) as journal:
        assert texts(journal) == ["precious"]


async def test_bytes_that_are_no_text_do_no_harm(path: Path) -> None:
    async with open_journal(path) as journal:
        assert journal.add("lobby", "a\udcffb").text == "a?b"
    async with open_journal(path) as journal:
        assert texts(journal) == ["a?b"]


async def test_without_a_file_it_is_a_memory_only() -> None:
    journal = Journal()
    journal.know(WELCOME)
    journal.remove(journal.add("lobby", "x"))
    await journal.save()
    assert not journal.survives
    assert journal.trouble is None


# ---------------------------------------------------------------- when it is written


async def test_what_is_saved_survives_a_kill(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.know(WELCOME)
        unsent = journal.add("lobby", "precious")
        assert (await survivors(path)).unsent == {}
        await journal.save()
        known = await survivors(path)
        assert known.unsent == {unsent.id: unsent}
        assert known.token == "token one"  # noqa: S105


async def test_whatever_happens_a_kill_leaves_what_was_last_saved(path: Path) -> None:
    chance = random.Random(7)
    async with open_journal(path) as journal:
        for _ in range(60):
            for _ in range(chance.randrange(5)):
                do_something(journal, chance)
            await journal.save()
            known = await survivors(path)
            for remembered in ("token", "epoch", "cursors", "unsent"):
                assert getattr(known, remembered) == getattr(journal, remembered)
            do_something(journal, chance)


def do_something(journal: Journal, chance: random.Random) -> None:
    room = chance.choice(["lobby", "garden"])
    match chance.randrange(12):
        case 0:
            journal.know(evolve(WELCOME, epoch=str(chance.random())))
        case 1:
            journal.know(evolve(WELCOME, token=str(chance.random()), epoch=journal.epoch or ""))
        case 2 | 3 | 4:
            journal.see(room, chance.randrange(100))
        case 5 | 6 | 7 | 8:
            journal.add(room, str(chance.random()))
        case 9 if journal.unsent:
            journal.move(chance.choice(list(journal.unsent.values())), room)
        case _ if journal.unsent:
            journal.remove(chance.choice(list(journal.unsent.values())))
        case _:
            pass


@define
class FakeChat:
    welcome: Welcome = WELCOME


async def has_written(is_so: Callable[[Journal], bool], path: Path) -> None:
    """Wait until a journal is written: by a thread, that only the real clock can time."""
    end = time.monotonic() + REAL_SECONDS
    while not is_so(await survivors(path)):
        assert time.monotonic() < end
        await trio.testing.wait_all_tasks_blocked()


async def test_a_text_and_a_token_are_written_at_once_and_a_cursor_soon(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    chat = FakeChat()
    async with open_journal(path) as journal, trio.open_nursery() as nursery:
        nursery.start_soon(journal.keep, chat)
        await has_written(lambda known: known.token == "token one", path)  # noqa: S105

        journal.add("lobby", "precious")
        await has_written(lambda known: texts(known) == ["precious"], path)

        chat.welcome = evolve(WELCOME, token="token two")  # noqa: S106
        journal.wake()
        await has_written(lambda known: known.token == "token two", path)  # noqa: S105

        journal.see("lobby", 7)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(SAVE_EVERY * 0.9)
        await trio.testing.wait_all_tasks_blocked()
        assert (await survivors(path)).cursors == {}
        mock_clock.jump(SAVE_EVERY * 0.2)
        await has_written(lambda known: known.cursors == {"lobby": 7}, path)
        assert trio.current_time() == pytest.approx(SAVE_EVERY * 1.1)
        nursery.cancel_scope.cancel()


async def test_a_new_connection_brings_a_token_that_is_written_at_once(path: Path) -> None:
    chat, states = FakeChat(), list[State]()
    async with open_journal(path) as journal, trio.open_nursery() as nursery:
        on_state = talking._waking(journal, states.append)  # noqa: SLF001 # what `connect` is given
        nursery.start_soon(journal.keep, chat)
        await has_written(lambda known: known.token == "token one", path)  # noqa: S105
        await trio.testing.wait_all_tasks_blocked()
        chat.welcome = evolve(WELCOME, token="token two")  # noqa: S106
        on_state(State.RESUMED)
        await has_written(lambda known: known.token == "token two", path)  # noqa: S105
        nursery.cancel_scope.cancel()
    assert states == [State.RESUMED]


@define(eq=False)
class Disk:
    """What is between a journal and its file: it can be slow, and it can fail."""

    is_slow: threading.Event
    failure: Exception | None = None
    writes: int = 0

    def write(self, db: sqlite3.Connection, changes: Iterable[Any]) -> None:
        self.writes += 1
        assert self.is_slow.wait(10)
        if self.failure is not None:
            raise self.failure
        WRITE(db, changes)


WRITE = module._write  # noqa: SLF001 # the only way to the disk


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(threading.Event())
    disk.is_slow.set()
    monkeypatch.setattr(module, "_write", disk.write)
    return disk


async def test_what_is_noted_during_a_write_is_written_too(path: Path, disk: Disk) -> None:
    async with open_journal(path) as journal:
        journal.see("lobby", 1)
        one = journal.add("lobby", "one")
        disk.is_slow.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.save)
            await trio.testing.wait_all_tasks_blocked()
            journal.see("lobby", 2)
            journal.remove(one)
            two = journal.add("lobby", "two")
            nursery.start_soon(journal.save)
            disk.is_slow.set()
        assert (await survivors(path)).unsent == {two.id: two}
        assert (await survivors(path)).cursors == {"lobby": 2}
        writes = disk.writes
        await journal.save()
        assert disk.writes == writes


async def test_a_write_is_not_abandoned_and_a_cancelled_save_loses_nothing(
    path: Path, disk: Disk
) -> None:
    async with open_journal(path) as journal:
        journal.add("lobby", "one")
        disk.is_slow.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.save)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            nursery.start_soon(journal.save)
            disk.is_slow.set()
        assert texts(await survivors(path)) == ["one"]
        with trio.CancelScope() as scope:
            scope.cancel()
            journal.add("lobby", "two")
            await journal.save()
    assert texts(await survivors(path)) == ["one", "two"]


# ---------------------------------------------------------------- trouble


async def test_a_disk_that_fails_is_told_once_and_loses_nothing_once_it_works(
    path: Path, disk: Disk
) -> None:
    told: list[str] = []
    async with open_journal(path) as journal:
        journal.tell = told.append
        disk.failure = sqlite3.OperationalError("database or disk is full")
        for number in range(5):
            journal.add("lobby", str(number))
            await journal.save()
        assert not journal.survives
        (trouble,) = told
        assert str(path) in trouble
        assert "disk is full" in trouble
        assert "lost if this program is killed" in trouble

        disk.failure = None
        journal.see("lobby", 1)
        await journal.save()
        assert journal.survives
        assert texts(await survivors(path)) == ["0", "1", "2", "3", "4"]
        disk.failure = OSError(5, "Input/output error")
        journal.see("lobby", 2)
        await journal.save()
        assert len(told) == 2


async def test_a_file_in_use_is_left_alone(path: Path) -> None:
    async with open_journal(path) as first:
        first.know(WELCOME)
        await first.save()
        async with open_journal(path) as second:
            assert second.trouble is not None
            assert "another program uses" in second.trouble
            assert second.token is None
            second.add("lobby", "x")
            await second.save()
        first.add("lobby", "mine")
    async with open_journal(path) as third:
        assert texts(third) == ["mine"]


def make_garbage(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)


def make_a_scrap(path: Path) -> None:
    path.write_bytes(b"x")


def make_foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name)")
    db.close()


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {module.VERSION + 1}")
    db.close()


def make_torn(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "spoil", [make_garbage, make_a_scrap, make_foreign, make_newer, make_torn]
)
async def test_a_file_that_cant_be_read_is_left_as_it_is(
    path: Path, spoil: Callable[[Path], None]
) -> None:
    if spoil in {make_newer, make_torn}:
        async with open_journal(path) as journal:
            journal.add("lobby", "x" * 10_000)
    path.parent.mkdir(exist_ok=True)
    spoil(path)
    before = path.read_bytes()
    async with open_journal(path) as journal:
        assert journal.trouble is not None
        assert str(path) in journal.trouble
        assert "move it away" in journal.trouble
        assert len(journal.trouble.splitlines()) == 1
        journal.know(WELCOME)
        journal.see("lobby", 1)
        journal.remove(journal.add("lobby", "said all the same"))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def test_a_folder_that_cant_be_made(path: Path) -> None:
    path.parent.touch()
    async with open_journal(path) as journal:
        assert journal.trouble is not None
        assert str(path) in journal.trouble


async def test_a_file_that_was_never_filled_is_a_new_one(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    async with open_journal(path) as journal:
        assert journal.survives


# ---------------------------------------------------------------- where it is


async def test_it_is_private(path: Path) -> None:
    before = os.umask(0)
    try:
        async with open_journal(path) as journal:
            journal.add("lobby", "secret")
            await journal.save()
            modes = {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_it_is_one_file_afterwards(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.add("lobby", "x")
    assert list(path.parent.iterdir()) == [path]


def test_each_identity_has_a_file_with_a_name_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_state_path", tmp_path.joinpath)
    folder = tmp_path / "trio_chat"
    assert journal_path("Alice", "Chat.Example", 8765) == folder / "alice@chat.example-8765.db"
    assert journal_path("alice", "::1", 1) == folder / "alice@%3A%3A1-1.db"
    assert journal_path("alice", "../../etc", 1).parent == folder
    others = [
        journal_path("bob", "a", 1),
        journal_path("al", "a", 1),
        journal_path("al", "a", 2),
    ]
    assert len({*others}) == 3
    with pytest.raises(BadName):
        journal_path("../alice", "localhost", 1)


def test_an_unsent_text_can_be_told_from_another() -> None:
    journal = Journal()
    assert journal.add("lobby", "x").id != journal.add("lobby", "x").id
    assert Unsent(1, "a", "lobby", "x") == Unsent(1, "a", "lobby", "x")
