"""The editor of a person's choice, for a text that is longer than a line."""

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from trio_chat.errors import SetupError

USUAL = ("editor", "nano", "vi", "emacs", "notepad")
"""Editors of which the first that is there is taken if nobody has named one."""


def edited(text: str, environ: Mapping[str, str]) -> str:
    """What somebody makes of `text` in an editor, which has the terminal until then.

    Raises `SetupError` if nothing comes of it.
    """
    command = _command(environ)
    try:
        with TemporaryDirectory(prefix="trio_chat-") as folder:
            file = Path(folder, "text.txt")
            file.write_bytes(text.encode("utf-8", "replace"))
            _run([*command, str(file)])
            left = file.read_bytes()
    except OSError as exc:
        raise SetupError(f"there is no file for an editor: {exc.strerror}") from exc
    return _text(left)


def _command(environ: Mapping[str, str]) -> list[str]:
    """$VISUAL or $EDITOR, which may have arguments, too."""
    named = environ.get("VISUAL") or environ.get("EDITOR")
    if not named:
        found = next(filter(shutil.which, USUAL), None)
        if found is None:
            raise SetupError("there is no editor; $EDITOR names one")
        return [found]
    try:
        words = shlex.split(named)
    except ValueError as exc:
        raise SetupError(f"$EDITOR is {named}, which can't be read: {exc}") from exc
    if not words:
        raise SetupError("$EDITOR names no editor")
    return words


def _run(command: list[str]) -> None:
    try:
        status = subprocess.call(command)  # noqa: S603 # what its user has chosen
    except OSError as exc:
        why = f"{exc.strerror}; $EDITOR names another one"
        raise SetupError(f"can't start the editor {command[0]}: {why}") from exc
    if status:
        raise SetupError(f"the editor {command[0]} has failed; the text is what it was")


def _text(left: bytes) -> str:
    try:
        text = left.decode()
    except UnicodeDecodeError as exc:
        raise SetupError("what the editor has left is not in UTF-8") from exc
    return text.removesuffix("\n")  # which editors put at the end of all texts
