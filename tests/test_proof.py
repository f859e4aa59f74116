"""The short form of the proof: real servers and clients, killed and cut off.

Slow, as it takes real processes and real time: half a minute. `python -m tests.proof` is
the full form.
"""

from pathlib import Path

import pytest
import trio

from tests.proof.faults import server_kills
from tests.proof.program import PROGRAM, Act, perform
from tests.proof.stage import Row, staged
from tests.proof.web import speaks_web

SEED = 1

WITHIN = 120.0
"""Seconds that no fault takes, not even on a machine that is busy with something else."""

SHORT = [act for act in PROGRAM if act.short]


def test_some_of_all_kinds_speak_websocket() -> None:
    for kind, count in (("s", 8), ("r", 20), ("r", 192)):
        web = sum(speaks_web(f"load-{kind}{number}") for number in range(count))
        assert 0.3 * count <= web <= 0.7 * count


async def _bounded(act: Act) -> Row:
    with trio.fail_after(WITHIN):
        return await perform(act, act.short, SEED, lambda _: None)


@pytest.mark.parametrize("act", SHORT, ids=lambda act: act.name)
def test_nothing_breaks_under(act: Act) -> None:
    row = trio.run(_bounded, act)
    assert list(row.verdict.examples()) == []
    assert row.problems == ()
    assert row.acked == row.operations > 0


async def _kill_broken(folder: Path, seed: int) -> Row:
    folder.mkdir()
    with trio.fail_after(WITHIN):
        async with staged(folder, seed, lambda _: None) as stage:
            stage.server.module = "tests.proof.broken"
            return await server_kills(stage, 3)


def test_a_server_that_answers_before_it_has_stored_is_found_out(tmp_path: Path) -> None:
    """Sooner or later: a kill shows it only in the moment between an answer that is heard and
    the next batch."""
    for seed in range(SEED, SEED + 5):
        row = trio.run(_kill_broken, tmp_path / f"{seed}", seed)
        if row.verdict.lost:
            break
    assert row.verdict.lost
