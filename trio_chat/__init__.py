"""A self-hosted team chat whose messages arrive exactly once, in one order.

async with trio_chat.connect("localhost", name="alice") as chat:
    await chat.join("lobby")
    await chat.say("lobby", "hello")
    async for event in chat:
        ...
"""

from typing import TYPE_CHECKING

from trio_chat._version import __version__
from trio_chat.client.calls import Receipt
from trio_chat.client.chat import Chat, connect
from trio_chat.client.lifeline import State
from trio_chat.errors import ChatError, LinkLost, Refused, SetupError, Untrusted, WireError
from trio_chat.messages import Event, Gap, Join, Leave, Page, RoomInfo, Say

if TYPE_CHECKING:
    from trio_chat.testing import RunningServer, running_server

__all__ = [
    "Chat",
    "ChatError",
    "Event",
    "Gap",
    "Join",
    "Leave",
    "LinkLost",
    "Page",
    "Receipt",
    "Refused",
    "RoomInfo",
    "RunningServer",
    "Say",
    "SetupError",
    "State",
    "Untrusted",
    "WireError",
    "__version__",
    "connect",
    "running_server",
]


def __getattr__(name: str) -> object:
    """What needs a whole server is imported when it is asked for: who only connects starts
    in two thirds of the time without it."""
    if name in {"RunningServer", "running_server"}:
        from trio_chat import testing  # noqa: PLC0415

        return getattr(testing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
