"""People in browsers: a page that somebody has opened, and what is done and seen there."""

import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest
from attrs import define

from tests.browser.devtools import Browser, Tab, find_chromium, running_browser, talking_to
from trio_chat.doors.http import GUARDS
from trio_chat.testing import RunningServer, running_server

IS_WANTED = "BROWSER" in os.environ
"""They take a minute, and need a browser: `nox -s browser` wants them."""

needs_browser = pytest.mark.skipif(not IS_WANTED, reason="nox -s browser runs these")


PHONE = (375, 760)
"""The width of the narrowest telephones that are sold."""


@define(eq=False)
class Page:
    """What one person has before the eyes."""

    tab: Tab

    async def come_to(self, address: str, name: str) -> None:
        """Open the page and say who is there."""
        await self.tab.open(address)
        await self.tab.until("document.activeElement?.name === 'name'")
        await self.tab.type(name)
        await self.tab.press("Enter")

    async def enter(self, address: str, name: str) -> None:
        """Open the page and go in."""
        await self.come_to(address, name)
        await self.is_in()

    async def log_in(self, password: str) -> None:
        """Say the password, once it is asked for."""
        await self.tab.until("document.activeElement?.name === 'password'")
        await self.tab.until("!document.querySelector('#enter button').disabled")
        await self.tab.type(password)
        await self.tab.press("Enter")

    async def fill(self, field: str, text: str) -> None:
        """Type into a field, instead of what is in it."""
        await self.tab.run(f"document.querySelector({json.dumps(field)}).select()")
        await self.tab.type(text)

    async def set_password(self, password: str, again: str | None = None) -> None:
        """Say a new password, where one is asked for it."""
        await self.fill("#own [name=fresh]", password)
        await self.fill("#own [name=again]", again or password)
        await self.tab.press("Enter")

    async def is_in(self, room: str = "lobby") -> None:
        """Wait until the room is open and its events come."""
        await self.tab.until(f"chat?.open?.name === {json.dumps(room)} && chat.open.isIn")

    async def say(self, text: str) -> None:
        """Type into the field, and send it."""
        await self.tab.run("document.getElementById('typed').focus()")
        await self.tab.type(text)
        await self.tab.press("Enter")

    async def sees(self, text: str) -> None:
        """Wait until somebody has said that, in the room that is open."""
        await self.tab.until(f"{TEXTS}.includes({json.dumps(text)})")

    async def texts(self) -> Sequence[str]:
        """All that is said there, as it is shown."""
        return list(await self.tab.run(TEXTS))

    async def shown(self, selector: str) -> str:
        """The text of an element."""
        return str(
            await self.tab.run(f"document.querySelector({json.dumps(selector)}).innerText")
        )

    async def hold_as_a_phone(self, scale: float = 1) -> None:
        """Have the screen of a telephone, and wait until the page has noticed."""
        width, height = PHONE
        await self.tab.call("Emulation.setTouchEmulationEnabled", enabled=True)
        await self.tab.resize(width, height, scale=scale, is_phone=True)
        await self.tab.until(
            f"innerWidth === {width} && $('side').getBoundingClientRect().right <= 0"
        )

    async def open_room(self, name: str) -> None:
        """Go to a room, as by its place in the list or by the finder."""
        await self.tab.run(f"go({json.dumps(name)})")

    async def run(self, script: str) -> Any:
        """The value of an expression there."""
        return await self.tab.run(script)

    def check(self) -> None:
        """Nothing was complained of, and every response was guarded."""
        assert self.tab.complaints == [], self.tab.complaints
        for where, fields in self.tab.responses.items():
            for name, value in GUARDS.items():
                assert fields[name.lower()] == value, where


TEXTS = "[...document.querySelectorAll('#messages .text')].map(text => text.innerText)"


@define(eq=False)
class Stage:
    """A browser, and a server to go to at `address`."""

    browser: Browser
    server: RunningServer
    address: str

    @asynccontextmanager
    async def page(self, *names: str) -> AsyncIterator[list[Page]]:
        """The pages of people with these names, who have come in. All are checked at the
        end."""
        async with AsyncExitStack() as stack:
            pages = []
            for name in names:
                tab = await stack.enter_async_context(self.browser.tab())
                pages.append(Page(tab))
                await pages[-1].enter(self.address, name)
            yield pages
            for page in pages:
                page.check()


@contextmanager
def chromium() -> Iterator[str]:
    """The browser of this system, with nothing in it: where to talk to it."""
    program = find_chromium()
    assert program is not None, "install Chromium: apt-get install chromium"
    with running_browser(program) as address:
        yield address


@asynccontextmanager
async def set_up(browser: str) -> AsyncIterator[Stage]:
    """A server, and the browser that is there."""
    async with running_server() as server, talking_to(browser) as talk:
        yield Stage(talk, server, f"http://{server.host}:{server.port}/")
