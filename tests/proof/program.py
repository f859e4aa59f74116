"""All faults, one after the other, in the full form or in the short one."""

import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import evolve, field, frozen

from tests.proof import disks, faults
from tests.proof.faults import Fault
from tests.proof.stage import Row, staged


def _nothing_lacks() -> str | None:
    return None


@frozen
class Act:
    """A fault of the program. `full` and `short`: how often, or for how many seconds; 0 is
    not at all. `lacks`: why it can't be tried here."""

    name: str
    title: str
    fault: Fault
    full: int
    short: int = 0
    lacks: Callable[[], str | None] = field(default=_nothing_lacks)


PROGRAM = (
    Act("none", "none", faults.nothing, 10, 2),
    Act("server-kill", "kill -9 of the server", faults.server_kills, 100, 3),
    Act("client-kill", "kill -9 of a client", faults.client_kills, 100, 3),
    Act("network", "the network (a proxy)", faults.network_faults, 200, 15),
    Act("restart", "SIGTERM and restart, 200 clients", faults.restarts, 5),
    Act("sync-fails", "EIO on fdatasync", disks.sync_fails, 50, 0, disks.why_no_strace),
    Act("write-fails", "ENOSPC on pwrite64", disks.write_fails, 50, 0, disks.why_no_strace),
    Act(
        "sync-fails-kill", "EIO on fdatasync, then kill -9", disks.sync_fails_then_kill, 10, 0,
        disks.why_no_strace,
    ),
    Act(
        "sync-fails-cut", "EIO on fdatasync, then all cut off", disks.sync_fails_then_cut, 60,
        lacks=disks.why_no_strace,
    ),
    Act("order", "fdatasync before ack", disks.sync_before_ack, 1000, 0, disks.why_no_strace),
    Act("full-disk", "a full disk, freed again", disks.full_disk, 3, 0, disks.why_no_mount),
    Act("locked", "a locked database", disks.locked_file, 30),
    Act("clock", "the wall clock", disks.jumping_clock, 6, 0, disks.why_no_faketime),
    Act("stopped-reader", "a reader that stops", faults.stopped_reader, 60),
)  # fmt: skip
"""What is run, in this order."""


async def perform(act: Act, times: int, seed: int, progress: Callable[[str], None]) -> Row:
    """Run one fault in a folder of its own, which is kept if something is wrong."""
    lacking = act.lacks()
    if lacking is not None:
        return Row(act.title, not_run=lacking)
    folder = Path(tempfile.mkdtemp(prefix=f"proof-{act.name}-"))
    began = time.monotonic()
    try:
        async with staged(folder, seed, lambda text: progress(f"{act.name}: {text}")) as stage:
            row = await act.fault(stage, times)
    except Exception as exc:  # the others are to be run all the same
        traceback.print_exception(exc)
        row = Row(act.title, problems=("it broke off",))
    return evolve(_tidy_up(row, folder), seconds=time.monotonic() - began)


def _tidy_up(row: Row, folder: Path) -> Row:
    if row.is_clean:
        shutil.rmtree(folder)
        return row
    return evolve(row, problems=(*row.problems, f"the files are in {folder}"))


async def perform_all(
    acts: Sequence[Act], seed: int, progress: Callable[[str], None], *, short: bool
) -> list[Row]:
    """Run those of `acts` that belong to the form."""
    rows = []
    for act in acts:
        if times := act.short if short else act.full:
            rows.append(await perform(act, times, seed, progress))
            progress(f"{act.name}: done in {rows[-1].seconds:.0f} s")
    return rows
