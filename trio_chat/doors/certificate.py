"""A server's own certificate, which nobody else has signed: clients know it by its pin.

The library that makes and reads certificates is imported where it is used: it takes 0.2 s,
and only who serves with TLS needs it.
"""

import os
import secrets
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from trio_chat.errors import SetupError
from trio_chat.tls import pin_of

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, SubjectAlternativeName

LIFETIME = timedelta(days=3650)
"""Our clients compare its pin, so it need not end soon; but browsers want an end."""

CLOCK_SKEW = timedelta(days=1)
"""How far a client's clock may be behind."""

NAME = "trio_chat"
"""Who it says that its holder is."""


@frozen
class Description:
    """What there is to know about a certificate. `is_own`: its holder has signed it, so
    nothing but its pin tells that it is the right one. `hosts`: the names of hosts that it is
    for, of which one may begin with `*.`, for any name in that place."""

    pin: str
    is_own: bool
    ends: datetime
    hosts: frozenset[str]


def describe(path: Path) -> Description:
    """The first certificate of a file, which is the server's. Raises `SetupError`."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415
    from cryptography.x509 import DuplicateExtension, UnsupportedGeneralNameType  # noqa: PLC0415

    certificate = _load(path)
    try:
        return Description(
            pin_of(certificate.public_bytes(Encoding.DER)),
            certificate.issuer == certificate.subject,
            certificate.not_valid_after_utc,
            _hosts(certificate),
        )
    except (ValueError, DuplicateExtension, UnsupportedGeneralNameType) as exc:
        raise SetupError(f"can't tell what the certificate {path} is for: {exc}") from exc


def _hosts(certificate: "Certificate") -> frozenset[str]:
    from cryptography.x509 import (  # noqa: PLC0415
        DNSName,
        ExtensionNotFound,
        SubjectAlternativeName,
    )

    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return frozenset()
    return frozenset(name.lower() for name in names.get_values_for_type(DNSName))


def _load(path: Path) -> "Certificate":
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    try:
        return load_pem_x509_certificate(path.read_bytes())
    except OSError as exc:
        raise SetupError(f"can't read the certificate {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise SetupError(f"{path} has no certificate in PEM") from exc


def ensure(path: Path) -> None:
    """Make a file with a certificate and its key, if it is not there. Raises `SetupError`."""
    if path.exists():
        return
    # Whoever is killed in the middle leaves no half of one under that name.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(make())
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise SetupError(f"can't write the certificate {path}: {exc.strerror}") from exc


def make() -> bytes:
    """A new certificate and its key, in PEM."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = (
        builder.not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(_names(), critical=False)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + secret


def _names() -> "SubjectAlternativeName":
    """What a browser calls this machine, as far as one can know."""
    from cryptography.x509 import DNSName, IPAddress, SubjectAlternativeName  # noqa: PLC0415

    hosts = ["localhost"]
    with suppress(UnicodeError):  # what this machine is called may be the name of no host
        hosts.append(socket.gethostname().encode("idna").decode())
    addresses = [IPAddress(ip_address(address)) for address in ("127.0.0.1", "::1")]
    return SubjectAlternativeName([*map(DNSName, hosts), *addresses])
