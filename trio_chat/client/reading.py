"""Telling the server how far one has read, for one's other devices and the next time."""

from contextlib import suppress

import trio
from attrs import define, field

from trio_chat.client.chat import Chat
from trio_chat.errors import Refused

TELL_EVERY = 1.0
"""Seconds between two times that the server is told: a flood is one thing to tell."""


@define(eq=False)
class Reading:
    """How far one has read each room, and how much of that the server knows."""

    chat: Chat
    _read: dict[str, int] = field(factory=dict, init=False)  # and not told yet
    _told: dict[str, int] = field(factory=dict, init=False)
    _is_news: trio.Event = field(factory=trio.Event, init=False)

    def see(self, room: str, seq: int) -> None:
        """One has read a room up to event `seq`."""
        if seq > self._told.get(room, 0):
            self._read[room] = seq
            self._is_news.set()

    def know(self, room: str, seq: int) -> None:
        """The server knows that one has read a room up to event `seq`."""
        self._told[room] = max(seq, self._told.get(room, 0))

    def forget(self) -> None:
        """The history is another one: the numbers mean nothing any more."""
        self._read.clear()
        self._told.clear()

    async def keep_telling(self) -> None:
        """Tell the server, until cancelled."""
        while True:
            await self._is_news.wait()
            self._is_news = trio.Event()
            await self.tell()
            await trio.sleep(TELL_EVERY)

    async def tell(self) -> None:
        """Tell the server what it does not know."""
        while self._read:
            room, seq = self._read.popitem()
            self.know(room, seq)
            with suppress(Refused):  # one is not in that room any more
                await self.chat.read(room, seq)
