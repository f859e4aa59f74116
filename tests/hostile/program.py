"""All attacks, one after the other, in the full form or in a short one."""

import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import trio
from attrs import frozen

from tests.hostile import attacks, lies
from tests.hostile.attacks import Attack
from tests.hostile.figures import Figure, Row
from tests.hostile.stage import staged

WITHIN = 600.0
"""Seconds that no attack takes, not even a million frames on a busy machine."""


@frozen
class Act:
    """An attack of the program. `short`: the part of its size that the short form has."""

    name: str
    title: str
    attack: Attack
    short: float


PROGRAM = (
    Act("long-line", "An endless line", attacks.long_line, 0.02),
    Act("fuzz", "Fuzzing", attacks.fuzz, 0.02),
    Act("files", "No descriptors", attacks.files, 0.2),
    Act("lies", "A hostile server", lies.lies, 0.1),
    Act("fast-writer", "A fast writer", attacks.fast_writer, 0.15),
    Act("come-and-go", "Coming and going", attacks.come_and_go, 0.05),
    Act("passwords", "Guessing passwords", attacks.passwords, 0.2),
    Act("deaf-readers", "Readers who never read", attacks.deaf_readers, 0.05),
    Act("slowloris", "Slowloris and silence", attacks.slowloris, 0.1),
    Act("tls-stall", "Stalled handshakes", attacks.tls_stall, 0.1),
)
"""What is run, in this order."""


async def perform(act: Act, size: float, progress: Callable[[str], None]) -> Row:
    """Run one attack in a folder of its own, which is kept if something is wrong; a figure
    that is missed because the machine is slow can't be seen in it."""
    folder = Path(tempfile.mkdtemp(prefix=f"hostile-{act.name}-"))
    began = time.monotonic()
    done, broken = "", None
    figures: tuple[Figure, ...] = ()
    try:
        with trio.fail_after(WITHIN):
            async with staged(folder, lambda text: progress(f"{act.name}: {text}")) as stage:
                done = await act.attack(stage, size)
                figures = await stage.conclude()
    except Exception as exc:  # the others are to be run all the same
        traceback.print_exception(exc)
        broken = f"it broke off; the files are in {folder}"
    row = Row(act.title, done, figures, time.monotonic() - began, broken)
    if broken or any(not figure.moves for figure in row.missed):
        progress(f"{act.name}: the files are in {folder}")
    else:
        shutil.rmtree(folder)
    return row


async def perform_all(
    acts: Sequence[Act], progress: Callable[[str], None], *, short: bool
) -> list[Row]:
    """Run them."""
    rows = []
    for act in acts:
        rows.append(await perform(act, act.short if short else 1, progress))
        progress(f"{act.name}: done in {rows[-1].seconds:.0f} s")
    return rows
