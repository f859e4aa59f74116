"""TLS on the server's side: the certificate in force, and the handshake."""

import ssl
from pathlib import Path

import trio
from attrs import define, field

from trio_chat.doors.certificate import describe
from trio_chat.errors import SetupError
from trio_chat.tls import TlsStream, restrict

OPEN_TO_OTHERS = 0o027
"""What nobody but the owner may do with a key; its group may read it, as certificates'
own group does on Debian."""


@define(eq=False)
class Tls:
    """Encrypts what comes in.

    `certificate`, `key`: files in PEM, which may be one. They are read when this is made,
    and whenever it is said. Raises `SetupError`. `hosts`: the names that it is for.
    """

    certificate: Path
    key: Path
    hosts: frozenset[str] = field(init=False)
    _context: ssl.SSLContext = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reload()

    def reload(self) -> None:
        """Read the files anew, for whoever comes from now on. Raises `SetupError`, and goes
        on with what there was."""
        context = make_context(self.certificate, self.key)
        hosts = describe(self.certificate).hosts
        self._context, self.hosts = context, hosts

    async def secure(self, stream: trio.abc.Stream, heard: bytes = b"") -> TlsStream:
        """What `stream` carries, of which `heard` was read already. Raises `LinkLost`.

        The caller sets a deadline: a peer may stall here for as long as it likes.
        """
        assert isinstance(stream, trio.abc.HalfCloseableStream), "as sockets and memory are"
        secured = TlsStream.for_server(stream, self._context, heard)
        await secured.handshake()
        return secured


def make_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """How to speak TLS under a certificate. Raises `SetupError`."""
    check_key(key)
    context = restrict(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
    try:
        context.load_cert_chain(certificate, key, password=_refuse)
    except ssl.SSLError as exc:
        text = f"{certificate} and {key} are not a certificate with its key, in PEM"
        raise SetupError(text) from exc
    except OSError as exc:
        raise SetupError(f"can't read {certificate}: {exc.strerror}") from exc
    return context


def check_key(key: Path) -> None:
    """Raises `SetupError` if the key can't be read, or others can."""
    try:
        mode = key.stat().st_mode & 0o777
    except OSError as exc:
        raise SetupError(f"can't read the key {key}: {exc.strerror}") from exc
    if mode & OPEN_TO_OTHERS:
        raise SetupError(
            f"others can read the key {key} ({mode:04o}), so it proves nothing; chmod 600"
            f" {key}, and if they could for long, make a new one"
        )


def _refuse() -> bytes:
    raise SetupError("the key has a password, which nobody could type at a restart; remove it")
