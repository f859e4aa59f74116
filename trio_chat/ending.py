"""What a command prints, and how it ends: an exit status, and one line on stderr that says
what to do."""

import errno
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar

from cyclopts import CycloptsError, UnknownCommandError, UnusedCliTokensError

from trio_chat.client.clean import clean, clean_json
from trio_chat.config import PROGRAM
from trio_chat.errors import (
    BadName,
    ChatError,
    LinkLost,
    Refused,
    SetupError,
    TlsRequired,
    Untrusted,
)

E = TypeVar("E", bound=BaseException)

Say = Callable[[str], None]
"""How one line is said to whoever has started a command."""

REFUSED, MISUSED, UNREACHABLE, INTERRUPTED, PIPE_BROKEN, TERMINATED = 1, 2, 3, 130, 141, 143
"""Exit statuses, the same of all commands. The last three are what a shell reports of a
program that ends by the signals SIGINT, SIGPIPE and SIGTERM."""

STATUSES = """\
Exit status, of every command: 0 all is done, 1 the answer was no, or some of
it was not done, 2 the command or a setting is wrong, 3 the server can't be
reached, which is worth another try; 130, 141 and 143 after SIGINT, SIGPIPE and
SIGTERM.
"""


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """The exceptions of a group that are no groups."""
    for member in group.exceptions:
        if isinstance(member, BaseExceptionGroup):
            yield from leaves(member)
        else:
            yield member


def report(failure: ChatError, say: Say) -> int:
    """Say what went wrong, and what to do; returns the exit status."""
    advice = _advice(failure)
    say(f"{failure}; {advice}" if advice else str(failure))
    match failure:
        case LinkLost():
            return UNREACHABLE
        case Refused() if not isinstance(failure, BadName):
            return REFUSED
        case _:  # a name that can't be one, say, was mistyped
            return MISUSED


def _advice(failure: ChatError) -> str | None:
    """What to do, where the text doesn't say it: modules below know nothing of options."""
    match failure:
        case LinkLost():
            return _advice_on_loss(failure.__cause__)
        case TlsRequired():
            return "--server takes the link that it shows when it is started"
        case Untrusted(__cause__=ssl.SSLCertVerificationError()):
            return (
                "--server takes the link that it shows when it is started; --trust-new takes"
                " its word for it, the first time"
            )
        case SetupError():
            return _advice_on_setup(failure.__cause__)
        case _:
            return None


def _advice_on_loss(cause: BaseException | None) -> str:
    match cause:
        case socket.gaierror():
            return "no such host is known; --server HOST:PORT names another one"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return "if it is to be in plain text, that is plain://HOST:PORT"
        case _:
            return f"{PROGRAM} serve starts one, --server HOST:PORT names another one"


def _advice_on_setup(cause: BaseException | None) -> str | None:
    match cause:
        case OSError(errno=errno.EADDRINUSE):
            return "maybe a server runs already; --port PORT chooses another port"
        case OSError(errno=errno.EACCES, filename=None):
            return "ports below 1024 are for root; --port PORT chooses another one"
        case OSError(errno=errno.EADDRNOTAVAIL) | socket.gaierror():
            return "--host has to be an address of this machine"
        case _:
            return None


def report_mistake(mistake: CycloptsError, commands: Iterable[str], say: Say) -> int:
    """Say what was mistyped, where there are these commands; returns the exit status."""
    command = " ".join(mistake.command_chain or ())
    see = f"{PROGRAM} {command}".rstrip()
    if isinstance(mistake, UnknownCommandError) and not command:
        text = _suggest((mistake.unused_tokens or [""])[0], commands)
    elif isinstance(mistake, UnusedCliTokensError):
        text = f"Too many arguments: {' '.join(mistake.unused_tokens or ())}"
    else:
        text = " ".join(str(mistake).split())
    say(f"{text.removesuffix('.')} (see {see} --help)")
    return MISUSED


def _suggest(command: str, commands: Iterable[str]) -> str:
    """Not in cyclopts' words: it does not see what is in modules of their own."""
    close = get_close_matches(command, commands, n=1)
    meant = f' Did you mean "{close[0]}"?' if close else ""
    return f'Unknown command "{command}".{meant}'


def require_stdout() -> None:
    """Raises `SetupError` if there is nowhere to print to."""
    if sys.stdout is None:  # as after `>&-`
        raise SetupError("standard output has to be open")


def write_out(lines: Iterable[bytes]) -> None:
    """Print lines of JSON, or of names; on a terminal with what would steer it escaped.

    Raises `BrokenPipeError`, `SetupError`.
    """
    require_stdout()
    if sys.stdout.isatty():
        lines = map(clean_json, lines)
    # What can't be written must not stay behind in the buffer of `sys.stdout`, where it would
    # fail once more, at the very end.
    with printing(), open(sys.stdout.fileno(), "wb", closefd=False) as file:
        file.writelines(lines)


def flush_stdout() -> None:
    """Get out what was printed. Raises as `write_out` does."""
    with printing():
        print(end="", flush=True)


@contextmanager
def printing() -> Iterator[None]:
    """What is printed in here, and flushed, raises as `write_out` does."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        forget_stdout()
        raise SetupError(f"can't write to the standard output: {exc.strerror}") from exc


def tell(text: str) -> None:
    """Print one line on stderr."""
    print(f"trio_chat: {clean(text)}", file=sys.stderr)


def forget_stdout() -> None:
    """Drop what nobody reads: Python would complain when it flushes the rest at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
