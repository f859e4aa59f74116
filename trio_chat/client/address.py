"""Where a server is: HOST:PORT, or the link that its operator gives to others.

Beyond this machine a server is spoken to through TLS, unless plain text is asked for: with a
hello go tokens and passwords, and whoever asks a server first whether it would rather have
plain text has it decided by whoever sits in between.
"""

import re
from ipaddress import ip_address
from urllib.parse import quote, unquote

from attrs import frozen

from trio_chat.errors import BadName
from trio_chat.names import parse_name

DEFAULT_PORT = 8765
"""Where a server listens if nobody says otherwise."""

SCHEME = "trio-chat://"
"""What a link begins with. Behind a link there is always TLS."""

PLAIN = "plain://"
"""What the address of a server beyond this machine begins with if nothing is encrypted."""

_PIN = re.compile(r"[A-Za-z0-9_-]{43}")


@frozen
class Address:
    """Where a server listens. `is_secure`: it is spoken to through TLS. Of a link: the `pin`
    of the certificate, and the `room` that one is invited to."""

    host: str
    port: int = DEFAULT_PORT
    is_secure: bool = False
    pin: str | None = None
    room: str | None = None

    @property
    def place(self) -> str:
        """HOST:PORT."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        if not self.is_secure:
            return self.place if is_here(self.host) else f"{PLAIN}{self.place}"
        room = "" if self.room is None else f"/{quote(self.room)}"
        pin = "" if self.pin is None else f"#{self.pin}"
        return f"{SCHEME}{self.place}{room}{pin}"


def parse_address(text: str) -> Address:
    """HOST, HOST:PORT, [IPV6], [IPV6]:PORT, with or without `plain://`, or a link.

    Raises `ValueError`.
    """
    if text.startswith(SCHEME):
        return _parse_link(text.removeprefix(SCHEME))
    if text.startswith(PLAIN):
        return Address(*_parse_place(text.removeprefix(PLAIN)))
    if "://" in text:
        raise ValueError(f"an address is HOST:PORT, {SCHEME}… or {PLAIN}…, and not {text!r}")
    return address_of(*_parse_place(text))


def find_address(host: str, port: int) -> Address:
    """What a program means that may say all of it as the host. Raises `ValueError`."""
    if _is_ipv6(host):  # which needs no brackets beside a port
        return address_of(host, _checked_port(str(port)))
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return parse_address(host)
    return address_of(parse_host(host), _checked_port(str(port)))


def is_pin(text: str) -> bool:
    """Could it be the pin of a certificate?"""
    return _PIN.fullmatch(text) is not None


def address_of(host: str, port: int = DEFAULT_PORT) -> Address:
    """A server of which no more is said."""
    return Address(host, port, is_secure=not is_here(host))


def is_here(host: str) -> bool:
    """Does that mean this machine, whatever a network says?"""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _parse_link(text: str) -> Address:
    """HOST[:PORT][/ROOM][#PIN]"""
    rest, hash, pin = text.partition("#")
    place, _, room = rest.partition("/")
    if hash and not is_pin(pin):
        raise ValueError(f"a pin has 43 letters, digits, - and _, {pin!r} is none")
    host, port = _parse_place(place)
    return Address(host, port, is_secure=True, pin=pin or None, room=_parse_room(room))


def _parse_room(text: str) -> str | None:
    try:
        return parse_name(unquote(text)) if text else None
    except BadName as exc:
        raise ValueError(str(exc)) from exc


def _parse_place(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return parse_host(text), DEFAULT_PORT
    return parse_host(host), _checked_port(port)


def _checked_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 2**16):
        raise ValueError(f"a port is a number from 1 to 65535, {text!r} is not")
    return int(text)


def _is_ipv6(host: str) -> bool:
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False


def parse_host(text: str) -> str:
    """The name or the address of a host; IPv6 in brackets. Raises `ValueError`."""
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in host and host == text:
        raise ValueError(f"write an IPv6 address in brackets, as in [::1]:{DEFAULT_PORT}")
    try:
        encoded = host.encode("idna")
    except UnicodeError as exc:
        raise ValueError(f"{host!r} can't be the name of a host") from exc
    if not encoded or not host.isprintable() or " " in host:
        raise ValueError(f"{host!r} can't be the name of a host")
    return host
