"""The faults of processes and of the network: each breaks something again and again under
load, and says what came of it."""

import signal
from collections.abc import Awaitable, Callable, Iterable
from random import Random

import trio

from tests.proof.log import Evidence, Span, ack_times, interruptions
from tests.proof.proxy import SHORT, Break, Proxy
from tests.proof.stage import Row, Stage

Fault = Callable[[Stage, int], Awaitable[Row]]
"""Does it that many times, and says what came of it."""

KILL_AFTER = (0.05, 1.5)
"""Seconds from being ready to being killed."""

BACK_WITHIN = 10.0
"""Seconds for everybody to be back after a restart."""


async def nothing(stage: Stage, times: int) -> Row:
    """No fault at all, for that many seconds: it would not be the first to fail at this."""
    await stage.server.start()
    await stage.start_load()
    await trio.sleep(times)
    return await stage.conclude("none", 0)


async def server_kills(stage: Stage, times: int) -> Row:
    """kill -9 of the server at random moments, on one file."""
    await stage.server.start()
    await stage.start_load()
    for number in range(times):
        await trio.sleep(stage.random.uniform(*KILL_AFTER))
        stage.progress(f"kill {number + 1} of {times}")
        async with stage.fault():
            await stage.server.kill()
            await stage.server.start()
    return await stage.conclude("kill -9 of the server", times)


# ---------------------------------------------------------------- clients

KILLED_AT_ONCE = 4
"""How many client processes are killed side by side."""


async def client_kills(stage: Stage, times: int) -> Row:
    """kill -9 of client processes in mid-send; they start again, say again what was not
    acked, and read on after what they wrote down last."""
    await stage.server.start()
    await stage.start_load(senders=4, rate=100)
    victims = min(KILLED_AT_ONCE, times)
    async with trio.open_nursery() as nursery:
        for number in range(victims):
            share = len(range(number, times, victims))
            nursery.start_soon(_kill_again_and_again, stage, f"victim{number}", share)
    return await stage.conclude("kill -9 of a client", times, _until_victims_acked(stage))


async def _kill_again_and_again(stage: Stage, label: str, times: int) -> None:
    chance = Random(f"{stage.seed} {label}")
    victim = await stage.start_load(label, senders=1, readers=1, rate=100)
    for _ in range(times):
        await trio.sleep(chance.uniform(*KILL_AFTER))
        stage.progress(f"kill {len(stage.faults) + 1}")
        async with stage.fault(label):
            await victim.kill()
            await victim.start()


def _until_victims_acked(stage: Stage) -> Callable[[Evidence], list[float]]:
    """Seconds from each kill to the next ack of the client that was killed."""

    def find(evidence: Evidence) -> list[float]:
        found = []
        for fault in stage.faults:
            times = ack_times(evidence, of=fault.whose)
            found += interruptions([Span(fault.began, fault.began)], times)
        return found

    return find


# ---------------------------------------------------------------- the network

LONG = ("stall of 30 s", "dead line")
EACH_LONG = 4
"""How many of the faults are of each long kind, if there are many."""

PAUSE = (0.1, 0.7)
"""Seconds from one fault to the next."""


async def network_faults(stage: Stage, times: int) -> Row:
    """A proxy between all clients and the server breaks their connections."""
    await stage.server.start()
    async with stage.proxy() as proxy:
        await stage.start_load(port=proxy.port)
        await _trouble(stage, proxy, _choose_kinds(stage, times))
        return await stage.conclude(
            "the network (a proxy)", times, lambda e: until_back(proxy.breaks, e)
        )


def _choose_kinds(stage: Stage, times: int) -> list[str]:
    """All kinds equally often in random order, the long ones first."""
    long = [kind for kind in LONG for _ in range(EACH_LONG)] if times >= 100 else []
    short = [SHORT[number % len(SHORT)] for number in range(times - len(long))]
    stage.random.shuffle(short)
    return long + short


async def _trouble(stage: Stage, proxy: Proxy, kinds: Iterable[str]) -> None:
    async with trio.open_nursery() as nursery:
        for number, kind in enumerate(kinds):
            stage.progress(f"fault {number + 1}: {kind}")
            nursery.start_soon(proxy.trouble, kind)
            await trio.sleep(stage.random.uniform(*PAUSE))


def until_back(breaks: Iterable[Break], evidence: Evidence) -> list[float]:
    """Seconds from each break to when that client was connected again."""
    found = []
    for one in breaks:
        times = _resumed(evidence, one.client)
        found += interruptions([Span(one.at, one.at)], times)
    return found


def _resumed(evidence: Evidence, client: str) -> list[float]:
    return [
        change.at
        for change in evidence.changes
        if change.client == client and change.state == "resumed"
    ]


# ---------------------------------------------------------------- restarts

GUESTS = 192
"""Readers beside the senders, so that there are 200 clients."""


async def restarts(stage: Stage, times: int) -> Row:
    """SIGTERM and a new start with 200 clients, all of whom have to be back in time."""
    await stage.server.start()
    await stage.start_load(readers=GUESTS, rooms_each=1, rate=50)
    for number in range(times):
        stage.progress(f"restart {number + 1} of {times}")
        await trio.sleep(2)
        async with stage.fault():
            await stage.server.terminate()
            await stage.server.start()
        await trio.sleep(BACK_WITHIN)
    return await stage.conclude(
        "SIGTERM and restart, 200 clients",
        times,
        lambda evidence: _until_all_back(stage, evidence),
    )


def _until_all_back(stage: Stage, evidence: Evidence) -> list[float]:
    """Seconds from each SIGTERM until the last client was back."""
    clients = {
        change.client for change in evidence.changes if not change.client.endswith("end")
    }
    resumed = {client: _resumed(evidence, client) for client in clients}
    found = []
    for fault in stage.faults:
        back = [interruptions([Span(fault.began, fault.began)], t) for t in resumed.values()]
        stage.expect(all(back), "somebody never came back")
        found.append(max(seconds for one in back for seconds in one))
    stage.expect(max(found) <= BACK_WITHIN, f"the last was back after {max(found):.1f} s")
    return found


# ---------------------------------------------------------------- a reader that stops

STOPPED = "sleeper"


async def stopped_reader(stage: Stage, seconds: int) -> Row:
    """One reader's process stops for that long under load, then reads on."""
    await stage.server.start()
    await stage.start_load()
    sleeper = await stage.start_load(STOPPED, senders=0, readers=1)
    await trio.sleep(2)
    stage.progress(f"one reader stops for {seconds} s")
    async with stage.fault():
        sleeper.send_signal(signal.SIGSTOP)
        await trio.sleep(seconds)
        sleeper.send_signal(signal.SIGCONT)
    await trio.sleep(5)
    return await stage.conclude(
        f"a reader stops for {seconds} s", 1, lambda evidence: _waits(stage, evidence)
    )


def _waits(stage: Stage, evidence: Evidence) -> list[float]:
    """The longest that anybody waited for an ack while one did not read."""
    (fault,) = stage.faults
    waits = [
        op.ended_at - op.invoked_at
        for op in evidence.operations.values()
        if op.ended_at is not None and fault.began < op.invoked_at < fault.over
    ]
    stage.notes.append(f"meanwhile acks took at most {max(waits) * 1000:.0f} ms")
    return []
