"""How the other servers are spoken to, as the load tester's `Dialect`s."""

import re
from typing import ClassVar

from attrs import define, field

from trio_chat.bench.dialect import Message


@define(eq=False)
class Plain:
    """What most of them have in common: lines, no acks, nothing to be said at the end.

    `server`: what it calls itself. `size`: bytes of the texts to come.
    """

    server: str
    size: int
    pace: ClassVar[float] = 0.0
    end = b"\n"
    own: ClassVar[bytes | None] = None
    acks = False
    echoes = True
    one_order = True
    _said: re.Pattern[bytes] = field(init=False)
    _has_by: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._said = re.compile(self.pattern, re.DOTALL)
        self._has_by = "by" in self._said.groupindex

    @property
    def pattern(self) -> bytes:
        """What a message looks like; its groups are the text and, maybe, who said it."""
        return rb"(?P<by>[^:\n]+): (?P<text>[^\n]*)\n"

    def enter(self, name: str, room: str) -> bytes:
        """The room and the name."""
        return f"{room} {name}\n".encode()

    def go_on(self, name: str, _room: str, heard: bytes) -> bytes | None:
        """Wait until it is announced."""
        return None if f"{name} joined\n".encode() in heard else b""

    def begin(self, _name: str, room: str, text: str) -> bytes:
        """Say it as anything else."""
        return self.say(room, 0, text.encode())

    def say(self, _room: str, _number: int, text: bytes) -> bytes:
        """A line."""
        return text + b"\n"

    def read(self, data: bytes | bytearray, start: int) -> Message | None:
        """What the pattern finds."""
        found = self._said.match(data, start)
        if found is None:
            if self._is_whole(data, start):
                raise ValueError("nothing that somebody said")
            return None
        by = found["by"] if self._has_by else None
        return Message(found.end(), found["text"], by)

    def _is_whole(self, data: bytes | bytearray, start: int) -> bool:
        return data.find(b"\n", start) >= 0

    def acked(self, _line: bytes) -> int | None:
        """There are no acks."""
        return None

    def leave(self, _room: str) -> bytes | None:
        """Hang up."""
        return None

    def has_left(self, _heard: bytes) -> bool:
        """Never asked."""
        return True


@define(eq=False)
class WebSocket(Plain):
    """RFC 6455, without compression, one text frame for each message."""

    end = b""
    _heard: dict[str, bytes] = field(factory=dict, init=False)

    @property
    def pattern(self) -> bytes:
        """A short text frame, or a long one."""
        return rb"\x81(?:[\x00-\x7d]|\x7e..)(?P<by>[^:]+): (?P<text>.{%d})" % self.size

    def enter(self, name: str, room: str) -> bytes:
        """The handshake, and the room and the name as the first message."""
        return (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ) + frame(f"{room} {name}".encode())

    def go_on(self, name: str, _room: str, heard: bytes) -> bytes | None:
        """Wait until it is announced; frames have no ends to cut them at."""
        word = f"{name} joined".encode()
        heard = self._heard.pop(name, b"") + heard
        if word in heard:
            return None
        self._heard[name] = heard[-len(word) :]
        return b""

    def say(self, _room: str, _number: int, text: bytes) -> bytes:
        """A frame."""
        return frame(text)

    def _is_whole(self, data: bytes | bytearray, start: int) -> bool:
        return len(data) - start > self.size + 100


def frame(text: bytes) -> bytes:
    """A text frame, masked with zeroes."""
    size = len(text)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


@define(eq=False)
class Redis(Plain):
    """RESP3, in which who has subscribed may publish, too."""

    own = b":"

    @property
    def pattern(self) -> bytes:
        """A push of a message."""
        return rb">3\r\n\$7\r\nmessage\r\n\$\d+\r\n[^\r]+\r\n\$\d+\r\n(?P<text>[^\r]*)\r\n"

    def enter(self, _name: str, room: str) -> bytes:
        """Subscribe."""
        return f"HELLO 3\r\nSUBSCRIBE {room}\r\n".encode()

    def go_on(self, _name: str, _room: str, heard: bytes) -> bytes | None:
        """Wait until that is confirmed."""
        return None if b"$9\r\nsubscribe\r\n" in heard else b""

    def say(self, room: str, _number: int, text: bytes) -> bytes:
        """Publish."""
        where = room.encode()
        parts = (len(where), where, len(text), text)
        return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % parts

    def _is_whole(self, data: bytes | bytearray, start: int) -> bool:
        return len(data) - start > self.size + 100


@define(eq=False)
class Nats(Plain):
    """The NATS client protocol. It keeps the order of each publisher, not one of all."""

    own = b"P"  # PING, PONG
    one_order = False

    @property
    def pattern(self) -> bytes:
        """A message, with its head."""
        return rb"MSG [^ ]+ 1 \d+\r\n(?P<text>[^\r]*)\r\n"

    def enter(self, _name: str, room: str) -> bytes:
        """Subscribe."""
        return (
            b'CONNECT {"verbose":false,"pedantic":false,"echo":true,"lang":"bench"}\r\n'
            b"SUB %b 1\r\nPING\r\n" % room.encode()
        )

    def go_on(self, _name: str, _room: str, heard: bytes) -> bytes | None:
        """Wait until all that is done."""
        return None if b"PONG\r\n" in heard else b""

    def say(self, room: str, _number: int, text: bytes) -> bytes:
        """Publish."""
        return b"PUB %b %d\r\n%b\r\n" % (room.encode(), len(text), text)

    def _is_whole(self, data: bytes | bytearray, start: int) -> bool:
        return len(data) - start > self.size + 100


@define(eq=False)
class Irc(Plain):
    """RFC 2812. Who speaks does not hear it."""

    echoes = False

    @property
    def pattern(self) -> bytes:
        """What somebody said in a channel."""
        return rb":(?P<by>[^! ]+)![^ ]+ PRIVMSG #[^ ]+ :(?P<text>[^\r]*)\r\n"

    def enter(self, name: str, _room: str) -> bytes:
        """Register."""
        return f"NICK {name}\r\nUSER {name} 0 * :{name}\r\n".encode()

    def go_on(self, name: str, room: str, heard: bytes) -> bytes | None:
        """Join once that is done, and wait for the end of the list of names."""
        if f" 366 {name} ".encode() in heard:
            return None
        return f"JOIN #{room}\r\n".encode() if f" 001 {name} ".encode() in heard else b""

    def begin(self, name: str, room: str, text: str) -> bytes:
        """To the channel, and to oneself."""
        return f"PRIVMSG #{room} :{text}\r\nPRIVMSG {name} :{text}\r\n".encode()

    def say(self, room: str, _number: int, text: bytes) -> bytes:
        """To the channel."""
        return b"PRIVMSG #%b :%b\r\n" % (room.encode(), text)
