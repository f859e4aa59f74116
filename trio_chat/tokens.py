"""What proves who somebody is without a password: a token, which a device or a bot keeps.

The server keeps its hash. A token is random enough for one that is fast: there is nothing
to guess, and so nothing that would have to be slow.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from attrs import frozen

from trio_chat.names import Name
from trio_chat.roles import Verb

TOKEN_BYTES = 32
"""Of randomness: nobody guesses 256 bits."""


def make_token() -> str:
    """A new token, of characters that can be typed and need no quotes."""
    return secrets.token_urlsafe(TOKEN_BYTES)


BOT_SIGN = "."
"""Stands in the token of a bot, after the bot's name; in no name, and in no other token."""


def make_bot_token(name: Name) -> str:
    """A new token of a bot, which says whose it is."""
    return f"{name}{BOT_SIGN}{make_token()}"


def find_bot(token: str) -> str | None:
    """The name of the bot whose token that is, if it is one's."""
    name, sign, _ = token.partition(BOT_SIGN)
    return name if sign else None


def hash_token(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def proves(token: str, hashes: Iterable[bytes]) -> bool:
    """Is it one of these? How long that takes does not tell how near it came."""
    ours = hash_token(token)
    return any(hmac.compare_digest(ours, one) for one in hashes)


@frozen
class Scope:
    """What a bot's token is good for: these `verbs`, in these `rooms`; None: in all that
    the bot's account may see. More than that account may, it never may."""

    verbs: frozenset[Verb]
    rooms: frozenset[Name] | None = None

    def permits(self, verb: Verb, room: Name) -> bool:
        """May it be done with this token, as far as the token goes?"""
        return verb in self.verbs and (self.rooms is None or room in self.rooms)


ANYTHING = Scope(frozenset(Verb))
"""What a device's token is good for: it is a person's."""
