"""The command line. With `upkeep` and `bench.command`, what prints; the only one that ends
the process.

What a person can put right (a port in use, a name taken, a mistyped option) is one line on
stderr, and exit status 2; lines that were refused are exit status 1. `run` is the one
place where that is decided; every other exception is a bug, and shows its traceback.
"""

import errno
import json as json_format
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, NoReturn, TypeVar, assert_never

import trio
from attrs import evolve
from cyclopts import App, CycloptsError, Parameter, Token, UnusedCliTokensError
from cyclopts.validators import Number

from trio_chat import config, upkeep
from trio_chat.bench import command as bench
from trio_chat.client.chat import DEFAULT_PORT, Chat
from trio_chat.client.chat import connect as open_chat
from trio_chat.client.clean import clean
from trio_chat.client.journal import Journal, journal_path, open_journal
from trio_chat.client.lifeline import State
from trio_chat.client.plain import race
from trio_chat.config import (
    HISTORY_FILE,
    HOST,
    LOCAL,
    PROGRAM,
    Address,
    Age,
    ServerAddress,
)
from trio_chat.errors import ChatError, LinkLost, Refused, SetupError
from trio_chat.history import History
from trio_chat.history.memory import KEPT_EVENTS, MemoryHistory
from trio_chat.pacing import BURST, RATE
from trio_chat.schema import schema as protocol_schema
from trio_chat.server import Server
from trio_chat.session import Settings

E = TypeVar("E", bound=BaseException)

Sync = Literal["full", "normal"]

LOOPBACK = ("127.0.0.1", "::1")
"""Where a server listens that only this machine reaches."""

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # never the default
"""Where a server listens that can be reached at all addresses of its machine, and one
of them."""

ROOM = "lobby"
"""Where everybody meets who names no other room."""

FASTEST = 1_000_000
"""The most that a rate and a burst may be, if there is to be a limit at all."""

REFUSED, MISUSED, INTERRUPTED, PIPE_BROKEN, TERMINATED = 1, 2, 130, 141, 143
"""Exit statuses. The last three are what a shell reports of a program that ends by the
signals SIGINT, SIGPIPE and SIGTERM."""

VERSION = f"trio_chat {version('trio-chat')}"

log = logging.getLogger(__name__)

# ---------------------------------------------------------------- the commands

Flag = Parameter(negative="", show_default=False)
"""An option that is there or not."""

app = App(
    name="trio-chat",
    help="A self-hosted team chat whose messages arrive exactly once, in one order.",
    help_format="plaintext",
    help_epilogue=f"""\
Examples:
  # Start a server, and in another window talk.
  {PROGRAM} serve
  {PROGRAM} connect alice

Every option of a command can also be set in the environment, as in
TRIO_CHAT_PORT=9000, or in a file (in TOML) that has a table for each command,
as in

  [serve]
  port = 9000
""",
    usage=f"Usage: {PROGRAM} COMMAND [OPTIONS]",
    group_parameters="Options",
    version=VERSION,
    backend="trio",
    result_action="return_value",
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
)
app.meta.suppress_keyboard_interrupt = False  # the one thing that it doesn't take from `app`
app.register_install_completion_command(
    help="Set up completion of the command trio-chat in your shell.", help_epilogue=""
)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config_file: Annotated[
        Path | None,
        Parameter(
            name="--config",
            group="Settings",
            env_var=f"{config.ENV_PREFIX}CONFIG",
            show_default=str(config.config_path()),
        ),
    ] = None,
) -> int | None:
    """Run a command with the settings that are in force.

    Parameters
    ----------
    config_file
        The file with settings.
    """
    app.config = config.sources(config_file, app.resolved_commands())
    status: int | None = app(tokens)
    return status


def _read_age(_type: object, tokens: Sequence[Token]) -> Age:
    return config.parse_age(tokens[0].value)


@app.command(
    sort_key=1,
    usage=f"Usage: {PROGRAM} serve [OPTIONS]",
    help_epilogue=f"""\
Examples:
  # For this machine only.
  {PROGRAM} serve
  # For the network around it, too. Nothing is encrypted.
  {PROGRAM} serve --host 0.0.0.0 --data /srv/chat
  # Forget what is older than three months.
  {PROGRAM} serve --retain 90d
  # To try out a bot: forget everything at the end, slow nobody down.
  {PROGRAM} serve --no-history --rate 0
""",
)
async def serve(
    *,
    host: str = HOST,
    port: Annotated[int, Parameter(validator=Number(gte=0, lt=2**16))] = DEFAULT_PORT,
    data: Annotated[Path | None, Parameter(show_default=str(config.data_path()))] = None,
    no_history: Annotated[bool, Flag] = False,
    sync: Sync = "full",
    retain: Annotated[
        Age | None,
        Parameter(
            converter=_read_age, accepts_keys=False, n_tokens=1, show_default="everything"
        ),
    ] = None,
    retain_events: Annotated[
        int | None, Parameter(validator=Number(gte=1), show_default="all")
    ] = None,
    rate: Annotated[float, Parameter(validator=Number(gte=0, lte=FASTEST))] = RATE,
    burst: Annotated[int, Parameter(validator=Number(gte=1, lte=FASTEST))] = BURST,
) -> None:
    """Run a server until Ctrl-C or SIGTERM.

    Parameters
    ----------
    host
        The address to listen on; 0.0.0.0 is all those of this machine.
    port
        The port to listen on; 0 is one that is free.
    data
        The folder to keep the history in.
    no_history
        Keep only the newest messages, in memory, and forget them at the end.
    sync
        What an acknowledged message survives: full, a power cut; normal, a crash.
    retain
        How long events are kept: a number and s, m (minutes), h, d or w, as in 90d.
    retain_events
        How many of the newest events of each room are kept.
    rate
        Messages a second at which a client is slowed down (none is lost); 0 is no limit.
    burst
        Messages that a client may send at once before it is slowed down.
    """
    folder = None if no_history else data or config.data_path()
    if folder is None and (retain or retain_events):
        raise SetupError(
            "--retain and --retain-events are for a history that lasts; with --no-history"
            f" the newest {KEPT_EVENTS} events of each room are kept"
        )
    _prepare_process()
    async with _open_history(folder, sync, retain, retain_events) as history:
        place = "in memory" if folder is None else str(folder / HISTORY_FILE)
        await _serve_until_signalled(Server(history, Settings(rate, burst)), host, port, place)


@app.command(
    sort_key=2,
    usage=f"Usage: {PROGRAM} connect [OPTIONS] NAME",
    help_epilogue=f"""\
Examples:
  # With somebody on this machine.
  {PROGRAM} connect alice
  # Elsewhere, and in another room.
  {PROGRAM} connect alice --server chat.example.org --room garden
  # Say what a program prints.
  date | {PROGRAM} connect clock
""",
)
async def connect(
    name: str,
    /,
    *,
    server: ServerAddress = LOCAL,
    room: str = ROOM,
    json: Annotated[bool, Flag] = False,
    plain: Annotated[bool, Flag] = False,
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
        HOST or HOST:PORT, an IPv6 address in [brackets].
    room
        The room to enter.
    json
        Print what happens as lines of JSON, those of the protocol.
    plain
        Do without a prompt on a terminal, too.
    """
    logging.getLogger("trio_chat").addHandler(logging.NullHandler())
    async with open_journal(journal_path(name, server.host, server.port)) as journal:
        talk, on_state = _choose_client(room, journal, plain=plain, json=json)
        async with open_chat(
            server.host,
            server.port,
            name=name,
            token=journal.token,
            client=VERSION,
            on_state=on_state,
        ) as chat:
            return await _until_terminated(partial(talk, chat), partial(journal.keep, chat))


@app.command(
    sort_key=6,
    usage=f"Usage: {PROGRAM} schema",
    help_epilogue=f"""\
Example:
  {PROGRAM} schema > trio_chat.json
""",
)
def schema() -> None:
    """Print the JSON Schema of the protocol, for those who write a client."""
    print(json_format.dumps(protocol_schema(), indent=2, ensure_ascii=False))


app.command(upkeep.app, name="*")
app.command(bench.app, name="*")

# ---------------------------------------------------------------- serving


def _prepare_process() -> None:
    from trio_chat import logs  # noqa: PLC0415 # structlog takes 30 ms

    os.umask(0o077)
    if sys.stderr is not None:  # as after `2>&-`
        logs.configure(sys.stderr)
    config.raise_file_limit()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        log.warning("running as root, which no chat needs; a user of its own is safer")


@asynccontextmanager
async def _open_history(
    folder: Path | None, sync: Sync, age: Age | None, events: int | None
) -> AsyncIterator[History]:
    if folder is None:
        yield MemoryHistory()
        return
    config.make_folder(folder)
    from trio_chat.history.sqlite import Retention, open_sqlite  # noqa: PLC0415 # not for --no-history

    retention = Retention(age, events)
    async with open_sqlite(folder / HISTORY_FILE, sync=sync, retention=retention) as history:
        yield history


async def _serve_until_signalled(server: Server, host: str, port: int, place: str) -> None:
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            doorstep = await nursery.start(server.run, host, port)
            addresses = [Address(*address) for address in doorstep.addresses]
            _show_banner(addresses, place)
            log.info("listening", extra={"at": [str(address) for address in addresses]})
            async for number in signals:
                log.info("stopping", extra={"signal": signal.Signals(number).name})
                break
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end_at_once)
        server.close()


def _end_at_once(number: int, _frame: object) -> None:
    """For the second signal. What is acknowledged is on the disk, so nothing is lost; an
    exception would wait for every session's last second, and for the history's thread."""
    os._exit(128 + number)


def _show_banner(addresses: Sequence[Address], place: str) -> None:
    for address in addresses:
        print(f"{VERSION} listens on {address} ({_reach(address.host)})")
    near = _from_here(addresses[0])
    option = "" if near.port == DEFAULT_PORT and near.host in LOOPBACK else f" --server {near}"
    print(f"history: {place}")
    print(f"connect: {PROGRAM} connect NAME{option}")
    print(f"     or: nc {near.host} {near.port}")
    print("   stop: Ctrl-C", flush=True)


def _reach(host: str) -> str:
    if host in LOOPBACK:
        return "for this machine only"
    return "on every address, unencrypted" if host in EVERY_ADDRESS else "unencrypted"


def _from_here(address: Address) -> Address:
    return evolve(address, host=EVERY_ADDRESS.get(address.host, address.host))


# ---------------------------------------------------------------- connecting


def _choose_client(
    room: str, journal: Journal, *, plain: bool, json: bool
) -> tuple[Callable[[Chat], Awaitable[None]], Callable[[State], None]]:
    """What talks, and what is told of the connection's state."""
    if not _can_draw() or plain or json:
        from trio_chat.client.plain import run_plain  # noqa: PLC0415 # one of the two

        return partial(run_plain, room=room, json=json), _waking(journal, _tell_state)
    from trio_chat.client.screen import Screen  # noqa: PLC0415 # takes 50 ms
    from trio_chat.client.terminal import run_terminal  # noqa: PLC0415

    screen = Screen()
    talk = partial(run_terminal, room=room, screen=screen, journal=journal)
    return talk, _waking(journal, screen.set_state)


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


def _can_draw() -> bool:
    if sys.stdin is None or sys.stdout is None:  # as after `<&-`
        raise SetupError("standard input and output have to be open; </dev/null says nothing")
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return is_terminal and os.environ.get("TERM") != "dumb"


def _tell_state(state: State) -> None:
    match state:
        case State.RECONNECTING:
            _tell("the connection is lost; trying to reconnect")
        case State.RESUMED:
            _tell("connected again")
        case State.AFRESH:
            _tell("connected again, to a server that has another history")
        case State.CONNECTED:
            pass
        case _:
            assert_never(state)


# ---------------------------------------------------------------- the end


def main() -> NoReturn:
    """Run the command line and end the process."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run a command line; returns the exit status."""
    status: int | None = 0
    try:
        status = app.meta(words)
        print(end="", flush=True)
    except* ChatError as failures:
        status = max(_report(failure) for failure in _leaves(failures))
    except* CycloptsError as mistakes:
        status = max(_report_mistake(mistake) for mistake in _leaves(mistakes))
    except* KeyboardInterrupt:
        status = INTERRUPTED
    except* BrokenPipeError:
        status = PIPE_BROKEN
        _forget_stdout()
    return status or 0


def _leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    for member in group.exceptions:
        if isinstance(member, BaseExceptionGroup):
            yield from _leaves(member)
        else:
            yield member


def _report(failure: ChatError) -> int:
    advice = _advice(failure)
    _tell(f"{failure}; {advice}" if advice else str(failure))
    # Refused itself, no kind of it, is how the plain client ends when lines were refused.
    return REFUSED if type(failure) is Refused else MISUSED


def _advice(failure: ChatError) -> str | None:
    """What to do, where the text doesn't say it: modules below know nothing of options."""
    match failure:
        case LinkLost(__cause__=socket.gaierror()):
            return "no such host is known; --server HOST:PORT names another one"
        case LinkLost():
            return f"{PROGRAM} serve starts one, --server HOST:PORT names another one"
        case SetupError(__cause__=OSError(errno=errno.EADDRINUSE)):
            return "maybe a server runs already; --port PORT chooses another port"
        case SetupError(__cause__=OSError(errno=errno.EACCES, filename=None)):
            return "ports below 1024 are for root; --port PORT chooses another one"
        case SetupError(__cause__=OSError(errno=errno.EADDRNOTAVAIL) | socket.gaierror()):
            return "--host has to be an address of this machine"
        case _:
            return None


def _report_mistake(mistake: CycloptsError) -> int:
    command = " ".join(mistake.command_chain or ())
    see = f"{PROGRAM} {command}".rstrip()
    if isinstance(mistake, UnusedCliTokensError):
        text = f"Too many arguments: {' '.join(mistake.unused_tokens or ())}"
    else:
        text = " ".join(str(mistake).split())
    _tell(f"{text.removesuffix('.')} (see {see} --help)")
    return MISUSED


def _tell(text: str) -> None:
    print(f"trio_chat: {clean(text)}", file=sys.stderr)


def _forget_stdout() -> None:
    """Nobody reads it; Python would complain when it flushes what is left at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
