"""The person at a terminal, without one: keys come from a pipe, what is drawn is recorded."""

import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
from attrs import define, evolve, field
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.formatted_text import fragment_list_to_text as to_plain_text
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from trio_chat.client import commands
from trio_chat.client.buffers import WAITING_ITEMS
from trio_chat.client.chat import Chat
from trio_chat.client.clean import clean
from trio_chat.client.colours import COLOURS, NAMES
from trio_chat.client.errands import CONTEXT, MET_CONTEXT
from trio_chat.client.feed import Item
from trio_chat.client.journal import Journal, open_journal
from trio_chat.client.lifeline import State
from trio_chat.client.notices import NAME_COLOURS, notice
from trio_chat.client.person import WAITING, Person
from trio_chat.client.screen import (
    BACK,
    HINT,
    OFFERED,
    PENDING_LINES,
    ROW_BELOW,
    TURN,
    Screen,
)
from trio_chat.client.terminal import run_terminal
from trio_chat.client.wrap import PORTION, Fragments, height, plain
from trio_chat.errors import (
    AlreadyInRoom,
    BadName,
    ChatError,
    LinkLost,
    NameTaken,
    NoSuchName,
    NoSuchRoom,
    NotAllowed,
    TextTooLong,
)
from trio_chat.messages import (
    Appoint,
    Ban,
    Banish,
    Called,
    Deed,
    Delete,
    DeviceInfo,
    Edit,
    Event,
    Found,
    Hit,
    Invite,
    Kick,
    Marked,
    Members,
    Mute,
    Page,
    Post,
    React,
    Restrict,
    RoomInfo,
    RoomState,
    Say,
    Topic,
    Welcome,
)
from trio_chat.session import Settings
from trio_chat.testing import running_server

LIMITS = evolve(Settings(rate=0).limits, text=100)
WELCOME = Welcome(1, "alice", "a server", "token", "one", LIMITS)

BOB = "@alice,bob:k7Jx2mQ9"
"""The private room with bob."""

SAID = 9
"""The number of whatever is said to a `FakeChat`."""

PATIENCE = 20.0
"""Seconds for what takes a moment, so that it can't be why a test fails."""

ERASED, BELL = "\f", "\N{BELL}"
PROMPT = re.compile(r"(?:lobby|garden|cellar|@\w+)(?: \(reconnecting\))?>.*")
PASTE = "\x1b[200~{}\x1b[201~"
CTRL_C, CTRL_D, CTRL_U, ENTER, ALT_ENTER, UP = "\x03", "\x04", "\x15", "\r", "\x1b\r", "\x1b[A"
ALT_1, ALT_A, CTRL_Z, BACKSPACE = "\x1b1", "\x1ba", "\x1a", "\x7f"


class Bell:
    """Wakes those who wait for something that happens elsewhere, in a thread maybe."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._rung = trio.Event()

    def ring(self) -> None:
        self._token.run_sync_soon(self._ring, idempotent=True)

    def _ring(self) -> None:
        self._rung.set()
        self._rung = trio.Event()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await self._rung.wait()


class Recorder(DummyOutput):
    """Keeps what is drawn: text only, in the order in which it is written. As on a terminal,
    it is seen once it is flushed: never half of what is drawn at once."""

    def __init__(self, bell: Bell) -> None:
        self.drawn: list[str] = []
        self.columns = 400  # so wide that no text is broken
        self.ups: list[int] = []
        self._written: list[str] = []
        self._listeners = bell

    def write(self, data: str) -> None:
        self._written.append(data)

    def write_raw(self, data: str) -> None:
        self.write(data)

    def erase_down(self) -> None:
        self.write(ERASED)

    def bell(self) -> None:
        self.write(BELL)

    def flush(self) -> None:
        self.drawn.append("".join(self._written))
        self._written.clear()
        self._listeners.ring()

    def cursor_up(self, amount: int) -> None:
        self.ups.append(amount)

    def get_size(self) -> Size:
        return Size(rows=40, columns=self.columns)


@define(eq=False)
class Desk:
    """A keyboard and a screen, and a chat."""

    bell: Bell
    keys: PipeInput
    output: Recorder
    chat: "FakeChat"

    @property
    def text(self) -> str:
        """All that was ever drawn."""
        return "".join(self.output.drawn)

    @property
    def prompt(self) -> str:
        """The prompt and what is typed there, as it was last drawn as a whole."""
        found = PROMPT.findall(self.text.rpartition(ERASED)[2])
        return found[-1].strip() if found else ""

    def type(self, *keys: str) -> None:
        self.keys.send_text("".join(keys))

    async def see(self, wanted: str) -> None:
        await self.until(lambda: wanted in self.text)

    async def until(self, is_so: Callable[[], bool]) -> None:
        await self.bell.until(is_so)

    @asynccontextmanager
    async def sitting(
        self, screen: Screen | None = None, journal: Journal | None = None
    ) -> AsyncIterator[trio.Event]:
        """Somebody sits here, in the lobby; the event is set when they have left."""
        left = trio.Event()
        chat = cast("Chat", self.chat)

        async def sit() -> None:
            await run_terminal(chat, "lobby", screen=screen or Screen(), journal=journal)
            left.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sit)
            await self.see("lobby>")
            yield left
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a thread takes its time to end."""
    monkeypatch.setattr("trio_chat.client.screen.EXIT_WITHIN", PATIENCE)
    monkeypatch.setattr("trio_chat.client.person.GRACE", PATIENCE)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    await trio.lowlevel.checkpoint()  # async for the sake of trio's token
    bell = Bell()
    output = Recorder(bell)
    with create_pipe_input() as keys, create_app_session(input=keys, output=output):
        yield Desk(bell, keys, output, FakeChat(bell))


@define(eq=False)
class FakeChat:
    """A chat that notes what it is asked for, and shows what is put into it."""

    bell: Bell
    name: str = "alice"
    asked: list[tuple[object, ...]] = field(factory=list)
    is_answering: bool = True
    joined_at: int = 1
    topics: dict[str, str] = field(factory=dict)
    ids: list[str | None] = field(factory=list, init=False)
    reads: list[tuple[str, int]] = field(factory=list, init=False)
    _send: trio.MemorySendChannel[Item] = field(init=False)
    _receive: trio.MemoryReceiveChannel[Item] = field(init=False)

    _silence: trio.Event = field(factory=trio.Event, init=False)
    failure: ChatError | None = None
    welcome: Welcome = WELCOME
    inside: set[str] = field(factory=set)

    def is_in(self, room: str) -> bool:
        return room in self.inside

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(2000)

    @property
    def said(self) -> list[object]:
        return [text for what, _, *rest in self.asked if what == "say" for text in rest]

    def hear(self, text: str, by: str = "bob", *, seq: int = 1, room: str = "lobby") -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        self._send.send_nowait(Event(seq, at, by, Say(room, text)))

    def see(self, post: Post, by: str = "bob", *, seq: int = 1) -> None:
        self._send.send_nowait(Event(seq, datetime(2026, 1, 1, tzinfo=UTC), by, post))

    def put(self, item: Item) -> None:
        self._send.send_nowait(item)

    def go_on(self) -> None:
        self._silence.set()

    def lose(self, failure: ChatError | None = None) -> None:
        self.failure = failure or LinkLost("no server any more")
        self._send.close()

    async def join(self, room: str, *, after: int | None = None, key: str | None = None) -> int:
        if room == "locked":
            raise AlreadyInRoom("you can't")
        await self._note("join", room, *[after] * (after is not None), *[key] * bool(key))
        return self.joined_at

    async def say(
        self, room: str, text: str, *, reply_to: int | None = None, id: str | None = None
    ) -> int:
        if text == "take my name":
            self.lose(NameTaken("somebody is called alice"))
            assert self.failure is not None
            raise self.failure
        if text == "lose me":
            self.hear("famous last words")
            self.lose()
            raise LinkLost("no server any more")
        if text.startswith("refuse me"):
            raise TextTooLong("too \x1b[2J long")
        self.ids.append(id)
        await self._note("say", room, text, *[reply_to] * (reply_to is not None))
        return SAID

    async def edit(self, room: str, seq: int, text: str) -> int:
        return await self._note("edit", room, seq, text)

    async def delete(self, room: str, seq: int) -> int:
        return await self._note("delete", room, seq)

    async def react(self, room: str, seq: int, sign: str, *, off: bool = False) -> int:
        return await self._note("react", room, seq, sign, *[off] * off)

    async def set_topic(self, room: str, text: str) -> int:
        if text == "of two":
            raise NotAllowed(f"not for you in {BOB}")
        return await self._note("topic", room, text)

    async def read(self, room: str, seq: int) -> None:
        await trio.lowlevel.checkpoint()
        self.reads.append((room, seq))
        self.bell.ring()

    async def search(self, words: str, *, before: int | None = None) -> Found:
        await self._note("search", words, before)
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return Found((Hit("den", 7, at, "bob", f"about {words}"),), 99)

    async def members(self, room: str) -> Members:
        await trio.lowlevel.checkpoint()
        if room == "@nobody":
            raise NoSuchName("nobody is called nobody")
        if room == "@carol":
            raise NoSuchRoom("nothing was said there")
        full = BOB if room == "@bob" else room
        topic = self.topics.get(room, "")
        return Members(full, ("alice", "dave"), topic=topic, moderators=("dave",))

    async def moderate(self, deed: Deed) -> int:
        return await self._note("moderate", deed)

    async def banish(self, banish: Banish) -> None:
        await self._note("banish", banish)

    async def register(self, password: str, *, old: str | None = None) -> None:
        await self._note("register", password, old)

    async def devices(self) -> tuple[DeviceInfo, ...]:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        await trio.lowlevel.checkpoint()
        return (DeviceInfo("x", "phone", at), DeviceInfo("y", None, at, here=True, this=True))

    async def revoke(self, device: str) -> None:
        await self._note("revoke", device)

    async def leave(self, room: str) -> int:
        return await self._note("leave", room)

    async def rooms(self) -> tuple[RoomInfo, ...]:
        await self._note("rooms", "")
        return (RoomInfo("lobby", 2, 7, "invitation"), RoomInfo("den", 1, 2))

    async def history(
        self,
        room: str,
        *,
        before: int | None = None,
        limit: int,
        after: int | None = None,
        deeds: bool = False,
    ) -> Page:
        if deeds:
            await self._note("deeds", room, limit)
            kick = Kick(room, "eve", "rude")
            return Page(
                room, (Event(9, datetime(2026, 1, 1, tzinfo=UTC), "bob", kick),), more=False
            )
        await self._note("history", room, before, limit, *[after] * (after is not None))
        newest = Event(30, datetime(2026, 1, 1, tzinfo=UTC), "bob", Say(room, "there"))
        return Page(room, (newest,) if after is not None else (), more=False)

    async def ping(self) -> float:
        await trio.lowlevel.checkpoint()
        return 0.012

    async def _note(self, *asked: object) -> int:
        await trio.lowlevel.checkpoint()
        self.asked.append(asked)
        self.bell.ring()
        if not self.is_answering:
            await self._silence.wait()
        await trio.testing.wait_all_tasks_blocked()  # a server is never the first to be ready
        return 1

    async def __aiter__(self) -> AsyncIterator[Item]:
        async for item in self._receive:
            yield item
        assert self.failure is not None
        raise self.failure


# ---------------------------------------------------------------- typing


async def test_a_line_is_said(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("hello", ENTER, "there", ENTER)
        await desk.until(lambda: desk.chat.said == ["hello", "there"])


async def test_half_typed_text_survives_what_arrives(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("half a ")
        await desk.see("half a")
        for number in range(20):
            desk.chat.hear(f"message {number}")
        await desk.see("message 19")
        await desk.until(lambda: desk.prompt == "lobby> half a")
        desk.type("line", ENTER)
        await desk.until(lambda: desk.chat.said == ["half a line"])


async def test_a_pasted_block_is_one_message(desk: Desk) -> None:
    async with desk.sitting():
        desk.type(PASTE.format("def f():\r\treturn 1\r\r/quit\r"))
        await desk.see("/quit")
        assert desk.chat.said == []
        desk.type(ENTER)
        await desk.until(lambda: desk.chat.said == ["def f():\n\treturn 1\n\n/quit"])


async def test_alt_enter_begins_a_new_line(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("one", ALT_ENTER, "two", ENTER)
        await desk.until(lambda: desk.chat.said == ["one\ntwo"])


async def test_ctrl_c_drops_what_is_half_typed_and_loses_nothing(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("precious", ALT_ENTER, "words", CTRL_C)
        await desk.see(HINT)
        await desk.until(lambda: desk.prompt == "lobby>")
        desk.type("other", ENTER)
        await desk.until(lambda: desk.chat.said == ["other"])
        desk.type(UP, UP, UP, ENTER)  # past the other text, and over two lines
        await desk.until(lambda: desk.chat.said == ["other", "precious\nwords"])


async def test_what_was_typed_can_be_had_back(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("again", ENTER)
        await desk.until(lambda: desk.chat.said == ["again"])
        before = len(desk.text)
        desk.type(UP)
        await desk.until(lambda: "again" in desk.text[before:])
        desk.type(ENTER)
        await desk.until(lambda: desk.chat.said == ["again", "again"])


async def test_bytes_that_are_no_text_can_be_said(desk: Desk) -> None:
    async with desk.sitting():
        desk.keys.send_bytes(b"a\xffb\r")
        await desk.until(lambda: len(desk.chat.said) == 1)
        str(desk.chat.said[0]).encode()


async def test_tab_completes(desk: Desk) -> None:
    async with desk.sitting():
        desk.chat.hear("hi", by="bartholomew")
        await desk.see("hi")
        desk.type("bar\tyes", ENTER)
        await desk.until(lambda: desk.chat.said == ["bartholomew: yes"])
        desk.type("/h\t\t")
        await desk.see("/help  /highlight  /history")
        desk.type(CTRL_U, "/leave", ENTER, "/rooms", ENTER)
        await desk.see("1 here")
        desk.type("/join de\t", ENTER)
        await desk.until(lambda: ("join", "den") in desk.chat.asked)


async def test_tab_shows_no_more_than_one_can_look_through(desk: Desk) -> None:
    async with desk.sitting():
        for number in range(OFFERED + 7):
            desk.chat.hear("hi", by=f"zoe{number:03}")
        desk.chat.hear("end")
        await desk.see("end")
        desk.type("@z\t\t")
        await desk.see(f"  @zoe{OFFERED - 1:03}  … and 7 more")


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("/join Garden", ("join", "garden")),
        ("/rooms", ("rooms", "")),
        ("/history 7", ("history", "lobby", None, 7)),
        ("/history 999", ("history", "lobby", None, 100)),
        ("/leave", ("leave", "lobby")),
        ("//x", ("say", "lobby", "/x")),
        ("/msg bob hi there", ("say", "@bob", "hi there")),
        ("/topic tea", ("topic", "lobby", "tea")),
        ("/topic -", ("topic", "lobby", "")),
        ("/search soup", ("search", "soup", None)),
        ("/jump den 30", ("history", "den", None, 20, 20)),
        ("/delete 7", ("delete", "lobby", 7)),
        ("/react 👍 >7", ("react", "lobby", 7, "👍")),
        ("/reply >7 yes", ("say", "lobby", "yes", 7)),
        ("/join vault sesame", ("join", "vault", "sesame")),
        ("/invite @bob", ("moderate", Invite("lobby", "bob"))),
        ("/kick bob too loud", ("moderate", Kick("lobby", "bob", "too loud"))),
        ("/ban bob", ("moderate", Ban("lobby", "bob"))),
        ("/unban bob", ("moderate", Ban("lobby", "bob", off=True))),
        ("/silence bob so rude", ("moderate", Mute("lobby", "bob", reason="so rude"))),
        ("/unsilence bob", ("moderate", Mute("lobby", "bob", off=True))),
        ("/op bob", ("moderate", Appoint("lobby", "bob", "moderator"))),
        ("/deop bob", ("moderate", Appoint("lobby", "bob", "member"))),
        ("/owner bob", ("moderate", Appoint("lobby", "bob", "owner"))),
        ("/access invitation", ("moderate", Restrict("lobby", "invitation"))),
        ("/access key open sesame", ("moderate", Restrict("lobby", "key", "open sesame"))),
        ("/log 5", ("deeds", "lobby", 5)),
        ("/banish bob for spam", ("banish", Banish("bob", reason="for spam"))),
        ("/banish-ip @bob", ("banish", Banish("bob", where=True))),
        ("/unbanish 192.0.2.7/32", ("banish", Banish("192.0.2.7/32", off=True))),
        ("/revoke 2", ("revoke", "y")),
    ],
)
async def test_commands_are_obeyed(desk: Desk, typed: str, asked: tuple[object, ...]) -> None:
    async with desk.sitting():
        desk.type(typed, ENTER)
        await desk.until(lambda: desk.chat.asked[-1] == asked)


async def test_the_prompt_is_in_the_room_where_one_talks(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/join garden", ENTER)
        await desk.see("garden>")
        desk.type("hi", ENTER, "/leave", ENTER)
        await desk.until(lambda: "lobby>" in desk.text.rpartition("garden")[2])
        desk.type("back", ENTER, "/join garden", ENTER, "/join lobby", ENTER, "here", ENTER)
        await desk.until(lambda: len(desk.chat.said) == 3)
    assert [asked for asked in desk.chat.asked if asked[0] == "say"] == [
        ("say", "garden", "hi"),
        ("say", "lobby", "back"),
        ("say", "lobby", "here"),
    ]
    assert desk.chat.asked.count(("join", "lobby")) == 1


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("/jion x", "did you mean /join?"),
        ("/re no", "did you mean /reply or /react or /register?"),
        ("/edti", "did you mean /edit?"),
        ("/frob", "/help lists the commands"),
        ("/join", "/join ROOM"),
        ("/join 4you", "a name is a letter"),
        ("/join locked", "you can't"),
        ("refuse me", "not said: refuse me: too \ufffd[2J long"),
        ("x" * 101, "a text may have 100 bytes"),
        ("/help", "begin a new line"),
        ("/rooms", "lobby  2 here, 7 events"),
        ("/who", "2 in lobby: "),
        ("/history", "there is nothing earlier in lobby"),
        ("/jump 30", "that was earlier in lobby"),
        ("/jump 31", "nothing in lobby has the number 31 yet"),
        ("/topic", "lobby has no topic"),
        ("/search soup", "2026-01-01 00:00 den 7 bob │ about soup"),
        ("/search", "there is nothing more"),
        ("/reply", "there is no text here"),
        ("/reply yes", "there is no text of others here"),
        ("/react 👍 eve", "there is no text of eve here"),
        ("/delete", "there is no text of yours here"),
        ("/edit-last", "there is no text of yours here"),
        ("/msg 4 hi", "'4' is not"),
        ("/query nobody", "nobody is called nobody"),
        ("/topic of two", "not for you in @bob"),
        ("/mute 4", "'4' is not"),
        ("/access", "only who is invited gets in"),
    ],
)
async def test_answers_are_shown(desk: Desk, typed: str, shown: str) -> None:
    async with desk.sitting():
        desk.type(typed, ENTER)
        await desk.see(shown)
        desk.type(CTRL_U, "fine", ENTER)
        await desk.until(lambda: desk.chat.said == ["fine"])


async def test_in_no_room_nothing_can_be_said(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/leave", ENTER, "hello?", ENTER)
        await desk.see("you are in no room now; /join ROOM enters one")
        await desk.see("not said: hello?: you are in no room")


# ---------------------------------------------------------------- several rooms


async def in_two_rooms(desk: Desk) -> None:
    """Go on to the garden; the lobby is the other one."""
    desk.type("/join garden", ENTER)
    await desk.see("garden>")
    await desk.see("1:lobby 2:garden")


@pytest.mark.parametrize(
    "keys", ["/go lobby\r", "/go 1\r", "/1\r", "/join lobby\r", ALT_1, ALT_A, "/unread\r"]
)
async def test_what_happens_elsewhere_is_shown_when_one_goes_there(
    desk: Desk, keys: str
) -> None:
    async with desk.sitting():
        await in_two_rooms(desk)
        desk.chat.hear("psst", seq=2)
        await desk.see("1:lobby(1)")
        assert "psst" not in desk.text
        desk.type(keys)
        await desk.see("psst")
        await desk.see("lobby>")
        shown = desk.text[desk.text.rindex("── lobby ──") :]
        assert shown.index("── new ──") < shown.index("psst")


async def test_keys_that_switch_leave_alone_what_is_typed(desk: Desk) -> None:
    async with desk.sitting():
        await in_two_rooms(desk)
        desk.type("half a ", ALT_1)
        await desk.until(lambda: desk.prompt == "lobby> half a")
        desk.type("line", ENTER)
        await desk.until(lambda: desk.chat.said == ["half a line"])
    assert ("say", "lobby", "half a line") in desk.chat.asked


async def test_one_switches_while_the_server_does_not_answer_and_texts_stay_where_they_belong(
    desk: Desk, journal: Journal
) -> None:
    async with desk.sitting(journal=journal):
        await in_two_rooms(desk)
        desk.chat.is_answering = False
        desk.type("to the garden", ENTER, "this too", ENTER, ALT_1, "to the lobby", ENTER)
        await desk.see("lobby>")
        await soon(lambda: len(journal.unsent) == 3)
    assert [(unsent.room, unsent.text) for unsent in journal.unsent.values()] == [
        ("garden", "to the garden"),
        ("garden", "this too"),
        ("lobby", "to the lobby"),
    ]


async def test_a_text_behind_a_join_and_a_switch_is_noted_for_where_one_switches_to(
    desk: Desk, journal: Journal
) -> None:
    async with desk.sitting(journal=journal):
        await in_two_rooms(desk)
        desk.chat.is_answering = False
        desk.type("/join den", ENTER, ALT_1, "to the lobby", ENTER)
        await soon(lambda: len(journal.unsent) == 1)
    assert [unsent.room for unsent in journal.unsent.values()] == ["lobby"]


async def test_who_calls_elsewhere_is_announced_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"TERM": "foot"})
    async with desk.sitting():
        await in_two_rooms(desk)
        desk.chat.hear("Alice: \x1b[2J look", seq=2)
        await desk.see("lobby bob │ Alice: \ufffd[2J look")
        await desk.see("1:lobby(1, 1!)")
        assert f"{BELL}\x1b]777;notify;bob in lobby;Alice: \ufffd[2J look\x1b\\" in desk.text
        assert desk.text.count(BELL) == 1


async def test_what_was_there_before_one_came_does_not_ring(desk: Desk) -> None:
    desk.chat.joined_at = 9
    async with desk.sitting():
        desk.chat.hear("alice: old", seq=8)
        await desk.see("old")
        assert BELL not in desk.text
        desk.chat.hear("alice: new", seq=10)
        await desk.see("new")
        assert BELL in desk.text


async def test_lists_are_kept_and_heeded(desk: Desk, journal: Journal) -> None:
    async with desk.sitting(journal=journal):
        desk.type("/ignore Eve", ENTER, "/highlight soup", ENTER, "/mute garden", ENTER)
        await desk.see("mute: garden is on the list")
        desk.chat.hear("nobody hears me", by="eve", seq=2)
        desk.chat.hear("there is soup", seq=3)
        await desk.see("there is soup")
        await desk.see(BELL)
        desk.type("/mute garden", ENTER, "/mute", ENTER)
        await desk.see("mute: garden is off the list")
        await desk.see("mute: nothing")
    assert "nobody hears me" not in desk.text
    assert journal.wishes == {"ignore": {"eve"}, "highlight": {"soup"}, "mute": set()}
    assert journal.cursors == {"lobby": 3}


async def test_a_flood_elsewhere_says_what_it_has_dropped(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        await in_two_rooms(desk)
        for seq in range(2, WAITING_ITEMS + 7):
            desk.chat.hear(f"n{seq}.", seq=seq)
        await soon(lambda: plain(screen.rooms) == f"1:lobby({WAITING_ITEMS + 5}) 2:garden")
        desk.type("/go lobby", ENTER)
        await desk.see(f"n{WAITING_ITEMS + 6}.")
        assert "── 5 more before these; /history shows them ──" in desk.text
        desk.type("/history", ENTER)
        await desk.until(lambda: ("history", "lobby", 7, 20) in desk.chat.asked)


# ---------------------------------------------------------------- private rooms


async def test_a_private_message_rings_and_waits_in_a_room_of_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"TERM": "foot"})
    screen = Screen()
    async with desk.sitting(screen):
        desk.chat.see(Say(BOB, "psst"), seq=7)
        await desk.see("@bob │ psst")
        await soon(lambda: plain(screen.rooms) == "1:lobby 2:@bob(1, 1!)")
        assert f"{BELL}\x1b]777;notify;bob in private;psst\x1b\\" in desk.text
        await desk.until(lambda: ("history", BOB, 7, MET_CONTEXT) in desk.chat.asked)
        desk.type("/2", ENTER)
        await desk.see("── new ──")
        await desk.see("bob │ psst")
        await desk.see("@bob>")
        shown = desk.text[desk.text.rindex("── @bob ──") :]
        assert shown.index("── new ──") < shown.index("bob │ psst")
        desk.type("yes?", ENTER)
        await desk.until(lambda: ("say", BOB, "yes?") in desk.chat.asked)
        desk.type("/mute @Bob", ENTER)
        await desk.see("mute: @Bob is on the list")


async def test_what_one_says_in_private_from_elsewhere_is_seen(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        desk.type("/msg bob psst", ENTER)
        await desk.until(lambda: ("say", "@bob", "psst") in desk.chat.asked)
        desk.chat.see(Say(BOB, "psst"), "alice")
        await desk.see("@bob alice │ psst")
        await soon(lambda: plain(screen.rooms) == "1:lobby 2:@bob")
        assert BELL not in desk.text
        desk.type("/msg bob again", ENTER)
        await desk.until(lambda: ("say", BOB, "again") in desk.chat.asked)
        await desk.see("@bob alice │ again")
    assert desk.text.count("alice │ psst") == 1


async def test_what_one_said_in_private_at_another_device_is_no_news(desk: Desk) -> None:
    desk.chat.welcome = evolve(WELCOME, rooms=(RoomState(BOB, 9, 8),))
    screen = Screen()
    async with desk.sitting(screen):
        await desk.until(lambda: ("join", BOB, 0) in desk.chat.asked)
        desk.chat.see(Say(BOB, "before"), "alice", seq=9)
        desk.chat.see(Say(BOB, "meanwhile"), "alice", seq=10)
        desk.chat.hear("end")
        await desk.see("end")
        await soon(lambda: plain(screen.rooms) == "1:lobby 2:@bob")
        assert BELL not in desk.text
        assert "alice │" not in desk.text
        desk.type("/2", ENTER)
        await desk.see("alice » meanwhile")
        assert "── new ──" not in desk.text


async def test_a_private_room_is_entered_with_what_was_said_there(desk: Desk) -> None:
    desk.chat.topics[BOB] = "tea"
    desk.chat.welcome = evolve(WELCOME, rooms=(RoomState(BOB, 40, 40),))
    async with desk.sitting():
        desk.type("/query bob", ENTER)
        await desk.see("@bob is about: tea")
        assert ("join", BOB, 20) in desk.chat.asked
        desk.type("/leave", ENTER)
        await desk.until(lambda: ("leave", BOB) in desk.chat.asked)


async def test_a_private_room_where_nothing_was_said_begins_with_the_first_text(
    desk: Desk, journal: Journal
) -> None:
    carol, screen = "@alice,carol:x", Screen()
    async with desk.sitting(screen, journal):
        desk.type("/query carol", ENTER)
        await desk.see("@carol>")
        desk.type("hi", ENTER)
        await desk.until(lambda: ("say", "@carol", "hi") in desk.chat.asked)
        desk.chat.see(Say(carol, "hi"), "alice", seq=SAID)
        await desk.see("alice » hi")
        await soon(lambda: not journal.unsent)
        desk.type("/edit-last ho", ENTER)
        await desk.until(lambda: ("edit", carol, SAID, "ho") in desk.chat.asked)
        assert plain(screen.rooms) == "1:lobby 2:@carol"
        desk.type("/query dave", ENTER, "/query carol", ENTER, "still?", ENTER)
        await desk.until(lambda: ("say", carol, "still?") in desk.chat.asked)


async def test_private_rooms_with_something_unread_are_there_at_the_start(
    desk: Desk, journal: Journal
) -> None:
    read, new, other = RoomState("@alice,eve:x", 9, 9), RoomState(BOB, 9), "@alice,dave:x"
    desk.chat.welcome = evolve(WELCOME, rooms=(read, new, RoomState(other, 9, 3)))
    journal.know(desk.chat.welcome)
    journal.see(other, 9)
    screen = Screen()
    async with desk.sitting(screen, journal):
        await desk.until(lambda: ("join", BOB, 0) in desk.chat.asked)
        desk.chat.see(Say(BOB, "psst"), seq=9)
        await soon(lambda: plain(screen.rooms) == "1:lobby 2:@bob(1, 1!)")
    assert [room for what, room, *_ in desk.chat.asked if what == "join"] == ["lobby", BOB]


async def test_a_private_text_never_comes_back_where_all_would_hear_it(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/msg bob refuse me", ENTER)
        await desk.see("not said: refuse me")
        await desk.see("> /msg bob refuse me")


async def test_what_is_typed_behind_a_query_is_for_nobody_else(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/query nobody", ENTER, "psst", ENTER)
        await desk.see("nobody is called nobody")
        await desk.until(lambda: desk.chat.said == ["psst"])
    assert ("say", "@nobody", "psst") in desk.chat.asked  # refused by a server, and given back


@pytest.mark.parametrize(
    "typed", ["/reply psst", "/edit-last psst", "/edit-last", "/topic psst", "/react 👍"]
)
async def test_what_is_done_behind_a_query_is_done_nowhere_else(
    desk: Desk, journal: Journal, typed: str
) -> None:
    screen = Screen()
    async with desk.sitting(screen, journal):
        desk.chat.hear("hi", seq=2)
        desk.chat.hear("ho", "alice", seq=3)
        await desk.see("ho")
        desk.chat.is_answering = False
        desk.type("/topic tea", ENTER, "/query nobody", ENTER, typed, ENTER)
        await soon(lambda: typed in journal.typed.values())
        desk.chat.is_answering = True
        desk.chat.go_on()
        await desk.see("you are in no room @nobody; /join ROOM enters one")
        desk.type("end", ENTER)
        await desk.until(lambda: ("say", "lobby", "end") in desk.chat.asked)
        assert plain(screen.rooms) == "1:lobby"
    asked = [asked for asked in desk.chat.asked if asked[0] != "join"]
    assert asked == [("topic", "lobby", "tea"), ("say", "lobby", "end")]


async def test_what_is_answered_behind_a_query_is_said_there(
    desk: Desk, journal: Journal
) -> None:
    async with desk.sitting(journal=journal):
        desk.chat.is_answering = False
        desk.type("/topic tea", ENTER, "/query bob", ENTER, "/reply >7 yes", ENTER)
        await soon(lambda: "/reply >7 yes" in journal.typed.values())
        desk.chat.is_answering = True
        desk.chat.go_on()
        await desk.until(lambda: ("say", BOB, "yes", 7) in desk.chat.asked)


@pytest.mark.parametrize("name", ["bad!name", "4", "x" * 70])
async def test_what_is_typed_behind_a_slip_in_a_query_is_not_said_to_all(
    desk: Desk, name: str
) -> None:
    async with desk.sitting():
        desk.chat.is_answering = False
        desk.type("/topic tea", ENTER, f"/query {name}", ENTER, "psst", ENTER)
        await desk.see("is not one")
        await desk.until(lambda: desk.prompt == f"lobby> /query {name}psst")
        desk.chat.is_answering = True
        desk.chat.go_on()
        desk.type(CTRL_U, "/help", ENTER, "hi", ENTER)
        await desk.see("not done: you did not get to where this may be meant for")
        desk.type(" all", ENTER)
        await desk.until(lambda: desk.chat.said == ["hi all"])


async def test_who_mends_a_slip_in_a_query_is_not_asked(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/query carol!", ENTER)
        await desk.see("is not one")
        desk.type(BACKSPACE, ENTER, "psst", ENTER)
        await desk.until(lambda: ("say", "@carol", "psst") in desk.chat.asked)


async def test_what_an_ignored_person_says_in_private_is_not_heard(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/ignore bob", ENTER)
        await desk.see("bob is on the list")
        desk.chat.see(Say(BOB, "psst"))
        desk.chat.hear("end", by="carol")
        await desk.see("end")
        assert "psst" not in desk.text
        assert "@bob" not in desk.text


async def test_who_is_invited_is_told_at_once(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/ignore eve", ENTER)
        await desk.see("eve is on the list")
        desk.chat.put(Called("spam", "eve", 3))
        desk.chat.put(Called("den", "bob", 3))
        await desk.see("bob invites you; /join den enters that room")
        await desk.see(BELL)
    assert "spam" not in desk.text


@pytest.mark.parametrize("post", [Kick("lobby", "alice", "bye"), Ban("lobby", "alice")])
async def test_who_is_put_out_sees_why_and_is_elsewhere(desk: Desk, post: Post) -> None:
    async with desk.sitting():
        await in_two_rooms(desk)
        desk.type("/1", ENTER)
        await desk.see("── lobby ──")
        desk.chat.see(Ban("lobby", "alice", off=True), seq=5)
        desk.chat.see(post, seq=6)
        await desk.see("bob put you out" if isinstance(post, Kick) else "bob banned you")
        await desk.see("you are in garden now")
        await desk.until(lambda: desk.text.rindex("garden>") > desk.text.rindex("── lobby ──"))
        desk.type("hi", ENTER)
        await desk.see("you are not any more where you began this")
        assert not desk.chat.said
        desk.type(" all", ENTER)
        await desk.until(lambda: ("say", "garden", "hi all") in desk.chat.asked)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("/mute x", "mute: x is on the list"),
        ("/help", "begin a new line"),
        ("/go nowhere", "you are in no room nowhere"),
        ("/unread", "nothing is unread"),
        ("/join locked", "you can't"),
    ],
)
async def test_what_leads_nowhere_does_not_make_one_talk_to_others_than_one_meant(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, typed: str, shown: str
) -> None:
    monkeypatch.setattr("trio_chat.client.screen.UNSEEN", 0)
    async with desk.sitting():
        await in_two_rooms(desk)
        desk.chat.see(Kick("garden", "alice", "bye"), seq=6)
        await desk.see("you are in lobby now")
        desk.type(typed, ENTER)
        await desk.see(shown)
        desk.type("hi", ENTER)
        await desk.see("you are not any more where you began this")
        assert not desk.chat.said
        desk.type(" all", ENTER)
        await desk.until(lambda: ("say", "lobby", "hi all") in desk.chat.asked)


async def test_what_waits_for_a_join_comes_back_if_one_is_put_out_meanwhile(
    desk: Desk, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.client.screen.UNSEEN", 0)
    async with desk.sitting(journal=journal):
        await in_two_rooms(desk)
        desk.chat.is_answering = False
        desk.type("/topic tea", ENTER, "/join locked", ENTER)
        desk.type("/topic soup", ENTER, "/leave", ENTER, "//x", ENTER)
        await soon(lambda: len(journal.unsent) == 1)
        desk.chat.see(Kick("garden", "alice", "bye"), seq=6)
        await desk.see("you are in lobby now")
        desk.chat.is_answering = True
        desk.chat.go_on()
        await desk.see("not said: /x: you are not any more where you began this")
        await desk.until(lambda: desk.prompt == "lobby> //x")
        assert not journal.unsent
        desk.type("y", ENTER)
        await desk.until(lambda: desk.chat.said == ["/xy"])
    asked = [asked for asked in desk.chat.asked if asked[0] in {"say", "topic", "leave"}]
    assert asked == [("topic", "garden", "tea"), ("say", "lobby", "/xy")]


async def be_put_out_behind_a_join(desk: Desk, *typed: str) -> None:
    """Type that in the garden, and be put out before the server answers: no to the join."""
    await in_two_rooms(desk)
    desk.chat.is_answering = False
    lines = ["/topic tea", "/join locked", *typed, "/ignore eve"]
    desk.type(*(f"{line}{ENTER}" for line in lines))
    await desk.see("ignore: eve is on the list")  # without the server, so all was typed
    desk.chat.see(Kick("garden", "alice", "bye"), seq=6)
    await desk.see("you are in lobby now")
    desk.chat.is_answering = True
    desk.chat.go_on()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("/topic stew", "not done: /topic stew: you are not"),
        ("/kick eve", "not done: /kick eve: you are not"),
        ("/delete 5", "not done: /delete 5: you are not"),
        ("/access key a secret", "not done: /access: you are not"),
        ("/edit-last", "not done: /edit-last: you are not"),
    ],
)
async def test_nothing_that_waits_for_a_join_is_done_where_one_was_not(
    desk: Desk, typed: str, told: str
) -> None:
    async with desk.sitting():
        await be_put_out_behind_a_join(desk, "/topic soup", typed)
        await desk.see("not done: /topic soup: you are not")
        await desk.see(told)
        desk.type(CTRL_U, "hi", ENTER)  # of which one has been told
        await desk.until(lambda: ("say", "lobby", "hi") in desk.chat.asked)
    asked = [asked for asked in desk.chat.asked if asked[0] not in {"join", "say"}]
    assert asked == [("topic", "garden", "tea")]


async def test_who_was_put_out_before_leaving_is_told_once(desk: Desk) -> None:
    async with desk.sitting():
        await be_put_out_behind_a_join(desk, "/leave")
        await desk.see("not done: /leave: you are not")
        desk.type("hi", ENTER)
        await desk.until(lambda: ("say", "lobby", "hi") in desk.chat.asked)


async def test_an_answer_that_waits_for_a_join_comes_back_if_one_is_put_out(desk: Desk) -> None:
    async with desk.sitting():
        await be_put_out_behind_a_join(desk, "/reply >bob yes")
        await desk.see("not said: yes: you are not")
        await desk.until(lambda: desk.prompt == "lobby> /reply >bob yes")


async def test_an_answer_to_nothing_behind_a_join_comes_back(
    desk: Desk, journal: Journal
) -> None:
    async with desk.sitting(journal=journal):
        desk.chat.is_answering = False
        desk.type("/topic tea", ENTER, "/join locked", ENTER, "/reply >eve yes", ENTER)
        await soon(lambda: "/reply >eve yes" in journal.typed.values())
        desk.chat.is_answering = True
        desk.chat.go_on()
        await desk.see("not said: yes: there is no text of eve here")
        await desk.until(lambda: desk.prompt == "lobby> /reply >eve yes")


async def test_an_answer_behind_a_join_is_said_also_if_one_leaves_then(
    desk: Desk, journal: Journal
) -> None:
    async with desk.sitting(journal=journal) as left:
        desk.chat.hear("tea?", seq=2)
        await desk.see("tea?")
        desk.chat.is_answering = False
        desk.type("/topic tea", ENTER, "/join locked", ENTER, "/reply yes", ENTER)
        desk.type("/quit", ENTER)
        await soon(lambda: "/quit" in journal.typed.values())
        desk.chat.is_answering = True
        desk.chat.go_on()
        await left.wait()
    assert ("say", "lobby", "yes", 2) in desk.chat.asked


async def test_who_gets_elsewhere_while_being_put_out_talks_there(
    desk: Desk, journal: Journal
) -> None:
    is_drawing, may_go_on = trio.Event(), trio.Event()

    class Slow(Screen):
        async def show(self, fragments: Fragments) -> bool:
            if "bye" in plain(fragments):
                is_drawing.set()
                await may_go_on.wait()
            return await super().show(fragments)

    screen = Slow()
    async with desk.sitting(screen, journal):
        await in_two_rooms(desk)
        desk.chat.is_answering = False
        desk.type("/join tea", ENTER, "hi", ENTER)
        await soon(lambda: len(journal.unsent) == 1)
        desk.chat.see(Kick("garden", "alice", "bye"), seq=6)
        await is_drawing.wait()
        desk.chat.is_answering = True
        desk.chat.go_on()
        await soon(lambda: "3:tea" in plain(screen.rooms))
        may_go_on.set()
        await desk.until(lambda: ("say", "tea", "hi") in desk.chat.asked)


async def test_who_comes_back_to_where_one_was_put_out_is_there(desk: Desk) -> None:
    async with desk.sitting():
        await in_two_rooms(desk)
        desk.chat.see(Kick("garden", "alice", "bye"), seq=6)
        await desk.see("you are in lobby now")
        desk.type("/join garden", ENTER, "hi", ENTER)
        await desk.until(lambda: ("say", "garden", "hi") in desk.chat.asked)
        desk.type("ho", ENTER)
        await desk.until(lambda: ("say", "garden", "ho") in desk.chat.asked)


async def test_what_is_typed_after_going_on_from_being_put_out_is_said(desk: Desk) -> None:
    async with desk.sitting():
        await in_two_rooms(desk)
        desk.chat.see(Kick("garden", "alice", "bye"), seq=6)
        await desk.see("you are in lobby now")
        desk.type("/go lobby", ENTER, "hi", ENTER)
        await desk.until(lambda: ("say", "lobby", "hi") in desk.chat.asked)


async def test_who_goes_elsewhere_while_being_put_out_stays_there(desk: Desk) -> None:
    is_drawn, may_go_on = trio.Event(), trio.Event()

    class Slow(Screen):
        async def show(self, fragments: Fragments) -> bool:
            was_drawn = await super().show(fragments)
            if "you are in" in plain(fragments):
                is_drawn.set()
                await may_go_on.wait()
            return was_drawn

    async with desk.sitting(Slow()):
        await in_two_rooms(desk)
        desk.type("/join cellar", ENTER)
        await desk.see("3:cellar")
        desk.type("/1", ENTER)
        await desk.see("── lobby ──")
        desk.chat.see(Kick("lobby", "alice", "bye"), seq=6)
        await is_drawn.wait()
        desk.type("/go cellar", ENTER)
        await desk.until(lambda: desk.prompt.startswith("cellar>"))
        may_go_on.set()
        desk.type("hi", ENTER)
        await desk.until(lambda: ("say", "cellar", "hi") in desk.chat.asked)
        assert desk.prompt.startswith("cellar>")


@pytest.mark.parametrize("post", [Kick("lobby", "alice", "bye"), Ban("lobby", "alice")])
async def test_who_has_come_again_is_not_put_out_by_what_was_before(
    desk: Desk, post: Post
) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        await in_two_rooms(desk)
        desk.chat.inside = {"lobby", "garden"}
        desk.type("/1", ENTER)
        await desk.see("── lobby ──")
        desk.chat.see(post, seq=6)
        desk.chat.hear("welcome back", seq=7)
        await desk.see("welcome back")
        assert plain(screen.rooms) == "1:lobby 2:garden"


async def test_who_is_put_out_elsewhere_is_told(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        await in_two_rooms(desk)
        desk.chat.see(Kick("lobby", "alice", "bye"), seq=6)
        await desk.see("bob put you out of the room: bye (lobby)")
        await soon(lambda: plain(screen.rooms) == "1:garden")


# ---------------------------------------------------------------- how far one has read


async def test_the_server_is_told_what_was_shown(desk: Desk) -> None:
    desk.chat.welcome = evolve(WELCOME, rooms=(RoomState("lobby", 9, 5),))
    async with desk.sitting() as left:
        await in_two_rooms(desk)
        desk.chat.see(Say("garden", "one"), seq=2)
        desk.chat.hear("two", seq=5)
        await desk.until(lambda: desk.chat.reads == [("garden", 2)])
        desk.type("/1", ENTER)
        await desk.see("two")
        desk.chat.hear("three", seq=6)
        await desk.until(lambda: "three" in desk.text and desk.prompt == "lobby>")
        desk.type("/quit", ENTER)
        await left.wait()
    assert desk.chat.reads == [("garden", 2), ("lobby", 6)]


async def test_what_is_read_at_another_device_is_not_unread(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        await in_two_rooms(desk)
        for seq in (2, 3, 4):
            desk.chat.hear(f"n{seq}.", seq=seq)
        await soon(lambda: plain(screen.rooms) == "1:lobby(3) 2:garden")
        desk.chat.put(Marked("lobby", 3))
        desk.chat.put(Marked("den", 3))
        await soon(lambda: plain(screen.rooms) == "1:lobby(1) 2:garden")
        desk.type(ALT_1)
        await desk.see("n4.")
        shown = desk.text[desk.text.rindex("── lobby ──") :]
        assert shown.index("n3.") < shown.index("── new ──") < shown.index("n4.")


async def test_on_a_new_machine_the_news_begin_where_one_has_stopped_to_read(
    desk: Desk, journal: Journal
) -> None:
    desk.chat.welcome = evolve(WELCOME, rooms=(RoomState("lobby", 40, 30),))
    desk.chat.joined_at = 40
    journal.know(WELCOME)
    journal.see("lobby", 4)
    async with desk.sitting(journal=journal):
        assert desk.chat.asked == [("join", "lobby", 30 - CONTEXT)]
        for seq in (30, 31):
            desk.chat.hear(f"n{seq}.", seq=seq)
        await desk.see("n31.")
    assert desk.text.index("n30.") < desk.text.index("── new ──") < desk.text.index("n31.")


# ---------------------------------------------------------------- what is said of a text


async def in_a_talk(desk: Desk) -> None:
    """Three people have said something, oneself last."""
    desk.chat.hear("shall we?", seq=2)
    desk.chat.hear("no", seq=3, by="carol")
    desk.chat.hear("teh end", seq=4, by="alice")
    await desk.see("teh end")


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("/reply yes", ("say", "lobby", "yes", 3)),
        ("/reply >bob yes", ("say", "lobby", "yes", 2)),
        ("/reply >4 yes", ("say", "lobby", "yes", 4)),
        ("/react 👍", ("react", "lobby", 3, "👍")),
        ("/react 👍 bob", ("react", "lobby", 2, "👍")),
        ("/edit-last the end", ("edit", "lobby", 4, "the end")),
        ("/delete", ("delete", "lobby", 4)),
    ],
)
async def test_a_text_is_meant_by_who_said_it_or_by_its_number(
    desk: Desk, typed: str, asked: tuple[object, ...]
) -> None:
    async with desk.sitting():
        await in_a_talk(desk)
        desk.type(typed, ENTER)
        await desk.until(lambda: desk.chat.asked[-1] == asked)


async def test_the_numbers_of_the_texts_can_be_had(desk: Desk) -> None:
    async with desk.sitting():
        await in_a_talk(desk)
        desk.type("/reply", ENTER)
        for line in (">2 bob: shall we?", ">3 carol: no", ">4 alice: teh end"):
            await desk.see(line)


async def test_which_text_is_meant_is_settled_when_it_is_typed(desk: Desk) -> None:
    async with desk.sitting():
        await in_a_talk(desk)
        await in_two_rooms(desk)
        desk.type(ALT_1)
        await desk.see("── lobby ──")
        desk.chat.is_answering = False
        desk.type("/react 👍", ENTER)
        await desk.until(lambda: desk.chat.asked[-1][0] == "react")
        desk.type("/topic tea", ENTER, "/react 👎", ENTER, "/reply why?", ENTER, "/2", ENTER)
        await desk.until(lambda: desk.prompt == "garden>")
        desk.chat.see(Say("garden", "well"), seq=9)
        await desk.see("well")
        desk.chat.is_answering = True
        desk.chat.go_on()
        await desk.until(lambda: desk.chat.asked[-1][0] == "say")
    assert desk.chat.asked[-3:] == [
        ("topic", "lobby", "tea"),
        ("react", "lobby", 3, "👎"),
        ("say", "lobby", "why?", 3),
    ]


async def test_what_is_said_meanwhile_is_not_the_text_that_is_meant(desk: Desk) -> None:
    async with desk.sitting():
        await in_a_talk(desk)
        desk.chat.is_answering = False
        desk.type("/topic tea", ENTER, "/react 👍", ENTER, "/delete", ENTER, "/mute x", ENTER)
        await desk.see("mute: x is on the list")  # so all before it has been typed
        desk.chat.hear("well", seq=5)
        desk.chat.hear("from my telephone", seq=6, by="alice")
        await desk.see("from my telephone")
        desk.chat.is_answering = True
        desk.chat.go_on()
        await desk.until(lambda: desk.chat.asked[-1][0] == "delete")
    assert desk.chat.asked[-2:] == [("react", "lobby", 3, "👍"), ("delete", "lobby", 4)]


async def test_a_sign_is_taken_off_with_the_same_words(desk: Desk) -> None:
    async with desk.sitting():
        await in_a_talk(desk)
        desk.chat.see(React("lobby", 3, "👍"), "alice", seq=5)
        await desk.see('you put 👍 on carol\'s "no"')
        desk.type("/react 👍", ENTER)
        await desk.until(lambda: desk.chat.asked[-1] == ("react", "lobby", 3, "👍", True))


async def test_what_one_said_last_comes_back_to_be_edited(desk: Desk) -> None:
    async with desk.sitting():
        await in_a_talk(desk)
        desk.type("/edit-last", ENTER)
        await desk.see("/edit-last teh end")
        desk.type("!", ENTER)
        await desk.until(lambda: desk.chat.asked[-1] == ("edit", "lobby", 4, "teh end!"))


async def test_ctrl_u_begins_the_edit_anew_and_ends_it_only_the_second_time(desk: Desk) -> None:
    async with desk.sitting():
        await in_a_talk(desk)
        desk.type("/edit-last", ENTER)
        await desk.see("/edit-last teh end")
        desk.type(CTRL_U, "the end", ENTER)
        await desk.until(lambda: desk.chat.asked[-1] == ("edit", "lobby", 4, "the end"))
        desk.type("/edit-last wrong", CTRL_U, CTRL_U, "no edit", ENTER)
        await desk.until(lambda: desk.chat.asked[-1] == ("say", "lobby", "no edit"))


async def test_what_is_stored_can_be_edited_before_it_is_shown(
    desk: Desk, journal: Journal
) -> None:
    async with desk.sitting(journal=journal):
        await in_a_talk(desk)
        desk.type("teh", ENTER)
        await desk.until(lambda: desk.chat.said == ["teh"])
        await soon(lambda: not journal.unsent)
        desk.type("/edit-last the", ENTER)
        await desk.until(lambda: desk.chat.asked[-1] == ("edit", "lobby", SAID, "the"))


async def test_what_is_not_stored_yet_cant_be_edited(desk: Desk, journal: Journal) -> None:
    async with desk.sitting(journal=journal):
        await in_a_talk(desk)
        desk.chat.is_answering = False
        desk.type("teh", ENTER, "/edit-last the", ENTER)
        await desk.see("what you have said last is not stored yet")
    assert [unsent.text for unsent in journal.unsent.values()] == ["teh"]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("/reply >bob yes", ("yes", 2, None)), ("/edit-last the end", ("the end", None, 4))],
)
async def test_what_is_typed_without_a_connection_is_kept_with_what_it_is_about(
    desk: Desk, journal: Journal, typed: str, kept: tuple[object, ...]
) -> None:
    async with desk.sitting(journal=journal):
        await in_a_talk(desk)
        desk.chat.is_answering = False
        desk.type(typed, ENTER)
        await soon(lambda: len(journal.unsent) == 1)
    (unsent,) = journal.unsent.values()
    assert (unsent.text, unsent.reply_to, unsent.edits) == kept


async def test_what_was_asked_for_and_is_not_done_is_told_at_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.client.person.GRACE", 0.05)
    async with desk.sitting() as left:
        desk.chat.is_answering = False
        desk.type("/delete 4", ENTER, "/delete 5", ENTER, CTRL_D)
        await left.wait()
    assert "maybe not done: 2 commands" in desk.text


async def test_changes_are_seen_and_nothing_of_them_rings(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        await in_a_talk(desk)
        changes: list[Post] = [
            React("lobby", 4, "👍"),
            Edit("lobby", 2, "alice, shall we?"),
            Delete("lobby", 2),
            Topic("lobby", "alice"),
        ]
        for number, post in enumerate(changes):
            desk.chat.see(post, seq=5 + number)
        await desk.see('bob put 👍 on your "teh end"')
        await desk.see("bob ~ alice, shall we? (edits 00:00)")
        await desk.see("bob deleted the text of 00:00")
        await soon(lambda: plain(screen.rooms) == "1:lobby ─ alice")
        assert BELL not in desk.text
        desk.chat.see(Say("lobby", "sure", reply_to=4), seq=9)
        await desk.see("┌ alice: teh end")
        await desk.see(BELL)


async def test_what_was_changed_before_one_came_is_shown_once_and_as_it_is(
    desk: Desk,
) -> None:
    async with desk.sitting():
        at = datetime(2026, 1, 1, tzinfo=UTC)
        desk.chat.put(Event(2, at, "bob", Say("lobby", "the end"), changed=4))
        desk.chat.hear("teh end?", by="carol", seq=3)
        desk.chat.see(Edit("lobby", 2, "the end"), seq=4)
        desk.chat.hear("thanks", by="carol", seq=5)
        await desk.see("thanks")
    assert "bob │ the end (edited)" in desk.text
    assert desk.text.count("the end") == 1


async def test_older_hits_are_found_by_the_same_command(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/search soup", ENTER, "/search", ENTER)
        await desk.until(lambda: desk.chat.asked[-1] == ("search", "soup", 99))


async def test_one_jumps_to_another_room_and_is_there(desk: Desk) -> None:
    async with desk.sitting():
        await in_two_rooms(desk)
        desk.type("/jump lobby 30", ENTER)
        await desk.until(lambda: ("history", "lobby", None, 20, 20) in desk.chat.asked)
        await desk.until(lambda: desk.prompt == "lobby>")


# ---------------------------------------------------------------- what is under way


async def test_a_text_that_is_not_answered_is_shown_as_pending(
    desk: Desk, journal: Journal
) -> None:
    screen = Screen()
    async with desk.sitting(screen, journal):
        desk.chat.is_answering = False
        screen.set_state(State.RECONNECTING)
        for number in range(PENDING_LINES + 2):
            desk.type(PASTE.format(f"text {number}\r\x9b2J"), ENTER)
        await soon(lambda: len(journal.unsent) == PENDING_LINES + 2)
        screen.tell(notice("all is drawn anew"))  # and not only the digits that have changed
        await desk.see(f"… text {PENDING_LINES + 1}")
        await desk.see("… and 2 more")
        desk.type("/msg Bob psst", ENTER)
        await soon(lambda: len(journal.unsent) == PENDING_LINES + 3)
        screen.tell(notice("again"))
        await desk.see("@bob: psst")


async def test_a_refused_text_comes_back_unless_something_else_is_typed(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("refuse me", ENTER)
        await desk.until(lambda: desk.prompt == "lobby> refuse me")
        await desk.see("not said: refuse me: too")
        before = len(desk.text)
        desk.type(ENTER, "other")
        await desk.until(lambda: "not said" in desk.text[before:])
        await desk.until(lambda: desk.prompt == "lobby> other")


async def test_a_text_that_comes_back_under_ones_hands_steps_aside(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.client.screen.UNSEEN", PATIENCE)
    async with desk.sitting():
        desk.type("refuse me", ENTER)
        await desk.until(lambda: desk.prompt == "lobby> refuse me")
        desk.type("next", ENTER)
        await desk.until(lambda: desk.chat.said == ["next"])
        desk.type(UP, UP, ENTER)
        await desk.until(lambda: desk.text.count("not said: refuse me: too") == 2)


async def test_a_text_that_has_come_back_is_gone_on_with(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.client.screen.UNSEEN", 0)
    async with desk.sitting():
        desk.type("refuse me", ENTER)
        await desk.until(lambda: desk.prompt == "lobby> refuse me")
        desk.type(" again", ENTER)
        await desk.see("not said: refuse me again: too")


async def test_what_was_typed_in_another_run_can_be_had_back(
    desk: Desk, journal: Journal
) -> None:
    journal.recall("from long ago")
    async with desk.sitting(journal=journal):
        desk.type(UP, ENTER)
        await desk.until(lambda: desk.chat.said == ["from long ago"])
        desk.type("/who", ENTER, ALT_1, "  ", ENTER)
        await desk.see("2 in lobby")
    assert list(journal.typed.values()) == ["from long ago", "/who"]


async def test_vi_keys(desk: Desk) -> None:
    async with desk.sitting(Screen(keys="vi")):
        desk.type("one two\x1b")
        await desk.see("one two")
        desk.type("bcwthree", ENTER)
        await desk.until(lambda: desk.chat.said == ["one three"])


async def test_ctrl_z_stops_the_process_in_its_main_thread(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[object] = []

    def kill(*what: int) -> None:
        stopped.append((*what, threading.current_thread()))

    monkeypatch.setattr("os.kill", kill)
    async with desk.sitting():
        desk.type("half a ", CTRL_Z, "line", ENTER)
        await desk.until(lambda: desk.chat.said == ["half a line"])
    assert stopped == [(0, signal.SIGTSTP, threading.main_thread())]


async def test_an_editor_writes_what_stands_in_the_prompt_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor, start = tmp_path / "editor", tmp_path / "start"
    editor.write_text(f'#!/bin/sh\nread go < {start}; echo "\nand more" >> "$1"\n')
    editor.chmod(0o700)
    os.mkfifo(start)
    monkeypatch.setenv("VISUAL", str(editor))
    async with desk.sitting():
        desk.type("/edit a text", ENTER)
        descriptor = await trio.to_thread.run_sync(os.open, start, os.O_WRONLY)  # it is open
        desk.chat.hear("said meanwhile")
        await trio.testing.wait_all_tasks_blocked()
        assert "said meanwhile" not in desk.text
        os.close(descriptor)
        await desk.see("said meanwhile")
        desk.type(ENTER)
        await desk.until(lambda: desk.chat.said == ["a text\nand more"])


async def test_an_editor_that_is_not_there_costs_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", "/nowhere/editor -f")
    async with desk.sitting():
        desk.type("/edit half a", ENTER)
        await desk.see("can't start the editor /nowhere/editor: No such file")
        desk.type(" line", ENTER)
        await desk.until(lambda: desk.chat.said == ["half a line"])


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("keys", ["/quit\r", "quit\r", CTRL_D, CTRL_C])
async def test_leaving(desk: Desk, keys: str) -> None:
    async with desk.sitting() as left:
        desk.type("/join garden", ENTER, keys)
        await left.wait()
    assert desk.chat.asked[-2:] == [("leave", "garden"), ("leave", "lobby")]


async def test_ctrl_d_does_not_lose_what_is_half_typed(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("precious", CTRL_D, ENTER)
        await desk.until(lambda: desk.chat.said == ["precious"])


async def test_a_terminal_that_is_gone_is_a_leave(desk: Desk) -> None:
    async with desk.sitting() as left:
        desk.keys.close()
        await left.wait()


async def test_the_end_of_the_chat_is_raised_after_what_came_before(desk: Desk) -> None:
    with pytest.RaisesGroup(LinkLost):
        async with desk.sitting() as left:
            desk.chat.hear("famous last words")
            desk.chat.lose()
            await left.wait()
    assert "famous last words" in desk.text


async def test_a_line_that_is_lost_does_not_hide_what_came_before(desk: Desk) -> None:
    with pytest.RaisesGroup(LinkLost):
        async with desk.sitting() as left:
            desk.type("lose me", ENTER)
            await left.wait()
    assert "famous last words" in desk.text


async def test_what_was_typed_before_leaving_is_still_said(desk: Desk) -> None:
    async with desk.sitting() as left:
        desk.type("one", ENTER, "two", ENTER, CTRL_D)
        await left.wait()
    assert desk.chat.said == ["one", "two"]
    assert "not said" not in desk.text


@pytest.mark.parametrize(("room", "error"), [("locked", AlreadyInRoom), ("no room", BadName)])
async def test_a_refused_join_is_raised(desk: Desk, room: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await run_terminal(cast("Chat", desk.chat), room, screen=Screen())


async def test_a_server_that_does_not_answer_does_not_keep_anybody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.client.person.GRACE", 0.05)
    async with desk.sitting() as left:
        desk.chat.is_answering = False
        desk.type("one", ENTER, "two", ENTER, CTRL_D)
        await left.wait()
    assert "may" in desk.text
    assert "not said: one" in desk.text
    assert "not said: two" in desk.text


async def test_lines_beyond_what_can_wait_stay_in_the_prompt(desk: Desk) -> None:
    async with desk.sitting():
        desk.chat.is_answering = False
        desk.type(*(f"{number}\r" for number in range(WAITING + 2)))
        await desk.see("lines wait for the server")
        await desk.until(lambda: desk.prompt == f"lobby> {WAITING + 1}")


async def test_cancelling_ends_the_thread_wherever_it_is(desk: Desk) -> None:
    screen = Screen()
    for steps in range(30):
        threads = threading.active_count()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(screen.run)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        assert threading.active_count() <= threads + 1  # trio keeps a worker for the next
        screen = Screen()


# ---------------------------------------------------------------- what is remembered


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with open_journal(tmp_path / "state" / "alice.db") as journal:
        yield journal


async def soon(is_so: Callable[[], bool]) -> None:
    """Wait for something that rings no bell."""
    while not is_so():
        await trio.testing.wait_all_tasks_blocked()


async def kept(path: Path) -> list[tuple[str, str]]:
    """The texts, and their rooms, that the next run would find if this one was killed now."""
    copy = path.parent / "copy"
    copy.mkdir(exist_ok=True)
    for file in (path / "state").iterdir():
        shutil.copy(file, copy)
    async with open_journal(copy / "alice.db") as journal:
        return [(unsent.room, unsent.text) for unsent in journal.unsent.values()]


async def test_a_text_is_on_the_disk_before_it_is_sent(
    desk: Desk, journal: Journal, tmp_path: Path
) -> None:
    async with desk.sitting(journal=journal):
        desk.chat.is_answering = False
        desk.type("precious", ENTER)
        await desk.until(lambda: desk.chat.said == ["precious"])
        assert await kept(tmp_path) == [("lobby", "precious")]
        assert desk.chat.ids == list(journal.unsent)


async def test_texts_that_wait_for_the_one_before_are_on_the_disk_too(
    desk: Desk, journal: Journal, tmp_path: Path
) -> None:
    async with desk.sitting(journal=journal), trio.open_nursery() as nursery:
        nursery.start_soon(journal.keep, desk.chat)
        desk.chat.is_answering = False
        desk.type("one", ENTER, "two", ENTER, "/join Garden", ENTER, "three", ENTER)
        desk.type("/leave", ENTER, "four", ENTER, "/join a locked room", ENTER, "five", ENTER)
        while len(await kept(tmp_path)) < 5:
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await kept(tmp_path) == [
        ("lobby", "one"),
        ("lobby", "two"),
        ("garden", "three"),
        ("lobby", "four"),
        ("lobby", "five"),
    ]


async def test_what_is_said_or_refused_is_not_kept(desk: Desk, journal: Journal) -> None:
    async with desk.sitting(journal=journal):
        desk.type("one", ENTER, "refuse me", ENTER, "x" * 101, ENTER, "two", ENTER)
        desk.type("/leave", ENTER, "nowhere", ENTER)
        await desk.see("you are in no room")
        await soon(lambda: not journal.unsent)
    assert desk.chat.said == ["one", "two"]


async def test_a_text_is_said_where_one_is_when_its_turn_has_come(
    desk: Desk, journal: Journal
) -> None:
    async with desk.sitting(journal=journal):
        desk.type("/join locked", ENTER, "still here", ENTER, "/join garden", ENTER)
        desk.type("there", ENTER)
        await desk.until(lambda: len(desk.chat.said) == 2)
    assert ("say", "lobby", "still here") in desk.chat.asked
    assert ("say", "garden", "there") in desk.chat.asked


async def test_after_a_refused_join_texts_are_for_the_old_room(
    desk: Desk, journal: Journal
) -> None:
    async with desk.sitting(journal=journal):
        desk.chat.is_answering = False
        desk.type("/join locked", ENTER, "one", ENTER)
        await desk.until(lambda: desk.chat.said == ["one"])
        desk.type("two", ENTER)
        await soon(lambda: len(journal.unsent) == 2)
    assert [unsent.room for unsent in journal.unsent.values()] == ["lobby", "lobby"]


async def test_a_line_that_stays_in_the_prompt_is_not_kept(
    desk: Desk, journal: Journal
) -> None:
    async with desk.sitting(journal=journal):
        desk.chat.is_answering = False
        desk.type(*(f"{number}\r" for number in range(WAITING + 2)))
        await desk.see("lines wait for the server")
        assert len(journal.unsent) == WAITING + 1


@pytest.mark.parametrize(
    ("word", "error"), [("lose me", LinkLost), ("take my name", NameTaken)]
)
async def test_the_end_of_the_chat_is_no_refusal_of_a_text(
    desk: Desk, journal: Journal, tmp_path: Path, word: str, error: type[Exception]
) -> None:
    with pytest.RaisesGroup(error):
        async with desk.sitting(journal=journal) as left:
            desk.type(word, ENTER)
            await left.wait()
    assert [unsent.text for unsent in journal.unsent.values()] == [word]
    assert await kept(tmp_path) == [("lobby", word)]
    assert "not said" not in desk.text


async def test_leaving_before_all_is_said_tells_that_it_is_kept(
    desk: Desk, journal: Journal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("trio_chat.client.person.GRACE", 0.05)
    async with desk.sitting(journal=journal) as left:
        desk.chat.is_answering = False
        desk.type("one", ENTER, "two", ENTER, CTRL_D)
        await left.wait()
    assert "sent at the next start: 2 messages" in desk.text
    assert await kept(tmp_path) == [("lobby", "one"), ("lobby", "two")]


async def test_what_was_not_said_last_time_is_said_first_under_the_same_id(
    desk: Desk, journal: Journal
) -> None:
    ids = [journal.add(room, f"to {room}").id for room in ("garden", "lobby", "garden")]
    async with desk.sitting(journal=journal):
        desk.type("new", ENTER)
        await desk.until(lambda: len(desk.chat.said) == 4)
        await soon(lambda: not journal.unsent)
        await desk.until(lambda: desk.prompt == "lobby>")
    assert desk.chat.asked[:6] == [
        ("join", "lobby"),
        ("join", "garden"),
        ("say", "garden", "to garden"),
        ("say", "lobby", "to lobby"),
        ("say", "garden", "to garden"),
        ("say", "lobby", "new"),
    ]
    assert desk.chat.ids[:3] == ids
    assert "3 messages from last time are sent now" in desk.text


async def test_what_is_refused_now_is_shown_as_a_whole(desk: Desk, journal: Journal) -> None:
    text = "word " * 50 + "end"
    journal.add("locked", text)
    async with desk.sitting(journal=journal):
        await desk.see("not back in locked: you can't")
        await desk.see("1 message from last time is sent now")
        await desk.see(f"{text}: a text may have 100 bytes")
        await soon(lambda: not journal.unsent)


async def test_one_is_back_in_the_rooms_where_others_still_see_one(
    desk: Desk, journal: Journal
) -> None:
    rooms = (RoomState("lobby", 9), RoomState("garden", 3), RoomState("a\x1b[2J b", 3))
    desk.chat.welcome = evolve(WELCOME, rooms=rooms)
    async with desk.sitting(journal=journal):
        await desk.until(lambda: ("join", "garden") in desk.chat.asked)
        await desk.see("not back in a\ufffd[2J b")
        desk.type("/who", ENTER)
        await desk.see("2 in lobby")
    assert desk.chat.asked.count(("join", "lobby")) == 1


async def test_coming_back_shows_some_context_and_where_the_news_begin(
    desk: Desk, journal: Journal
) -> None:
    journal.know(WELCOME)
    journal.see("lobby", 30)
    desk.chat.joined_at = 40
    async with desk.sitting(journal=journal):
        assert desk.chat.asked == [("join", "lobby", 30 - CONTEXT)]
        for seq in range(29, 33):
            desk.chat.hear(f"n{seq}.", seq=seq)
        await desk.see("n32.")
        await soon(lambda: journal.cursors == {"lobby": 32})
    assert desk.text.count("new") == 1
    assert desk.text.index("n30.") < desk.text.index("── new ──") < desk.text.index("n31.")


async def test_what_comes_after_ones_join_is_no_news(desk: Desk, journal: Journal) -> None:
    journal.know(WELCOME)
    journal.see("lobby", 30)
    desk.chat.joined_at = 31
    async with desk.sitting(journal=journal):
        desk.chat.hear("live", seq=32)
        await desk.see("live")
    assert "new" not in desk.text


async def test_near_the_beginning_all_is_context(desk: Desk, journal: Journal) -> None:
    journal.know(WELCOME)
    journal.see("lobby", CONTEXT - 1)
    async with desk.sitting(journal=journal):
        assert desk.chat.asked == [("join", "lobby", 0)]


async def test_in_another_history_one_is_new(desk: Desk, journal: Journal) -> None:
    journal.know(evolve(WELCOME, epoch="long ago"))
    journal.see("lobby", 30)
    async with desk.sitting(journal=journal):
        assert desk.chat.asked == [("join", "lobby")]
        desk.chat.hear("hello")
        await soon(lambda: journal.cursors == {"lobby": 1})
    assert "new" not in desk.text


async def test_what_was_not_drawn_has_not_been_seen(desk: Desk, journal: Journal) -> None:
    async with desk.sitting(journal=journal) as left:
        desk.chat.hear("seen", seq=1)
        await soon(lambda: journal.cursors == {"lobby": 1})
        desk.keys.close()
        await left.wait()
        person = Person(cast("Chat", desk.chat), Screen(), journal)
        await person.screen.run()
        await person.show(
            [Event(2, datetime(2026, 1, 1, tzinfo=UTC), "bob", Say("lobby", "x"))]
        )
    assert journal.cursors == {"lobby": 1}


@pytest.mark.parametrize("is_first", [False, True])
async def test_trouble_with_the_journal_is_told_and_the_chat_goes_on(
    *, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    within = 0.01 if is_first else PATIENCE  # where there is nothing to be shown before
    monkeypatch.setattr("trio_chat.client.person.REPLAY_WITHIN", within)
    if not is_first:
        desk.chat.hear("what was said before")
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "alice.db"
    async with open_journal(path) as journal, desk.sitting(journal=journal):
        await desk.see("what you type is lost if this program is killed")
        before, _, _ = desk.text.partition("what you type")
        assert is_first or "what was said before" in before
        journal.tell("\x1b[2J and now this")
        await desk.see("\ufffd[2J and now this")
        desk.type("hello", ENTER)
        await desk.until(lambda: desk.chat.said == ["hello"])


# ---------------------------------------------------------------- the screen


async def test_a_lost_connection_is_seen_in_the_prompt(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        screen.set_state(State.RECONNECTING)
        await desk.see("lobby (reconnecting)>")
        await desk.see("the connection is lost")
        screen.set_state(State.RESUMED)
        await desk.see("connected again")
        await desk.until(lambda: desk.prompt == "lobby>")
        screen.set_state(State.AFRESH)
        await desk.see("another history")


@pytest.mark.parametrize(("environ", "ups"), [({"TMUX": "x"}, [2, 1]), ({}, [1])])
async def test_where_lines_are_broken_anew_all_of_them_are_erased(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], ups: list[int]
) -> None:
    monkeypatch.setattr("os.environ", environ)
    screen = Screen()
    async with desk.sitting(screen):
        await soon(lambda: (screen.lag, plain(screen.rooms)) == (0.012, "1:lobby"))
        desk.type("x" * 30)  # 37 cells with the prompt; the line above it has 28
        await desk.until(lambda: desk.text.count("x") >= 30)
        desk.chat.hear("drawn anew")
        await desk.until(lambda: desk.prompt.endswith("x" * 30) and "anew" in desk.text)
        before = len(desk.output.ups)
        desk.output.columns = 20
        signal.raise_signal(signal.SIGWINCH)
        await desk.until(lambda: desk.output.ups[before:][: len(ups)] == ups)


@pytest.mark.parametrize(
    "draw",
    [lambda screen: screen.tell(notice("garden")), lambda screen: screen.set_room("garden")],
)
async def test_they_are_erased_whatever_is_drawn_first_at_another_width(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, draw: Callable[[Screen], None]
) -> None:
    """What tells the program of the width may come later than a text, or a key."""
    monkeypatch.setattr("os.environ", {"TMUX": "x"})
    screen = Screen()
    async with desk.sitting(screen):
        screen.set_state(State.RECONNECTING)
        await desk.see("the connection is lost")
        screen.hold("an id", "x" * 80)  # two rows more
        await screen.show(notice("drawn anew"))
        before = len(desk.output.ups)
        desk.output.columns = 30
        draw(screen)
        await desk.until(lambda: "garden" in desk.text and desk.prompt != "")
        assert desk.output.ups[before : before + 2] == [2, 2]
        before = len(desk.output.ups)
        signal.raise_signal(signal.SIGWINCH)
        await desk.until(lambda: len(desk.output.ups) > before)
        assert desk.output.ups[before] == 2


async def test_nothing_is_drawn_that_a_terminal_would_keep_or_cut_off(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"TMUX": "x"})
    monkeypatch.setattr(desk.output, "disable_autowrap", lambda: desk.output.write("cut off"))
    async with desk.sitting():
        desk.chat.hear("drawn anew")
        await desk.until(lambda: "anew" in desk.text and desk.prompt != "")
    assert desk.text.count(ERASED) == desk.text.count(f"{ROW_BELOW}{ERASED}{BACK}")
    assert "cut off" not in desk.text


async def test_a_screen_that_is_not_up_lets_its_callers_wait_and_one_that_is_gone_does_not(
    desk: Desk,
) -> None:
    screen = Screen()
    screen.tell(notice("too early"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(screen.show, notice("waits"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(screen.run)
        await desk.see("waits")
        desk.keys.close()
    assert not await screen.show(notice("too late"))


async def test_showing_waits_until_it_is_drawn(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        for number in range(100):
            assert await screen.show(notice(f"number {number}"))
            assert f"number {number}" in desk.text
            assert desk.prompt == "lobby>"  # below it, so that a key had its turn meanwhile


async def test_between_two_looks_at_the_keyboard_little_is_drawn(desk: Desk) -> None:
    screen, lines = Screen(), 10 * PORTION
    async with desk.sitting(screen):
        desk.type("k")
        await screen.show(notice("\n".join(f"line {number}." for number in range(lines))))
        assert desk.text.index("lobby> k") < desk.text.index(f"line {lines - 1}.")
    assert max(drawn.count("line") for drawn in desk.output.drawn) == PORTION
    assert re.findall(r"line (\d+)\.", desk.text) == [str(number) for number in range(lines)]


async def test_long_texts_are_made_few_at_a_time(desk: Desk) -> None:
    long, heights = "\n" * (PORTION // 2 - 1), list[int]()

    class Measured(Screen):
        async def show(self, fragments: Fragments) -> bool:
            heights.append(height(fragments))
            return await super().show(fragments)

    async with desk.sitting(Measured()):
        for number in range(50):
            desk.chat.hear(f"n{number}.{long}", seq=number + 1)
        await desk.see("n49.")
    assert max(heights) <= PORTION + 2  # the lines of the day, and of what is new
    assert sum(heights) >= 50 * PORTION // 2


async def test_a_key_costs_the_same_however_much_is_typed_already(desk: Desk) -> None:
    class Counted(Screen):
        asked = 0

        def prompt(self) -> FormattedText:
            self.asked += 1
            return super().prompt()

    screen = Counted()
    async with desk.sitting(screen):
        desk.output.columns = 40
        desk.type("a", PASTE.format("word " * 2000))
        await desk.see("word word")
        before = screen.asked
        desk.type("z")
        await desk.see("z")
        assert 0 < screen.asked - before < 30


def test_before_each_line_of_what_is_typed_there_is_room_for_the_prompt() -> None:
    screen = Screen()
    screen.room = "garden"
    assert to_plain_text(screen.prefix(0, 0)) == "garden> "
    assert to_plain_text(screen.prefix(0, 1)) == to_plain_text(screen.prefix(7, 0)) == " " * 8
    screen.set_state(State.RECONNECTING)
    assert to_plain_text(screen.prefix(0, 0)) == "garden (reconnecting)> "
    assert to_plain_text(screen.prefix(1, 0)) == " " * 23


async def test_of_long_texts_under_way_only_the_beginning_is_looked_at(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned = list[str]()

    def note(text: str) -> str:
        cleaned.append(text)
        return clean(text)

    monkeypatch.setattr("trio_chat.client.screen.clean", note)
    screen = Screen()
    async with desk.sitting(screen):
        screen.set_state(State.RECONNECTING)
        screen.hold("1", "日本" * 5000)
        await desk.see("… 日本")
    assert max(map(len, cleaned)) <= 4 * desk.output.columns


async def test_while_there_is_a_prompt_neither_thread_keeps_the_other_one_waiting(
    desk: Desk,
) -> None:
    before = sys.getswitchinterval()
    async with desk.sitting():
        assert sys.getswitchinterval() == pytest.approx(TURN)
    assert sys.getswitchinterval() == before


async def test_nothing_of_others_reaches_the_terminal_raw(desk: Desk) -> None:
    async with desk.sitting():
        desk.chat.hear("\x1b[2J\x9b\x07 <b>bold</b> \x1b]0;title\x07 end")
        await desk.see("end")
    assert not set(desk.text) & {"\x1b", "\x9b", "\x07"}
    assert "<b>bold</b>" in desk.text


async def test_a_flood_is_shown_in_order(desk: Desk) -> None:
    async with desk.sitting():
        for number in range(900):
            desk.chat.hear(f"n{number}.")
        await desk.see("n899.")
    seen = list(map(int, re.findall(r"n(\d+)\.", desk.text)))
    assert seen == list(range(900))


async def test_against_a_server(desk: Desk) -> None:
    async with running_server() as server, server.connect(name="bob") as bob:
        await bob.ping()
        await bob.join("lobby")
        async with server.connect(name="alice") as alice:
            await alice.ping()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(run_terminal, alice, "lobby", screen=Screen()))
                await desk.see("you joined lobby")
                await bob.say("lobby", "welcome")
                await desk.see("welcome")
                desk.type("thanks", ENTER)
                await desk.see("» thanks")
                desk.type("/quit", ENTER)
        assert await bob.who("lobby") == ("bob",)


def contrast(colour: str, other: float) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (max(light, other) + 0.05) / (min(light, other) + 0.05)


def test_colours_can_be_read_on_black_and_on_white() -> None:
    colours = {*NAMES, *re.findall("#[0-9a-f]{6}", " ".join(COLOURS.values()))}
    assert len(NAMES) == NAME_COLOURS
    for colour in colours:
        assert contrast(colour, 0.0) > 3.6, colour
        assert contrast(colour, 1.0) > 3.6, colour


# ---------------------------------------------------------------- what is nobody's business


async def test_a_ban_ends_after_a_while(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/ban bob 7d for a week", ENTER)
        await desk.until(lambda: bool(desk.chat.asked) and desk.chat.asked[-1][0] == "moderate")
        (_, ban) = desk.chat.asked[-1]
        assert isinstance(ban, Ban)
        assert ban.until is not None
        left = ban.until - datetime.now(UTC)
        assert (left.days, ban.reason) == (6, "for a week")


async def test_who_looks_after_a_room_is_marked(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/who", ENTER)
        await desk.see("2 in lobby: alice, dave (moderator)")


async def test_what_moderators_did_is_shown(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/log", ENTER)
        await desk.see("put eve out of the room: rude")


async def test_devices_are_shown_with_numbers(desk: Desk) -> None:
    async with desk.sitting():
        desk.type("/devices", ENTER)
        await desk.see("1 phone, seen 2026-01-01")
        await desk.see("2 a program without a name, here, this one")


def asks(screen: Screen, what: str) -> bool:
    """Not by what is drawn: of a prompt that changes only the difference is."""
    return screen.question is not None and screen.question.what == what


async def test_a_password_is_typed_twice_and_never_shown(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        desk.type("/register", ENTER)
        await desk.until(lambda: asks(screen, "a new password"))
        desk.type("correct", UP, "\thorse", ENTER)
        await desk.until(lambda: asks(screen, "once more"))
        desk.type("correcthorse", ENTER)
        await desk.until(lambda: ("register", "correcthorse", None) in desk.chat.asked)
        await desk.see("alice is yours now")
        desk.type("and on", ENTER)
        await desk.until(lambda: desk.chat.said == ["and on"])
        desk.type(UP, UP)
        await desk.until(lambda: "/register" in desk.prompt)
        assert "correct" not in "".join(desk.text)


async def test_a_password_is_changed_with_the_old_one(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        desk.type("/password", ENTER)
        for asked, typed in (
            ("the password as it is", "old one"),
            ("a new password", "new one"),
            ("once more", "new one"),
        ):
            await desk.until(partial(asks, screen, asked))
            desk.type(typed, ENTER)
        await desk.until(lambda: ("register", "new one", "old one") in desk.chat.asked)


async def test_two_different_passwords_change_nothing(desk: Desk) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        desk.type("/register", ENTER)
        await desk.until(lambda: asks(screen, "a new password"))
        desk.type("one", ENTER)
        await desk.until(lambda: asks(screen, "once more"))
        desk.type("another", ENTER)
        await desk.see("nothing was changed")
        assert all(what != "register" for what, *_ in desk.chat.asked)


@pytest.mark.parametrize("key", [ENTER, CTRL_C])
async def test_a_question_need_not_be_answered(desk: Desk, key: str) -> None:
    screen = Screen()
    async with desk.sitting(screen):
        desk.type("/access key", ENTER)
        await desk.until(lambda: asks(screen, "a key"))
        desk.type(key)
        await desk.see("nothing was changed")
        desk.type("/access key", ENTER)
        await desk.until(lambda: asks(screen, "a key"))
        desk.type("sesame", ENTER)
        await desk.until(
            lambda: ("moderate", Restrict("lobby", "key", "sesame")) in desk.chat.asked
        )


@pytest.mark.parametrize(
    ("typed", "is_kept"),
    [
        ("hello", True),
        ("//regster secret", True),
        ("/kick bob", True),
        ("/join vault", True),
        ("/1", True),
        ("/join vault sesame", False),
        ("/register secret", False),
        ("/password secret", False),
        ("/access key sesame", False),
        ("/pasword secret", False),
    ],
)
def test_a_line_with_a_secret_is_not_kept(typed: str, is_kept: bool) -> None:  # noqa: FBT001
    assert commands.may_be_kept(typed) is is_kept
