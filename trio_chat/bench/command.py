"""The command `bench`: the load tester, for whoever runs a server."""

import json as json_format
import signal
from typing import TYPE_CHECKING, Annotated

import trio
from cyclopts import App, Parameter
from cyclopts.validators import Number

from trio_chat import config
from trio_chat.bench.plan import LEAST_BYTES, SENDERS, Plan
from trio_chat.config import LOCAL, PROGRAM, ServerAddress
from trio_chat.ending import INTERRUPTED, printing
from trio_chat.errors import SetupError
from trio_chat.upkeep import status_line

if TYPE_CHECKING:
    from trio_chat.bench.load import Load
    from trio_chat.bench.report import Report

FAULTY = 1
"""Exit status: something did not arrive exactly once, in order."""

LONGEST = 86_400.0
"""Seconds of a run, at most: a day."""

BAR_CELLS = 30
"""The length of the progress bar."""

app = App(group_parameters="Options")
"""What `cli` takes over as its own."""

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
"""There or not."""

Count = Annotated[int, Parameter(validator=Number(gte=1))]
"""At least one."""


@app.command(
    sort_key=15,
    usage=f"Usage: {PROGRAM} bench [OPTIONS]",
    help_epilogue=f"""\
Examples:
  # A server of its own, which slows nobody down, in one window, and in another:
  {PROGRAM} serve --rate 0 --data /tmp/bench
  {PROGRAM} bench
  # How long does a message take, when 50 are said each second?
  {PROGRAM} bench --members 1000 --rate 50
  # How many can it hold? (ulimit -n has to allow so many connections.)
  {PROGRAM} bench --members 10000 --quiet --rate 1
  # Many small rooms.
  {PROGRAM} bench --members 1000 --rooms 100 --senders 100
""",
)
async def bench(
    *,
    server: ServerAddress = LOCAL,
    members: Count = 100,
    senders: Annotated[
        int | None, Parameter(validator=Number(gte=1), show_default=f"{SENDERS}, or all")
    ] = None,
    rooms: Count = 1,
    size: Annotated[int, Parameter(validator=Number(gte=LEAST_BYTES))] = 64,
    in_flight: Count = 64,
    rate: Annotated[
        float, Parameter(validator=Number(gte=0), show_default="0, as fast as it goes")
    ] = 0.0,
    duration: Annotated[float, Parameter(validator=Number(gt=0, lte=LONGEST))] = 10.0,
    quiet: Flag = False,
    json: Flag = False,
) -> int:
    """See how fast a server is, and whether everything arrives.

    Members join and speak; each checks that it is sent every event of its room
    exactly once and in order, and that each message is acked once. If so the
    exit status is 0. Ctrl-C ends it early, with what was measured so far and
    exit status 130. What was said stays in the server's history, in rooms
    called bench-...

    Parameters
    ----------
    server
        HOST, HOST:PORT, or a name that the settings have for one; beyond this
        machine plain://HOST:PORT.
    members
        How many connections there are.
    senders
        How many of them speak.
    rooms
        How many rooms they are spread over.
    size
        The bytes of a text.
    in_flight
        Messages that are under way at once: said, and not with all who hear them.
    rate
        Messages a second, of all senders together; it is latency that counts then.
    duration
        Seconds.
    quiet
        Join without the others being told, as programs do: for rooms with thousands.
    json
        Print the figures as JSON, in seconds and bytes.
    """
    from trio_chat.bench.json_lines import JsonLines  # noqa: PLC0415 # psutil takes 20 ms
    from trio_chat.bench.load import Load  # noqa: PLC0415

    if server.is_secure:
        raise SetupError("bench speaks to a server without TLS only: plain://HOST:PORT")
    config.raise_file_limit()
    speaking = min(SENDERS, members) if senders is None else senders
    plan = Plan(members, speaking, rooms, size, in_flight, rate, duration, quiet)
    with status_line() as show:
        load = Load(
            plan,
            JsonLines(size, quiet),
            server.host,
            server.port,
            lambda part, text: show(_bar(part, text)),
        )
        report = await until_interrupted(load)
    lines = [json_format.dumps(report.as_json(), indent=2)] if json else report.as_lines()
    with printing():
        print(*lines, sep="\n", flush=True)
    if report.fault is not None:
        return FAULTY
    return INTERRUPTED if report.is_cut else 0


async def until_interrupted(load: "Load") -> "Report":
    """The first Ctrl-C ends what is measured; one before or after that ends all."""

    async def hear() -> None:
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            async for _ in signals:
                if not load.is_measuring:
                    raise KeyboardInterrupt
                load.stop()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        report = await load.run()
        nursery.cancel_scope.cancel(reason="done")
    return report


def _bar(part: float, text: str) -> str:
    done = int(part * BAR_CELLS)
    return f"[{'#' * done}{'.' * (BAR_CELLS - done)}] {text}"
