"""A client's connection over a WebSocket, as the stream of lines that our library speaks.

So half of the clients are what a browser is to the server: other frames, another door, the
same promises.
"""

import zlib

import trio
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from trio_chat.client.link import dial_tcp
from trio_chat.errors import LinkLost

HANDSHAKE_WITHIN = 10.0
"""Seconds for the server to accept; a proxy may let nothing through."""


def speaks_web(name: str) -> bool:
    """Does the client of that name? Always the same answer, and about as often yes as no."""
    return zlib.crc32(name.encode()) % 2 == 0


@define(eq=False)
class WebLines(trio.abc.HalfCloseableStream):
    """Lines over the frames of a connection that is made."""

    stream: trio.SocketStream
    connection: WSConnection
    _turn: trio.Lock = field(factory=trio.Lock, init=False)  # a pong, or what is said
    _text: str = field(default="", init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send whole lines, each as a frame."""
        if self.connection.state is not ConnectionState.OPEN:
            raise trio.BrokenResourceError("closed")
        lines = bytes(data).decode().split("\n")[:-1]
        await self._send(b"".join(self.connection.send(TextMessage(line)) for line in lines))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next lines; nothing at the end."""
        while self.connection.state is not ConnectionState.CLOSED:
            lines = "".join([await self._take(event) for event in self.connection.events()])
            if lines:
                return lines.encode()
            if self.connection.state is ConnectionState.REMOTE_CLOSING:
                break
            data = await self.stream.receive_some(max_bytes)
            if not data:
                break
            self._hear(data)
        return b""

    def _hear(self, data: bytes) -> None:
        try:
            self.connection.receive_data(data)
        except ProtocolError as exc:
            raise trio.BrokenResourceError from exc

    async def _take(self, event: Event) -> str:
        match event:
            case TextMessage():
                text, self._text = self._text + event.data, ""
                if event.message_finished:
                    return f"{text.rstrip()}\n"
                self._text = text
            case Ping():
                await self._send(self.connection.send(event.response()))
            case _:
                pass
        return ""

    async def _send(self, data: bytes) -> None:
        async with self._turn:
            await self.stream.send_all(data)

    async def send_eof(self) -> None:
        """Close; what comes until the other side does so, too, is still heard."""
        if self.connection.state is ConnectionState.OPEN:
            await self._send(self.connection.send(CloseConnection(1000)))

    async def wait_send_all_might_not_block(self) -> None:
        """As of the socket."""
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the socket."""
        await self.stream.aclose()


async def dial_web(port: int, name: str) -> WebLines:
    """A connection to a server on this machine. Raises `LinkLost`."""
    stream = await dial_tcp("127.0.0.1", port)
    try:
        with trio.fail_after(HANDSHAKE_WITHIN):
            return WebLines(stream, await _shake_hands(stream, port, name))
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as exc:
        await trio.aclose_forcefully(stream)
        raise LinkLost("no WebSocket came about") from exc
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _shake_hands(stream: trio.SocketStream, port: int, name: str) -> WSConnection:
    connection = WSConnection(ConnectionType.CLIENT)
    # The proxy wants to know whose connection it is, and a hello is masked.
    who = (b"User-Agent", f'{{"name":"{name}"}}'.encode())
    request = Request(host=f"127.0.0.1:{port}", target="/ws", extra_headers=[who])
    await stream.send_all(connection.send(request))
    while data := await stream.receive_some():
        try:
            connection.receive_data(data)
        except ProtocolError as exc:
            raise LinkLost("that is no WebSocket") from exc
        for event in connection.events():
            if isinstance(event, AcceptConnection):
                return connection  # with what came after it
            raise LinkLost("refused")
    raise LinkLost("closed")
