"""Tests of the log: what every store promises, and what the one in memory forgets.

Another store is one more line in `STORES`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trio_chat.charter import Identity
from trio_chat.history import (
    SLICE_BYTES,
    Came,
    Change,
    DeviceId,
    Entry,
    HasRead,
    Head,
    History,
    Keep,
    Key,
    Paired,
    Place,
    Record,
    Rewritten,
    Slice,
    Titled,
    Token,
    Went,
)
from trio_chat.history.memory import MemoryHistory
from trio_chat.history.sqlite import open_sqlite
from trio_chat.history.words import split
from trio_chat.names import Name

LOBBY, TEA = Name("lobby"), Name("tea")
ALICE, BOB = Name("alice"), Name("bob")
DAWN = datetime(2026, 11, 20, 18, tzinfo=UTC)

Opener = Callable[[Path], AbstractAsyncContextManager[History]]


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[History]:
    yield MemoryHistory()


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[History]:
    async with open_sqlite(folder / "chat.db") as store:
        yield store


STORES: dict[str, Opener] = {
    "memory": memory,
    "sqlite": sqlite,
}


@pytest.fixture(params=STORES.values(), ids=list(STORES))
async def history(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[History]:
    opener: Opener = request.param
    async with opener(tmp_path) as store:
        yield store


def entry(
    seq: int, *, room: Name = LOBBY, key: Key | None = None, size: int | None = None
) -> Entry:
    line = f'{{"type":"event","seq":{seq}}}\n'.encode()
    padding = 0 if size is None else size - len(line)
    by, id = (ALICE, None) if key is None else (key.sender, key.id)
    return Entry(Place(room, seq), at(seq), by, b" " * padding + line, id)


def at(seq: int) -> datetime:
    return DAWN + timedelta(milliseconds=seq)


def entries(first: int, last: int, *, room: Name = LOBBY) -> list[Entry]:
    return [entry(seq, room=room) for seq in range(first, last + 1)]


def lines(some: Sequence[Entry]) -> list[bytes]:
    return [one.line for one in some]


def plain(found: Slice) -> tuple[int, list[bytes], bool]:
    return found.first, list(found.lines), found.more


# ---------------------------------------------------------------- append and heads


async def test_a_new_history_has_no_rooms(history: History) -> None:
    assert dict(await history.heads()) == {}


async def test_a_history_keeps_its_epoch_and_another_has_another(
    history: History, tmp_path_factory: pytest.TempPathFactory
) -> None:
    epoch = history.epoch
    await history.append(entries(1, 1))
    assert history.epoch == epoch != ""
    for opener in STORES.values():
        async with opener(tmp_path_factory.mktemp("another")) as another:
            assert another.epoch != epoch


async def test_what_is_appended_is_read_again_byte_for_byte(history: History) -> None:
    line = '{"type":"event","text":"\u2028 … 🐟 \\n"}\n'.encode()
    await history.append([Entry(Place(LOBBY, 1), DAWN, ALICE, line)])
    assert plain(await history.after(LOBBY, 0, 10)) == (1, [line], False)
    assert plain(await history.before(LOBBY, 2, 10)) == (1, [line], False)


async def test_a_batch_may_have_events_of_several_rooms(history: History) -> None:
    await history.append([entry(1), entry(1, room=TEA), entry(2), entry(2, room=TEA)])
    await history.append([entry(3, room=TEA)])
    assert dict(await history.heads()) == {LOBBY: Head(2, at(2)), TEA: Head(3, at(3))}
    assert lines(entries(1, 2)) == list((await history.after(LOBBY, 0, 10)).lines)
    assert lines(entries(1, 3, room=TEA)) == list((await history.after(TEA, 0, 10)).lines)


async def test_an_empty_batch_changes_nothing(history: History) -> None:
    assert dict(await history.append([])) == {}
    assert dict(await history.heads()) == {}


# ---------------------------------------------------------------- keys


async def test_a_key_that_is_new_is_stored(history: History) -> None:
    assert dict(await history.append([entry(1, key=Key(ALICE, "c1"))])) == {}


async def test_a_key_that_stands_is_told_with_its_place(history: History) -> None:
    await history.append([entry(1), entry(2, key=Key(ALICE, "c1"))])
    standing = await history.append([entry(3, key=Key(ALICE, "c1"))])
    assert dict(standing) == {Key(ALICE, "c1"): Place(LOBBY, 2)}


async def test_nothing_is_stored_when_one_key_stands(history: History) -> None:
    await history.append([entry(1, key=Key(ALICE, "c1"))])
    batch = [
        entry(2, key=Key(ALICE, "c2")),
        entry(1, room=TEA),
        entry(3, key=Key(ALICE, "c1")),
        entry(4),
    ]
    assert dict(await history.append(batch)) == {Key(ALICE, "c1"): Place(LOBBY, 1)}
    assert dict(await history.heads()) == {LOBBY: Head(1, at(1))}
    assert plain(await history.after(LOBBY, 0, 10)) == (1, lines(entries(1, 1)), False)
    # What was not stored leaves no key behind either, so that it can be said again.
    assert dict(await history.append([entry(2, key=Key(ALICE, "c2"))])) == {}


async def test_all_keys_that_stand_are_told_at_once(history: History) -> None:
    first, second = Key(ALICE, "c1"), Key(BOB, "c1")
    await history.append([entry(1, key=first), entry(1, room=TEA, key=second)])
    batch = [entry(2, key=second), entry(3, key=first), entry(4, key=Key(BOB, "c2"))]
    assert dict(await history.append(batch)) == {
        first: Place(LOBBY, 1),
        second: Place(TEA, 1),
    }


async def test_the_same_id_of_another_sender_is_another_key(history: History) -> None:
    await history.append([entry(1, key=Key(ALICE, "c1"))])
    assert dict(await history.append([entry(2, key=Key(BOB, "c1"))])) == {}


async def test_a_key_stands_for_all_rooms(history: History) -> None:
    await history.append([entry(1, key=Key(ALICE, "c1"))])
    standing = await history.append([entry(1, room=TEA, key=Key(ALICE, "c1"))])
    assert dict(standing) == {Key(ALICE, "c1"): Place(LOBBY, 1)}


async def test_ids_differ_in_case_and_in_spaces(history: History) -> None:
    for seq, id in enumerate(["c1", "C1", "c1 ", "", "\u00fc", "u\u0308"], 1):
        assert dict(await history.append([entry(seq, key=Key(ALICE, id))])) == {}


# ---------------------------------------------------------------- after

AFTER = [
    ("all", 0, 10, (1, 5, False)),
    ("all that the limit just allows", 0, 5, (1, 5, False)),
    ("one less than there is", 0, 4, (1, 4, True)),
    ("from the middle", 2, 2, (3, 4, True)),
    ("the last", 4, 10, (5, 5, False)),
    ("nothing after the head", 5, 10, (6, 5, False)),
]


@pytest.mark.parametrize(
    ("seq", "limit", "found"), [row[1:] for row in AFTER], ids=[row[0] for row in AFTER]
)
async def test_after_reads_the_oldest_that_are_newer(
    history: History, seq: int, limit: int, found: tuple[int, int, bool]
) -> None:
    await history.append(entries(1, 5))
    first, last, more = found
    slice = await history.after(LOBBY, seq, limit)
    assert plain(slice) == (first, lines(entries(first, last)), more)
    assert slice.last == last


BEFORE = [
    ("all", 6, 10, (1, 5, False)),
    ("all that the limit just allows", 6, 5, (1, 5, False)),
    ("one less than there is", 6, 4, (2, 5, True)),
    ("from the middle", 4, 2, (2, 3, True)),
    ("from beyond the head", 99, 2, (4, 5, True)),
    ("the first", 2, 10, (1, 1, False)),
    ("nothing before the first", 1, 10, (1, 0, False)),
]


@pytest.mark.parametrize(
    ("seq", "limit", "found"), [row[1:] for row in BEFORE], ids=[row[0] for row in BEFORE]
)
async def test_before_reads_the_newest_that_are_older_in_rising_order(
    history: History, seq: int, limit: int, found: tuple[int, int, bool]
) -> None:
    await history.append(entries(1, 5))
    first, last, more = found
    slice = await history.before(LOBBY, seq, limit)
    assert plain(slice) == (first, lines(entries(first, last)), more)
    assert slice.last == last


async def test_an_unknown_room_is_an_empty_one(history: History) -> None:
    await history.append(entries(1, 3))
    assert plain(await history.after(TEA, 0, 10)) == (1, [], False)
    assert plain(await history.before(TEA, 99, 10)) == (1, [], False)
    assert TEA not in await history.heads()


# ---------------------------------------------------------------- bytes


async def test_a_slice_has_as_many_bytes_as_fit_and_says_that_there_are_more(
    history: History,
) -> None:
    third = SLICE_BYTES // 3
    some = [entry(seq, size=third) for seq in range(1, 6)]
    await history.append(some)
    assert plain(await history.after(LOBBY, 0, 10)) == (1, lines(some[:3]), True)
    assert plain(await history.before(LOBBY, 6, 10)) == (3, lines(some[2:]), True)


async def test_one_byte_too_many_waits_for_the_next_slice(history: History) -> None:
    half = SLICE_BYTES // 2
    some = [entry(1, size=half), entry(2, size=half + 1), entry(3, size=half)]
    await history.append(some)
    assert plain(await history.after(LOBBY, 0, 10)) == (1, lines(some[:1]), True)
    assert plain(await history.before(LOBBY, 4, 10)) == (3, lines(some[2:]), True)


async def test_the_longest_event_is_a_slice_of_its_own(history: History) -> None:
    some = [entry(1), entry(2, size=SLICE_BYTES), entry(3)]
    await history.append(some)
    assert plain(await history.after(LOBBY, 1, 10)) == (2, lines(some[1:2]), True)
    assert plain(await history.before(LOBBY, 3, 10)) == (2, lines(some[1:2]), True)


SIZES = [40, SLICE_BYTES, 40, SLICE_BYTES // 2, SLICE_BYTES // 2, SLICE_BYTES - 1, 40, 40]


async def test_walking_forwards_meets_every_event_once(history: History) -> None:
    some = [entry(seq, size=size) for seq, size in enumerate(SIZES, 1)]
    await history.append(some)
    seen: list[bytes] = []
    more = True
    while more:
        found = await history.after(LOBBY, len(seen), 3)
        assert found.lines
        seen += found.lines
        more = found.more
    assert seen == lines(some)


async def test_walking_backwards_meets_every_event_once(history: History) -> None:
    some = [entry(seq, size=size) for seq, size in enumerate(SIZES, 1)]
    await history.append(some)
    seen: list[bytes] = []
    first, more = len(SIZES) + 1, True
    while more:
        found = await history.before(LOBBY, first, 3)
        assert found.lines
        seen = [*found.lines, *seen]
        first, more = found.first, found.more
    assert seen == lines(some)


# ---------------------------------------------------------------- what memory forgets


async def forgetful() -> MemoryHistory:
    """A history of five events that keeps three."""
    history = MemoryHistory(kept_events=3)
    for seq in range(1, 6):
        await history.append([entry(seq, key=Key(ALICE, f"c{seq}"))])
    return history


async def test_memory_keeps_the_newest_events_of_each_room() -> None:
    history = await forgetful()
    await history.append([entry(1, room=TEA)])
    assert plain(await history.after(LOBBY, 0, 10)) == (3, lines(entries(3, 5)), False)
    assert plain(await history.after(TEA, 0, 10)) == (1, lines(entries(1, 1)), False)
    assert (await history.heads())[LOBBY] == Head(5, at(5))


async def test_reading_goes_on_where_memory_begins() -> None:
    history = await forgetful()
    assert plain(await history.after(LOBBY, 1, 1)) == (3, lines(entries(3, 3)), True)
    assert plain(await history.before(LOBBY, 5, 10)) == (3, lines(entries(3, 4)), False)
    assert plain(await history.before(LOBBY, 2, 10)) == (3, [], False)


async def test_a_batch_that_is_longer_than_what_is_kept_leaves_its_end() -> None:
    history = MemoryHistory(kept_events=3)
    await history.append(entries(1, 10))
    assert plain(await history.after(LOBBY, 0, 10)) == (8, lines(entries(8, 10)), False)


async def test_a_key_is_forgotten_with_its_event_and_not_before() -> None:
    history = await forgetful()
    kept = await history.append([entry(6, key=Key(ALICE, "c3"))])
    assert dict(kept) == {Key(ALICE, "c3"): Place(LOBBY, 3)}
    assert dict(await history.append([entry(6, key=Key(ALICE, "c2"))])) == {}


# ---------------------------------------------------------------- what else is stored

DEVICE, ME, OTHER = DeviceId(1), Identity(10), Identity(20)
KEEP = Keep(DEVICE, ME, ALICE, Token(b"now", b"before"))
PAIR = Name("@alice,bob:12345678")


async def test_a_device_is_recognised_by_either_of_its_tokens(history: History) -> None:
    await history.append(entries(1, 1), [KEEP])
    for token in (b"now", b"before"):
        found = await history.recognise(token)
        assert found is not None
        assert (found.device, found.identity, found.name) == (DEVICE, ME, ALICE)
    assert await history.recognise(b"another") is None


async def test_who_is_nowhere_any_more_is_forgotten_with_what_was_read(
    history: History,
) -> None:
    come: list[Change] = [KEEP, Came(DEVICE, LOBBY), HasRead(ME, LOBBY, 1)]
    await history.append(entries(1, 1), come)
    await history.append(entries(2, 2), [Went(DEVICE, LOBBY)])
    assert await history.recognise(b"now") is None
    await history.append(entries(3, 3), [KEEP])
    found = await history.recognise(b"now")
    assert found is not None
    assert dict(found.read) == {}


async def test_who_has_a_private_room_is_not_forgotten(history: History) -> None:
    changes: list[Change] = [KEEP, Paired(PAIR, OTHER, ME), HasRead(ME, PAIR, 1)]
    await history.append([entry(1, room=PAIR), entry(1)], changes)
    await history.append([entry(2)], [Came(DEVICE, LOBBY), Went(DEVICE, LOBBY)])
    found = await history.recognise(b"now")
    assert found is not None
    assert dict(found.read) == {PAIR: 1}
    assert (await history.heads())[PAIR] == Head(1, at(1), pair=(OTHER, ME))


async def test_a_private_room_is_forgotten_with_who_has_nothing_else(history: History) -> None:
    said = Entry(Place(PAIR, 1), at(1), ALICE, said_line("tulips"), "c1", "tulips", ME)
    more = Name("@alice,bob:87654321")
    both: list[Change] = [KEEP, Paired(PAIR, OTHER, ME), Paired(more, ME, OTHER)]
    await history.append([said, entry(1, room=more), entry(1)], [*both, HasRead(ME, PAIR, 1)])
    await history.forget(PAIR)
    assert PAIR not in await history.heads()
    assert (await history.after(PAIR, 0, 10)).lines == []
    assert await history.find([Key(ALICE, "c1")]) == {}
    assert (await history.search(split("tulips"), [PAIR, LOBBY], None, 9)).lines == []
    assert await history.recognise(b"now") is not None, "there is another room"
    await history.forget(more)
    assert await history.recognise(b"now") is None
    await history.forget(more)
    assert list(await history.heads()) == [LOBBY]


async def test_what_is_read_is_not_kept_of_who_does_not_come_back(history: History) -> None:
    await history.append(entries(1, 1), [HasRead(ME, LOBBY, 1)])
    await history.append(entries(2, 2), [KEEP])
    found = await history.recognise(b"now")
    assert found is not None
    assert LOBBY not in found.read or isinstance(history, MemoryHistory)


async def test_a_topic_stays(history: History) -> None:
    await history.append(entries(1, 1), [Titled(LOBBY, "cats")])
    await history.append(entries(2, 2))
    assert (await history.heads())[LOBBY].topic == "cats"


async def test_an_event_that_is_rewritten_is_another_one_from_then_on(history: History) -> None:
    said = Entry(Place(LOBBY, 1), at(1), ALICE, said_line("old"), "c1", "old", ME)
    await history.append([said])
    await history.append([entry(2)], [Rewritten(Place(LOBBY, 1), said_line("new"), "new")])
    places = [Place(LOBBY, 1), Place(LOBBY, 9), Place(TEA, 1)]
    assert await history.look_up(places) == {Place(LOBBY, 1): Record(said_line("new"), ME)}
    assert list((await history.after(LOBBY, 0, 1)).lines) == [said_line("new")]


# ---------------------------------------------------------------- search


def said_line(text: str) -> bytes:
    return f'{{"type":"event","message":{{"type":"say","text":"{text}"}}}}\n'.encode()


def said(seq: int, text: str, room: Name = LOBBY) -> Entry:
    return Entry(Place(room, seq), at(seq), ALICE, said_line(text), f"{room}{seq}", text, ME)


async def search(history: History, *words: str, limit: int = 10) -> list[bytes]:
    return list((await history.search(words, [LOBBY, TEA], None, limit)).lines)


async def test_what_was_said_is_found_the_newest_first(history: History) -> None:
    await history.append([said(1, "the key"), said(1, "a key", TEA), said(2, "no")])
    await history.append([said(3, "key ring")])
    assert await search(history, "key") == [*map(said_line, ["key ring", "a key", "the key"])]
    assert await search(history, "key", "ring") == [said_line("key ring")]
    assert await search(history, "nothing") == []


async def test_what_must_not_be_read_is_not_found(history: History) -> None:
    await history.append([said(1, "key", Name("attic")), said(1, "key")])
    finds = await history.search(["key"], [LOBBY], None, 10)
    assert (list(finds.lines), finds.next) == ([said_line("key")], None)


async def test_a_search_goes_on_where_it_ended(history: History) -> None:
    await history.append([said(seq, f"key {seq}") for seq in range(1, 8)])
    found: list[bytes] = []
    before = None
    while True:
        finds = await history.search(["key"], [LOBBY], before, 3)
        found += finds.lines
        before = finds.next
        if before is None:
            break
    assert found == [said_line(f"key {seq}") for seq in range(7, 0, -1)]


async def test_an_edited_text_is_found_by_its_new_words_and_a_deleted_one_by_none(
    history: History,
) -> None:
    await history.append([said(1, "old words"), said(2, "old, too")])
    assert len(await search(history, "old")) == 2
    for seq, text in ((3, "new"), (4, None)):
        change = Rewritten(Place(LOBBY, seq - 2), said_line(text or ""), text)
        await history.append([entry(seq)], [change])
    assert await search(history, "old") == []
    assert await search(history, "new") == [said_line("new")]


@pytest.mark.parametrize("word", ['"', "*", "NEAR(", "a:b", "it's", "-", "AND"])
async def test_no_word_is_an_operator(history: History, word: str) -> None:
    await history.append([said(1, "and near a b its")])
    await search(history, word)


FOUND = [
    ("ありがとうございます", "ありがとう"),
    ("データを見る", "データ"),
    ("Всё ещё йод", "ещё"),
    ("ЁЛКА", "елка"),
    ("Straße", "strasse"),
    ("Ένα κλειδί", "κλειδι"),
    ("한국어 메시지", "메시지"),
    ("हिन्दी में", "हिन्दी"),
    ("\uff46\uff55\uff4c\uff4c", "full"),
    ("the ﬁle", "file"),
    ("我们明天去公园", "公园"),
]


@pytest.mark.parametrize(("text", "question"), FOUND)
async def test_a_word_of_any_script_is_found(
    history: History, text: str, question: str
) -> None:
    await history.append([said(1, text)])
    assert await search(history, *split(question)) == [said_line(text)]
