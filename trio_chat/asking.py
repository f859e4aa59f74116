"""Asking for a password: at a terminal, in a file, from a descriptor; never in `argv`, where
everybody on the machine can read it, nor in the environment, which every child inherits.
"""

import os
import stat
import warnings
from getpass import GetPassWarning, getpass
from pathlib import Path
from typing import Annotated

from attrs import frozen
from cyclopts import Parameter
from cyclopts.validators import Number

from trio_chat.ending import tell
from trio_chat.errors import SetupError
from trio_chat.secret import Secret

LINE_BYTES = 4096
"""The longest line that is read: longer than any server's longest password."""


@Parameter(name="*")
@frozen
class PasswordSource:
    """Where a password comes from that nobody types: options that commands share.

    Parameters
    ----------
    password_file
        A file with the password in its first line.
    password_fd
        The number of an open descriptor to read the password from.
    """

    password_file: Annotated[Path | None, Parameter(show_default=False)] = None
    password_fd: Annotated[
        int | None, Parameter(validator=Number(gte=0), show_default=False)
    ] = None

    @property
    def is_named(self) -> bool:
        """Can it be read without asking anybody?"""
        return self.password_file is not None or self.password_fd is not None

    def read(self, prompt: str) -> Secret:
        """The password; who is at the terminal is asked for it if nothing else is named.

        Raises `SetupError`.
        """
        return _read(self.password_file, self.password_fd, "password") or ask(prompt)

    def read_new(self, prompt: str) -> Secret:
        """A password that there is to be from now on: whoever types it does so twice.

        Raises `SetupError`.
        """
        password = self.read(prompt)
        if not self.is_named and ask("once more: ").reveal() != password.reveal():
            raise SetupError("these were two different passwords")
        return password


USUAL = PasswordSource()
"""Whoever is at the terminal."""


@Parameter(name="*")
@frozen
class TokenSource:
    """Where the token of a bot comes from: options that commands share.

    Parameters
    ----------
    token_file
        A file with the token of a bot, as `bot add` prints it.
    token_fd
        The number of an open descriptor to read the token from.
    """

    token_file: Annotated[Path | None, Parameter(show_default=False)] = None
    token_fd: Annotated[int | None, Parameter(validator=Number(gte=0), show_default=False)] = (
        None
    )

    def read(self) -> Secret | None:
        """The token, if one is named. Raises `SetupError`."""
        return _read(self.token_file, self.token_fd, "token")


NO_TOKEN = TokenSource()
"""Somebody who is no bot."""


# ---------------------------------------------------------------- at a terminal


def ask(prompt: str) -> Secret:
    """What somebody types, unseen. Raises `SetupError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)  # it would go on, and be seen
        try:
            typed = getpass(prompt)
        except (GetPassWarning, OSError) as exc:
            raise SetupError(
                "there is no terminal to ask for the password; --password-file names a file"
                " that has it"
            ) from exc
        except EOFError as exc:
            raise SetupError("no password was typed") from exc
    return _secret(typed.encode("utf-8", "surrogateescape"), "the terminal")


# ---------------------------------------------------------------- without one


def _read(path: Path | None, fd: int | None, what: str) -> Secret | None:
    if path is not None and fd is not None:
        raise SetupError(f"either --{what}-file or --{what}-fd, not both")
    if path is not None:
        return _read_file(path)
    return None if fd is None else _read_fd(fd)


def _read_file(path: Path) -> Secret:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise SetupError(f"can't read {path}: {exc.strerror}") from exc
    try:
        _warn_of_readers(path, os.fstat(fd))
        return _secret(_read_line(fd, str(path)), str(path))
    finally:
        os.close(fd)


def _warn_of_readers(path: Path, status: os.stat_result) -> None:
    """It is used all the same: in a container such a file is often 0444, and alone there."""
    if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        tell(f"others can read the password in {path}; chmod 600 {path}")


def _read_fd(fd: int) -> Secret:
    source = f"descriptor {fd}"
    password = _secret(_read_line(fd, source), source)
    if fd > 2:  # the standard ones are of use still
        os.close(fd)  # or an editor that is started would inherit it
    return password


def _read_line(fd: int, source: str) -> bytes:
    """The first line and nothing beyond: what follows may be what is to be said."""
    line = bytearray()
    try:
        while (byte := os.read(fd, 1)) not in (b"", b"\n"):
            line += byte
            if len(line) > LINE_BYTES:
                raise SetupError(f"the first line of {source} is too long for a password")
    except OSError as exc:
        raise SetupError(f"can't read a password from {source}: {exc.strerror}") from exc
    return bytes(line.removesuffix(b"\r"))


def _secret(line: bytes, source: str) -> Secret:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = ""  # and out of here, as that error has the whole line in it
    if not text:
        why = "is not UTF-8" if line else "is empty"
        raise SetupError(f"the password from {source} {why}")
    return Secret(text)
