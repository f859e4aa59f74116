"""Tests of asking for a password: where it comes from, and that nobody else sees it."""

import os
import pty
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cyclopts import App

from trio_chat.asking import LINE_BYTES, PasswordSource
from trio_chat.errors import SetupError

TEXT = "correct horse"


@contextmanager
def pipe_with(data: bytes) -> Iterator[int]:
    """The end of a pipe from which that can be read."""
    ours, theirs = os.pipe()
    os.write(theirs, data)
    os.close(theirs)
    try:
        yield ours
    finally:
        if is_open(ours):
            os.close(ours)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def file_with(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


LINES = [
    ("a line", b"correct horse\n", TEXT),
    ("without its end", b"correct horse", TEXT),
    ("of Windows", b"correct horse\r\n", TEXT),
    ("the first of several", b"correct horse\nbattery\n", TEXT),
    ("with spaces around it", b"  a \n", "  a "),
    ("of other letters", "schöner Tag\n".encode(), "schöner Tag"),
    ("the longest", b"x" * LINE_BYTES + b"\n", "x" * LINE_BYTES),
]

NO_LINES = [
    ("nothing", b"", "is empty"),
    ("an empty line", b"\ncorrect horse\n", "is empty"),
    ("no UTF-8", b"correct \xff horse\n", "is not UTF-8"),
    ("too long", b"x" * (LINE_BYTES + 1), "too long"),
]


@pytest.mark.parametrize(("data", "text"), [r[1:] for r in LINES], ids=[r[0] for r in LINES])
def test_a_password_is_the_first_line(tmp_path: Path, data: bytes, text: str) -> None:
    path = file_with(tmp_path / "password", data)
    assert PasswordSource(password_file=path).read("").reveal() == text
    with pipe_with(data) as fd:
        assert PasswordSource(password_fd=fd).read("").reveal() == text


@pytest.mark.parametrize(
    ("data", "why"), [r[1:] for r in NO_LINES], ids=[r[0] for r in NO_LINES]
)
def test_this_is_no_password(tmp_path: Path, data: bytes, why: str) -> None:
    path = file_with(tmp_path / "password", data)
    with pytest.raises(SetupError, match=why) as failure:
        PasswordSource(password_file=path).read("")
    shown = traceback.TracebackException.from_exception(failure.value)
    chain = [failure.value.__cause__, failure.value.__context__]
    assert "correct" not in "".join(shown.format()) + repr(chain)
    with pipe_with(data) as fd, pytest.raises(SetupError, match=why):
        PasswordSource(password_fd=fd).read("")


def test_what_follows_in_a_descriptor_is_left_to_others() -> None:
    with pipe_with(b"correct horse\nhello\n") as fd:
        kept = os.dup(fd)
        PasswordSource(password_fd=fd).read("")
        assert os.read(kept, 100) == b"hello\n"
        os.close(kept)
        assert not is_open(fd)


def test_the_standard_input_stays_open() -> None:
    """In a process of its own."""
    code = (
        "from trio_chat.asking import PasswordSource\n"
        "password = PasswordSource(password_fd=0).read('')\n"
        "print(len(password.reveal()), input())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=b"correct horse\nhello\n",
        capture_output=True,
        check=True,
    )
    assert run.stdout == b"13 hello\n"


def test_a_file_may_be_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `--password-file <(pass show chat)` makes one."""
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o644)
    writer = threading.Thread(target=path.write_bytes, args=[b"correct horse\n"])
    writer.start()
    assert PasswordSource(password_file=path).read("").reveal() == TEXT
    writer.join()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, True), (0o604, True)])
def test_who_else_can_read_the_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int, *, is_told: bool
) -> None:
    path = file_with(tmp_path / "password", b"correct horse\n", mode)
    assert PasswordSource(password_file=path).read("").reveal() == TEXT
    told = capsys.readouterr().err
    assert ("chmod 600" in told) is is_told
    assert TEXT not in told


def test_what_can_not_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file"):
        PasswordSource(password_file=tmp_path / "none").read("")
    with pytest.raises(SetupError, match="Is a directory"):
        PasswordSource(password_file=tmp_path).read("")
    with pytest.raises(SetupError, match="Bad file descriptor"):
        PasswordSource(password_fd=999).read("")


def test_there_is_one_source(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="not both"):
        PasswordSource(tmp_path / "password", 3).read("")
    assert PasswordSource(password_fd=0).is_named
    assert not PasswordSource().is_named


# ---------------------------------------------------------------- on a command line


def parse(*words: str) -> PasswordSource:
    app = App(result_action="return_value", print_error=False, exit_on_error=False)

    @app.default
    def command(*, source: PasswordSource = PasswordSource()) -> PasswordSource:  # noqa: B008 # frozen
        return source

    found = app(words)
    assert isinstance(found, PasswordSource)
    return found


def test_commands_share_these_options() -> None:
    assert parse() == PasswordSource()
    assert parse("--password-fd", "5") == PasswordSource(password_fd=5)
    assert parse("--password-file", "x") == PasswordSource(password_file=Path("x"))


@pytest.mark.parametrize(
    "words", [["--password", TEXT], ["--password-fd", "-1"], ["--password-fd", "x"]]
)
def test_no_password_is_taken_from_the_command_line(words: list[str]) -> None:
    with pytest.raises(Exception, match="password"):
        parse(*words)


# ---------------------------------------------------------------- at a terminal

ASK = """
import os, sys
if sys.stdin.isatty():
    os.close(os.open(os.ttyname(0), os.O_RDWR))  # which makes it the terminal of this session
from trio_chat.asking import PasswordSource
from trio_chat.errors import SetupError
try:
    print("got", len(PasswordSource().{how}("password: ").reveal()))
except SetupError as failure:
    print("failed:", failure)
"""


def at_terminal(how: str, *typed: str) -> str:
    """What is on the terminal of who asks, when that has been typed at each prompt."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ASK.format(how=how)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown, answers = b"", iter(typed)
        while data := read_terminal(ours):
            shown += data
            if shown.endswith((b"password: ", b"once more: ")):
                os.write(ours, next(answers).encode())
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def read_terminal(fd: int) -> bytes:
    try:
        return os.read(fd, 1000)
    except OSError:  # so Linux says that nobody has it open any more
        return b""


def test_who_is_at_the_terminal_is_asked_and_types_unseen() -> None:
    shown = at_terminal("read", "correct horse\n")
    assert shown.startswith("password: ")
    assert "got 13" in shown
    assert "horse" not in shown


def test_a_new_password_is_typed_twice() -> None:
    assert "got 13" in at_terminal("read_new", "correct horse\n", "correct horse\n")
    shown = at_terminal("read_new", "correct horse\n", "correct house\n")
    assert "failed: these were two different passwords" in shown
    assert "horse" not in shown
    assert "house" not in shown


def test_who_types_nothing_is_told_so() -> None:
    assert "failed: no password was typed" in at_terminal("read", "\x04")
    assert "failed: the password from the terminal is empty" in at_terminal("read", "\n")


def test_without_a_terminal_nobody_is_asked() -> None:
    """It would be read from the standard input, and echoed by whatever is there."""
    run = subprocess.run(
        [sys.executable, "-c", ASK.format(how="read")],
        input=b"correct horse\n",
        capture_output=True,
        check=True,
        start_new_session=True,
    )
    assert run.stdout.startswith(b"failed: there is no terminal")
    assert run.stderr == b""
