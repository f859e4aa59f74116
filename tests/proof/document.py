"""docs/proof.md: what was done, how to do it again, and the table."""

import os
import platform
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from tests.proof.processes import ROOT
from tests.proof.stage import Row
from tests.proof.table import as_markdown

DOCUMENT = ROOT / "docs" / "proof.md"

TEMPLATE = Path(__file__).with_name("document.md")


def write_document(rows: Sequence[Row], seed: int) -> None:
    """Write the page."""
    facts = {
        "table": as_markdown(rows),
        "seed": seed,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "minutes": sum(row.seconds for row in rows) / 60,
        "python": platform.python_version(),
        "trio": trio.__version__,
        "sqlite": sqlite3.sqlite_version,
        "linux": platform.release(),
        "cores": os.cpu_count(),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    DOCUMENT.write_text(text.format(**facts), encoding="utf-8")
