"""What moderators do, from a terminal."""

from datetime import UTC, datetime
from typing import assert_never

from attrs import define, evolve

from trio_chat.client.chat import Chat
from trio_chat.client.commands import Govern, Lock, ShowDeeds
from trio_chat.client.display import Display
from trio_chat.client.notices import join_lines, notice
from trio_chat.messages import Ban, Mute, Restrict

Governing = Govern | Lock | ShowDeeds


@define(eq=False)
class Government:
    """Does what a moderator wants in a room. What is refused is raised."""

    chat: Chat
    display: Display

    async def do(self, command: Governing, room: str) -> None:
        """Do it. Raises `Refused`."""
        match command:
            case Govern():
                await self._govern(command, room)
            case Lock(key):
                await self._lock(room, key)
            case ShowDeeds(count):
                await self._show_deeds(room, count)
            case _:
                assert_never(command)

    async def _govern(self, command: Govern, room: str) -> None:
        deed = evolve(command.deed, room=room)
        if command.lasts is not None and isinstance(deed, Ban | Mute):
            end = datetime.now(UTC).replace(microsecond=0) + command.lasts
            deed = evolve(deed, until=end)
        await self.chat.moderate(deed)

    async def _lock(self, room: str, key: str | None) -> None:
        if key is None:
            typed = await self.display.screen.ask_unseen("a key")
            key = None if typed is None else typed.reveal()
        if key is None:
            await self.display.say(notice("nothing was changed"))
        else:
            await self.chat.moderate(Restrict(room, "key", key))

    async def _show_deeds(self, room: str, count: int) -> None:
        limit = min(count, self.chat.welcome.limits.page)
        page = await self.chat.history(room, limit=limit, deeds=True)
        view = self.display.fresh_view()
        shown = [view.show(event) for event in page.events]
        nothing = notice("no moderator has done anything here")
        await self.display.say(join_lines(shown) if shown else nothing)
