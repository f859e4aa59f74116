"""A self-hosted team chat whose messages arrive exactly once, in one order.

async with trio_chat.connect("localhost", name="alice") as chat:
    await chat.join("lobby")
    await chat.say("lobby", "hello")
    async for event in chat:
        ...
"""

from trio_chat.client.calls import Receipt
from trio_chat.client.chat import Chat, connect
from trio_chat.client.lifeline import State
from trio_chat.errors import ChatError, LinkLost, Refused, SetupError, WireError
from trio_chat.messages import Event, Gap, Join, Leave, Page, RoomInfo, Say
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
    "WireError",
    "connect",
    "running_server",
]
