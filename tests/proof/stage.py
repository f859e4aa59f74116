"""What every fault needs: a server, loads, a folder for their files, and a verdict."""

import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random

import trio
from attrs import define, evolve, field, frozen

from tests.proof.checker import Verdict, check
from tests.proof.load import ROOMS, Plan
from tests.proof.log import (
    Evidence,
    Hole,
    Outcome,
    Saw,
    Seen,
    Span,
    View,
    ack_times,
    gather,
    interruptions,
    saw,
)
from tests.proof.processes import (
    HISTORY_FILE,
    START_WITHIN,
    LoadProcess,
    ServerProcess,
    free_port,
)
from tests.proof.proxy import Proxy
from trio_chat.client.chat import Chat, connect
from trio_chat.messages import Event, Page
from trio_chat.wire import CLIENT

RECOVER_WITHIN = 60.0
"""Seconds after a fault within which an ack has to come."""


@frozen
class Row:
    """What one fault came to. `recoveries`: seconds, one for each time. `problems`: what
    is wrong beside the counts. `not_run`: why it could not be tried here."""

    fault: str
    times: int = 0
    operations: int = 0
    acked: int = 0
    refused: int = 0
    unknown: int = 0
    verdict: Verdict = field(factory=Verdict)
    recoveries: tuple[float, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    not_run: str | None = None

    @property
    def is_clean(self) -> bool:
        """Is nothing wrong?"""
        return self.verdict.is_clean and not self.problems


@define(eq=False)
class Stage:
    """One fault's server and clients, in a folder of their own."""

    folder: Path
    seed: int
    progress: Callable[[str], None]
    random: Random = field(init=False)
    server: ServerProcess = field(init=False)
    loads: list[LoadProcess] = field(factory=list, init=False)
    faults: list[Span] = field(factory=list, init=False)
    notes: list[str] = field(factory=list, init=False)
    problems: list[str] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.random = Random(self.seed)
        port = free_port(secrets.randbelow(10_000))
        self.server = ServerProcess(self.folder / "data", self.folder / "server.log", port)

    # ------------------------------------------------------------ clients

    async def start_load(
        self,
        label: str = "load",
        *,
        senders: int = 8,
        readers: int = 20,
        rate: float = 200.0,
        rooms_each: int = len(ROOMS),
        port: int | None = None,
    ) -> LoadProcess:
        """Start clients against the server, or against another `port`."""
        journal = str(self.folder / f"{label}.journal")
        port = self.server.port if port is None else port
        plan = Plan(label, port, journal, self.seed, senders, readers, rate, rooms_each)
        load = LoadProcess(plan, self.folder / f"{label}.log")
        self.loads.append(load)
        await load.start()
        return load

    @asynccontextmanager
    async def watch(self, name: str = "watcher") -> AsyncIterator[Chat]:
        """A client of this process, to ask the server something."""
        async with connect("127.0.0.1", self.server.port, name=name) as chat:
            yield chat

    @asynccontextmanager
    async def proxy(self, lag: float = 0.0) -> AsyncIterator[Proxy]:
        """A proxy before the server; see there for `lag`."""
        port = free_port(secrets.randbelow(10_000))
        proxy = Proxy(port, self.server.port, self.random, lag)
        async with trio.open_nursery() as nursery:
            await nursery.start(proxy.run)
            yield proxy
            nursery.cancel_scope.cancel(reason="over")

    # ------------------------------------------------------------ faults

    @asynccontextmanager
    async def fault(self, whose: str = "") -> AsyncIterator[None]:
        """Inside of it something is broken, at its end it is whole again."""
        began = time.monotonic()
        yield
        self.faults.append(Span(began, time.monotonic(), whose))

    def expect(self, is_so: bool, what: str) -> None:  # noqa: FBT001 # as assert takes it
        """Note a problem unless it is so."""
        if not is_so:
            self.problems.append(what)

    # ------------------------------------------------------------ the end

    async def conclude(
        self,
        fault: str,
        times: int,
        recoveries: Callable[[Evidence], Iterable[float]] | None = None,
    ) -> Row:
        """Let the clients finish, read the history, and count what is wrong."""
        self.progress("the clients read to the end")
        await self._finish_loads()
        history = await self._read_history()
        if self.server.is_running:
            await self.server.terminate()
        return await trio.to_thread.run_sync(
            lambda: self._judge(Row(fault, times), history, recoveries)
        )

    async def _finish_loads(self) -> None:
        """First all fall silent, so that there is an end to read to."""
        for finish in (LoadProcess.fall_silent, LoadProcess.finish):
            async with trio.open_nursery() as nursery:
                for load in self.loads:
                    nursery.start_soon(finish, load)

    async def _read_history(self) -> Mapping[str, list[Seen | Hole]]:
        async with self.watch("auditor") as chat:
            rooms = [info.room for info in await chat.rooms()]
            return {room: await read_room(chat, room) for room in rooms}

    def _judge(
        self,
        row: Row,
        history: Mapping[str, list[Seen | Hole]],
        recoveries: Callable[[Evidence], Iterable[float]] | None,
    ) -> Row:
        self.progress("checking")
        evidence = gather(Path(load.plan.journal).read_bytes() for load in self.loads)
        found = (recoveries or self._until_acked)(evidence)
        views = [*evidence.views.values(), *self._read_file()]
        verdict = check(evidence.operations.values(), history, views)
        self.expect(self.server.bugs() == 0, f"{self.server.bugs()} bugs in the server's log")
        return evolve(
            row,
            operations=len(evidence.operations),
            acked=evidence.count(Outcome.ACKED),
            refused=evidence.count(Outcome.REFUSED),
            unknown=evidence.count(Outcome.UNKNOWN),
            verdict=verdict,
            recoveries=tuple(found),
            notes=(*self.notes, *_resent(evidence)),
            problems=tuple(self.problems),
        )

    def _until_acked(self, evidence: Evidence) -> list[float]:
        found = interruptions(self.faults, ack_times(evidence))
        self.expect(len(found) == len(self.faults), "nothing was acked after a fault")
        return found

    def _read_file(self) -> Iterable[View]:
        """What stands in the file itself, as if that were one more reader."""
        path = self.server.data / HISTORY_FILE
        if not path.exists():
            return []
        return read_file(path)

    async def clean_up(self) -> None:
        """End what this stage has started and what is still there."""
        for load in self.loads:
            await load.kill()
        if self.server.is_running:
            await self.server.kill()


@asynccontextmanager
async def staged(
    folder: Path, seed: int, progress: Callable[[str], None]
) -> AsyncIterator[Stage]:
    """A stage, whose processes are ended at the end of the block."""
    stage = Stage(folder, seed, progress)
    try:
        yield stage
    finally:
        with trio.move_on_after(START_WITHIN, shield=True):
            await stage.clean_up()


def _resent(evidence: Evidence) -> Iterable[str]:
    count = sum(operation.again for operation in evidence.operations.values())
    if count:
        yield f"{count} resent that had been stored"


async def read_room(chat: Chat, room: str) -> list[Seen | Hole]:
    """All of a room, page by page."""
    items: list[Seen | Hole] = []
    last, more = 0, True
    while more:
        page = await chat.history(room, after=last, limit=chat.welcome.limits.page)
        if page.gap is not None:
            items.append(Hole(page.gap.first, page.gap.last))
        items += [_seen(saw("", event)) for event in page.events]
        last, more = _last(page, last), page.more and bool(page.events)
    return items


def _last(page: Page, last: int) -> int:
    return page.events[-1].seq if page.events else last


def _seen(saw: Saw) -> Seen:
    return Seen(saw.seq, saw.by, saw.id, saw.text, saw.stamp)


def read_file(path: Path) -> list[View]:
    """All events of a history's file, as a reader's views."""
    views: dict[str, View] = {}
    with closing(sqlite3.connect(path)) as db:
        for room, seq, line in db.execute(
            "SELECT name, seq, line FROM events JOIN rooms ON rooms.id = room ORDER BY 1, 2"
        ):
            event = CLIENT.decode(line.rstrip(b"\n"))
            assert isinstance(event, Event)
            assert event.seq == seq, "the column and the line disagree"
            view = views.setdefault(room, View("the file", room, stayed=True))
            view.items.append(_seen(saw("", event)))
    return list(views.values())
