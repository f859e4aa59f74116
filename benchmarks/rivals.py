"""The servers that are measured: how each is started, and how it is spoken to."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from attrs import field, frozen

from benchmarks.dialects import Irc, Nats, Plain, Redis, WebSocket
from trio_chat.bench.dialect import Dialect
from trio_chat.bench.json_lines import JsonLines
from trio_chat.bench.plan import Plan

PEERS = Path(__file__).with_name("peers")
"""Configurations, and the servers that are one file of ours."""

DEBIAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

OURS = "trio_chat"

Command = Callable[[int, Path], Sequence[str]]
"""Makes the command that starts a server on a port, with a folder of its own."""

Speak = Callable[[str, Plan], Dialect]
"""Makes a dialect for a server of that title, and the texts of a plan."""


@frozen
class Rival:
    """`name`: on the command line; `title`: in the table. `program`, `module`: what has to be
    installed, and `package` what it comes in. `tells`: the words that make it tell its
    version. `entering`: members who come in at once."""

    name: str
    title: str
    command: Command
    speak: Speak = field(factory=lambda: _theirs(Plain))
    program: str | None = None
    module: str | None = None
    package: str = ""
    tells: Sequence[str] = ()
    entering: int = 64

    @property
    def is_ours(self) -> bool:
        """Is it this program?"""
        return self.name.startswith(OURS)

    @property
    def missing(self) -> str | None:
        """How to install it, if it is not here."""
        if self.program and _find(self.program) is None:
            return f"apt-get install {self.package}"
        if self.module and find_spec(self.module) is None:
            return f"pip install {self.package}"
        return None

    @property
    def version(self) -> str:
        """The version, if it has one."""
        if self.module or self.is_ours:
            return version(self.module or "trio-chat")
        if not self.tells or self.program is None:
            return ""
        words = [str(_find(self.program)), *self.tells]
        told = subprocess.run(words, capture_output=True, text=True, check=False)
        found = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
        return found[0] if found else ""


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=DEBIAN_PATH)


def _configured(program: str, config: str, *words: str) -> Command:
    """Start a program with a configuration of `peers/`; CONFIG among the words is its file."""

    def command(port: int, folder: Path) -> Sequence[str]:
        text = (PEERS / config).read_text(encoding="utf-8")
        file = folder / config
        file.write_text(text.format(port=port, folder=folder), encoding="utf-8")
        (folder / "motd").write_text("hello\n", encoding="utf-8")
        return [str(_find(program)), *(word.replace("CONFIG", str(file)) for word in words)]

    return command


def _script(name: str) -> Command:
    return lambda port, _folder: [sys.executable, str(PEERS / name), str(port)]


def _limit(mode: str) -> Command:
    def command(port: int, folder: Path) -> Sequence[str]:
        program = str(folder / "limit")
        subprocess.run(["cc", "-O2", "-o", program, str(PEERS / "limit.c")], check=True)
        return [program, str(port), mode]

    return command


def serve(*options: str) -> Command:
    def command(port: int, folder: Path) -> Sequence[str]:
        where = ["--port", str(port), "--rate", "0"]
        keep = [] if "--no-history" in options else ["--data", str(folder)]
        return [sys.executable, "-m", "trio_chat", "serve", *where, *keep, *options]

    return command


def _ours(_title: str, plan: Plan) -> Dialect:
    return JsonLines(plan.size, plan.quiet)


def _theirs(dialect: type[Plain]) -> Speak:
    return lambda title, plan: dialect(title, plan.size)


RIVALS = [
    Rival(OURS, "trio_chat", serve(), _ours),
    Rival(f"{OURS}-memory", "trio_chat `--no-history`", serve("--no-history"), _ours),
    Rival(
        "redis",
        "redis pub/sub",
        _configured("redis-server", "redis.conf", "CONFIG"),
        _theirs(Redis),
        program="redis-server",
        package="redis-server",
        tells=["--version"],
    ),
    Rival(
        "nats",
        "nats-server",
        _configured("nats-server", "nats.conf", "-c", "CONFIG"),
        _theirs(Nats),
        program="nats-server",
        package="nats-server",
        tells=["--version"],
    ),
    Rival(
        "inspircd",
        "InspIRCd",
        _configured("inspircd", "inspircd.conf", "--config=CONFIG", "--nofork", "--runasroot"),
        _theirs(Irc),
        program="inspircd",
        entering=256,  # it lets those in who wait, once a second
        package="inspircd",
        tells=["--version"],
    ),
    Rival(
        "ngircd",
        "ngIRCd",
        _configured("ngircd", "ngircd.conf", "--nodaemon", "--config", "CONFIG"),
        _theirs(Irc),
        program="ngircd",
        entering=8,  # more don't fit into its queue, and the kernel has them wait for seconds
        package="ngircd",
        tells=["--version"],
    ),
    Rival(
        "websockets",
        "`websockets` broadcast",
        _script("websockets_broadcast.py"),
        _theirs(WebSocket),
        module="websockets",
        package="websockets",
    ),
    Rival("asyncio", "asyncio streams", _script("asyncio_streams.py")),
    Rival("threads", "a thread a client", _script("threads.py")),
    Rival(
        "limit", "limit, one send a message (C)", _limit("single"), program="cc", package="gcc"
    ),
    Rival(
        "limit-batched", "limit, batched (C)", _limit("batched"), program="cc", package="gcc"
    ),
]
