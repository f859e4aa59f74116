"""A password that can be recognised goes the whole way, through real processes and at a real
terminal; afterwards it is looked for wherever it could have been left."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import define, field

from tests.test_pty import PROGRAM, WITHIN, window

REAL_SECONDS = 120
"""Seven processes come and go one after the other, each of which takes its time to begin: on
a machine that has much else to do, more than the half minute of other tests. Nothing here is
about how long something takes, so this is the only deadline."""

SECRET, WRONG, NEXT = "Xyzzy-plugh-31415", "Frotz-ozmoo-27182", "Yoho-nitfol-16180"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that is written is in there."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "left"))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PYTHONUTF8", "1")
    return tmp_path


@define
class Left:
    """What has been left where somebody could read it, by a name for each place."""

    places: dict[str, bytes] = field(factory=dict)

    def look_at_process(self, pid: int, who: str) -> None:
        for what in ("cmdline", "environ"):
            path = Path(f"/proc/{pid}/{what}")
            self.places[f"{who}'s {what}"] = path.read_bytes() if path.exists() else b""

    def look_into(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.places[str(path)] = path.read_bytes()

    def having(self, secret: str) -> list[str]:
        return [place for place, data in self.places.items() if secret.encode() in data]


@asynccontextmanager
async def serving(log: Path, *options: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """A server in a process of its own, and its address."""
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [*PROGRAM, "serve", "--port", "0", *options], stdout=subprocess.PIPE, stderr=errors
        )
    try:
        assert process.stdout is not None
        banner = bytes(await process.stdout.receive_some()).decode()
        yield process, banner.split("listens on ")[1].split()[0]
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()


async def run(left: Left, words: Sequence[str], secret: str) -> int:
    """A command that reads a secret from a descriptor; what it prints is looked at, too."""
    reading, writing = os.pipe()
    os.write(writing, f"{secret}\n".encode())
    os.close(writing)
    done = await trio.run_process(
        [*PROGRAM, *words, "--password-fd", str(reading)],
        check=False,
        capture_stdout=True,
        capture_stderr=True,
        pass_fds=[reading],
    )
    os.close(reading)
    left.places[" ".join(words)] = done.stdout + done.stderr
    return done.returncode


async def register(left: Left, address: str, *options: str) -> None:
    """alice makes her name her own, at a terminal, and says something."""
    async with window("connect", "alice", "--server", address, *options) as alice:
        alice.patience = REAL_SECONDS
        await alice.see("lobby")
        left.look_at_process(alice.process.pid, "alice")
        alice.type("/register\r")
        await alice.see("a new password")
        alice.type(SECRET)
        if not options:  # it comes and goes, so what is seen of it is looked at here
            await alice.see("*" * len(SECRET))
        left.places[f"alice's prompt {options}"] = "\n".join(alice.screen).encode()
        alice.type("\r")
        await alice.see("once more")
        alice.type(f"{SECRET}\r")
        await alice.see("alice is yours now")
        left.places[f"alice's screen {options}"] = "\n".join(alice.screen).encode()
        alice.type("/quit\r")
        assert await alice.ends() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("options", [(), ("--plain",)], ids=["prompt", "lines"])
async def test_no_password_is_left_anywhere(home: Path, options: tuple[str, ...]) -> None:
    left = Left()
    async with serving(home / "log") as (server, address):
        await register(left, address, *options)
        at = ("--name", "alice", "--server", address)
        assert await run(left, ["say", "lobby", "hi", *at], SECRET) == 0
        assert await run(left, ["say", "lobby", "hi", *at], WRONG) == 1
        assert await run(left, ["account", "password", "alice"], NEXT) == 0
        left.look_at_process(server.pid, "the server")
        left.look_into(home)
    left.look_into(home)
    left.places["the environment"] = repr(os.environ).encode()
    assert left.having("lobby"), "it looks where something is"
    assert [left.having(secret) for secret in (SECRET, WRONG, NEXT)] == [[], [], []]


def test_no_password_is_in_a_traceback_with_locals(home: Path) -> None:
    """As pytest or a debugger show it: of what is about passwords nothing has one in its
    repr."""
    (home / "boom.py").write_text(
        "import sys, traceback, trio\n"
        "from trio_chat.hashing import Hashing\n"
        "from trio_chat.messages import Hello, Register\n"
        "from trio_chat.secret import Secret\n"
        "def boom(*_):\n"
        "    raise RuntimeError('a bug')\n"
        "import trio_chat.hashing\n"
        "trio_chat.hashing.check_password = boom\n"
        "async def main(word):\n"
        "    hello = Hello('alice', password=word.reveal())\n"
        "    request = Register(word.reveal(), old=word.reveal())\n"
        "    await Hashing().check('alice', None, word, 'kept')\n"
        "try:\n"
        "    trio.run(main, Secret(sys.stdin.readline().strip()))\n"
        "except RuntimeError as exc:\n"
        "    trace = traceback.TracebackException.from_exception(exc, capture_locals=True)\n"
        "    print(''.join(trace.format()))\n"
    )
    done = subprocess.run(  # our own
        [sys.executable, home / "boom.py"],
        input=SECRET,
        capture_output=True,
        text=True,
        check=True,
        timeout=WITHIN,
    )
    assert "Hello(" in done.stdout
    assert "a bug" in done.stdout
    assert SECRET not in done.stdout
