"""What moderators do, from a terminal."""

from datetime import UTC, datetime, timedelta
from typing import assert_never

from attrs import define, evolve

from trio_chat.client.chat import Chat
from trio_chat.client.commands import Govern, Lock, ShowAccess, ShowDeeds, ShutOut
from trio_chat.client.deeds import ACCESS
from trio_chat.client.display import Display
from trio_chat.client.notices import join_lines, notice
from trio_chat.errors import NoSuchRoom
from trio_chat.messages import Ban, Mute, Restrict
from trio_chat.pairs import is_private

Governing = Govern | ShutOut | Lock | ShowAccess | ShowDeeds


def _end(lasts: timedelta | None) -> datetime | None:
    return None if lasts is None else datetime.now(UTC).replace(microsecond=0) + lasts


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
            case ShutOut():
                await self._shut_out(command)
            case Lock(key):
                await self._lock(room, key)
            case ShowAccess():
                await self._show_access(room)
            case ShowDeeds(count):
                await self._show_deeds(room, count)
            case _:
                assert_never(command)

    async def _govern(self, command: Govern, room: str) -> None:
        deed = evolve(command.deed, room=room)
        if isinstance(deed, Ban | Mute):
            deed = evolve(deed, until=_end(command.lasts))
        await self.chat.moderate(deed)

    async def _shut_out(self, command: ShutOut) -> None:
        request = evolve(command.request, until=_end(command.lasts))
        await self.chat.banish(request)
        told = "may come again" if request.off else "can't come to this server"
        who = f"whoever comes from where {request.name} is" if request.where else request.name
        await self.display.say(notice(f"{who} {told}"))

    async def _lock(self, room: str, key: str | None) -> None:
        if key is None:
            typed = await self.display.screen.ask_unseen("a key")
            key = None if typed is None else typed.reveal()
        if key is None:
            await self.display.say(notice("nothing was changed"))
        else:
            await self.chat.moderate(Restrict(room, "key", key))

    async def _show_access(self, room: str) -> None:
        if is_private(room):
            await self.display.say(notice("nobody else gets in"))
            return
        known = {info.room: info.access for info in await self.chat.rooms()}
        if room not in known:
            raise NoSuchRoom(f"there is no room {room}")
        await self.display.say(notice(ACCESS[known[room]]))

    async def _show_deeds(self, room: str, count: int) -> None:
        limit = min(count, self.chat.welcome.limits.page)
        page = await self.chat.history(room, limit=limit, deeds=True)
        view = self.display.fresh_view()
        shown = [view.show(event) for event in page.events]
        nothing = notice("no moderator has done anything here")
        await self.display.say(join_lines(shown) if shown else nothing)
