"""What goes out of the durable history and comes back, byte for byte or not at all."""

import io
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from trio_chat.charter import Identity, Sanction
from trio_chat.errors import BadName, LineTooLong, NoSuchRoom, NotJson, SetupError, StorageFull
from trio_chat.history import (
    SLICE_BYTES,
    Account,
    Came,
    Change,
    DeviceId,
    Entry,
    Head,
    Keep,
    Key,
    Paired,
    Place,
    Ranked,
    Registered,
    Restricted,
    Sanctioned,
    Titled,
    Token,
    archive,
)
from trio_chat.history.archive import (
    Imported,
    back_up,
    export_lines,
    fresh_file,
    import_lines,
    inspect,
    read_lines,
)
from trio_chat.history.file import hold_folder, reading
from trio_chat.history.sqlite import Retention, open_sqlite
from trio_chat.messages import Ban, Event, Join, Leave, Mute, Pong, Post, Restrict, Say, Topic
from trio_chat.names import Name, skeleton
from trio_chat.passwords import check_password
from trio_chat.roles import Access, Role
from trio_chat.secret import Secret
from trio_chat.testing import running_server
from trio_chat.wire import SERVER

LOBBY, TEA, ATTIC = Name("lobby"), Name("tea"), Name("attic")
ALICE, BOB = Name("alice"), Name("bob")
DAWN = datetime(2026, 11, 21, 6, 0, 0, 123000, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The history of another server."""
    (tmp_path / "other").mkdir()
    return tmp_path / "other" / "chat.db"


def event(seq: int, post: Post | None = None, *, by: Name = ALICE) -> Event:
    post = post or Say(LOBBY, f"tür {seq} \U0001f6aa", id=f"c{seq}")
    return Event(seq, DAWN + timedelta(seconds=seq), by, post)


def line(seq: int, post: Post | None = None, *, by: Name = ALICE) -> bytes:
    return SERVER.encode(event(seq, post, by=by))


def lobby(first: int, last: int) -> list[bytes]:
    return [line(seq) for seq in range(first, last + 1)]


def entry(event: Event) -> Entry:
    post = event.message
    id, text = (post.id, post.text) if isinstance(post, Say) else (None, None)
    place = Place(Name(post.room), event.seq)
    return Entry(place, event.at, Name(event.by), SERVER.encode(event), id, text)


CONVERSATION = [
    event(1, Join(TEA), by=BOB),
    event(1, Join(LOBBY, id="j")),
    event(2),
    event(2, Say(TEA, "with\ttab, \u2028 and \\", "c2"), by=BOB),
    event(3, Leave(LOBBY, lost=True)),
    event(4, Join(LOBBY, id="j")),  # by hand, with nc, everything may have the same id
]


async def fill(path: Path, events: Iterable[Event]) -> None:
    async with open_sqlite(path) as history:
        await history.append([entry(event) for event in events])


# ---------------------------------------------------------------- export


async def test_an_export_is_the_lines_that_were_sent_room_after_room(path: Path) -> None:
    await fill(path, CONVERSATION)
    in_order = [CONVERSATION[number] for number in (1, 2, 4, 5, 0, 3)]
    assert list(export_lines(path)) == [SERVER.encode(event) for event in in_order]
    assert list(export_lines(path, [TEA])) == list(export_lines(path))[4:]
    assert list(export_lines(path, [TEA, LOBBY])) == list(export_lines(path))
    assert list(path.parent.iterdir()) == [path], "nothing is left beside the history"


async def test_a_room_that_is_not_there_is_no_empty_export(path: Path) -> None:
    await fill(path, CONVERSATION)
    with pytest.raises(NoSuchRoom, match="attic"):
        list(export_lines(path, [LOBBY, ATTIC]))


def test_there_is_nothing_to_export(path: Path) -> None:
    with pytest.raises(SetupError, match=f"no history in {path.parent}"):
        list(export_lines(path))
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("pragma", "why"),
    [("application_id = 1", "not a history of trio_chat"), ("user_version = 99", "newer")],
)
async def test_what_is_not_ours_is_not_read(path: Path, pragma: str, why: str) -> None:
    await fill(path, CONVERSATION)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA {pragma}")
    with pytest.raises(SetupError, match=why):
        list(export_lines(path))


async def test_who_reads_can_not_write(path: Path) -> None:
    await fill(path, CONVERSATION)
    with pytest.raises(SetupError, match="readonly"), reading(path) as db:
        db.execute("DELETE FROM events")
    assert len(list(export_lines(path))) == len(CONVERSATION)


async def test_an_export_is_one_moment_of_a_history_that_goes_on(path: Path) -> None:
    async with open_sqlite(path) as history:
        came, went = event(1, Join(TEA)), event(2, Leave(TEA))
        await history.append([entry(event(1)), entry(came)])
        lines = export_lines(path)
        exported = [next(lines)]
        await history.append([entry(event(2)), entry(went)])
        assert exported + list(lines) == [*lobby(1, 1), line(1, Join(TEA))]
        assert len(list(export_lines(path))) == 4
    assert list(path.parent.iterdir()) == [path], "nothing is left beside the history"


async def test_a_damaged_page_ends_an_export_in_one_line(path: Path) -> None:
    await fill(path, (event(seq) for seq in range(1, 1000)))
    spoil(path)
    with pytest.raises(SetupError, match="can't use") as failure:
        list(export_lines(path))
    assert "\n" not in str(failure.value)


def spoil(path: Path) -> None:
    """Damage pages that have events, and nothing else."""
    data = bytearray(path.read_bytes())
    for page in range(0, len(data), 4096):
        if b'"type":"event"' in data[page : page + 4096]:
            data[page : page + 200] = b"\xa5" * 200
    path.write_bytes(data)


# ---------------------------------------------------------------- import


async def test_export_import_export_is_byte_identical(path: Path, other: Path) -> None:
    await fill(path, CONVERSATION)
    exported = list(export_lines(path))
    assert import_lines(other, exported) == Imported(new=6, known=0)
    assert list(export_lines(other)) == exported


async def test_what_was_pruned_stays_unknown(path: Path, other: Path) -> None:
    async with open_sqlite(path, retention=Retention(events=2)) as history:
        await history.append([entry(event(seq)) for seq in range(1, 8)])
        await history.prune(DAWN)
    exported = list(export_lines(path))
    assert import_lines(other, exported) == Imported(2, 0)
    assert list(export_lines(other)) == exported == lobby(6, 7)
    async with open_sqlite(other) as history:
        assert (await history.after(LOBBY, 0, 10)).first == 6
        assert (await history.heads())[LOBBY] == Head(7, event(7).at)


async def test_a_server_goes_on_where_the_import_ends(path: Path) -> None:
    import_lines(path, [line(1, Join(LOBBY)), line(2)])
    async with open_sqlite(path) as history:
        again = Entry(Place(LOBBY, 3), DAWN, ALICE, b"again\n", "c2")
        assert await history.append([again]) == {Key(ALICE, "c2"): Place(LOBBY, 2)}
        async with (
            running_server(history=history) as server,
            server.connect(name="alice") as chat,
        ):
            assert await chat.join("lobby") == 3
            assert await chat.say("lobby", "resent", id="c2") == 2


async def test_nobody_is_in_a_room_by_an_import(path: Path) -> None:
    import_lines(path, [line(1, Join(LOBBY))])
    async with open_sqlite(path) as history:
        assert await history.stays() == []


def test_what_is_there_already_is_skipped(path: Path) -> None:
    assert import_lines(path, lobby(1, 3)) == Imported(new=3, known=0)
    assert import_lines(path, lobby(2, 5)) == Imported(new=2, known=2)
    assert import_lines(path, lobby(1, 5)) == Imported(new=0, known=5)
    assert list(export_lines(path)) == lobby(1, 5)


BAD_LINES = [
    ("no JSON", b"{\n", NotJson, "one JSON object"),
    ("empty", b"\n", NotJson, "one JSON object"),
    ("no event", SERVER.encode(Pong()), None, "unknown type 'pong'"),
    ("a bare post", b'{"type":"say","room":"lobby","text":"hi"}\n', None, "unknown type 'say'"),
    ("folded room", line(5, Say("Lobby", "hi")), None, "lower case"),
    ("bad name", line(5, by=Name("4lice")), BadName, "'4lice'"),
    ("too long", line(5, Say(LOBBY, "x" * SLICE_BYTES)), LineTooLong, str(SLICE_BYTES)),
    ("seq 0", line(0, Say(TEA, "hi")), None, "number 1"),
    ("a hole", line(6), None, "event 6 of lobby can't follow event 4"),
    ("another one", line(3, Say(LOBBY, "no!", "c3")), None, "event 3 of lobby is another one"),
    ("back in time", line(5).replace(b"2026", b"2025"), None, "earlier"),
    ("id used", line(5, Say(LOBBY, "hi", "c3")), None, "id that alice has used"),
    ("id used elsewhere", line(1, Say(TEA, "hi", "c4")), None, "event 1 of tea has an id"),
]


@pytest.mark.parametrize(
    ("bad", "cause", "said"), [row[1:] for row in BAD_LINES], ids=[row[0] for row in BAD_LINES]
)
def test_a_line_that_does_not_fit_is_named_and_nothing_is_imported(
    path: Path, bad: bytes, cause: type[Exception] | None, said: str
) -> None:
    import_lines(path, lobby(1, 3))
    with pytest.raises(SetupError) as refusal:
        import_lines(path, [line(4), line(1, Join(ATTIC)), bad])
    assert str(refusal.value).startswith("line 3: ")
    assert said in str(refusal.value)
    assert "nothing was imported" in str(refusal.value)
    assert cause is None or isinstance(refusal.value.__cause__, cause)
    assert list(export_lines(path)) == lobby(1, 3)
    with pytest.raises(NoSuchRoom):
        list(export_lines(path, [ATTIC]))


async def test_what_is_not_kept_here_can_not_be_compared(path: Path) -> None:
    async with open_sqlite(path, retention=Retention(events=2)) as history:
        await history.append([entry(event(seq)) for seq in range(1, 5)])
        await history.prune(DAWN)
    with pytest.raises(SetupError, match="line 1: event 2 of lobby is older"):
        import_lines(path, lobby(2, 5))
    assert import_lines(path, lobby(3, 5)) == Imported(new=1, known=2)


async def test_a_running_server_keeps_an_import_out(path: Path) -> None:
    async with open_sqlite(path):
        with pytest.raises(SetupError, match="another server"):
            import_lines(path, lobby(1, 1))


def test_a_server_is_kept_out_while_an_import_is_under_way(path: Path) -> None:
    def lines() -> Iterable[bytes]:
        with pytest.raises(SetupError, match="another"), hold_folder(path):
            raise AssertionError("two would number the same events")
        yield line(1)

    assert import_lines(path, lines()) == Imported(1, 0)


def test_an_import_that_is_interrupted_imports_nothing(path: Path) -> None:
    def lines() -> Iterable[bytes]:
        yield line(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_lines(path, lines())
    assert list(export_lines(path)) == []


def test_a_full_disk_is_a_typed_refusal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(path: Path) -> sqlite3.Connection:
        db = plain_connect(path)
        db.execute("PRAGMA max_page_count = 20")  # SQLite's own way to have it full
        return db

    plain_connect = archive.connect  # type: ignore[attr-defined] # no export of archive's
    monkeypatch.setattr(archive, "connect", connect)
    with pytest.raises(StorageFull):
        import_lines(path, lobby(1, 1000))
    assert list(export_lines(path)) == []


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", [b"a\n", b"b\n"]),
        (b"a\r\nb", [b"a\n", b"b\n"]),
        (b"a\n\nb\n", [b"a\n", b"\n", b"b\n"]),
        (b"\xe2\x80\xa8\x0b\n", [b"\xe2\x80\xa8\x0b\n"]),
        (b"x" * (SLICE_BYTES - 1) + b"\n", [b"x" * (SLICE_BYTES - 1) + b"\n"]),
    ],
)
def test_lines_are_read_as_they_were_written(data: bytes, lines: list[bytes]) -> None:
    assert list(read_lines(io.BytesIO(data))) == lines


def test_a_line_without_end_is_not_read_whole() -> None:
    endless = io.BytesIO(b"x" * 10 * SLICE_BYTES)
    assert SLICE_BYTES < len(next(read_lines(endless))) < 2 * SLICE_BYTES


def test_how_far_it_is_is_told(
    path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "REPORT_EVERY", 2)
    told: list[tuple[int, int | None]] = []
    import_lines(path, lobby(8, 12), lambda *report: told.append(report))
    assert told == [(2, None), (4, None)]
    told.clear()
    list(export_lines(path, report=lambda *report: told.append(report)))
    assert told == [(2, 5), (4, 5)]
    told.clear()
    back_up(path, other, lambda *report: told.append(report))
    assert told[-1] == (path.stat().st_size, path.stat().st_size)


# ---------------------------------------------------------------- backup


async def test_a_backup_is_a_history_that_a_server_starts_with(path: Path, other: Path) -> None:
    async with open_sqlite(path) as history:
        keep = Keep(DeviceId(1), Identity(2), BOB, Token(b"token"))
        changes: list[Change] = [keep, Came(DeviceId(1), TEA)]
        await history.append([entry(event) for event in CONVERSATION], changes)
        back_up(path, other)
        stays = await history.stays()
        epoch = history.epoch
    assert list(other.parent.iterdir()) == [other]
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
    assert list(export_lines(other)) == list(export_lines(path))
    assert inspect(other).faults == []
    assert other.read_bytes()[18:20] == b"\1\1", "no WAL: one file, even on a disk to read only"
    async with open_sqlite(other) as history:
        assert await history.stays() == stays != []
        assert history.epoch != epoch, "what is said from now on is said twice, differently"
        async with (
            running_server(history=history) as server,
            server.connect(name="eve") as chat,
        ):
            assert await chat.join("lobby") == 5


async def test_a_backup_beside_the_rest_of_another_history_is_refused(
    path: Path, other: Path
) -> None:
    async with open_sqlite(path) as history:
        await history.append([entry(event) for event in CONVERSATION])
        for file in path.parent.glob("chat.db*"):  # as a crash would leave them
            shutil.copy2(file, other.parent)
    other.unlink()
    back_up(path, other)
    before = snapshot(other.parent)
    with pytest.raises(SetupError, match=r"remove .*-wal and .*-shm"):
        inspect(other)
    with pytest.raises(SetupError, match=r"remove .*-wal and .*-shm"):
        async with open_sqlite(other):
            raise AssertionError("the other history would be written into the backup")
    assert snapshot(other.parent) == before
    for end in ("-wal", "-shm"):
        other.with_name(f"chat.db{end}").unlink()
    assert inspect(other).faults == []
    async with open_sqlite(other) as history:
        assert len(await history.heads()) == 2


async def test_a_backup_is_one_moment_whatever_is_written_meanwhile(
    path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "COPIED_PAGES", 1)
    await fill(path, (event(seq) for seq in range(1, 501)))
    before = list(export_lines(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as server:
        seqs = iter(range(501, 600))

        def write(done: int, total: int | None) -> None:
            for seq in seqs:
                row = [seq, line(seq)]
                insert = "INSERT INTO events VALUES (1, ?, 0, 'bob', NULL, ?, NULL, NULL)"
                server.execute(insert, row)
                server.execute("UPDATE rooms SET head = ?", [seq])
                break

        back_up(path, other, write)
        assert len(list(export_lines(path))) > 520, "it was written to at every step"
    assert list(export_lines(other)) == before


async def test_a_backup_overwrites_nothing(path: Path, other: Path) -> None:
    await fill(path, CONVERSATION)
    other.write_text("dear diary")
    with pytest.raises(SetupError, match="exists"):
        back_up(path, other)
    with pytest.raises(SetupError, match="exists"):
        back_up(path, path)
    assert other.read_text() == "dear diary"
    assert list(other.parent.iterdir()) == [other]


async def test_there_is_no_backup_of_a_damaged_history(path: Path, other: Path) -> None:
    await fill(path, (event(seq) for seq in range(1, 1000)))
    spoil(path)
    with pytest.raises(SetupError, match="damaged"):
        back_up(path, other)
    assert list(other.parent.iterdir()) == []


async def test_a_backup_to_nowhere(path: Path, tmp_path: Path) -> None:
    await fill(path, CONVERSATION)
    with pytest.raises(SetupError, match="No such file"):
        back_up(path, tmp_path / "nowhere" / "chat.db")


# ---------------------------------------------------------------- new files


def test_a_file_is_there_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with fresh_file(target) as temporary:
        temporary.write_text("all of it")
        assert not target.exists()
    assert target.read_text() == "all of it"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]


def test_what_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(SetupError, match="exists"), fresh_file(target):
        target.write_text("somebody else's")
    assert target.read_text() == "somebody else's"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_system_without_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with fresh_file(tmp_path / "target") as temporary:
        temporary.write_text("all of it")
    assert (tmp_path / "target").read_text() == "all of it"
    with pytest.raises(SetupError, match="exists"), fresh_file(tmp_path / "target"):
        raise AssertionError("it would be overwritten")


def test_a_file_has_reached_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note_link(source: Path, target: Path) -> None:
        done.append("link")
        link(source, target)

    done: list[str] = []
    link = os.link
    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    monkeypatch.setattr(os, "link", note_link)
    with fresh_file(tmp_path / "target"):
        pass
    assert done == ["fsync", "link", "fsync"], "the file, its name, the folder"


def test_nothing_is_left_of_a_file_that_failed(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No space"), fresh_file(tmp_path / "target"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- a look at it


def snapshot(folder: Path) -> list[tuple[str, bytes, int]]:
    files = sorted(folder.iterdir())
    return [(file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in files]


async def test_a_look_writes_nothing(path: Path) -> None:
    await fill(path, CONVERSATION)
    before = snapshot(path.parent)
    assert inspect(path) == archive.Condition(path.stat().st_size, 2, 6, [])
    assert snapshot(path.parent) == before


async def test_a_look_after_a_crash_sees_all_and_writes_nothing(
    path: Path, other: Path
) -> None:
    async with open_sqlite(path) as history:
        await history.append([entry(event) for event in CONVERSATION])
        for file in path.parent.glob("chat.db*"):  # as a crash would leave them
            shutil.copy2(file, other.parent)
    main, wal = other, other.with_name("chat.db-wal")
    before = main.read_bytes(), wal.read_bytes()
    assert inspect(other).events == 6
    assert (main.read_bytes(), wal.read_bytes()) == before


async def test_a_look_beside_a_server_sees_what_is_committed(path: Path) -> None:
    async with open_sqlite(path) as history:
        await history.append([entry(event(1))])
        assert inspect(path).events == 1


async def test_a_look_that_a_server_has_started_in_is_taken_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path, CONVERSATION)
    torn = archive.Condition(0, 0, 0, ["torn"])
    whole = archive.Condition(1, 1, 1, [])
    looks = iter([torn, whole])

    def look(path: Path) -> archive.Condition:
        path.with_name("chat.db-wal").touch()
        return next(looks)

    monkeypatch.setattr(archive, "_inspect", look)
    assert inspect(path) == whole


async def test_damage_is_seen(path: Path) -> None:
    await fill(path, (event(seq) for seq in range(1, 1000)))
    spoil(path)
    faults = inspect(path).faults
    assert faults
    assert all("\n" not in fault for fault in faults)


OWNER, GUEST, MATE = Identity(7), Identity(8), Identity(2**53)
PAIR = Name("@alice,bob:k7Jx2mQ9")


async def govern(path: Path) -> None:
    """A room with an owner and a ban, where the beginning is not kept, and a private one."""
    by_alice = [
        entry(event(1, Restrict(TEA, "key")))._replace(author=OWNER),
        entry(event(2, Say(TEA, 'a trick: ","author":9}', "s")))._replace(author=OWNER),
        entry(event(3, Say(TEA, "me, too", "s"), by=BOB))._replace(author=GUEST),
        entry(event(1, Say(PAIR, "just you", "p")))._replace(author=OWNER),
    ]
    alice = Account(OWNER, ALICE, skeleton(ALICE), "a-hash", is_operator=True)
    bob = Account(MATE, BOB, skeleton(BOB), "another-hash")
    bot = Account(Identity(5), Name("ci"), "ci", None)
    keep = Keep(DeviceId(1), OWNER, ALICE, Token(b"a-token"))
    changes: list[Change] = [Registered(alice), Registered(bob), Registered(bot), keep]
    async with open_sqlite(path, retention=Retention(events=2)) as history:
        await history.append(
            by_alice,
            [
                *changes,
                Restricted(TEA, Access.KEY, b"hash-of-a-key"),
                Titled(TEA, "plans"),
                *(Ranked(TEA, one, rank) for one, rank in RANKS.items()),
                Ranked(TEA, GUEST, Role.MEMBER),
                Sanctioned(TEA, Name("eve"), is_ban=True, sanction=SANCTION),
                Sanctioned(TEA, Name("mo"), is_ban=False, sanction=FOREVER),
                Paired(PAIR, OWNER, MATE),
            ],
        )
        await history.prune(DAWN)


RANKS = {OWNER: Role.OWNER, MATE: Role.MODERATOR}
SANCTION = Sanction(DAWN + timedelta(days=1), "loud")
FOREVER = evolve(SANCTION, until=None)


async def test_who_is_who_and_how_rooms_stand_is_in_an_archive(path: Path, other: Path) -> None:
    await govern(path)
    exported = list(export_lines(path))
    import_lines(other, exported)
    assert list(export_lines(other)) == exported
    async with open_sqlite(other) as history:
        heads = await history.heads()
        tea = heads[TEA]
        assert (tea.topic, tea.charter.access) == ("plans", Access.INVITATION)
        assert tea.charter.ranks == RANKS, "a guest does not come back, so it is nothing"
        assert tea.charter.bans == {"eve": SANCTION}
        assert list(tea.charter.mutes) == ["mo"]
        assert heads[PAIR].pair == (OWNER, MATE)
        found = await history.look_up([Place(TEA, 2), Place(TEA, 3)])
        assert [record.author for record in found.values()] == [OWNER, GUEST]
        assert found[Place(TEA, 2)].line == line(2, Say(TEA, 'a trick: ","author":9}', "s"))
        assert [(one.identity, one.name) for one in await history.accounts()] == [
            (OWNER, ALICE),
            (MATE, BOB),
        ]


async def test_nothing_that_proves_who_one_is_leaves_a_server(path: Path, other: Path) -> None:
    await govern(path)
    exported = b"".join(export_lines(path))
    for secret in (b"hash", b"a-token", b"operator", b'"ci"'):
        assert secret not in exported
    import_lines(other, exported.splitlines(keepends=True))
    async with open_sqlite(other) as history:
        for account in await history.accounts():
            assert not account.is_operator
            for password in ("", "a-hash"):
                assert not check_password(Secret(password), account.password).is_right


async def test_who_has_the_name_here_is_somebody_else(path: Path, other: Path) -> None:
    await govern(path)
    mine = Account(Identity(99), Name("a1ice"), skeleton(Name("a1ice")), "my-hash")
    async with open_sqlite(other) as history:
        await history.append([], [Registered(mine)])
    import_lines(other, export_lines(path))
    async with open_sqlite(other) as history:
        assert [one.name for one in await history.accounts()] == ["a1ice", "bob"]
        assert mine.identity not in (await history.heads())[TEA].charter.ranks


async def test_an_old_archive_gives_nobody_back_what_was_taken(path: Path) -> None:
    await govern(path)
    exported = list(export_lines(path))
    async with open_sqlite(path) as history:
        await history.append([], [Ranked(TEA, MATE, Role.MEMBER)])
    import_lines(path, exported)
    async with open_sqlite(path) as history:
        assert (await history.heads())[TEA].charter.ranks[MATE] is Role.MEMBER


def test_an_archive_says_nothing_of_rooms_that_it_has_not(path: Path) -> None:
    with pytest.raises(SetupError, match="line 1: tea has no events"):
        import_lines(path, [b'{"type":"state","room":"tea"}\n'])


async def test_a_closed_room_is_closed_after_an_import(path: Path, other: Path) -> None:
    events = [
        event(1, Join(LOBBY)),
        event(2, Topic(LOBBY, "plans")),
        event(3, Ban(LOBBY, "eve", reason="loud")),
        event(4, Restrict(LOBBY, "key")),
        event(5, Ban(LOBBY, "eve", off=True)),
        event(6, Mute(LOBBY, "bob")),
    ]
    import_lines(path, [SERVER.encode(one) for one in events])
    async with open_sqlite(path) as history:
        head = (await history.heads())[LOBBY]
        assert (head.topic, head.charter.access) == ("plans", Access.INVITATION)
        assert (list(head.charter.bans), list(head.charter.mutes)) == ([], ["bob"])
        found = await history.deeds(LOBBY, 99, 10)
        assert len(found.lines) == 4
