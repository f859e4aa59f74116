"""The load tester against a server: over real sockets, in a real process where it says so."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from tests.test_cli import free_port
from trio_chat.bench import command
from trio_chat.bench.json_lines import JsonLines
from trio_chat.bench.load import Load
from trio_chat.bench.plan import Plan
from trio_chat.bench.report import Cost, Report
from trio_chat.bench.verify import Fault, Kind
from trio_chat.errors import LinkLost, NameTaken, SetupError, TextTooLong
from trio_chat.session import Settings
from trio_chat.testing import RunningServer, running_server


async def run(server: RunningServer, plan: Plan) -> Report:
    return await Load(plan, JsonLines(plan.size, plan.quiet), server.host, server.port).run()


PLANS = {
    "one room": Plan(members=10, senders=3, duration=0.2),
    "rooms": Plan(members=11, senders=5, rooms=4, duration=0.2),
    "rooms without a speaker": Plan(members=9, senders=1, rooms=3, duration=0.2),
    "quiet": Plan(members=11, senders=2, rooms=3, quiet=True, duration=0.2),
    "one in flight": Plan(members=5, senders=2, in_flight=1, duration=0.2),
    "alone": Plan(members=1, senders=1, size=16, duration=0.2),
    "at a rate": Plan(members=5, senders=2, rate=100, duration=0.2),
    "long texts": Plan(members=5, senders=2, size=16_000, duration=0.2),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
async def test_a_good_server_is_found_good(plan: Plan) -> None:
    async with running_server() as server:
        report = await run(server, plan)
        assert report.fault is None
        assert report.said > 0
        assert report.delivered > 0
        assert set(report.latency) == {0.5, 0.9, 0.99, 1.0}
        async with server.connect(name="eve") as chat:
            rooms = await chat.rooms()
    assert [room.members for room in rooms] == [0] * plan.rooms, "everybody has left"


async def test_the_rate_is_kept() -> None:
    """What was due while the machine stood still, as this process may when it begins or ends
    to measure, is not said in time; so it has a few tries."""
    said: list[int] = []
    right = pytest.approx(20, abs=5)
    async with running_server() as server:
        while len(said) < 5 and right not in said:
            report = await run(server, Plan(members=3, senders=2, rate=50, duration=0.4))
            said.append(report.said)
    assert said[-1] == right, said


async def test_a_server_that_slows_speakers_down_is_good_and_named() -> None:
    async with running_server(settings=Settings(rate=100, burst=1)) as server:
        report = await run(server, Plan(members=3, senders=2, in_flight=8, duration=0.3))
    assert report.fault is None
    assert any("100 messages/s" in line for line in report.as_lines())


@asynccontextmanager
async def through_a_proxy(
    server: RunningServer, change: Callable[[bytes], bytes]
) -> AsyncIterator[int]:
    """A port that leads to the server, and changes what the first to come is sent."""
    changes = iter([change])

    async def answer(near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream(server.host, server.port)
        changed = next(changes, bytes)

        async def back() -> None:
            async for chunk in far:
                await near.send_all(changed(bytes(chunk)))
            await near.send_eof()

        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(back)
                async for chunk in near:
                    await far.send_all(chunk)
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (b"0 7 .", b"0 7 ,", Kind.ALTERED),
        (b"0 7 .", b"0 8 .", Kind.LOST),
        (b"0 7 .", b"0 6 .", Kind.DOUBLED),
        (b'{"type":"ack","id":"7"', b'{"type":"ack","id":"8"', Kind.UNACKED),
    ],
)
async def test_a_server_that_does_wrong_is_found_out(
    old: bytes, new: bytes, kind: Kind
) -> None:
    def change(chunk: bytes) -> bytes:
        return chunk.replace(old, new)

    async with running_server() as server, through_a_proxy(server, change) as port:
        plan = Plan(members=4, senders=1, duration=5)
        report = await Load(plan, JsonLines(plan.size), "127.0.0.1", port).run()
    assert report.fault is not None
    assert report.fault.kind is kind
    assert report.seconds < 5, "it ends at once"


@pytest.mark.parametrize(
    ("lost", "kind"), [(b'{"type":"event"', Kind.LOST), (b'{"type":"ack"', Kind.UNACKED)]
)
async def test_what_does_not_come_is_missed(
    monkeypatch: pytest.MonkeyPatch, lost: bytes, kind: Kind
) -> None:
    monkeypatch.setattr("trio_chat.bench.load.PATIENCE", 0.4)

    def lose(chunk: bytes) -> bytes:
        lines = chunk.splitlines(keepends=True)
        is_late = b'"id":"7"' in chunk
        return b"".join(line for line in lines if not (is_late and line.startswith(lost)))

    async with running_server() as server, through_a_proxy(server, lose) as port:
        plan = Plan(members=4, senders=1, in_flight=1, duration=5)
        report = await Load(plan, JsonLines(plan.size), "127.0.0.1", port).run()
    assert report.fault is not None
    assert report.fault.kind is kind


async def test_ctrl_c_ends_it_with_what_was_measured() -> None:
    async with running_server() as server:
        plan = Plan(members=4, senders=1, duration=60)

        def interrupt(part: float, text: str) -> None:
            if part > 0 and "deliveries" in text and load.is_measuring:
                signal.raise_signal(signal.SIGINT)

        load = Load(plan, JsonLines(plan.size), server.host, server.port, interrupt)
        report = await command.until_interrupted(load)
    assert report.fault is None
    assert 0 < report.seconds < 10
    assert report.is_cut
    assert report.as_json()["interrupted"] is True


async def test_ctrl_c_before_anything_is_measured_ends_all() -> None:
    async with running_server() as server:

        def interrupt(_part: float, text: str) -> None:
            if text == "10 members are in":
                signal.raise_signal(signal.SIGINT)

        plan = Plan(members=10, duration=60)
        load = Load(plan, JsonLines(plan.size), server.host, server.port, interrupt)
        with pytest.RaisesGroup(KeyboardInterrupt):
            await command.until_interrupted(load)


async def test_a_server_that_ends_in_the_middle_is_lost() -> None:
    async with running_server() as server, trio.open_nursery() as nursery:

        async def close() -> None:
            await trio.sleep(0.2)  # real: the load is under way
            server.close()

        nursery.start_soon(close)
        with pytest.raises(LinkLost):
            await run(server, Plan(members=5, senders=1, duration=20))


async def test_no_server() -> None:
    with pytest.raises(LinkLost, match="no server answers"):
        await Load(Plan(), JsonLines(64), "127.0.0.1", int(free_port())).run()


async def test_what_the_server_refuses_is_told() -> None:
    async with running_server() as server:
        with pytest.raises(TextTooLong, match="16384"):
            await run(server, Plan(members=2, senders=1, size=16_385))
        plan = Plan(members=2, senders=1, duration=0.1)
        async with server.connect(name=plan.name_of(0)):
            with pytest.raises(NameTaken):
                await run(server, plan)


@pytest.mark.parametrize("plan", [{"senders": 101}, {"rooms": 101}])
def test_a_plan_that_can_not_be_done(plan: dict[str, int]) -> None:
    with pytest.raises(SetupError, match="100 members"):
        Plan(**plan)  # type: ignore[arg-type] # each takes an int


# ---------------------------------------------------------------- the report


def a_report(*, fault: Fault | None = None, own_cpu: float = 1.0, rate: float = 0.0) -> Report:
    plan = Plan(label="bench-0", rate=rate)
    latency = {0.5: 0.0012, 0.99: 0.25, 1.0: 1.5}
    cost = Cost(cpu=1.5, memory=50 * 2**20, memory_each=7 * 1024)
    return Report(
        plan, "a server", 2.0, 100, 10_000, latency, 1234.5, own_cpu, cost, fault=fault
    )


def test_the_report_for_a_person() -> None:
    text = "\n".join(a_report().as_lines())
    for part in (
        "5,000/s",
        "50/s",
        "p50 1.2 ms",
        "p99 250 ms",
        "max 1.50 s",
        "150.00 µs",
        "75%",
        "7.0 KiB",
    ):
        assert part in text
    assert text.endswith("everything arrived exactly once, in order")


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (a_report(own_cpu=1.9), "the load tester itself is the limit"),
        (a_report(rate=100), "not reached"),
        (a_report(fault=Fault(Kind.LOST, "it")), "WRONG: lost: it"),
    ],
)
def test_the_report_says_what_to_make_of_it(report: Report, said: str) -> None:
    assert any(said in line for line in report.as_lines())


def test_the_report_for_a_program() -> None:
    figures = json.loads(json.dumps(a_report(fault=Fault(Kind.LOST, "it")).as_json()))
    assert figures["deliveries_per_second"] == 5000
    assert figures["latency"] == {"p50": 0.0012, "p99": 0.25, "max": 1.5}
    assert figures["server_cpu_per_delivery"] == pytest.approx(150e-6)
    assert figures["fault"] == "lost: it"


# ---------------------------------------------------------------- as a command, in a process


def start(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "trio_chat", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_the_command_measures_a_server_of_this_machine() -> None:
    with start("serve", "--no-history", "--rate", "0", "--port", "0") as server:
        assert server.stdout is not None
        address = server.stdout.readline().split("listens on ")[1].split()[0]
        options = ("--server", address, "--members", "5")
        with start("bench", *options, "--duration", "0.5", "--json") as bench:
            out, err = bench.communicate(timeout=20)
        assert (bench.returncode, err) == (0, "")
        figures = json.loads(out)
        assert figures["server_cpu_per_delivery"] > 0
        assert figures["server_memory"] > 2**20
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)
