"""A Chromium without a screen, driven over its DevTools protocol.

The protocol is JSON over a WebSocket, and a client for it is at hand. That is all it takes:
no driver whose version has to match, and no browser but that of the system.
"""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
from attrs import define, field
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

START_WITHIN = 60.0
"""Seconds for the browser to come up on a busy machine."""

PATIENCE = 20.0
"""Seconds for something to happen on a page."""

LOOK_EVERY = 0.05
"""Seconds between two looks at a page."""

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--lang=en-GB",
)

MESSAGE_BYTES = 64 * 1024 * 1024
"""The longest message of the browser: a screenshot."""


MIDDLE = """element => {
  element.scrollIntoView({block: "nearest", behavior: "instant"});
  const box = element.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}"""
"""Where an element is, once it is in sight."""


class PageError(Exception):
    """A script on a page has failed."""


@define(eq=False)
class Tab:
    """One page, in a profile of its own.

    `complaints`: what it wrote into its console, and what failed in its scripts;
    `responses`: the headers of what it got, by address.
    """

    browser: "Browser"
    session: str
    context: str
    complaints: list[str] = field(factory=list, init=False)
    responses: dict[str, dict[str, str]] = field(factory=dict, init=False)
    _is_loaded: trio.Event = field(factory=trio.Event, init=False)

    async def call(self, method: str, **params: object) -> Any:
        """Ask for something of the protocol. Raises `PageError`."""
        return await self.browser.call(method, params, self.session)

    async def open(self, address: str) -> None:
        """Go to an address, and wait until it is loaded."""
        await self._load("Page.navigate", url=address)

    async def reload(self) -> None:
        """Load the page anew."""
        await self._load("Page.reload")

    async def _load(self, method: str, **params: object) -> None:
        self._is_loaded = trio.Event()
        await self.call(method, **params)
        with trio.fail_after(PATIENCE):
            await self._is_loaded.wait()

    async def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        found = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise PageError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression is true; returns its value."""
        with trio.move_on_after(PATIENCE):
            while True:
                if value := await self.run(script):
                    return value
                await trio.sleep(LOOK_EVERY)
        raise PageError(f"it did not come true in {PATIENCE:.0f} s: {script}")

    async def type(self, text: str) -> None:
        """Type into what has the focus, as a keyboard or a paste does."""
        await self.call("Input.insertText", text=text)

    async def paste(self, text: str) -> None:
        """Paste out of the clipboard."""
        allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        where = {"permissions": allowed, "browserContextId": self.context}
        await self.browser.call("Browser.grantPermissions", where)
        await self.run(f"navigator.clipboard.writeText({json.dumps(text)})")
        await self.call(
            "Input.dispatchKeyEvent", type="keyDown", key="v", modifiers=2, commands=["paste"]
        )
        await self.call("Input.dispatchKeyEvent", type="keyUp", key="v", modifiers=2)

    async def press(self, *keys: str) -> None:
        """Press keys one after the other: `Enter`, `Alt+ArrowUp`."""
        for key in keys:
            await self._press(key)

    async def _press(self, combination: str) -> None:
        *held, key = combination.split("+") if len(combination) > 1 else [combination]
        bits = sum({"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}[one] for one in held)
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 and not bits & 7 else "")
        code = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40}
        number = code.get(key, ord(key.upper()) if len(key) == 1 else 0)
        common: dict[str, Any] = {
            "key": key,
            "modifiers": bits,
            "windowsVirtualKeyCode": number,
        }
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def click(self, selector: str, button: str = "left") -> None:
        """Click at the middle of the first element, as a mouse does."""
        await self._mouse(
            selector, "mouseMoved", "mousePressed", "mouseReleased", button=button
        )

    async def tap(self, selector: str) -> None:
        """Touch the middle of the first element, as a finger does."""
        x, y = await self.run(f"({MIDDLE})(document.querySelector({json.dumps(selector)}))")
        await self.call(
            "Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}]
        )
        await self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    async def hover(self, selector: str) -> None:
        """Move the mouse to the middle of the first element."""
        await self._mouse(selector, "mouseMoved")

    async def _mouse(self, selector: str, *kinds: str, button: str = "left") -> None:
        x, y = await self.run(f"({MIDDLE})(document.querySelector({json.dumps(selector)}))")
        for kind in kinds:
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1
            )

    async def roles(self) -> set[tuple[str, str]]:
        """What a screen reader is told: the role and the name of each thing."""
        tree = await self.call("Accessibility.getFullAXTree")
        seen = [node for node in tree["nodes"] if not node["ignored"]]
        return {(node["role"]["value"], node["name"]["value"]) for node in seen}

    async def resize(
        self, width: int, height: int, *, scale: float = 1, is_phone: bool = False
    ) -> None:
        """Give the page that many pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=is_phone,
        )

    async def prefer(self, scheme: str) -> None:
        """Have the system's colours be `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])

    async def photograph(self, path: Path) -> None:
        """Store a picture of the page."""
        found = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def notice(self, method: str, params: dict[str, Any]) -> None:
        """Take note of something that has happened on the page."""
        match method:
            case "Page.loadEventFired":
                self._is_loaded.set()
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(str(details.get("exception", details)))
            case "Runtime.consoleAPICalled" | "Log.entryAdded":
                self.complaints.append(json.dumps(params)[:2000])
            case "Network.responseReceived" | "Network.webSocketHandshakeResponseReceived":
                response = params["response"]
                fields = {name.lower(): value for name, value in response["headers"].items()}
                self.responses[response.get("url", "the WebSocket")] = fields
            case _:
                pass  # what else happens is nobody's business here


@define(eq=False)
class Browser:
    """A browser that runs; made by `talking_to`."""

    link: WebSocketConnection
    _last: int = field(default=0, init=False)
    _answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = field(
        factory=dict, init=False
    )
    _tabs: dict[str, Tab] = field(factory=dict, init=False)

    async def call(
        self, method: str, params: dict[str, Any], session: str | None = None
    ) -> Any:
        """Ask for something of the protocol. Raises `PageError`."""
        self._last += 1
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._answers[self._last] = send
        request = {"id": self._last, "method": method, "params": params}
        if session is not None:
            request["sessionId"] = session
        with send, receive:
            await self.link.send_message(json.dumps(request))
            with trio.fail_after(START_WITHIN):
                answer = await receive.receive()
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    @asynccontextmanager
    async def tab(self, *, context: str | None = None) -> AsyncIterator[Tab]:
        """A tab, of somebody else, or of the same person if `context` is that of another."""
        is_new = context is None
        if context is None:
            made = await self.call("Target.createBrowserContext", {})
            context = made["browserContextId"]
        target = await self.call(
            "Target.createTarget", {"url": "about:blank", "browserContextId": context}
        )
        attached = await self.call(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        tab = Tab(self, attached["sessionId"], str(context))
        self._tabs[tab.session] = tab
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.call(f"{domain}.enable")
        # As if somebody looked at each of them: there is one screen only.
        await tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        try:
            yield tab
        finally:
            with trio.move_on_after(5, shield=True):
                await self.call("Target.closeTarget", {"targetId": target["targetId"]})
                if is_new:
                    await self.call(
                        "Target.disposeBrowserContext", {"browserContextId": context}
                    )

    async def hear(self) -> None:
        """Hand on what the browser says, until it ends."""
        with suppress(ConnectionClosed):
            while True:
                message = json.loads(await self.link.get_message())
                if "id" in message:
                    answer = self._answers.pop(message["id"])
                    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        answer.send_nowait(message)
                elif tab := self._tabs.get(message.get("sessionId", "")):
                    tab.notice(message["method"], message["params"])


@contextmanager
def running_browser(program: str) -> Iterator[str]:
    """A browser with an empty profile, which is gone at the end: where to talk to it."""
    with TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        command = [program, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        null = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=null, stderr=null) as process:
            try:
                yield _address(Path(folder))
            finally:
                process.terminate()


def _address(folder: Path) -> str:
    """Where it can be talked to, which it writes down once it is up. Raises `PageError`."""
    file = folder / "DevToolsActivePort"
    end = time.monotonic() + START_WITHIN
    while time.monotonic() < end:
        lines: Sequence[str] = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(LOOK_EVERY)
    raise PageError(f"the browser did not come up in {START_WITHIN:.0f} s")


@asynccontextmanager
async def talking_to(address: str) -> AsyncIterator[Browser]:
    """A browser that runs there."""
    async with (
        open_websocket_url(address, max_message_size=MESSAGE_BYTES) as link,
        trio.open_nursery() as nursery,
    ):
        browser = Browser(link)
        nursery.start_soon(browser.hear)
        yield browser
        nursery.cancel_scope.cancel()


def find_chromium() -> str | None:
    """The browser of this system."""
    return shutil.which("chromium") or shutil.which("chromium-browser")
