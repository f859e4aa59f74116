"""What was measured, where, and when; kept beside the page that is made of it."""

import json
import os
import platform
import sqlite3
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import trio
from attrs import asdict, define, field

from benchmarks.cases import Column
from benchmarks.rivals import RIVALS, Rival


def _model() -> str:
    """What the processor calls itself, on Linux."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _facts() -> dict[str, str]:
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{_model()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "trio": trio.__version__,
        "sqlite": sqlite3.sqlite_version,
        "sync": "?",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


@define
class Results:
    """`figures`: of each round, by the rival's name and the column's key. `notes`: what went
    wrong, or is to be known, about a rival. `facts`: about the machine and the run. `parts`:
    µs of CPU that single parts of ours take."""

    figures: dict[str, dict[str, list[float]]] = field(factory=dict)
    versions: dict[str, str] = field(factory=dict)
    notes: dict[str, list[str]] = field(factory=dict)
    facts: dict[str, str] = field(factory=_facts)
    parts: dict[str, float] = field(factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` has written."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def save(self, path: Path) -> None:
        """Write it all down."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def add(self, rival: Rival, column: Column, figure: float | None) -> None:
        """Keep a figure, if there is one."""
        if figure is not None:
            of_rival = self.figures.setdefault(rival.name, {})
            of_rival.setdefault(column.key, []).append(round(figure, 4))

    def note(self, rival: Rival, text: str) -> None:
        """Keep a remark, once."""
        notes = self.notes.setdefault(rival.name, [])
        if text not in notes:
            notes.append(text)

    def rounds(self, rival: str, column: str) -> Sequence[float]:
        """The figure of each round; none if nothing was measured."""
        return self.figures.get(rival, {}).get(column, [])

    def median(self, rival: str, column: str) -> float | None:
        """The median of the rounds; None if nothing was measured."""
        figures = self.rounds(rival, column)
        return statistics.median(figures) if figures else None

    def rivals(self) -> Sequence[Rival]:
        """Those of whom there are figures."""
        return [rival for rival in RIVALS if rival.name in self.figures]
