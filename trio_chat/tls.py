"""TLS over a stream, and what a certificate is known by."""

import base64
import hashlib
import ssl
from contextlib import suppress

import trio
from attrs import define, field

from trio_chat.errors import LinkLost

CHUNK_BYTES = 64 * 1024
"""The most bytes read at once while waiting for the other side's end."""

LINGER_BYTES = 128 * 1024
"""The most bytes thrown away of a peer that goes on talking when all is said."""


def pin_of(certificate: bytes) -> str:
    """What a certificate (in DER) is known by: its SHA-256, as it stands in a link."""
    digest = hashlib.sha256(certificate).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def restrict(context: ssl.SSLContext) -> ssl.SSLContext:
    """Say what no default of a system's library may weaken; returns the same context."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # one handshake: the one with a deadline
    return context


@define(eq=False)
class TlsStream(trio.abc.HalfCloseableStream):
    """What is sent and received through `transport` in TLS, after the `handshake`.

    trio's own TLS stream can't say its end and go on waiting for that of the other side: it
    closes its transport, too. This one's transport understands by that only the half.
    """

    transport: trio.abc.HalfCloseableStream
    _tls: "trio.SSLStream[_HalfClosing]"
    _has_ended: bool = field(default=False, init=False)

    @classmethod
    def for_server(
        cls, transport: trio.abc.HalfCloseableStream, context: ssl.SSLContext, heard: bytes
    ) -> "TlsStream":
        """The server's side; `heard` has been read from `transport` already."""
        inner = _HalfClosing(transport, heard)
        return cls(transport, trio.SSLStream(inner, context, server_side=True))

    @classmethod
    def for_client(
        cls, transport: trio.abc.HalfCloseableStream, context: ssl.SSLContext, host: str
    ) -> "TlsStream":
        """The side of a client that wants to talk to `host`."""
        return cls(
            transport, trio.SSLStream(_HalfClosing(transport), context, server_hostname=host)
        )

    async def handshake(self) -> None:
        """Must come first. Raises `LinkLost`; its cause says why."""
        try:
            await self._tls.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            cause = exc.__cause__ or exc
            raise LinkLost("no TLS came about") from cause

    @property
    def certificate(self) -> bytes:
        """That of a server, in DER."""
        found = self._tls.getpeercert(binary_form=True)
        assert isinstance(found, bytes), "a server has one"
        return found

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As every stream's."""
        await self._tls.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As every stream's."""
        await self._tls.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As every stream's; after `send_eof` only the other side's end is waited for."""
        if not self._has_ended:
            return await self._tls.receive_some(max_bytes)
        left = LINGER_BYTES
        while left > 0 and (data := await self.transport.receive_some(CHUNK_BYTES)):
            left -= len(data)
        return b""

    async def send_eof(self) -> None:
        """Say that this is the end, to TLS and below it."""
        self._has_ended = True
        await self._tls.aclose()

    async def aclose(self) -> None:
        """Close; who wants to be sure that all arrived sends an end and reads on before."""
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.send_eof()
        finally:
            await trio.aclose_forcefully(self.transport)


@define(eq=False)
class _HalfClosing(trio.abc.Stream):
    """A transport of which something was read before, and that is only half closed."""

    stream: trio.abc.HalfCloseableStream
    heard: bytes = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self.heard:
            return await self.stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        heard, self.heard = self.heard, b""
        return heard

    async def aclose(self) -> None:
        # By force it is the whole that will be closed, while others may be sending still.
        await trio.lowlevel.checkpoint_if_cancelled()
        await self.stream.send_eof()
