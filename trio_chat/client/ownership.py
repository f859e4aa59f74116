"""What makes a name one's own, from a terminal: the password, and the devices.

A password is typed where nobody sees it, and is nowhere once it is sent.
"""

from typing import assert_never

from attrs import define, field

from trio_chat.client.chat import Chat
from trio_chat.client.commands import ChangePassword, ListDevices, Register, ThrowOut
from trio_chat.client.display import Display
from trio_chat.client.listings import device_list
from trio_chat.client.notices import notice
from trio_chat.errors import NotAllowed
from trio_chat.secret import Secret

Owning = Register | ChangePassword | ListDevices | ThrowOut

UNCHANGED = "nothing was changed"


@define(eq=False)
class Ownership:
    """Does what a person wants with the name that it has. What is refused is raised."""

    chat: Chat
    display: Display
    _devices: tuple[str, ...] = field(default=(), init=False)  # as they were listed last

    async def do(self, command: Owning) -> None:
        """Do it. Raises `Refused`."""
        match command:
            case Register():
                await self._register()
            case ChangePassword():
                await self._change_password()
            case ListDevices():
                await self._list_devices()
            case ThrowOut(number):
                await self._throw_out(number)
            case _:
                assert_never(command)

    async def _register(self) -> None:
        if self.chat.welcome.account:
            raise NotAllowed(
                f"{self.chat.name} is yours already; /password changes the password"
            )
        password = await self._new_password()
        if password is not None:
            await self.chat.register(password.reveal())
            told = f"{self.chat.name} is yours now; at another device you need the password"
            await self.display.say(notice(told))

    async def _change_password(self) -> None:
        old = await self._ask("the password as it is")
        new = None if old is None else await self._new_password()
        if old is not None and new is not None:
            await self.chat.register(new.reveal(), old=old.reveal())
            told = "you have another password; your other devices have to log in anew"
            await self.display.say(notice(told))

    async def _new_password(self) -> Secret | None:
        """One that was typed twice; if not, it is told."""
        password = await self._ask("a new password")
        again = None if password is None else await self._ask("once more")
        if password is None or again is None:
            return None
        if again.reveal() != password.reveal():
            await self.display.say(notice(f"these were two different passwords; {UNCHANGED}"))
            return None
        return password

    async def _ask(self, what: str) -> Secret | None:
        answer = await self.display.screen.ask_unseen(what)
        if answer is None:
            await self.display.say(notice(UNCHANGED))
        return answer

    async def _list_devices(self) -> None:
        devices = await self.chat.devices()
        self._devices = tuple(device.device for device in devices)
        await self.display.say(device_list(devices))

    async def _throw_out(self, number: int) -> None:
        if not self._devices:
            await self._list_devices()
        if number > len(self._devices):
            raise NotAllowed(f"you have no device {number}; /devices lists them")
        await self.chat.revoke(self._devices[number - 1])
        await self.display.say(notice(f"device {number} has to log in anew"))
        self._devices = ()  # the numbers are others now
