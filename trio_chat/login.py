"""Coming in under a name: with a token, or with a password, which is asked for only once the
server has said that it needs one."""

import itertools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from attrs import define, field

from trio_chat.asking import PasswordSource, TokenSource
from trio_chat.client.address import Address
from trio_chat.client.chat import Chat, open_chat
from trio_chat.client.lifeline import State
from trio_chat.client.trust import known_servers
from trio_chat.config import VERSION
from trio_chat.ending import tell
from trio_chat.errors import BadName, PasswordNeeded, WrongPassword
from trio_chat.messages import Hello
from trio_chat.names import parse_name
from trio_chat.secret import Secret
from trio_chat.tokens import find_bot

T = TypeVar("T")

TRIES = 3
"""Passwords that somebody may type before it ends; the server counts, too."""


@define(eq=False)
class Login:
    """Somebody who comes in, at a terminal or from a script. `token`: of a device, or of a
    bot. `is_passing`: it comes with the password each time. `is_in`: the server has let it
    in."""

    name: str
    source: PasswordSource
    token: Secret | None = None
    is_passing: bool = False
    is_in: bool = field(default=False, init=False)
    _password: Secret | None = field(default=None, init=False)

    @asynccontextmanager
    async def open(
        self,
        server: Address,
        *,
        trusts_new: bool,
        on_state: Callable[[State], None] = lambda _: None,
        patience: float = math.inf,
    ) -> AsyncIterator[Chat]:
        """A chat, as `connect` opens it, with a server that is known or vouched for."""
        dial = partial(known_servers(tell).dial, server, trusts_new=trusts_new)
        password, token = map(_reveal, (self._password, self.token))
        hello = Hello(
            self.name,
            password=password,
            token=token,
            client=VERSION,
            passing=self.is_passing and token is None,
        )
        async with open_chat(dial, hello, on_state, patience) as chat:
            self.is_in = True
            self._password = None
            yield chat

    async def insist(self, talk: Callable[[], Awaitable[T]]) -> T:
        """Do what opens a chat; if a password is needed, once more with that.

        Raises what else is refused, and `SetupError` if there is nobody to ask.
        """
        logging.getLogger("trio_chat").addHandler(logging.NullHandler())  # `tell` says it all
        for tried in itertools.count():
            try:
                return await talk()
            except (PasswordNeeded, WrongPassword) as refusal:
                if self.is_in or not self._may_try(tried):
                    raise
                if tried:
                    tell(str(refusal))
            # Nothing else goes on here yet, so nothing is kept waiting; and Ctrl-C is heard.
            self._password = self.source.read(f"password of {self.name}: ")
        raise AssertionError("never comes here")

    def _may_try(self, tried: int) -> bool:
        if self.token is not None and find_bot(self.token.reveal()) is not None:
            return False
        return tried < (1 if self.source.is_named else TRIES)


def _reveal(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def log_in(name: str, source: PasswordSource, token: TokenSource) -> Login:
    """Who comes in from a script under that name; a bot's token has one with it.

    Raises `BadName`, `SetupError`.
    """
    secret = token.read()
    bot = None if secret is None else find_bot(secret.reveal())
    meant = bot or name
    if not meant:
        raise BadName("--name NAME says who you are; with a bot's token it is not needed")
    return Login(parse_name(meant), source, secret, is_passing=True)
