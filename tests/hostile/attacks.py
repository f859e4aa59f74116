"""The attacks on a server: each takes a stage and a size, and says in numbers what it did."""

import re
import resource
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from subprocess import DEVNULL

import trio

from tests.hostile.figures import (
    Figure,
    Times,
    at_least,
    at_most,
    count,
    exactly,
    kib,
    mib,
    ms,
    per_second,
    percent,
    s,
)
from tests.hostile.honest import beside, logging_in, pinging
from tests.hostile.stage import LOOK_EVERY, Stage
from trio_chat.server import SPARE_FILES
from trio_chat.session import HELLO_WITHIN
from trio_chat.writer import STUCK

Attack = Callable[[Stage, float], Awaitable[str]]
"""Does it in that part of its full size (1 is all of it); returns what was done."""

MIB = 2**20

LATEST = HELLO_WITHIN + 1
"""Seconds after which whoever has not said hello is gone."""


def _part(full: int, size: float, least: int = 1) -> int:
    return max(least, round(full * size))


# ---------------------------------------------------------------- those who dawdle


async def slowloris(stage: Stage, size: float) -> str:
    """Many connections that say nothing, or a byte now and then."""
    base = await stage.serve()
    before = stage.forget_peak()
    slow, silent = _part(2000, size), _part(500, size)
    seconds = 2 * LATEST if size == 1 else LATEST + 2
    logins, pings = Times("honest logins"), Times("pings")
    options = {"slow": slow, "silent": silent, "pause": 2, "seconds": seconds}
    async with (
        stage.attack("slowloris", **options) as swarm,
        beside((logging_in(stage.port), logins), (pinging(stage.port), pings)),
    ):
        seen = await swarm.seen()
    stage.expect(
        logins.slowest(0.5),
        pings.p99(0.05),
        at_most("the last of them closed after", seen["slowest"], LATEST, s),
        at_most("more memory", stage.peak() - before, 20 * MIB, mib),
    )
    await stage.back_to(base)
    return (
        f"{slow:,} connections that say a byte every 2 s and {silent:,} that say nothing, for"
        f" {seconds:.0f} s; who is closed comes again ({seen['closed']:,} were)"
    )


async def tls_stall(stage: Stage, size: float) -> str:
    """Handshakes of TLS that get no further."""
    base = await stage.serve("--tls")
    mute, half, deaf = _part(500, size), _part(500, size), _part(100, size)
    logins = Times("honest logins through TLS")
    async with (
        stage.attack("tls_stall", mute=mute, half=half, deaf=deaf) as swarm,
        beside((logging_in(stage.port, is_secure=True), logins)),
    ):
        seen = await swarm.seen()
    stage.expect(
        logins.p99(0.3),
        logins.slowest(0.5),
        exactly("closed", seen["closed"], mute + half + deaf),
        at_most("the last of them after", seen["slowest"], LATEST, s),
    )
    await stage.back_to(base)
    return (
        f"{mute:,} connections that shake no hands, {half:,} that stop after their first"
        f" message, {deaf:,} that talk nonsense and never read the end of TLS"
    )


# ---------------------------------------------------------------- those who say too much


async def long_line(stage: Stage, size: float) -> str:
    """A line that never ends, through every door."""
    base = await stage.serve()
    before = stage.forget_peak()
    line = _part(2**30, size)
    for opening, told in LONG_LINES.items():
        async with stage.attack("long_line", opening=opening, size=line) as swarm:
            seen = await swarm.seen()
        heard = told if told in seen["heard"] else seen["heard"][-60:]
        stage.expect(
            exactly(f"{opening}: it is refused with", heard, told),
            at_most(f"{opening}: and closed after", seen["seconds"], 1.5, s),
        )
    stage.expect(at_most("more memory at most", stage.peak() - before, 2 * MIB, mib))
    await _count_what_is_read(stage, line)
    await stage.back_to(base)
    return f"a line of {line / 2**30:.2g} GiB, as fast as it is taken, through each door"


LONG_LINES: Mapping[str, str] = {
    "lines": "too_long",
    "lines, no hello": "too_long",
    "WebSocket": "too_long",
    "HTTP": "431",
}
"""How it is refused, by what it begins with."""


async def _count_what_is_read(stage: Stage, line: int) -> None:
    """By the calls that the server makes: what it reads up to saying no, and then."""
    if not shutil.which("strace"):
        return
    trace = stage.folder / "trace"
    watching = ["strace", "-f", "-p", str(stage.server.pid), "-o", str(trace)]
    calls = "trace=recvfrom,shutdown,accept4"
    tracer = await trio.lowlevel.open_process([*watching, "-e", calls], stderr=DEVNULL)
    await trio.sleep(1)  # it has no way to say that it has begun
    async with stage.attack("long_line", opening="lines", size=line) as swarm:
        await swarm.seen()
    await trio.sleep(1.5)
    tracer.send_signal(signal.SIGINT)  # it ends with what it traces, too
    await tracer.wait()
    read, thrown_away = _read_bytes(trace)
    stage.expect(
        at_most("read of it until it is refused", read, 128 * 1024, kib),
        at_most("thrown away after that", thrown_away, 128 * 1024, kib),
    )


_RECEIVED = re.compile(r"recvfrom\(\d+, .* = (\d\d+)$")
"""What was received; not the single bytes by which trio wakes itself up."""


def _read_bytes(trace: Path) -> tuple[int, int]:
    before, _, after = trace.read_text(errors="replace").partition("shutdown(")
    sums = [
        sum(int(found[1]) for line in part.splitlines() if (found := _RECEIVED.search(line)))
        for part in (before, after)
    ]
    return sums[0], sums[1]


async def fuzz(stage: Stage, size: float) -> str:
    """Frames that no client would send, through every door."""
    base = await stage.serve("--sync", "normal")  # it is not the disk that is tried
    before = stage.memory()
    doors = {"lines": 500_000, "WebSocket": 480_000, "HTTP": 20_000}
    total = connections = 0
    for door, full in doors.items():
        frames = _part(full, size)
        at_once = min(60, _part(300, size))  # each sends a thousand frames, however few it is
        async with stage.attack(
            "fuzz", door=door, count=frames, seed=total, at_once=at_once
        ) as swarm:
            seen = await swarm.seen()
        stage.progress(f"{door}: {seen}")
        total += seen["frames"]
        connections += seen["connections"]
        if door != "HTTP":
            rate = seen["frames"] / seen["seconds"]
            stage.expect(at_least(f"{door}: frames", rate, 20_000, per_second))
    await stage.back_to(base, but=("rooms",))  # which stay, with their logs
    stage.expect(at_most("more memory after it", stage.memory() - before, 10 * MIB, mib))
    return f"{total:,} mutated, misshapen and random frames, over {connections:,} connections"


async def fast_writer(stage: Stage, size: float) -> str:
    """One client that says 10,000 messages a second."""
    base = await stage.serve("--burst", "50", rate=10)
    before = stage.forget_peak()
    seconds = 20 * size
    pings = Times("pings of others")
    async with (
        stage.attack("flood", rate=10_000, seconds=seconds) as swarm,
        beside((pinging(stage.port), pings)),
    ):
        seen = await swarm.seen()
    stage.expect(
        pings.p99(0.02),
        pings.slowest(0.05),
        at_most("of it said", seen["acked"], 50 + 10 * (seconds + 2), count),
        at_most("more memory at most", stage.peak() - before, MIB, mib),
    )
    await stage.back_to(base)
    return (
        f"one client says 10,000 messages a second for {seconds:.0f} s, where 10 are usual; the"
        f" kernels took {seen['taken']:,} of them"
    )


async def passwords(stage: Stage, size: float) -> str:
    """Very many wrong passwords at once."""
    base = await stage.serve()
    times, looked_at = _part(1000, size), 0
    codes: set[str] = set()
    for is_dialled_before, how in ((False, "connecting"), (True, "connected before")):
        pings = Times(f"pings, {how}")
        options = {"times": times, "is_dialled_before": is_dialled_before}
        async with beside((pinging(stage.port), pings)):
            async with stage.attack("guess", **options) as swarm:
                seen = await swarm.seen()
            await trio.sleep(1)  # who is told so is then let go
        stage.expect(pings.p99(0.05), pings.slowest(0.05))
        stage.progress(f"{how}: {seen}")
        codes |= seen["codes"].keys()
        looked_at += seen["looked_at"]
    stage.expect(
        exactly("answers", sorted(codes), ["try_later", "wrong_password"]),
        at_most("passwords of one name that were looked at", looked_at, 10, count),
    )
    await stage.back_to(base)
    return (
        f"{times:,} logins at once with wrong passwords, half of them for one name; and once"
        " more, with connections that are there before"
    )


# ---------------------------------------------------------------- those who hold on

FILES, HOLDERS = 256, 400
"""The descriptors of a server, and those who want one."""


async def files(stage: Stage, size: float) -> str:
    """More connections than there are descriptors."""
    stage.server.wrap = ("prlimit", f"--nofile={FILES}:{FILES}")
    base = await stage.serve()
    pings = Times("pings of who is in")
    async with (
        beside((pinging(stage.port), pings)),
        stage.attack("hold", times=HOLDERS) as swarm,
    ):
        busy = await _share_of_a_core(stage, 5 * size)
        seen = await swarm.stop()
    room = FILES - SPARE_FILES
    stage.expect(
        pings.p99(0.05),
        at_most("came in", seen["Welcome"], room, count),
        at_least("told that it is full", seen["server_full"], HOLDERS - room, count),
        at_most("a core is busy with it", busy, 0.2, percent),
        at_most("all is as before after", await stage.back_to(base), 1.0, s),
    )
    await _take_descriptors_away(stage, size)
    return (
        f"{HOLDERS} connections to a server that may open {FILES} files; then 100 while it may"
        " open none at all (EMFILE)"
    )


async def _share_of_a_core(stage: Stage, seconds: float) -> float:
    """What the server takes while nothing new is done to it."""
    before = stage.cpu()
    await trio.sleep(seconds)
    return (stage.cpu() - before) / seconds


async def _take_descriptors_away(stage: Stage, size: float) -> None:
    """So that the kernel gives none for a connection, whatever was counted."""
    base = await stage.settled()
    pings = Times("pings of who is in, without descriptors")
    lines, cpu, began = stage.log_lines(), stage.cpu(), trio.current_time()
    async with beside((pinging(stage.port), pings)):
        await trio.sleep(1)  # they come in
        limit = (len(stage.files()), FILES)
        resource.prlimit(stage.server.pid, resource.RLIMIT_NOFILE, limit)
        # Nobody answers them, so in the short form they wait for less long.
        async with stage.attack("hold", times=100, patience=max(3, 15 * size)) as swarm:
            seconds = trio.current_time() - began
            logged, busy = stage.log_lines() - lines, (stage.cpu() - cpu) / seconds
            resource.prlimit(stage.server.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
            logins = Times("logins when there are descriptors again")
            await stage.log_in(logins)
            await swarm.stop()
    stage.expect(
        pings.p99(0.05),
        at_most("lines of the log", logged / seconds, 2, per_second),
        at_most("a core is busy with it", busy, 0.2, percent),
        logins.slowest(1.0),
    )
    await stage.back_to(base)


async def deaf_readers(stage: Stage, size: float) -> str:
    """Readers who never read, in a room that talks."""
    base = await stage.serve()
    members, readers = _part(1000, size), 5
    seconds = 45.0 if size == 1 else 8.0
    load = {"members": members, "rate": 20, "size": 4000}
    async with stage.attack("crowd", label="before", seconds=seconds / 3, **load) as swarm:
        alone = (await swarm.seen())["latency"]["p99"]
    async with stage.attack("crowd", label="crowd", seconds=seconds, **load) as swarm:
        memory = stage.forget_peak()
        async with stage.attack("deaf", room="crowd-r0", readers=readers) as deaf:
            if size == 1:
                cut_after = await _until_cut(stage, members)
                stage.expect(at_most("they are cut off after", cut_after, seconds - 1, s))
            beside_them = await swarm.seen()
            holes = await deaf.stop()
    stage.expect(
        _no_slower("a delivery to the others, p99", beside_them["latency"]["p99"], alone),
        exactly("what was wrong for the others", beside_them["fault"], None),
        at_most("more memory", stage.peak() - memory, readers * 1.5 * MIB, mib),
        exactly("events that one who comes back misses", holes, 0),
    )
    await stage.back_to(base, but=("rooms",))
    return (
        f"{readers} who never read, in a room of {members:,} in which 20 texts of 4,000 bytes"
        f" a second are said, for {seconds:.0f} s"
    )


async def _until_cut(stage: Stage, others: int) -> float:
    """Seconds until only the others have a session; or as long as they may stay."""
    began = trio.current_time()
    with trio.move_on_after(2 * STUCK):
        while (await stage.look()).counts["sessions"] > others:  # noqa: ASYNC110 # it tells nobody
            await trio.sleep(LOOK_EVERY)
    return trio.current_time() - began


def _no_slower(what: str, seconds: float, alone: float) -> Figure:
    goal = f"at most 1.1 times that without them ({ms(alone)})"
    return Figure(what, goal, ms(seconds), seconds <= 1.1 * alone, moves=True)


async def come_and_go(stage: Stage, size: float) -> str:
    """Come in, join, leave; again and again."""
    base = await stage.serve()
    times = _part(10_000, size)
    first = times // 10
    await _pass_by(stage, first, 0)
    memory, rows = await _once_all_are_gone(stage, size), stage.rows()
    await _pass_by(stage, times - first, first)
    if size == 1:
        grown = await _once_all_are_gone(stage, size) - memory
        stage.expect(at_most("more memory after it", grown, 5 * MIB, mib))
    await _all_leave_at_once(stage, _part(1000, size))
    await stage.back_to(base, but=("rooms",))  # which stay, with their logs
    more = {
        table: number - rows[table]
        for table, number in stage.rows().items()
        if number > rows[table] and table not in LOG_TABLES
    }
    stage.expect(exactly("tables with more rows, but the log", more or "none", "none"))
    return f"{times:,} connect, join and leave, half of them without a word"


async def _once_all_are_gone(stage: Stage, size: float) -> int:
    """The memory then. It takes twenty seconds, in which those are expected who are lost, so
    the short form does not wait: in that it tells nothing."""
    if size == 1:
        await stage.all_gone()
    return stage.memory()


async def _all_leave_at_once(stage: Stage, times: int) -> None:
    pings = Times(f"pings while {times:,} come, and hang up in the same moment")
    async with (
        beside((pinging(stage.port), pings)),
        stage.attack("hold", times=times) as swarm,
    ):
        await swarm.stop()
        await trio.sleep(1)
    stage.expect(pings.p99(0.05), pings.slowest(0.05))


LOG_TABLES = ("events",)
"""What the log itself is in, which keeps that they came and went."""


async def _pass_by(stage: Stage, times: int, first: int) -> None:
    options = {"times": times, "first": first, "at_once": 50}
    async with stage.attack("come_and_go", **options) as swarm:
        stage.progress(str(await swarm.seen()))
