"""Passwords: what is kept of one, and whether one is right.

Slow on purpose, which is what makes guessing dear to whoever has stolen the hashes; so
`hashing.py` calls this in a thread. Pure, but for the salt.
"""

from base64 import b64encode
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from attrs import field, frozen

from trio_chat.errors import BadPassword
from trio_chat.secret import Secret

MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
"""The argon2id of OWASP for a small server: 19 MiB, and about 30 ms."""

LEAST_CHARS = 8
"""The shortest password (NIST SP 800-63B)."""

MOST_BYTES = 1024
"""The longest: no phrase has more, and nobody can make us hash a book."""

_hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


def hash_password(password: Secret) -> str:
    """What is kept of a new password. Raises `BadPassword`."""
    text = normalize("NFC", password.reveal())
    if len(text) < LEAST_CHARS:
        raise BadPassword(f"a password has at least {LEAST_CHARS} characters")
    encoded = _encode(text)
    if encoded is None:
        raise BadPassword(f"a password is Unicode, and at most {MOST_BYTES} bytes of it")
    return _hasher.hash(encoded)


@frozen
class Verdict:
    """Is it the right password? `renewed`: what is to be kept from now on, where what was
    kept is easier to attack than it would be today."""

    is_right: bool
    renewed: str | None = field(default=None, repr=False)


def check_password(password: Secret, kept: str | None) -> Verdict:
    """Is it the password of which that is kept? None: of nobody, and that takes as long."""
    encoded = _encode(normalize("NFC", password.reveal()))
    if encoded is None:
        return Verdict(is_right=False)
    try:
        _hasher.verify(kept or _NOBODYS, encoded)
    except VerifyMismatchError:
        return Verdict(is_right=False)
    is_outdated = kept is not None and _hasher.check_needs_rehash(kept)
    return Verdict(is_right=True, renewed=_hasher.hash(encoded) if is_outdated else None)


def _encode(text: str) -> bytes | None:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return None
    return encoded if len(encoded) <= MOST_BYTES else None


def _hash_of_nobody() -> str:
    """What looks like a hash as we make them now, of a password that nobody knows."""
    salt, digest = (
        b64encode(bytes(length)).decode().rstrip("=")
        for length in (_hasher.salt_len, _hasher.hash_len)
    )
    return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${digest}"


_NOBODYS = _hash_of_nobody()
