"""Our own dialect: what `docs/protocol.md` says."""

import re

from attrs import define, field

from trio_chat.bench.dialect import Message
from trio_chat.errors import LinkLost, TextTooLong, UnknownType, WireError, from_code
from trio_chat.messages import (
    Ack,
    Error,
    Event,
    Goodbye,
    Hello,
    Join,
    Leave,
    Reply,
    Say,
    Welcome,
)
from trio_chat.wire import CLIENT

EVENT = b'{"type":"event"'

# As the server writes them: 1 µs instead of 8. The order of fields means nothing, so what
# does not match is decoded.
_SAID = re.compile(
    rb'\{"type":"event","seq":([0-9]+),"at":"[^"]*","by":"([^"]*)",'
    rb'"message":\{"type":"say","room":"[^"]*","text":"([^"\\]*)","id":"[^"]*"\}\}\n'
)
_ACK = re.compile(rb'\{"type":"ack","id":"([0-9]+)","room":"[^"]*","seq":[0-9]+\}\n')

ENTERED, LEFT, BEGUN = "in", "out", "begin"
"""The ids of what is asked once."""


@define(eq=False)
class JsonLines:
    """Speaks to a trio_chat. `size`: bytes of the texts to come. `quiet`: who comes after the
    first of a room joins quietly. `welcome`: the newest."""

    size: int
    quiet: bool = False
    welcome: Welcome | None = field(default=None, init=False)
    _opened: set[str] = field(factory=set, init=False)
    end = b"\n"
    own = b'{"type":"ack"'
    acks = True
    echoes = True
    one_order = True

    @property
    def server(self) -> str:
        """What the welcome says."""
        return "trio_chat" if self.welcome is None else self.welcome.server

    @property
    def pace(self) -> float:
        """What the welcome says."""
        return 0 if self.welcome is None else self.welcome.limits.rate

    def enter(self, name: str, room: str) -> bytes:
        """Say hello and join, in one breath."""
        hello = Hello(name, client="trio_chat bench")
        join = Join(room, quiet=self.quiet and room in self._opened, id=ENTERED)
        self._opened.add(room)
        return CLIENT.encode(hello) + CLIENT.encode(join)

    def go_on(self, _name: str, _room: str, heard: bytes) -> bytes | None:
        """Wait for the join's ack. Raises what it was refused with, `LinkLost`,
        `TextTooLong`."""
        replies = [_decode(line) for line in _but_events(heard)]
        for reply in replies:
            if isinstance(reply, Welcome):
                self._check(reply)
        is_in = any(isinstance(reply, Ack) and reply.id == ENTERED for reply in replies)
        return None if is_in else b""

    def _check(self, welcome: Welcome) -> None:
        self.welcome = welcome
        if self.size > welcome.limits.text:
            raise TextTooLong(f"this server takes texts of {welcome.limits.text} bytes")

    def begin(self, _name: str, room: str, text: str) -> bytes:
        """Everybody hears what is said."""
        return CLIENT.encode(Say(room, text, id=BEGUN))

    def say(self, room: str, number: int, text: bytes) -> bytes:
        """A say whose id is its number; none of the three needs an escape."""
        return b'{"type":"say","room":"%b","text":"%b","id":"%d"}\n' % (
            room.encode(),
            text,
            number,
        )

    def read(self, data: bytes | bytearray, start: int) -> Message | None:
        """The event that begins there."""
        if found := _SAID.match(data, start):
            return Message(found.end(), found[3], found[2], int(found[1]))
        end = data.find(b"\n", start) + 1
        return _read_otherwise(bytes(data[start:end]), end) if end else None

    def acked(self, line: bytes) -> int | None:
        """The number of the say; raises `ValueError` if it was said before."""
        if found := _ACK.fullmatch(line):
            return int(found[1])
        reply = _decode(line)
        if not isinstance(reply, Ack) or reply.again:
            raise ValueError(f"no ack of what was said once: {line!r:.120}")
        return None if reply.id == BEGUN else int(reply.id)

    def leave(self, room: str) -> bytes | None:
        """Leave the room."""
        return CLIENT.encode(Leave(room, id=LEFT))

    def has_left(self, heard: bytes) -> bool:
        """Is the leave acked?"""
        replies = (_decode(line) for line in _but_events(heard))
        return any(isinstance(reply, Ack) and reply.id == LEFT for reply in replies)


def _but_events(heard: bytes) -> list[bytes]:
    return [line for line in heard.splitlines() if not line.startswith(EVENT)]


def _decode(line: bytes) -> Reply | None:
    """The reply in a line; None if it is of a kind that is not known here.

    Raises `LinkLost`, or what an error line says.
    """
    try:
        reply = CLIENT.decode(line)
    except UnknownType:
        return None
    except WireError as exc:
        raise LinkLost(f"the other side does not speak trio_chat: {exc}") from exc
    if isinstance(reply, Error):
        raise from_code(reply.code, reply.text, reply.retry)
    if isinstance(reply, Goodbye):
        raise LinkLost(f"the server says goodbye: {reply.reason}")
    return reply


def _read_otherwise(line: bytes, end: int) -> Message:
    reply = _decode(line)
    if not isinstance(reply, Event) or not isinstance(reply.message, Say):
        raise ValueError("nothing that somebody said")
    return Message(end, reply.message.text.encode(), reply.by.encode(), reply.seq)
