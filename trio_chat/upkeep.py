"""The commands for who looks after a server: `history`, `backup` and `doctor`.

They work beside a running server, but for `history import`.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TextIO

from attrs import define, field
from cyclopts import App, Parameter
from cyclopts.validators import Number

from trio_chat import config
from trio_chat.client.address import DEFAULT_PORT
from trio_chat.client.clean import clean
from trio_chat.config import (
    CERTIFICATE_FILE,
    HISTORY_FILE,
    HOST,
    IN_FORCE,
    PROGRAM,
    Data,
    Flag,
)
from trio_chat.ending import printing, write_out
from trio_chat.errors import SetupError
from trio_chat.names import parse_name

if TYPE_CHECKING:
    from trio_chat.doctor import CertificateFiles

SHOW_EVERY = 0.1
"""Seconds between two looks at how far it is."""

app = App(group_parameters="Options")
"""What `cli` takes over as its own."""

history = App(
    name="history",
    help="Write out what was said, or take it in.",
    sort_key=11,
    group_parameters="Options",
    usage=f"Usage: {PROGRAM} history COMMAND [OPTIONS]",
    help_epilogue=f"""\
Examples:
  # As lines of JSON, one for each event, while the server runs.
  {PROGRAM} history export > events.jsonl
  # On another machine.
  {PROGRAM} history import events.jsonl
""",
)
app.command(history)


# ---------------------------------------------------------------- the commands


@history.command(
    usage=f"Usage: {PROGRAM} history export [OPTIONS] [ROOMS]",
    help_epilogue=f"""\
Examples:
  {PROGRAM} history export > events.jsonl
  {PROGRAM} history export ops --data /srv/chat --output ops.jsonl
""",
)
def export(*rooms: str, data: Data = None, output: Path | None = None) -> None:
    """Write out all events, or those of some rooms, as lines of JSON.

    The lines are those that were sent, room after room; besides, who said it, who
    has an account, and how the rooms are governed. No password, token or key is
    among them. A server may be running.

    Parameters
    ----------
    rooms
        The rooms whose events to write; all of them if none is named.
    data
        The folder with the history.
    output
        The new file to write to, instead of the standard output.
    """
    from trio_chat.history.archive import export_lines, fresh_file  # noqa: PLC0415 # sqlite3

    names = [parse_name(room) for room in rooms]
    with showing("exported", "events") as report:
        lines = export_lines(_history_in(data), names, report)
        if output is None:
            write_out(lines)
            return
        with fresh_file(output) as temporary, temporary.open("wb") as file:
            file.writelines(lines)
    print(f"exported to {clean(str(output))}")


@history.command(
    name="import",
    usage=f"Usage: {PROGRAM} history import [OPTIONS] [FILE]",
    help_epilogue=f"""\
Examples:
  {PROGRAM} history import events.jsonl
  ssh example.org trio-chat history export | {PROGRAM} history import
""",
)
def import_(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)] = "-", /, *, data: Data = None
) -> None:
    """Take in events that `history export` has written: all of them, or none.

    In each room they have to begin where the history ends, or to repeat it; a
    new room may begin anywhere. Who has an account there has one here, as soon as
    account password gives it a password; unless there is one of that name here,
    which is somebody else's. No server may be using the folder.

    Parameters
    ----------
    file
        The file to read; - is the standard input.
    data
        The folder with the history, which is made if it does not exist.
    """
    from trio_chat.history.archive import import_lines, read_lines  # noqa: PLC0415 # sqlite3

    with _opened(file) as source:
        path = _history_in(data)
        config.make_folder(path.parent)
        with showing("imported", "events") as report:
            done = import_lines(path, read_lines(source), report)
    known = f"; {done.known:,} were there already" if done.known else ""
    print(f"imported {done.new:,} events{known}")


@app.command(
    sort_key=12,
    usage=f"Usage: {PROGRAM} backup [OPTIONS] FILE",
    help_epilogue=f"""\
Example:
  {PROGRAM} backup chat-monday.db
  # To go back to it, while no server runs: remove what {HISTORY_FILE}* there is
  # in the data folder, and put it there as {HISTORY_FILE}.
""",
)
def backup(file: Path, /, *, data: Data = None) -> None:
    """Copy the whole history to a new file, as it is at this moment.

    A server may be running.

    Parameters
    ----------
    file
        The file to make; one that exists is not overwritten.
    data
        The folder with the history.
    """
    from trio_chat.history.archive import back_up  # noqa: PLC0415 # sqlite3

    with showing("copied", "MB", scale=1_000_000) as report:
        back_up(_history_in(data), file, report)
    print(f"the backup is in {clean(str(file))}, {file.stat().st_size / 1e6:,.1f} MB")


@app.command(
    sort_key=13,
    usage=f"Usage: {PROGRAM} doctor [OPTIONS]",
    help_epilogue=f"""\
Example:
  {PROGRAM} doctor --data /srv/chat --port 9000
""",
)
async def doctor(
    *,
    data: Data = None,
    host: str = HOST,
    port: Annotated[int, Parameter(validator=Number(gte=1, lt=2**16))] = DEFAULT_PORT,
    tls: Annotated[bool, Flag] = False,
    tls_cert: Annotated[Path | None, Parameter(show_default=False)] = None,
    tls_key: Annotated[Path | None, Parameter(show_default="the same file")] = None,
) -> int:
    """Look for what keeps a server from working, and say what to do.

    Nothing is changed, and a server may be running. The exit status is 1 if
    there is a problem, and 0 if there are only warnings.

    Parameters
    ----------
    data
        The folder with the history.
    host
        The address that the server listens on, or will.
    port
        The port that the server listens on, or will.
    tls
        It encrypts, with the certificate in the data folder; if there is one, that
        is looked at in any case.
    tls_cert
        The file with the certificate that it encrypts with.
    tls_key
        The file with the key of --tls-cert.
    """
    from trio_chat.doctor import Finding, Level, examine, warning  # noqa: PLC0415 # sqlite3

    file = _history_in(data)
    files = _certificate_files(file, tls_cert, tls_key, is_wanted=tls)
    worst = 0
    line = _Line(sys.stderr)

    def show(finding: Finding) -> None:
        nonlocal worst
        worst = max(worst, int(finding.level is Level.PROBLEM))
        advice = f"; {finding.advice}" if finding.advice else ""
        line.erase()
        text = f"{finding.level.value:8} {finding.matter:11} {finding.text}{advice}"
        with printing():
            print(clean(text), flush=True)
        line.show("looking on ...")

    for fault in IN_FORCE.get().faults():
        show(warning("settings", fault, "put it right, or take it out"))
    await examine(file, files, host, port, show)
    line.erase()
    return worst


def _certificate_files(
    history: Path, certificate: Path | None, key: Path | None, *, is_wanted: bool
) -> "CertificateFiles | None":
    from trio_chat.doctor import CertificateFiles  # noqa: PLC0415 # sqlite3

    if certificate is not None:
        return CertificateFiles(certificate, key or certificate, is_made=False)
    if key is not None:
        raise SetupError("--tls-key goes with a --tls-cert")
    made = history.with_name(CERTIFICATE_FILE)
    if is_wanted or os.path.lexists(made):
        return CertificateFiles(made, made, is_made=True)
    return None


def _history_in(data: Path | None) -> Path:
    return (data or config.data_path()) / HISTORY_FILE


# ---------------------------------------------------------------- in and out


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        if sys.stdin is None:  # as after `<&-`
            raise SetupError("standard input has to be open, or a FILE named")
        yield sys.stdin.buffer
        return
    try:
        with open(name, "rb") as file:
            yield file
    except OSError as exc:
        raise SetupError(f"can't read {name}: {exc.strerror}") from exc


# ---------------------------------------------------------------- how far it is


@define(eq=False)
class _Line:
    """A line on a terminal that is written over again and again; nothing elsewhere."""

    _stream: TextIO | None
    _is_shown: bool = field(default=False, init=False)

    def show(self, text: str) -> None:
        if (
            self._stream is None
            or not self._stream.isatty()
            or os.environ.get("TERM") == "dumb"
        ):
            return
        self._is_shown = True
        self._stream.write(f"\r{text}\x1b[K")
        self._stream.flush()

    def erase(self) -> None:
        if self._is_shown:
            self.show("")
            self._is_shown = False


@contextmanager
def showing(
    verb: str, unit: str, *, scale: int = 1
) -> Iterator[Callable[[int, int | None], None]]:
    """Show on a terminal how much is done; off a terminal, nothing."""
    with status_line() as show:

        def report(done: int, total: int | None) -> None:
            of = "" if total is None else f" of {total // scale:,}"
            show(f"{verb} {done // scale:,}{of} {unit}")

        yield report


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Show on a terminal, a few times a second, how far it is; off a terminal, nothing."""
    line = _Line(sys.stderr)
    due = 0.0

    def show(text: str) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + SHOW_EVERY
            line.show(text)

    try:
        yield show
    finally:
        line.erase()
