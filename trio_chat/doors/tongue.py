"""What a connection speaks, told from its first bytes: all of them use one port."""

from enum import Enum, auto


class Tongue(Enum):
    """`NONE`: nothing that is spoken here."""

    LINES = auto()
    HTTP = auto()
    TLS = auto()
    NONE = auto()


VERBS = tuple(
    verb + b" "
    for verb in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE")
)
"""What an HTTP request begins with."""

CLIENT_HELLO = b"\x16"
"""What TLS begins with: a record of the handshake."""


def tongue_of(heard: bytes) -> Tongue | None:
    """What begins with `heard`; None as long as it may be one thing or the other."""
    if not heard:
        return None
    if heard[:1] in b"{ \t\r\n":  # before a brace, JSON allows white space
        return Tongue.LINES
    if heard.startswith(CLIENT_HELLO):
        return Tongue.TLS
    if heard.startswith(VERBS):
        return Tongue.HTTP
    return None if any(verb.startswith(heard) for verb in VERBS) else Tongue.NONE
