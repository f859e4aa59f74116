"""How a server proves that it is the one that is meant, before anything is said to it.

Either by its certificate's pin, which stands in the link that its operator gives to others,
or, without a pin, by an authority that this system trusts. What has been proved once is
noted, and holds from then on: a server that comes with another certificate is refused, and
one that has had any is never spoken to without.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from hmac import compare_digest
from pathlib import Path

import platformdirs
import trio
from attrs import frozen

from trio_chat.client.address import Address
from trio_chat.client.link import dial_tcp
from trio_chat.errors import LinkLost, ServerChanged, SetupError, Untrusted
from trio_chat.tls import TlsStream, pin_of, restrict

Tls = bool | str | ssl.SSLContext
"""How to speak to a server: False, in plain text; True, if an authority that this system
trusts vouches for its host; a text, if its certificate has that pin; a context, as that
says."""


async def dial(host: str, port: int, tls: Tls) -> trio.abc.Stream:
    """A connection to a server. Raises `LinkLost`, `Untrusted`."""
    if tls is False:
        return await dial_tcp(host, port)
    stream = await _dial_tls(host, port, _context(tls))
    if isinstance(tls, str) and not compare_digest(pin_of(stream.certificate), tls):
        await trio.aclose_forcefully(stream)
        raise ServerChanged(
            f"the certificate of {Address(host, port).place} is not the one that is meant:"
            f" its pin is {pin_of(stream.certificate)}, not {tls}"
        )
    return stream


def _context(tls: Tls) -> ssl.SSLContext:
    if isinstance(tls, ssl.SSLContext):
        return tls
    return _unverifying() if isinstance(tls, str) else restrict(ssl.create_default_context())


def _unverifying() -> ssl.SSLContext:
    """For a certificate that is looked at by us, and by nobody else."""
    context = restrict(ssl.create_default_context())
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _dial_tls(host: str, port: int, context: ssl.SSLContext) -> TlsStream:
    transport = await dial_tcp(host, port)
    stream = TlsStream.for_client(transport, context, host)
    try:
        await stream.handshake()
    except LinkLost as exc:
        await trio.aclose_forcefully(transport)
        raise _explain(Address(host, port), exc) from exc.__cause__
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise
    return stream


def _explain(address: Address, failure: LinkLost) -> LinkLost | Untrusted:
    match failure.__cause__:
        case ssl.SSLCertVerificationError(verify_message=why):
            return Untrusted(f"nobody vouches for the certificate of {address.place}: {why}")
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE"):
            return LinkLost(f"{address.place} does not speak TLS")
        case ssl.SSLEOFError() | trio.BrokenResourceError():
            return LinkLost(f"{address.place} has hung up before it said who it is")
        case why:
            return LinkLost(f"no TLS came about with {address.place}: {why}")


# ---------------------------------------------------------------- the known ones


@frozen
class KnownServers:
    """The pins of servers, in a file of lines HOST:PORT PIN. `tell`: is told what is noted."""

    path: Path
    tell: Callable[[str], object]

    async def dial(self, address: Address, *, trusts_new: bool = False) -> trio.abc.Stream:
        """A connection to a server. `trusts_new`: one that nobody vouches for is taken at
        its word the first time. Raises `LinkLost`, `Untrusted`, `SetupError`."""
        known = self.read().get(address.place.lower())
        if known is not None:
            return await self._dial_known(address, known)
        if address.pin is not None:
            stream = await dial(address.host, address.port, address.pin)
            return await self._noted(address, address.pin, stream)
        try:
            return await dial(address.host, address.port, address.is_secure)
        except Untrusted:
            if not trusts_new:
                raise
        return await self._dial_new(address)

    async def _dial_known(self, address: Address, known: str) -> trio.abc.Stream:
        if address.pin not in (None, known):
            raise ServerChanged(
                f"THE LINK IS FOR ANOTHER {address.place} THAN YOU KNOW: its pin is"
                f" {address.pin}, {known} is known. {self._advice(address)}"
            )
        try:
            return await dial(address.host, address.port, known)
        except ServerChanged as exc:
            text = f"THE CERTIFICATE OF {address.place} HAS CHANGED: {exc}"
            raise ServerChanged(f"{text}. {self._advice(address)}") from exc

    def _advice(self, address: Address) -> str:
        return (
            "Somebody may be about to listen in. If its operator says that this is how it has"
            f" to be, remove the line of {address.place} from {self.path}"
        )

    async def _dial_new(self, address: Address) -> trio.abc.Stream:
        stream = await _dial_tls(address.host, address.port, _unverifying())
        return await self._noted(address, pin_of(stream.certificate), stream)

    async def _noted(
        self, address: Address, pin: str, stream: trio.abc.Stream
    ) -> trio.abc.Stream:
        """The same stream; but nothing is said to who can't be noted."""
        try:
            self._note(address, pin)
        except SetupError:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    def read(self) -> Mapping[str, str]:
        """The pins by HOST:PORT. Raises `SetupError`."""
        try:
            lines = self.path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeError) as exc:
            raise SetupError(f"can't read the known servers in {self.path}: {exc}") from exc
        known = {}
        for number, line in enumerate(lines, 1):
            words = line.split()
            if len(words) != 2:
                # To skip it would be to trust whoever comes next.
                raise SetupError(f"{self.path}, line {number} is not HOST:PORT PIN")
            known[words[0]] = words[1]
        return known

    def _note(self, address: Address, pin: str) -> None:
        line = f"{address.place.lower()} {pin}\n".encode()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            descriptor = os.open(self.path, flags, 0o600)
            with open(descriptor, "wb", buffering=0) as file:
                file.write(line)
        except OSError as exc:
            raise SetupError(f"can't note a known server in {self.path}: {exc}") from exc
        self.tell(f"{address.place} is known from now on by its certificate, {pin}")


def known_servers(tell: Callable[[str], object]) -> KnownServers:
    """Those of the user who runs this."""
    return KnownServers(platformdirs.user_state_path("trio_chat") / "known_servers", tell)
