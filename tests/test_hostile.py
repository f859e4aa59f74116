"""The short form of the attacks: real servers, and attackers in processes of their own.

Slow, as it takes real processes and real time: up to a minute, some of them at once.
`python -m tests.hostile` is the full form. How fast anything is, and how large, is not
looked at here.
"""

import faulthandler
import sys

import pytest
import trio

from tests.hostile.figures import Row
from tests.hostile.program import PROGRAM, Act, perform

REAL_SECONDS = 600
"""It waits for what has to be over in 15 seconds, on a machine that is busy with the rest."""


AT_ONCE = 5
"""Attacks at once: they mostly wait, but with all ten a server on a busy machine takes half a
minute to start."""


@pytest.fixture
def patient() -> None:
    """What waits for longer than any other test shows its stack for no reason."""
    faulthandler.cancel_dump_traceback_later()  # it has REAL_SECONDS, and then fails


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.usefixtures("patient")
async def test_nothing_comes_of_any_attack() -> None:
    rows: list[Row] = []

    some = trio.CapacityLimiter(AT_ONCE)

    async def attack(act: Act) -> None:
        async with some:
            rows.append(await perform(act, act.short, lambda _: None))

    async with trio.open_nursery() as nursery:
        for act in PROGRAM:
            nursery.start_soon(attack, act)
    assert [row.broken for row in rows if row.broken] == []
    assert [figure for row in rows for figure in row.missed if not figure.moves] == []
