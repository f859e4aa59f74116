"""Questions that change nothing: the events before or after, who is there, which rooms, and
where something was said.

They don't pass the sequencer, so that reading goes on while the history can't be written.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar, assert_never

from attrs import frozen

from trio_chat.errors import BadFields
from trio_chat.framing import LINE_BYTES
from trio_chat.history import words
from trio_chat.hub import Hub
from trio_chat.messages import (
    AccessName,
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
from trio_chat.roles import Access, Role, Verb
from trio_chat.rooms import Device, Member, Room
from trio_chat.veil import unveil, veil
from trio_chat.wire import CLIENT, SERVER, page_line

T = TypeVar("T")

Question = History | Who | Rooms | Search

PAGE_EVENTS = 100
"""The most events of a page."""

LISTED_BYTES = 128
"""The most that one room or name of a list takes: a name, two numbers, the keys."""

LISTED = LINE_BYTES // LISTED_BYTES // 2 - 16
"""How many rooms or names stand in one line, so that with its id and a topic it is no longer
than a line may be."""

HITS = 50
"""The most hits of a search: of each, a line needs at most a kilobyte."""


@frozen
class Asker:
    """Who asks, and when."""

    hub: Hub
    device: Device
    now: datetime

    @property
    def member(self) -> Member:
        """Whose device it is."""
        return self.device.member

    def find(self, raw: str, verb: Verb) -> Room:
        """The room that is meant. Raises what refuses it."""
        return self.hub.find_room(self.device, raw, verb, self.now)

    def visible(self, verb: Verb) -> Sequence[Room]:
        """The rooms in which something may be done."""
        scope = self.device.scope
        rooms = self.hub.visible(self.member, verb, self.now)
        return [room for room in rooms if scope is None or scope.permits(verb, room.name)]


async def answer(question: Question, asker: Asker) -> list[bytes]:
    """The lines that answer a question.

    Raises `Refused` or `BadFields`.
    """
    match question:
        case History():
            return [await _page(question, asker)]
        case Who():
            return _members(question, asker)
        case Rooms():
            return _room_list(question, asker)
        case Search():
            return [SERVER.encode(await _search(question, asker))]
        case _:
            assert_never(question)


async def _page(question: History, asker: Asker) -> bytes:
    if question.after is not None and (question.before is not None or question.deeds):
        raise BadFields("before or after, not both, and no deeds after @ history")
    room = asker.find(question.room, Verb.HISTORY)
    limit = max(1, min(question.limit, PAGE_EVENTS))
    if question.after is not None:
        return await _page_after(question, room, min(question.after, room.head), limit)
    before = room.head + 1 if question.before is None else min(question.before, room.head + 1)
    if question.deeds:
        return await _page_of_deeds(question, room, before, limit)
    return await _page_before(question, room, before, limit)


async def _page_of_deeds(question: History, room: Room, before: int, limit: int) -> bytes:
    found = await room.history.deeds(room.name, before, limit)
    page = Page(room.name, (), found.next is not None, id=question.id)
    return page_line(page, found.lines[::-1])


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


def _members(question: Who, asker: Asker) -> list[bytes]:
    room = asker.find(question.room, Verb.WHO)
    present = sorted(room.members, key=lambda member: member.name)
    moderators = {
        member.name for member in present if room.role(member, asker.now) >= Role.MODERATOR
    }
    other = partner(room.name, asker.member.name)
    names: list[str] = [member.name for member in present]
    if other is not None:
        names = sorted([asker.member.name, other])
    return [
        SERVER.encode(
            Members(
                room.name,
                tuple(some),
                more,
                room.topic,
                tuple(name for name in some if name in moderators),
                question.id,
            )
        )
        for some, more in _lines_of(names)
    ]


def _room_list(question: Rooms, asker: Asker) -> list[bytes]:
    rooms = [
        RoomInfo(
            room.name,
            2 if room.is_private else len(room.members),
            room.head,
            _ACCESS[room.access],
        )
        for room in asker.visible(Verb.SEE)
    ]
    return [
        SERVER.encode(RoomList(tuple(some), more, question.id))
        for some, more in _lines_of(sorted(rooms, key=lambda info: info.room))
    ]


_ACCESS: Mapping[Access, AccessName] = {
    Access.PUBLIC: "public",
    Access.INVITATION: "invitation",
    Access.KEY: "key",
    Access.PRIVATE: "invitation",  # nobody else gets in
}


async def _search(question: Search, asker: Asker) -> Found:
    wanted = words.split(question.words)
    if not wanted:
        raise BadFields("there is no word to search for @ search.words")
    if question.room is None:
        rooms = asker.visible(Verb.SEARCH)
    else:
        rooms = [asker.find(question.room, Verb.SEARCH)]
    limit = max(1, min(question.limit, HITS))
    names = [room.name for room in rooms]
    history = asker.hub.history
    before = None if question.before is None else unveil(question.before, history.veil)
    finds = await history.search(wanted, names, before, limit)
    hits = tuple(_hit(line, wanted) for line in finds.lines)
    next = None if finds.next is None else veil(finds.next, history.veil)
    return Found(hits, next, question.id)


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
