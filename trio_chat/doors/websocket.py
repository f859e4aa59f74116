"""WebSocket: a message of ours in each text frame. The only importer of wsproto.

The session knows nothing of frames. Towards it, `FrameStream` is a stream of lines; and
what goes out was framed by the outbox's format, once for all who are told.
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus

import trio
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from trio_chat.doors.http import HttpRequest, NotServed, guard_headers
from trio_chat.doors.stream import direct_read
from trio_chat.errors import BadFrame, LineTooLong, WireError
from trio_chat.framing import LINE_BYTES
from trio_chat.outbox import GOODBYE, PUT_OUT, TAKEN_OVER, Format, Outbox
from trio_chat.session import SILENCE

CLOSE_CODES: Mapping[str | None, int] = {
    None: CloseReason.INTERNAL_ERROR,
    GOODBYE: CloseReason.GOING_AWAY,
    LineTooLong.code: CloseReason.MESSAGE_TOO_BIG,
    TAKEN_OVER: 4000,
    PUT_OUT: 4001,
}
"""What a connection is closed with, by what ended it; any other refusal is a matter of
policy. Those from 4000 on are ours (RFC 6455, section 7.4.2)."""

PINGS = 3
"""How many times a peer that is silent is waited for, and pinged between, before it is taken
for lost: together SILENCE, as where the peer pings."""


# ---------------------------------------------------------------- out


def _text_frames(lines: Iterable[bytes]) -> bytes:
    # wsproto would do it, too, in 3.6 µs a line instead of 0.2; and it needs a connection.
    heads, most = _HEADS, len(_HEADS)
    return b"".join(
        [(heads[size] if (size := len(line)) < most else _head(size)) + line for line in lines]
    )


def _head(size: int) -> bytes:
    if size < 126:
        return bytes((0x81, size))
    if size < 2**16:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


_HEADS = [_head(size) for size in range(1024)]
"""Those that nearly all lines have."""

text_frames: Format = _text_frames


# ---------------------------------------------------------------- in

_TEXT, _MASKED, _LENGTH_FOLLOWS = 0x81, 0x80, 126
"""The bytes of the usual head: of a whole text in one masked frame, shorter than 64 KiB."""

_KEY_BYTES = 4
"""What ends the head of a masked frame: with this its text is masked."""

_SHORT_HEAD = 2 + _KEY_BYTES

_PONG = b"\x8a"

_PONGS = re.compile(rb"(?:\x8a\x80.{4})*", re.DOTALL)
"""Answers to our pings, which may come before each."""

_BEGUN = re.compile(
    rb"(?:\x81(?:[\x80-\xfd].{0,3}|\xfe.{0,5})?|\x8a(?:\x80.{0,3})?)?", re.DOTALL
)
"""Less than such a head, or than such an answer."""


@define(eq=False)
class Frames:
    """Bytes in, lines out.

    `limit`: the most bytes of a line. `answers`: frames that are due to the peer. `failure`:
    what it did wrong after the last of its lines, if it did.
    """

    connection: Connection
    limit: int = LINE_BYTES
    answers: bytes = field(default=b"", init=False)
    failure: WireError | None = field(default=None, init=False)
    _code: int | None = field(default=None, init=False)
    _rest: bytearray = field(factory=bytearray, init=False)
    _due: int = field(default=0, init=False)  # so much has to be there, to read on
    _is_plain: bool = field(default=True, init=False)
    _text: bytearray = field(factory=bytearray, init=False)

    @property
    def is_over(self) -> bool:
        """Has the peer said that it closes, or what can't be understood?"""
        is_closed = self.connection.state in {
            ConnectionState.REMOTE_CLOSING,
            ConnectionState.CLOSED,
        }
        return is_closed or self.failure is not None

    def feed(self, data: bytes) -> bytes:
        """The lines that `data` completes."""
        lines: list[bytes] = []
        if self._is_plain:
            self._rest += data
            if len(self._rest) < self._due:
                return b""
            data = self._read_plain(bytes(self._rest), lines)
        if not self._is_plain:
            self._read_any(data, lines)
        return b"".join(lines)

    def ping(self) -> bytes:
        """The frame that asks whether the peer is there."""
        return self.connection.send(Ping())

    def close(self, ending: str | None) -> bytes:
        """The frame that closes it; `ending` is that of the outbox."""
        code = self._code or CLOSE_CODES.get(ending, CloseReason.POLICY_VIOLATION)
        return self.connection.send(CloseConnection(code))

    def _read_plain(self, data: bytes, lines: list[bytes]) -> bytes:
        """Read the frames of the usual kind; returns what comes after them.

        wsproto takes 16 µs for one, a third of what it costs to tell it to a hundred others.
        So it is asked from the first frame on that is of another kind. What is short is looked
        at here: 1.3 µs, and 2.4 with a pattern for its head.
        """
        at = end = _end_of_pongs(data, 0)
        while len(data) - at >= _SHORT_HEAD and data[at] == _TEXT:
            size, start = data[at + 1] - _MASKED, at + _SHORT_HEAD
            if not 0 <= size < _LENGTH_FOLLOWS:
                long_size = _long_size(data, at)
                if long_size is None:
                    break
                size, start = long_size, start + 2
            end = start + size
            if size >= self.limit:  # before it is there
                self._fail_as_too_long()
                break
            if end > len(data):
                break
            key = data[start - _KEY_BYTES : start] * (size // _KEY_BYTES + 1)
            text = _xor(data[start:end], key[:size], size)
            if not (text.isascii() or _is_utf8(text)):
                break
            lines.append(_line(text))
            at = end = _end_of_pongs(data, end) if data[end : end + 1] == _PONG else end
        self._rest, self._due = bytearray(data[at:]), end - at
        self._is_plain = end > len(data) or _BEGUN.fullmatch(data, at) is not None
        return data[at:]

    def _read_any(self, data: bytes, lines: list[bytes]) -> None:
        self.connection.receive_data(data)
        for event in self.connection.events():
            self._take(event, lines)
            if self.is_over:
                break

    def _take(self, event: Event, lines: list[bytes]) -> None:
        match event:
            case TextMessage():
                self._text += event.data.encode()
                if len(self._text) >= self.limit:
                    self._fail_as_too_long()
                elif event.message_finished:
                    lines.append(_line(bytes(self._text)))
                    self._text.clear()
            case BytesMessage():
                self._fail(CloseReason.UNSUPPORTED_DATA, BadFrame("a message is a text"))
            case Ping():
                self.answers += self.connection.send(event.response())
            case CloseConnection():
                self._code = event.code
                if not self.is_over:  # it is not the peer who closes
                    self.failure = BadFrame(event.reason or "bad frame")
            case _:
                pass  # a pong

    def _fail_as_too_long(self) -> None:
        failure = LineTooLong(f"a message may have {self.limit - 1} bytes")
        self._fail(CloseReason.MESSAGE_TOO_BIG, failure)

    def _fail(self, code: int, failure: WireError) -> None:
        self._code, self.failure = code, failure


def _long_size(data: bytes, at: int) -> int | None:
    """The size of a masked text that stands in two bytes of its head. None if it does not."""
    size = int.from_bytes(data[at + 2 : at + 4], "big")
    is_so = data[at + 1] == _MASKED + _LENGTH_FOLLOWS and size >= _LENGTH_FOLLOWS
    return size if is_so else None


def _end_of_pongs(data: bytes, at: int) -> int:
    found = _PONGS.match(data, at)
    assert found is not None, "there may be none"
    return found.end()


def _xor(one: bytes, other: bytes, size: int) -> bytes:
    both = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return both.to_bytes(size, "big")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _line(text: bytes) -> bytes:
    """A text as a line. A line feed can only be white space between JSON's words."""
    return text.replace(b"\n", b" ") + b"\n"


# ---------------------------------------------------------------- the stream


def shake_hands(request: HttpRequest) -> tuple[bytes, Connection]:
    """What accepts a request for a WebSocket, and the connection.

    Raises `NotServed`.
    """
    handshake = WSConnection(ConnectionType.SERVER)
    try:
        handshake.initiate_upgrade_connection(list(request.raw.headers), request.raw.target)
    except (RemoteProtocolError, UnicodeError) as exc:
        raise _no_websocket(exc) from exc
    accepted = handshake.send(AcceptConnection(extra_headers=guard_headers()))
    assert handshake.connection is not None, "it was accepted"
    return accepted, handshake.connection


def _no_websocket(exc: Exception) -> NotServed:
    hint = getattr(exc, "event_hint", None)
    status = HTTPStatus(getattr(hint, "status_code", HTTPStatus.BAD_REQUEST))
    return NotServed(status, f"no WebSocket: {exc}", Sec_WebSocket_Version="13")


@define(eq=False)
class FrameStream(trio.abc.HalfCloseableStream):
    """A stream of lines over one of frames.

    What is sent over it has been framed by `outbox`, which it shares with the session.
    """

    stream: trio.abc.Stream
    outbox: Outbox
    frames: Frames
    _is_closing: bool = field(default=False, init=False)
    _is_torn: bool = field(default=False, init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send frames."""
        self._is_torn = True
        await self.stream.send_all(data)
        self._is_torn = False

    async def wait_send_all_might_not_block(self) -> None:
        """As of the stream below."""
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next lines, none of which is longer than `max_bytes`; nothing once the peer has
        closed. Raises `WireError`, and `trio.TooSlowError` if nothing comes within SILENCE,
        though the peer was pinged."""
        if self._is_closing:
            return bytes(await self.stream.receive_some(max_bytes))
        self.frames.limit = min(max_bytes or LINE_BYTES, LINE_BYTES)
        while not self.frames.is_over:
            await self._answer()
            data = await self._hear(max_bytes)
            if not data:
                return b""
            if lines := self.frames.feed(bytes(data)):
                return lines
        if self.frames.failure is not None:
            raise self.frames.failure
        return b""

    def receive_nowait(self) -> bytes:
        """The lines that have arrived meanwhile; nothing if there are none yet, or no more."""
        if self._is_closing or self.frames.is_over:
            return b""
        data = direct_read(self.stream)()
        return self.frames.feed(data) if data else b""

    async def _hear(self, max_bytes: int | None) -> bytes:
        for count in range(1, PINGS + 1):
            with trio.move_on_after(SILENCE / PINGS):
                return bytes(await self.stream.receive_some(max_bytes))
            # Where it is full, the peer is being waited for already.
            if count < PINGS and not self.outbox.is_full:
                self.outbox.answer(self.frames.ping())
        raise trio.TooSlowError

    async def _answer(self) -> None:
        if self.frames.answers:
            await self.outbox.wait_for_space()
            self.outbox.answer(self.frames.answers)
            self.frames.answers = b""

    async def send_eof(self) -> None:
        """Close, and say why; but not within a frame that was sent in part."""
        self._is_closing = True
        if not self._is_torn and not self.outbox.queued_bytes:
            await self.stream.send_all(self.frames.close(self.outbox.ending))
        if isinstance(self.stream, trio.abc.HalfCloseableStream):
            await self.stream.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        await self.stream.aclose()
