"""What keeps a server from working, found before it does, or while it runs.

Everything is looked at, nothing is written; one finding for each thing.
"""

import errno
import math
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

import trio
from attrs import evolve, frozen

from trio_chat.client.link import Link, dial_tcp
from trio_chat.client.trust import dial
from trio_chat.config import OPEN_FILES
from trio_chat.doors.certificate import Description, describe
from trio_chat.doors.tls import make_context
from trio_chat.errors import BY_CODE, ChatError, HelloFirst, ServerChanged, SetupError
from trio_chat.history import archive
from trio_chat.history.file import is_held
from trio_chat.messages import Error, Ping
from trio_chat.server import SPARE_FILES
from trio_chat.wire import CLIENT

LITTLE_SPACE = 2**30
"""Bytes, and below, the part of a disk, of which it is time to be told."""

LITTLE_PART = 0.05

NO_SPACE = 2**24
"""Bytes: nothing works with less."""

FEW_CONNECTIONS = 1000
"""A server that has fewer may be full one day."""

SOON = timedelta(days=21)
"""Before a certificate ends: those that are renewed by themselves are so a month before, so
something is wrong with that."""

ANSWER_WITHIN = 2.0
"""Seconds for whoever listens on a port to say what it is."""


class Level(Enum):
    """How bad something is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Finding:
    """What was found out about a `matter`; `advice` is what to do."""

    level: Level
    matter: str
    text: str
    advice: str = ""


@frozen
class CertificateFiles:
    """Where a server's certificate and its key are; one that `is_made` by `serve --tls`
    need not be there yet."""

    certificate: Path
    key: Path
    is_made: bool


def ok(matter: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, matter, text)


def warning(matter: str, text: str, advice: str) -> Finding:
    """It works, but better be told."""
    return Finding(Level.WARNING, matter, text, advice)


def problem(matter: str, text: str, advice: str) -> Finding:
    """It does not work, or is not safe."""
    return Finding(Level.PROBLEM, matter, text, advice)


async def examine(
    file: Path,
    tls: CertificateFiles | None,
    host: str,
    port: int,
    report: Callable[[Finding], object],
) -> None:
    """Look at all that a server with the history `file` at `host` and `port` needs; None:
    it serves in plain text."""
    report(folder := check_folder(file))
    if folder.level is not Level.PROBLEM:
        report(check_privacy(file))
        # Whoever presses Ctrl-C does not wait until a large file has been read.
        report(await trio.to_thread.run_sync(check_file, file, abandon_on_cancel=True))
        report(check_server(file))
    report(check_space(file))
    report(await check_port(host, port))
    if tls is not None:
        report(await check_certificate(tls, host, port))
    report(check_open_files(hard_limit()))


# ---------------------------------------------------------------- the history


def check_folder(file: Path) -> Finding:
    """Can the folder be used?"""
    folder = file.parent
    if not os.path.lexists(folder):
        advice = "serve makes it; --data names another one"
        return warning("folder", f"there is no {folder} yet", advice)
    if not folder.is_dir():
        return problem("folder", f"{folder} is no folder", "--data names another one")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        advice = "run the server, and this, as the user who owns it"
        return problem("folder", f"this user can't use {folder}", advice)
    return ok("folder", f"{folder}")


def check_privacy(file: Path) -> Finding:
    """Can nobody else read what was said, or put another file in its place?"""
    open_files = [path for path in _files(file) if _mode(path) & 0o077]
    if open_files:
        names = " ".join(map(str, open_files))
        text = f"other users may read {names} ({_mode(open_files[0]):04o})"
        return problem("privacy", text, f"chmod 600 {names}")
    mode = _mode(file.parent)
    if mode & 0o077:
        text = f"other users may look into {file.parent} ({mode:04o})"
        finding = warning("privacy", text, f"chmod 700 {file.parent}")
        return evolve(finding, level=Level.PROBLEM) if mode & 0o022 else finding
    return ok("privacy", "no other user can read or change the history")


def _files(file: Path) -> list[Path]:
    paths = [file.with_name(file.name + end) for end in ("", "-wal", "-shm")]
    return [path for path in paths if os.path.lexists(path)]


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:  # not there, or not for us to see: `check_folder` has told
        return 0


def check_file(file: Path) -> Finding:
    """Is the history there, is it ours, and is it whole?"""
    if not os.path.lexists(file):
        advice = "serve begins one; --data names another folder"
        return warning("history", f"there is no {file} yet", advice)
    if not os.access(file, os.R_OK | os.W_OK):
        advice = "run the server, and this, as the user who owns it"
        return problem("history", f"this user can't read and write {file}", advice)
    try:
        found = archive.inspect(file)
    except SetupError as exc:
        return Finding(Level.PROBLEM, "history", str(exc))
    if found.faults:
        text = f"{file} is damaged: {found.faults[0]}"
        advice = (
            "stop the server and put a backup in its place; move the file away, do not"
            " delete it: history export may still read other rooms"
        )
        return problem("history", text, advice)
    size = f"{found.size / 1e6:,.1f} MB"
    return ok("history", f"{found.events:,} events in {found.rooms:,} rooms, {size}, undamaged")


def check_space(file: Path) -> Finding:
    """Is there room for what will be said?"""
    place = next(folder for folder in file.absolute().parents if os.path.exists(folder))
    usage = shutil.disk_usage(place)
    part = usage.free / usage.total if usage.total else 0.0
    text = f"{usage.free / 1e9:,.1f} GB free ({part:.0%})"
    advice = "make room, or let serve --retain 90d forget what is old"
    if usage.free < NO_SPACE:
        return problem("space", text, advice)
    if usage.free < LITTLE_SPACE or part < LITTLE_PART:
        return warning("space", text, advice)
    return ok("space", text)


def check_server(file: Path) -> Finding:
    """Does a server use the folder?"""
    return ok("server", f"{'a' if is_held(file) else 'no'} server uses this history now")


# ---------------------------------------------------------------- the port


async def check_port(host: str, port: int) -> Finding:
    """Can a server listen there, or does one already?"""
    try:
        for listener in await trio.open_tcp_listeners(port, host=host):
            await listener.aclose()
    except OSError as exc:
        return await _explain(host, port, exc)
    return ok("port", f"{host}:{port} is free")


async def _explain(host: str, port: int, failure: OSError) -> Finding:
    text = f"can't listen on {host}:{port}: {failure.strerror or failure}"
    if isinstance(failure, socket.gaierror) or failure.errno == errno.EADDRNOTAVAIL:
        return problem("port", text, "--host has to be an address of this machine")
    if failure.errno == errno.EACCES:
        return problem("port", text, "ports below 1024 are for root; --port names another one")
    if failure.errno != errno.EADDRINUSE:
        return problem("port", text, "--host and --port name another place")
    if await _ask(host, port) is not None:
        return ok("port", f"a trio_chat answers on {host}:{port}")
    text = f"{host}:{port} is in use by another program"
    return problem("port", text, "stop it, or let serve --port choose another port")


async def _ask(host: str, port: int) -> str | None:
    """The code of a refusal, if a trio_chat is there: it is asked without TLS and without a
    hello, so that nobody is seen to come and go, and says no."""
    with trio.move_on_after(ANSWER_WITHIN):
        try:
            link = Link(await dial_tcp(host, port), math.inf)
        except ChatError:
            return None
        try:
            await link.send([CLIENT.encode(Ping())])
            reply = await link.receive()
            return reply.code if isinstance(reply, Error) and reply.code in BY_CODE else None
        except ChatError:
            return None
        finally:
            await trio.aclose_forcefully(link.stream)
    return None


# ---------------------------------------------------------------- the certificate

LINK_ANEW = "It has another pin, so send the new link to everybody"


async def check_certificate(tls: CertificateFiles, host: str, port: int) -> Finding:
    """Can a server use its certificate, does it last, and is it the one that is in use?"""
    found = _read_certificate(tls)
    if isinstance(found, Finding):
        return found
    if await _is_another(found, host, port):
        text = f"the server at {host}:{port} does not use {tls.certificate}"
        return problem("certificate", text, "SIGHUP has it read its certificate anew")
    if await _ask(host, port) == HelloFirst.code:
        text = f"the server at {host}:{port} speaks plain text"
        return problem("certificate", text, "restart it with the settings that it has now")
    return _check_end(found, tls)


def _read_certificate(tls: CertificateFiles) -> Description | Finding:
    if tls.is_made and not os.path.lexists(tls.certificate):
        advice = "serve --tls makes it"
        return warning("certificate", f"there is no {tls.certificate} yet", advice)
    try:
        make_context(tls.certificate, tls.key)
        return describe(tls.certificate)
    except SetupError as exc:
        return Finding(Level.PROBLEM, "certificate", str(exc))


async def _is_another(found: Description, host: str, port: int) -> bool:
    """Does a server answer there that has another certificate?"""
    with trio.move_on_after(ANSWER_WITHIN):
        try:
            await trio.aclose_forcefully(await dial(host, port, found.pin))
        except ServerChanged:
            return True
        except ChatError:
            return False
    return False


def _check_end(found: Description, tls: CertificateFiles) -> Finding:
    left, file = found.ends - datetime.now(UTC), tls.certificate
    advice = "see why it was not renewed; SIGHUP has the server read the new one"
    if found.is_own:
        advice = f"put a new one there, and SIGHUP has the server read it. {LINK_ANEW}"
    if found.is_own and tls.is_made:
        advice = f"remove {file} and start serve --tls anew: it makes one. {LINK_ANEW}"
    day = f"{found.ends:%Y-%m-%d}"
    if left <= timedelta():
        return problem("certificate", f"{file} has ended on {day}", advice)
    if left < SOON:
        return warning("certificate", f"{file} ends on {day}", advice)
    signer = f"our own, with the pin {found.pin}" if found.is_own else "signed by an authority"
    return ok("certificate", f"{file} lasts until {day}, {signer}")


# ---------------------------------------------------------------- the system


def hard_limit() -> int | None:
    """How many files a process may have open; None is no limit."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 # there is none on Windows

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def check_open_files(hard: int | None) -> Finding:
    """How many connections may there be at once?"""
    files = OPEN_FILES if hard is None else min(hard, OPEN_FILES)
    connections = max(0, files - SPARE_FILES)
    text = f"{connections:,} connections at most"
    if connections >= FEW_CONNECTIONS:
        return ok("open files", text)
    advice = f"raise the limit of open files, which is {hard}: LimitNOFILE=, or ulimit -Hn"
    return (problem if not connections else warning)("open files", text, advice)
