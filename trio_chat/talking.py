"""The command `connect`: a person at a terminal, or a pipe."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, assert_never

import trio
from cyclopts import App

from trio_chat.asking import USUAL, PasswordSource
from trio_chat.client.chat import Chat
from trio_chat.client.clean import clean
from trio_chat.client.journal import Journal, journal_path, open_journal
from trio_chat.client.lifeline import State
from trio_chat.client.plain import race
from trio_chat.client.surface import Keys, Surface
from trio_chat.config import LOCAL, PROGRAM, Flag, ServerAddress, TrustNew
from trio_chat.ending import STATUSES, TERMINATED, tell
from trio_chat.errors import SetupError
from trio_chat.login import Login
from trio_chat.names import parse_name
from trio_chat.secret import Secret

ROOM = "lobby"
"""Where everybody meets who names no other room."""

app = App(group_parameters="Options")
"""What `cli` takes over as its own."""


# ---------------------------------------------------------------- the command


@app.command(
    sort_key=2,
    usage=f"Usage: {PROGRAM} connect [OPTIONS] [NAME]",
    help_epilogue=f"""\
Examples:
  # With somebody on this machine.
  {PROGRAM} connect alice
  # Elsewhere, and in another room.
  {PROGRAM} connect alice --server chat.example.org --room garden
  # By the link that an operator has given you: encrypted, to no other server.
  {PROGRAM} connect alice --server trio-chat://example.org/lobby#nD0…
  # Of a name that is registered the password is asked for once.
  {PROGRAM} connect alice --password-file ~/.chat-password
  # Say what a program prints.
  date | {PROGRAM} connect clock

{STATUSES}""",
)
async def connect(
    name: str,
    /,
    *,
    server: ServerAddress = LOCAL,
    trust_new: TrustNew = False,
    room: str = ROOM,
    json: Annotated[bool, Flag] = False,
    plain: Annotated[bool, Flag] = False,
    keys: Keys = "emacs",
    password: PasswordSource = USUAL,
) -> int:
    """Talk with others.

    On a terminal there is a prompt; what you type while there is no connection
    is kept, and said as soon as there is one, if need be the next time. Off a
    terminal each line of the input is said, and what happens is printed as
    lines; at the end of the input the exit status is 0 if everything was said.

    Parameters
    ----------
    name
        What you are called: a letter, then letters, digits, - or _.
    server
        HOST, HOST:PORT, a link, or a name that the settings
        have for one. Beyond this machine all of them mean
        TLS; plain://HOST:PORT is without.
    trust_new
        Take a server that nobody vouches for at its word the first time.
    room
        The room to enter.
    json
        Print what happens as lines of JSON, those of the protocol.
    plain
        On a terminal: one line for each thing that happens, and nothing is ever
        drawn again. For screen readers.
    keys
        Whose keys edit what is typed.
    """
    known = parse_name(name)
    async with open_journal(journal_path(name, server.host, server.port)) as journal:
        if known != name and journal.token is None:  # the first time
            tell(f"you are called {clean(known)} here: names have no capitals")
        talk, on_state = _choose_client(room, journal, keys, plain=plain, json=json)
        # What is imported stays. To look through it for cycles, as is done again and again
        # while much comes in, takes 15 to 40 ms, in which no key is heard.
        gc.freeze()
        login = Login(name, password, None if journal.token is None else Secret(journal.token))

        async def come_in() -> int:
            async with login.open(server, trusts_new=trust_new, on_state=on_state) as chat:
                return await _until_terminated(partial(talk, chat), partial(journal.keep, chat))

        return await login.insist(come_in)


# ---------------------------------------------------------------- its life


def _choose_client(
    room: str, journal: Journal, keys: Keys, *, plain: bool, json: bool
) -> tuple[Callable[[Chat], Awaitable[None]], Callable[[State], None]]:
    """What talks, and what is told of the connection's state."""
    if json or not _is_at_terminal():
        from trio_chat.client.plain import run_plain  # noqa: PLC0415 # one of the two

        return partial(run_plain, room=room, json=json), _waking(journal, tell_state)
    from trio_chat.client.terminal import run_terminal  # noqa: PLC0415

    screen = _choose_screen(keys, plain=plain)
    talk = partial(run_terminal, room=room, screen=screen, journal=journal)
    return talk, _waking(journal, screen.set_state)


def _choose_screen(keys: Keys, *, plain: bool) -> Surface:
    if plain or os.environ.get("TERM") == "dumb":
        from trio_chat.client.lines import LineScreen  # noqa: PLC0415 # one of the two

        return LineScreen()
    from trio_chat.client.screen import Screen  # noqa: PLC0415 # takes 50 ms

    return Screen(keys=keys)


def _waking(journal: Journal, tell: Callable[[State], None]) -> Callable[[State], None]:
    """Each connection brings a new token, which is to be on the disk before it is needed."""

    def on_state(state: State) -> None:
        tell(state)
        journal.wake()

    return on_state


async def _until_terminated(*tasks: Callable[[], Awaitable[None]]) -> int:
    """Do these until the first ends, or until a SIGTERM: then the chat is left, and the
    terminal is as it was, before the process ends. Returns the exit status."""
    terminated = trio.Event()

    async def wait() -> None:
        if threading.current_thread() is not threading.main_thread():  # it hears no signals
            await trio.sleep_forever()
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await anext(signals)
        terminated.set()

    await race(*tasks, wait)
    return TERMINATED if terminated.is_set() else 0


def _is_at_terminal() -> bool:
    if sys.stdin is None or sys.stdout is None:  # as after `<&-`
        raise SetupError("standard input and output have to be open; </dev/null says nothing")
    return sys.stdin.isatty() and sys.stdout.isatty()


def tell_state(state: State) -> None:
    """Say on stderr how the connection stands, where that is news."""
    match state:
        case State.RECONNECTING:
            tell("the connection is lost; trying to reconnect")
        case State.RESUMED:
            tell("connected again")
        case State.AFRESH:
            tell("connected again, to a server that has another history")
        case State.CONNECTED:
            pass
        case _:
            assert_never(state)
