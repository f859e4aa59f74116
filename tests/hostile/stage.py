"""What every attack needs: a real server, attackers in a process of their own, and what can
be seen of the server from outside."""

import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from subprocess import PIPE
from typing import Any

import trio
from attrs import define, field, frozen

from tests.hostile.figures import Figure, Times, exactly
from tests.hostile.honest import guest, read_metrics
from tests.proof.processes import (
    HISTORY_FILE,
    ROOT,
    START_WITHIN,
    Failed,
    ServerProcess,
    environment,
    free_port,
)
from trio_chat.messages import Found, History, Join, Request, Rooms, Say, Search, Who
from trio_chat.wire import CLIENT

SETTLE_WITHIN = 40.0
"""Seconds for a server to be as before: those who are lost are expected for 20."""

LOOK_EVERY = 0.2

WATCHED = ("connections", "sessions", "members", "rooms", "tasks")
"""What of a server's own figures has to be as before."""

REQUESTS: Sequence[Request] = (
    Join("lobby"), Say("lobby", "hi"), Who("lobby"), Rooms(), History("lobby"), Search("hi"),
)  # fmt: skip
"""What a server does for the first time at the start: it may open files for it."""

READY = "ready"
"""What attackers print once the attack is on. The last thing is what they saw, as JSON."""


@frozen
class Base:
    """How much there is of what must not be left over. `files`: open descriptors."""

    files: int
    counts: Mapping[str, int]

    def without(self, some: Sequence[str]) -> "Base":
        """Without some of the counts."""
        return Base(self.files, {k: n for k, n in self.counts.items() if k not in some})

    def is_within(self, other: "Base") -> bool:
        """Is there of nothing more than in the other one?"""
        pairs = [(self.counts[what], other.counts[what]) for what in self.counts]
        return all(n <= most for n, most in [(self.files, other.files), *pairs])

    def __str__(self) -> str:
        return ", ".join(
            f"{n} {what}" for what, n in {"files": self.files, **self.counts}.items()
        )


@define(eq=False)
class Swarm:
    """Attackers, who do one thing."""

    process: trio.Process
    _lines: list[str] = field(factory=list, init=False)
    _rest: str = field(default="", init=False)

    async def line(self) -> str:
        """The next line that it prints. Raises `Failed` if there is none."""
        assert self.process.stdout is not None
        while "\n" not in self._rest:
            chunk = await self.process.stdout.receive_some()
            if not chunk:
                raise Failed("the attackers have died")
            self._rest += bytes(chunk).decode()
        line, _, self._rest = self._rest.partition("\n")
        return line

    async def seen(self) -> Any:
        """What they saw, once they are done."""
        return json.loads(await self.line())

    async def stop(self) -> Any:
        """Tell them to end."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        return await self.seen()


@define(eq=False)
class Stage:
    """One attack's server, in a folder of its own."""

    folder: Path
    progress: Callable[[str], None]
    server: ServerProcess = field(init=False)
    is_secure: bool = field(default=False, init=False)
    figures: list[Figure] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        port = free_port(hash(self.folder) % 10_000)
        self.server = ServerProcess(self.folder / "data", self.folder / "server.log", port)

    @property
    def port(self) -> int:
        """Where the server is."""
        return self.server.port

    async def serve(self, *options: str, rate: float = 0) -> Base:
        """Start the server, and let it do each thing once; how it is then."""
        self.server.rate, self.server.options = rate, options
        self.is_secure = "--tls" in options
        await self.server.start()
        for number in range(3):
            await self._use(f"first{number}")
        return await self.settled()

    async def _use(self, name: str) -> None:
        async with guest(self.port, name, is_secure=self.is_secure) as link:
            await link.send(map(CLIENT.encode, REQUESTS))
            while not isinstance(await link.receive(), Found):
                pass
        await read_metrics(self.port, is_secure=self.is_secure)

    # ------------------------------------------------------------ attackers

    @asynccontextmanager
    async def attack(self, role: str, **options: object) -> AsyncIterator[Swarm]:
        """Attackers, in the block from when they are ready; killed at its end."""
        plan = json.dumps({"role": role, "port": self.port, **options})
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.hostile.swarm", plan],
            stdin=PIPE,
            stdout=PIPE,
            cwd=ROOT,
            env=environment(self.folder, {}),
        )
        try:
            swarm = Swarm(process)
            assert await swarm.line() == READY
            yield swarm
        finally:
            process.kill()
            with trio.CancelScope(shield=True):  # it has been killed
                await process.wait()
            for end in (process.stdin, process.stdout):
                assert end is not None
                await end.aclose()

    # ------------------------------------------------------------ the server from outside

    def memory(self) -> int:
        """Its resident bytes."""
        return self._status("VmRSS") * 1024

    def peak(self) -> int:
        """The most that they were since `forget_peak`."""
        return self._status("VmHWM") * 1024

    def forget_peak(self) -> int:
        """Begin anew with the peak; returns the resident bytes."""
        self._proc("clear_refs").write_text("5")
        return self.memory()

    def _status(self, what: str) -> int:
        lines = self._proc("status").read_text().splitlines()
        (found,) = (line.split()[1] for line in lines if line.startswith(f"{what}:"))
        return int(found)

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self.server.pid}/{name}")

    def cpu(self) -> float:
        """Seconds of CPU that it has taken."""
        times = self._proc("stat").read_text().rsplit(")", 1)[1].split()
        return (int(times[11]) + int(times[12])) / 100

    async def look(self) -> Base:
        """How much there is of everything; who looks is not counted."""
        found = await read_metrics(self.port, is_secure=self.is_secure)
        counts = {what: round(found[f"trio_chat_{what}"]) for what in WATCHED}
        return Base(len(self.files()), counts)

    async def settled(self) -> Base:
        """How it is once nothing changes any more."""
        before, now = None, await self.look()
        while before != now:
            await trio.sleep(LOOK_EVERY)
            before, now = now, await self.look()
        return now

    async def all_gone(self) -> Base:
        """How it is once nobody is expected to come back any more."""
        while (now := await self.look()).counts["members"]:  # noqa: ASYNC110 # it tells nobody
            await trio.sleep(LOOK_EVERY)
        return now

    async def back_to(self, base: Base, but: Sequence[str] = ()) -> float:
        """Wait until there is no more of anything than before, `but` for some counts; seconds
        that it took."""
        began, base = trio.current_time(), base.without(but)
        while not (now := (await self.look()).without(but)).is_within(base):
            if trio.current_time() - began > SETTLE_WITHIN:
                self.figures.append(exactly("what is left over", now, base))
                return trio.current_time() - began
            await trio.sleep(LOOK_EVERY)
        self.figures.append(exactly("what is left over", "nothing", "nothing"))
        return trio.current_time() - began

    def files(self) -> list[Path]:
        """Its open descriptors."""
        return list(self._proc("fd").iterdir())

    def log_lines(self) -> int:
        """How long its log is."""
        return self.server.log.read_text(errors="replace").count("\n")

    async def log_in(self, times: Times) -> None:
        """Come in and go, and note what it took."""
        start = trio.current_time()
        async with guest(self.port, "latecomer", is_secure=self.is_secure):
            times.seconds.append(trio.current_time() - start)

    def rows(self) -> Mapping[str, int]:
        """How many rows each table of the history's file has."""
        path = self.server.data / HISTORY_FILE
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            tables = db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall()
            return {
                name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608
                for (name,) in tables
            }

    # ------------------------------------------------------------ the end

    def expect(self, *figures: Figure) -> None:
        """Note figures."""
        self.figures += figures

    async def conclude(self) -> tuple[Figure, ...]:
        """Stop the server; all figures."""
        await self.server.terminate()
        self.expect(exactly("tracebacks in the log", self.server.bugs(), 0))
        return tuple(self.figures)


@asynccontextmanager
async def staged(folder: Path, progress: Callable[[str], None]) -> AsyncIterator[Stage]:
    """A stage, whose server is ended at the end of the block."""
    stage = Stage(folder, progress)
    try:
        yield stage
    finally:
        with trio.move_on_after(START_WITHIN, shield=True):
            if stage.server.is_running:
                await stage.server.kill()
