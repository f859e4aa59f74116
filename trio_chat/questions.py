"""Questions that change nothing: the events before or after, who is there, which rooms, and
where something was said.

They don't pass the sequencer, so that reading goes on while the history can't be written.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar, assert_never

from trio_chat.errors import BadFields
from trio_chat.framing import LINE_BYTES
from trio_chat.history import words
from trio_chat.messages import (
    Event,
    Found,
    Gap,
    History,
    Hit,
    Members,
    Page,
    RoomInfo,
    RoomList,
    Rooms,
    Say,
    Search,
    Who,
)
from trio_chat.pairs import partner
from trio_chat.rooms import Hub, Member, Room
from trio_chat.wire import CLIENT, SERVER, page_line

T = TypeVar("T")

Question = History | Who | Rooms | Search

PAGE_EVENTS = 100
"""The most events of a page."""

LISTED_BYTES = 128
"""The most that one room or name of a list takes: a name, two numbers, the keys."""

LISTED = LINE_BYTES // LISTED_BYTES - 16
"""How many rooms or names stand in one line, so that with its id and a topic it is no longer
than a line may be."""

HITS = 50
"""The most hits of a search: of each, a line needs at most a kilobyte."""


async def answer(question: Question, hub: Hub, member: Member) -> list[bytes]:
    """The lines that answer a question of `member`.

    Raises `Refused` or `BadFields`.
    """
    match question:
        case History():
            return [await _page(question, hub, member)]
        case Who():
            return _members(question, hub, member)
        case Rooms():
            return _room_list(question, hub, member)
        case Search():
            return [SERVER.encode(await _search(question, hub, member))]
        case _:
            assert_never(question)


async def _page(question: History, hub: Hub, member: Member) -> bytes:
    if question.before is not None and question.after is not None:
        raise BadFields("before or after, not both @ history")
    room = hub.find_room(member, question.room)
    limit = max(1, min(question.limit, PAGE_EVENTS))
    if question.after is not None:
        return await _page_after(question, room, min(question.after, room.head), limit)
    before = room.head + 1 if question.before is None else min(question.before, room.head + 1)
    return await _page_before(question, room, before, limit)


async def _page_after(question: History, room: Room, after: int, limit: int) -> bytes:
    found = await room.history.after(room.name, after, limit)
    gap = Gap(room.name, after + 1, found.first - 1) if found.first > after + 1 else None
    # Against the head, not the store: what was told while the store was read came before
    # this page on the wire, and a client that is told "no more" relies on having it all.
    more = found.last < room.head
    return page_line(Page(room.name, (), more, gap, question.id), found.lines)


async def _page_before(question: History, room: Room, before: int, limit: int) -> bytes:
    found = await room.history.before(room.name, before, limit)
    is_cut = not found.more and min(found.first, before) > 1
    gap = Gap(room.name, 1, min(found.first, before) - 1) if is_cut else None
    return page_line(Page(room.name, (), found.more, gap, question.id), found.lines)


def _members(question: Who, hub: Hub, member: Member) -> list[bytes]:
    room = hub.find_room(member, question.room)
    return [
        SERVER.encode(Members(room.name, tuple(names), more, room.topic, question.id))
        for names, more in _lines_of(_names(room, member))
    ]


def _names(room: Room, member: Member) -> list[str]:
    other = partner(room.name, member.name)
    if other is not None:
        return sorted([member.name, other])
    return sorted(present.name for present in room.members)


def _room_list(question: Rooms, hub: Hub, member: Member) -> list[bytes]:
    rooms = [
        RoomInfo(room.name, 2 if room.is_private else len(room.members), room.head)
        for room in (*hub.rooms.values(), *member.private.values())
    ]
    return [
        SERVER.encode(RoomList(tuple(some), more, question.id))
        for some, more in _lines_of(sorted(rooms, key=lambda info: info.room))
    ]


async def _search(question: Search, hub: Hub, member: Member) -> Found:
    wanted = words.split(question.words)
    if not wanted:
        raise BadFields("there is no word to search for @ search.words")
    if question.room is None:
        rooms = hub.readable(member)
    else:
        rooms = [hub.find_room(member, question.room).name]
    limit = max(1, min(question.limit, HITS))
    finds = await hub.history.search(wanted, rooms, question.before, limit)
    hits = tuple(_hit(line, wanted) for line in finds.lines)
    return Found(hits, finds.next, question.id)


def _hit(line: bytes, wanted: Sequence[str]) -> Hit:
    event = CLIENT.decode(line)
    assert isinstance(event, Event), "the log has nothing else"
    assert isinstance(event.message, Say), "nothing else can be searched"
    text = words.excerpt(event.message.text, wanted)
    return Hit(event.message.room, event.seq, event.at, event.by, text)


def _lines_of(items: Sequence[T]) -> Iterator[tuple[Sequence[T], bool]]:
    """As much as one line holds, and whether there is more; one empty line for nothing."""
    for start in range(0, len(items) or 1, LISTED):
        yield items[start : start + LISTED], start + LISTED < len(items)
