"""What a person wants of the server, done: rooms, lists, what was earlier, and changing what
was said."""

from contextlib import suppress
from typing import assert_never

from attrs import define, evolve, field

from trio_chat.client.chat import Chat
from trio_chat.client.clean import clean
from trio_chat.client.commands import (
    NO_TOPIC,
    Enter,
    Erase,
    Exit,
    Find,
    ListMembers,
    ListRooms,
    ListTexts,
    PutSign,
    SetTopic,
    ShowAround,
    ShowEarlier,
    Which,
)
from trio_chat.client.display import Display
from trio_chat.client.journal import Journal
from trio_chat.client.listings import hit_list, text_list
from trio_chat.client.notices import member_list, notice, room_list, topic_line
from trio_chat.client.view import last_seq
from trio_chat.errors import (
    AlreadyInRoom,
    NoSuchEvent,
    NoSuchRoom,
    NotInRoom,
    Refused,
)
from trio_chat.messages import Page, RoomState
from trio_chat.names import parse_name
from trio_chat.pairs import is_pair_name, is_private, parse_room

CONTEXT = 20
"""Events that are shown again when one comes back: what was talked about."""

MET_CONTEXT = 5
"""Events that are had of a private room when somebody begins to talk there."""

ROOMS_KNOWN = 1000
"""The most rooms that are offered for completion."""

AROUND = 10
"""Events before the one that is jumped to."""

TEXTS = 9
"""The newest texts, when one asks for their numbers."""

Errand = (
    Enter
    | Exit
    | ListRooms
    | ListMembers
    | ListTexts
    | ShowEarlier
    | ShowAround
    | Find
    | Erase
    | PutSign
    | SetTopic
)


@define(eq=False)
class Errands:
    """Does what a person wants, one thing after the other. What is refused is raised."""

    chat: Chat
    display: Display
    journal: Journal
    known: set[str] = field(factory=set, init=False)  # rooms, for completion
    _words: str | None = field(default=None, init=False)  # that were looked for
    _next: int | None = field(default=None, init=False)  # where to go on looking

    async def do(self, errand: Errand, here: str | None = None) -> None:
        """Do it. `here`: where one was when one wanted it, unless it is where one is now.
        Raises `Refused`."""
        here = here or self.display.current
        match errand:
            case Enter(room, key):
                await self.show_topic(await self.join(room, key))
            case Exit(room):
                await self._leave(self.which(room, here))
            case ListRooms():
                await self._list_rooms()
            case ListMembers(room):
                await self._list_members(self.which(room, here))
            case ListTexts():
                await self._list_texts(self.which(None, here))
            case ShowEarlier(count):
                await self._show_earlier(self.which(None, here), count)
            case ShowAround(seq, room):
                await self._show_around(self.which(room, here), seq)
            case Find(words):
                await self._find(words)
            case Erase(which):
                await self._erase(self.which(None, here), which)
            case PutSign(sign, which):
                await self._put_sign(self.which(None, here), sign, which)
            case SetTopic(text):
                await self._set_topic(self.which(None, here), text)
            case _:
                assert_never(errand)

    # ------------------------------------------------------------ which one is meant

    def which(self, room: str | None, here: str | None) -> str:
        """The room that is meant. Raises `BadName`, `NotInRoom`."""
        if room is not None:
            return self.display.buffers.find(room) or parse_room(room)
        found = None if here is None else self.display.buffers.find(here)
        if found is None:
            where = "" if here is None else f" {clean(self.display.buffers.title(here))}"
            raise NotInRoom(f"you are in no room{where}; /join ROOM enters one")
        return found

    def text(self, room: str, which: Which, *, is_own: bool = False) -> int:
        """The number of the text that is meant. Raises `NoSuchEvent`."""
        if isinstance(which, int):
            return which
        me = self.chat.name
        buffer = self.display.buffers.open(room)
        if which is not None:
            name = parse_name(which)
            seq = buffer.last_of(lambda by: by == name)
        else:
            seq = buffer.last_of(lambda by: (by == me) is is_own)
        if seq is None:
            whose = which or ("yours" if is_own else "others")
            raise NoSuchEvent(f"there is no text of {whose} here; /reply shows what there is")
        return seq

    # ------------------------------------------------------------ rooms

    async def join(self, raw: str, key: str | None = None) -> str:
        """Enter a room, and show it; returns its name in full."""
        room = await self.enter(parse_room(raw), key)
        await self.display.go(room)
        return room

    async def enter(self, name: str, key: str | None = None) -> str:
        """Enter a room, unless one is there; returns its name in full."""
        room = await self._full_name(name)
        if room in self.display.buffers.rooms:
            return room
        after = self._expect(room)
        try:
            seq = await self._join(room, after, key)
        except BaseException:
            self.display.buffers.close(room)
            raise
        self.display.buffers.open(room).arrive(seq)
        self.display.refresh()
        return room

    async def _full_name(self, name: str) -> str:
        """The name of a private room; as long as nothing has been said there, it is that of
        the other person."""
        if not is_private(name) or is_pair_name(name):
            return name
        try:
            return (await self.chat.members(name)).room
        except NoSuchRoom:
            buffers = self.display.buffers
            if buffers.find(name) is None:
                buffers.open(name).arrive(0)
            return buffers.find(name) or name

    def _expect(self, room: str) -> int | None:
        """Make a buffer for a room; returns after which event one wants to be told."""
        buffer, seen = self.display.buffers.open(room), self.has_seen(room)
        if not seen and not is_private(room):
            return None  # one is new there
        buffer.expect(seen)
        return max(0, seen - CONTEXT)

    def has_seen(self, room: str) -> int:
        """Up to which event one has seen a room, here or at another device."""
        return max(self.journal.cursors.get(room, 0), self._state(room).read)

    def _state(self, room: str) -> RoomState:
        states = {state.room: state for state in self.chat.welcome.rooms}
        return states.get(room, RoomState(room, 0))

    async def _join(self, room: str, after: int | None, key: str | None) -> int:
        try:
            return await self.chat.join(room, after=after, key=key)
        except AlreadyInRoom:
            if not is_private(room):
                raise
            return 0  # the other one has just begun to talk

    async def learn(self, room: str) -> str:
        """Know who is in a room, and what it is about; returns that."""
        with suppress(NoSuchRoom, NotInRoom):
            members = await self.chat.members(room)
            self.display.buffers.meet(map(clean, members.names))
            self.display.buffers.open(room).topic = members.topic
            self.display.refresh()
            return members.topic
        return ""

    async def show_topic(self, room: str) -> None:
        """Show what a room is about that one has entered, if it is about something."""
        if topic := await self.learn(room):
            await self.display.say(topic_line(room, topic, self.chat.name))

    async def _leave(self, room: str) -> None:
        if not is_private(room) or is_pair_name(room):
            await self.chat.leave(room)
        await self.display.close(room)

    # ------------------------------------------------------------ lists

    async def _list_rooms(self) -> None:
        rooms = await self.chat.rooms()
        buffers = self.display.buffers
        self.known = {buffers.title(info.room) for info in rooms[:ROOMS_KNOWN]}
        await self.display.say(room_list(rooms, buffers.numbers(), self.chat.name))

    async def _list_members(self, room: str) -> None:
        members = await self.chat.members(room)
        self.display.buffers.meet(map(clean, members.names))
        await self.display.say(
            member_list(room, members.names, self.chat.name, members.moderators)
        )

    async def _list_texts(self, room: str) -> None:
        texts = self.display.buffers.open(room).newest(TEXTS)
        await self.display.say(text_list(texts, self.display.fresh_view().columns))

    # ------------------------------------------------------------ what was earlier

    async def _show_earlier(self, room: str, count: int) -> None:
        self.display.buffers.know_epoch(self.chat.welcome.epoch)
        limit = min(count, self.chat.welcome.limits.page)
        buffer = self.display.buffers.rooms.get(room)
        before = None if buffer is None else buffer.oldest
        await self.display.page(await self.chat.history(room, before=before, limit=limit))

    async def _show_around(self, room: str, seq: int) -> None:
        page = await self.chat.history(
            room, before=None, after=max(0, seq - AROUND), limit=2 * AROUND
        )
        if not _reaches(page, seq):
            where = clean(self.display.buffers.title(room))
            raise NoSuchEvent(f"nothing in {where} has the number {seq} yet")
        if room in self.display.buffers.rooms:
            await self.display.go(room)
        await self.display.page(evolve(page, more=False), meant=seq)

    async def have_context(self, room: str, before: int) -> None:
        """Have what was said last in a private room in which somebody begins to talk."""
        with suppress(Refused):
            page = await self.chat.history(room, before=before, limit=MET_CONTEXT)
            buffer = self.display.buffers.rooms.get(room)
            for event in page.events if buffer else ():
                assert buffer is not None
                buffer.note(event)

    async def _find(self, words: str | None) -> None:
        if words is not None:
            self._words, self._next = words, None
        elif self._words is None or self._next is None:
            await self.display.say(notice("there is nothing more; /search WORDS begins anew"))
            return
        assert self._words is not None
        found = await self.chat.search(self._words, before=self._next)
        self._next = found.next
        view = self.display.fresh_view()
        await self.display.say(hit_list(found, self._words, view.wording, view.columns))

    # ------------------------------------------------------------ changing what was said

    async def _erase(self, room: str, which: Which) -> None:
        await self.chat.delete(room, self.text(room, which, is_own=True))

    async def _put_sign(self, room: str, sign: str, which: Which) -> None:
        seq = self.text(room, which)
        signs = self.display.buffers.open(room).signs.get(seq, set())
        await self.chat.react(room, seq, sign, off=sign in signs)

    async def _set_topic(self, room: str, text: str | None) -> None:
        if text is None:
            await self.display.say(topic_line(room, await self.learn(room), self.chat.name))
        else:
            await self.chat.set_topic(room, "" if text == NO_TOPIC else text)


def _reaches(page: Page, seq: int) -> bool:
    """Does a page go as far as that event?"""
    last = page.events[-1] if page.events else page.gap
    return last is not None and last_seq(last) >= seq
