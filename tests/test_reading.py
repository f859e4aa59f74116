"""Telling the server how far one has read."""

from typing import cast

import pytest
import trio
from attrs import define, field
from trio.testing import wait_all_tasks_blocked

from trio_chat.client.chat import Chat
from trio_chat.client.reading import TELL_EVERY, Reading
from trio_chat.errors import NotInRoom


@define(eq=False)
class FakeChat:
    """Notes what it is told, and when."""

    told: list[tuple[float, str, int]] = field(factory=list)

    async def read(self, room: str, seq: int) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append((trio.current_time(), room, seq))
        if room == "left":
            raise NotInRoom("you are not there any more")


@pytest.fixture
def chat() -> FakeChat:
    return FakeChat()


@pytest.fixture
def reading(chat: FakeChat) -> Reading:
    return Reading(cast("Chat", chat))


async def test_a_flood_is_one_thing_to_tell(
    chat: FakeChat, reading: Reading, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading.keep_telling)
        start = trio.current_time()
        reading.see("lobby", 1)
        await wait_all_tasks_blocked()
        for seq in range(2, 100):
            reading.see("lobby", seq)
            reading.see("left", seq)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [(room, seq) for _, room, seq in chat.told[:1]] == [("lobby", 1)]
    assert {(room, seq) for _, room, seq in chat.told[1:]} == {("lobby", 99), ("left", 99)}
    assert [at - start for at, _, _ in chat.told] == [0, TELL_EVERY, TELL_EVERY]


async def test_what_the_server_knows_is_not_told(
    chat: FakeChat, reading: Reading, autojump_clock: trio.testing.MockClock
) -> None:
    reading.know("lobby", 9)
    reading.know("lobby", 4)
    for seq in (4, 9, 11, 10):
        reading.see("lobby", seq)
    await reading.tell()
    await reading.tell()
    assert [told[1:] for told in chat.told] == [("lobby", 10)]
    reading.forget()
    reading.see("lobby", 4)
    await reading.tell()
    assert [told[1:] for told in chat.told[1:]] == [("lobby", 4)]
