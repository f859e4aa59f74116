"""The faults of disks and clocks: what strace, a small tmpfs, another program with the file
and libfaketime can do to a server."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from subprocess import PIPE

import trio
from attrs import evolve

from tests.proof.faults import until_back
from tests.proof.load import ROOMS
from tests.proof.log import Evidence, Outcome, Seen, Span, ack_times, interruptions, quantile
from tests.proof.processes import HISTORY_FILE, wait_for
from tests.proof.proxy import Proxy
from tests.proof.stage import Row, Stage, read_room
from tests.proof.traces import CALLS, Order, check_order, count_injected
from trio_chat.client.chat import Chat
from trio_chat.errors import NotStored, StorageFull

# ---------------------------------------------------------------- strace


def trace(output: Path, calls: Sequence[str], *options: str) -> list[str]:
    """The words that trace a server, which stays the child that is killed."""
    names = ",".join(calls)
    return ["strace", "-D", "-f", "--seccomp-bpf", "-o", str(output), "-e", f"trace={names}",
            *options]  # fmt: skip


def why_no_strace() -> str | None:
    """None if strace is here and may trace."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    try:
        subprocess.run(["strace", "-o", os.devnull, "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        return "strace may not trace here"
    return None


FIRST = (150, 400)
"""Which call of its kind is the first to fail: none before everybody has joined."""

STEP = (23, 97)
"""Which one after that, again and again."""

ROUNDS = 5
"""How many servers the failing calls are spread over, each with numbers of its own."""


async def sync_fails(stage: Stage, times: int) -> Row:
    """fdatasync fails with EIO."""
    return await _calls_fail(stage, "fdatasync", "EIO", "storage_failed", times)


async def write_fails(stage: Stage, times: int) -> Row:
    """pwrite64 fails with ENOSPC."""
    return await _calls_fail(stage, "pwrite64", "ENOSPC", "storage_full", times)


async def _calls_fail(stage: Stage, call: str, error: str, code: str, times: int) -> Row:
    """Servers on one file, in which some of these calls fail, until it was often enough."""
    await stage.server.start()
    await stage.start_load()
    failed = 0
    for number in range(ROUNDS):
        stage.progress(f"{call} fails, {failed} of {times}")
        how = f"error={error}:when={_choose_calls(stage)}"
        failed += await _fail(stage, number, call, how, times / ROUNDS)
    async with stage.watch() as chat:
        await chat.ping()  # it answers on
    await _restart(stage, ())
    return await stage.conclude(
        f"{error} on {call} (strace)", failed, lambda e: _expect_codes(stage, e, {code})
    )


def _choose_calls(stage: Stage) -> str:
    return f"{stage.random.randint(*FIRST)}+{stage.random.randint(*STEP)}"


async def _fail(stage: Stage, number: int, call: str, how: str, times: float) -> int:
    """Start the server anew and let calls fail; returns how many did."""
    output = stage.folder / f"strace{number}.txt"
    await _restart(stage, trace(output, [call], "-e", f"inject={call}:{how}"))
    return await _until_failed(output, times)


async def _until_failed(output: Path, times: float) -> int:
    """Wait until that many calls have failed; returns how many have."""
    while True:
        failed = count_injected(output.read_bytes())
        if failed >= times:
            return failed
        await trio.sleep(0.002)


async def _restart(stage: Stage, wrap: Sequence[str]) -> None:
    await stage.server.terminate()
    stage.server.wrap = wrap
    await stage.server.start()


def _expect_codes(stage: Stage, evidence: Evidence, codes: set[str]) -> list[float]:
    refused = [op for op in evidence.operations.values() if op.outcome is Outcome.REFUSED]
    found = {str(op.code) for op in refused}
    stage.expect(bool(refused), "nothing was refused")
    stage.expect(found <= codes, f"refused with {found}, not only {codes}")
    stage.notes.append(f"refused with {', '.join(sorted(found)) or 'nothing'}")
    return []


# ---------------------------------------------------------------- a sync fails, then a kill


REFUSED_WITHIN = 0.005
"""Seconds in which a sender has heard that its message could not be stored, and after which
the next one has hardly been."""


async def sync_fails_then_kill(stage: Stage, times: int) -> Row:
    """fdatasync fails with EIO, and the server is killed as soon as it has said so: what
    was refused must not come back from the log's file."""
    await stage.server.start()
    await stage.start_load()
    for number in range(times):
        when = stage.random.randint(*FIRST)
        await _fail(stage, number, "fdatasync", f"error=EIO:when={when}", 1)
        await trio.sleep(stage.random.uniform(0, REFUSED_WITHIN))
        stage.progress(f"kill {number + 1} of {times}")
        stage.server.wrap = ()
        async with stage.fault():
            await stage.server.kill()
            await stage.server.start()
    return await stage.conclude("EIO on fdatasync, then kill -9", times)


# ---------------------------------------------------------------- a sync fails, then a cut

LAG = 0.08
"""Seconds by which clients hear late: meanwhile each sender says some more."""

CUT_AFTER = (0.01, 0.07)
"""Seconds from a failed call to the cut: what was said since is stored, and nobody has
heard of the refusal."""

IN_DOUBT = "has to come back"
"""What the server's log says of those who have said more."""


async def sync_fails_then_cut(stage: Stage, times: int) -> Row:
    """fdatasync fails with EIO, and all connections are cut before anybody has heard so:
    what was refused must not come to stand after what was said later."""
    await stage.server.start()
    async with stage.proxy(LAG) as proxy:
        await stage.start_load(port=proxy.port)
        await _fail_and_cut(stage, proxy, times)
        await _restart(stage, ())
        return await stage.conclude(
            "EIO on fdatasync, then all cut off", times, lambda e: _after_cuts(stage, proxy, e)
        )


async def _fail_and_cut(stage: Stage, proxy: Proxy, times: int) -> None:
    output = stage.folder / "strace.txt"
    how = f"inject=fdatasync:error=EIO:when={_choose_calls(stage)}"
    await _restart(stage, trace(output, ["fdatasync"], "-e", how))
    failed = 0
    for number in range(times):
        failed = await _until_failed(output, failed + 1)
        await trio.sleep(stage.random.uniform(*CUT_AFTER))
        stage.progress(f"cut {number + 1} of {times}")
        proxy.reset_all()


def _after_cuts(stage: Stage, proxy: Proxy, evidence: Evidence) -> list[float]:
    """Seconds from each cut to when that client was connected again."""
    doubts = stage.server.log.read_text(errors="replace").count(IN_DOUBT)
    stage.notes.append(f"{doubts} times somebody had said more before hearing of it")
    stage.expect(doubts > 0, "nobody had said more")
    return until_back(proxy.breaks, evidence)


# ---------------------------------------------------------------- the order of a commit

ACKS = r"\b(?:load-s\d+\.\d{6})\b"
"""What the ids of what is said look like in a trace."""


async def sync_before_ack(stage: Stage, times: int) -> Row:
    """Nothing of a message leaves before the fdatasync that covers it."""
    output = stage.folder / "strace.txt"
    stage.server.wrap = trace(output, CALLS, "-yy", "-s", "70000")
    await stage.server.start()
    await stage.start_load(readers=3)
    await trio.sleep(times / 200)
    row = await stage.conclude("order of fdatasync and ack (strace)", times, lambda _: [])
    lines = output.read_text(errors="replace").splitlines()
    return _judge_order(row, check_order(lines, ACKS))


def _judge_order(row: Row, order: Order) -> Row:
    early = [f"{id} left before its fdatasync" for id in order.early]
    if order.sent < row.acked:
        early.append(f"only {order.sent} of {row.acked} were found in the trace")
    note = f"{order.sent} messages on the wire, {len(order.early)} early"
    return evolve(row, notes=(*row.notes, note), problems=(*row.problems, *early[:5]))


# ---------------------------------------------------------------- a full disk

DISK_MB = 24
"""The size of the small disk, and by how much it is enlarged."""

FULL_SECONDS = 10.0

FULL_RESETS = 15
"""How often some clients are cut off, and come back, while the disk is full."""


def why_no_mount() -> str | None:
    """None if this process may mount a tmpfs."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root may mount a tmpfs"
    return None


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A tmpfs at `place`."""
    place.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


def _fill(place: Path) -> None:
    with (place / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


async def full_disk(stage: Stage, times: int) -> Row:
    """The disk fills up under load, and is enlarged some seconds later; meanwhile clients
    ask, come in, and come back."""
    with small_disk(stage.server.data):
        await stage.server.start()
        async with stage.proxy() as proxy:
            await stage.start_load()
            await stage.start_load("comer", senders=2, readers=4, rate=50, port=proxy.port)
            for number in range(times):
                stage.progress(f"disk full {number + 1} of {times}")
                await _fill_and_free(stage, proxy, DISK_MB * (number + 2))
            return await stage.conclude(
                "a full disk, freed again", times, lambda e: _after_refusals(stage, e, FULL)
            )


async def _fill_and_free(stage: Stage, proxy: Proxy, megabytes: int) -> None:
    await trio.sleep(2)
    async with stage.watch() as chat:
        await chat.join(ROOMS[0])
        _fill(stage.server.data)
        await _wait_until_refused(chat, StorageFull)
        async with stage.watch("visitor"):
            await read_room(chat, ROOMS[0])
            await chat.who(ROOMS[0])
            await _come_and_go(stage, chat, proxy)
        async with stage.fault():
            _mount("-o", f"remount,size={megabytes}m", str(stage.server.data))
        await trio.sleep(3)


async def _come_and_go(stage: Stage, chat: Chat, proxy: Proxy) -> None:
    """Clients lose their connections and come back, and somebody looks at a clock."""
    pings = []
    for _ in range(FULL_RESETS):
        proxy.reset_all()
        pings += await _ping(chat, FULL_SECONDS / FULL_RESETS)
    _expect_pings(stage, pings)


async def _wait_until_refused(chat: Chat, refusal: type[NotStored]) -> None:
    with trio.fail_after(FULL_SECONDS):
        while True:
            try:
                await chat.leave(ROOMS[0])
                await chat.join(ROOMS[0])
            except refusal:
                return


async def _ping(chat: Chat, seconds: float) -> list[float]:
    found = []
    with trio.move_on_after(seconds):
        while True:
            found.append(await chat.ping())
            await trio.sleep(0.02)
    return found


FULL = {"storage_full"}


def _after_refusals(stage: Stage, evidence: Evidence, codes: set[str]) -> list[float]:
    """Seconds from the end of the trouble to the next ack."""
    _expect_codes(stage, evidence, codes)
    refused = [op for op in evidence.operations.values() if op.outcome is Outcome.REFUSED]
    waits = [op.ended_at - op.invoked_at for op in refused if op.ended_at is not None]
    stage.notes.append(f"a refusal took at most {max(waits, default=0):.1f} s")
    spans = [Span(fault.over, fault.over) for fault in stage.faults]
    return interruptions(spans, ack_times(evidence))


# ---------------------------------------------------------------- a locked database

LOCK = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""

BUSY = {"busy"}

BUSY_WITHIN = 6.0
"""Seconds for a say to be refused: the five that a commit waits, and a little."""

PING_WITHIN = 0.05


async def locked_file(stage: Stage, seconds: int) -> Row:
    """Another program holds the database for that long."""
    await stage.server.start()
    await stage.start_load()
    await trio.sleep(2)
    stage.progress(f"another program holds the file for {seconds} s")
    async with stage.watch() as chat, stage.fault(), _locked(stage, seconds):
        _expect_pings(stage, await _ping(chat, seconds - 1))
    await trio.sleep(3)
    return await stage.conclude(
        f"a database locked for {seconds} s", 1, lambda e: _after_busy(stage, e)
    )


@asynccontextmanager
async def _locked(stage: Stage, seconds: int) -> AsyncIterator[None]:
    path = stage.server.data / HISTORY_FILE
    command = [sys.executable, "-c", LOCK, str(path), str(seconds)]
    locker = await trio.lowlevel.open_process(command, stdout=PIPE)
    await wait_for(locker, b"locked")
    yield
    await locker.wait()


def _expect_pings(stage: Stage, pings: list[float]) -> None:
    slow = quantile(pings, 0.99)
    stage.notes.append(f"ping p99 {slow * 1000:.0f} ms")
    stage.expect(slow < PING_WITHIN, f"ping p99 was {slow * 1000:.0f} ms")


def _after_busy(stage: Stage, evidence: Evidence) -> list[float]:
    found = _after_refusals(stage, evidence, BUSY)
    waits = [
        op.ended_at - op.invoked_at
        for op in evidence.operations.values()
        if op.code == "busy" and op.ended_at is not None
    ]
    late = sum(wait > BUSY_WITHIN for wait in waits)
    stage.expect(not late, f"{late} of {len(waits)} were refused only after {max(waits):.1f} s")
    return found


# ---------------------------------------------------------------- the wall clock

JUMPS = ("-1h", "+1h", "+0", "-1d", "+3650d", "+0")
"""What the wall clock is set to, against the true one."""

JUMP_SECONDS = 1.5


def find_faketime() -> str | None:
    """The library that fakes the wall clock for threads, too."""
    found = [str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    return found[0] if found else None


def why_no_faketime() -> str | None:
    """None if libfaketime is here."""
    return None if find_faketime() else "libfaketime is not installed"


async def jumping_clock(stage: Stage, times: int) -> Row:
    """The wall clock of the server is set back and forth."""
    clock = stage.folder / "clock"
    _set_clock(clock, "+0")
    stage.server.extra = _faked(clock)
    await stage.server.start()
    await stage.start_load(readers=4, rate=50)  # a faked clock is a slow one
    for number in range(times):
        await trio.sleep(JUMP_SECONDS)
        stage.progress(f"jump {number + 1} of {times}")
        async with stage.fault():
            _set_clock(clock, JUMPS[number % len(JUMPS)])
    await trio.sleep(JUMP_SECONDS)
    return await stage.conclude(
        "the wall clock, back and forth", times, lambda e: _expect_jumps(stage, e)
    )


def _faked(clock: Path) -> Mapping[str, str]:
    """What has a server look at the file `clock` whenever it wants to know the time."""
    return {
        "LD_PRELOAD": str(find_faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _expect_jumps(stage: Stage, evidence: Evidence) -> list[float]:
    """The clock did jump, as the events show."""
    stamps = [
        item.stamp
        for view in evidence.views.values()
        for item in view.items
        if isinstance(item, Seen)
    ]
    days = (max(stamps) - min(stamps)) / 86400
    stage.notes.append(f"the events' times span {days:.0f} days")
    stage.expect(days > 1, "the clock did not jump")
    return []


def _set_clock(path: Path, offset: str) -> None:
    """In one step: the server may read it at any time."""
    fresh = path.with_suffix(".new")
    fresh.write_text(offset + "\n")
    fresh.rename(path)
