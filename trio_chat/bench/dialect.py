"""What differs between kinds of chat servers, as the load tester sees them."""

from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """What somebody said, as a member was sent it.

    `end`: where it ends in the bytes that it was read from. `by`: the speaker's name, `seq`:
    its number in the room; None where the protocol has no such thing.
    """

    end: int
    text: bytes
    by: bytes | None = None
    seq: int | None = None


class Dialect(Protocol):
    """How a server is entered and spoken to, and how what it sends is cut.

    `end`: the last byte of everything that is sent, or nothing if there is no such byte.
    `own`: how a line begins that only this member is sent, such as an ack; None: there are
    none. `acks`: is each say answered by such a line? `echoes`: does who speaks hear it
    too? `one_order`: are all members of a room sent the same, in the same order?
    """

    @property
    def server(self) -> str:
        """The server's name and version, as far as it says them."""
        ...

    @property
    def pace(self) -> float:
        """Says a second that the server slows each connection down to; 0 is no limit."""
        ...

    @property
    def end(self) -> bytes: ...
    @property
    def own(self) -> bytes | None: ...
    @property
    def acks(self) -> bool: ...
    @property
    def echoes(self) -> bool: ...
    @property
    def one_order(self) -> bool: ...

    def enter(self, name: str, room: str, /) -> bytes:
        """What a new connection sends to be in a room."""
        ...

    def go_on(self, name: str, room: str, heard: bytes, /) -> bytes | None:
        """What it sends next to be in, after it was sent these whole lines, maybe nothing;
        None once it is in. Raises `ChatError`."""
        ...

    def begin(self, name: str, room: str, text: str, /) -> bytes:
        """Say a text that everybody in the room, the speaker included, is sent."""
        ...

    def say(self, room: str, number: int, text: bytes, /) -> bytes:
        """Say a text; `number` is the how many-th of this speaker it is."""
        ...

    def read(self, data: bytes | bytearray, start: int, /) -> Message | None:
        """The message that begins at `start`; None if not all of it is there yet.

        Raises `ValueError` for what is none; `ChatError` for what says that it is over.
        """
        ...

    def acked(self, line: bytes, /) -> int | None:
        """Which say an `own` line answers: its number; None if that is no matter.

        Raises `ChatError` if it answers that something has gone wrong.
        """
        ...

    def leave(self, room: str, /) -> bytes | None:
        """What is sent to leave; None if one just closes the connection."""
        ...

    def has_left(self, heard: bytes, /) -> bool:
        """Has it left, after it was sent these whole lines?"""
        ...
