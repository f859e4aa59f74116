"""Coming in under a name: with a token, or with a password, which is asked for only once the
server has said that it needs one."""

import itertools
import logging
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Annotated, TypeVar

from attrs import define, field, frozen
from cyclopts import Parameter

from trio_chat.asking import NO_TOKEN, USUAL, PasswordSource, TokenSource
from trio_chat.client.address import Address
from trio_chat.client.chat import Chat, open_chat
from trio_chat.client.lifeline import State
from trio_chat.client.trust import known_servers
from trio_chat.config import LOCAL, VERSION, ServerAddress, TrustNew
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


@Parameter(name="*")
@frozen
class Visit:
    """As whom a program comes that only looks, and where: options that commands share.

    Parameters
    ----------
    name
        What you are called meanwhile.
    server
        HOST, HOST:PORT, a link, or a name that the settings
        have for one. Beyond this machine all of them mean
        TLS; plain://HOST:PORT is without.
    trust_new
        Take a server that nobody vouches for at its word the first time.
    """

    name: Annotated[str | None, Parameter(show_default="one that is free")] = None
    password: PasswordSource = USUAL
    token: TokenSource = NO_TOKEN
    server: ServerAddress = LOCAL
    trust_new: TrustNew = False

    def log_in(self, command: str) -> Login:
        """Raises `BadName`, `SetupError`."""
        # A name that nobody has, and that tells what it is.
        name = self.name or f"{command}-{secrets.token_hex(4)}"
        return log_in(name, self.password, self.token)

    def open(
        self,
        login: Login,
        *,
        patience: float,
        on_state: Callable[[State], None] = lambda _: None,
    ) -> AbstractAsyncContextManager[Chat]:
        """A chat at the server that is meant."""
        return login.open(
            self.server, trusts_new=self.trust_new, patience=patience, on_state=on_state
        )


ONCE = Visit()
"""By the settings."""


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
