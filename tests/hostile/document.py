"""docs/hostile.md: what was done, how to do it again, and the table."""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from tests.hostile.figures import Row
from tests.hostile.table import as_markdown
from tests.proof.processes import ROOT

DOCUMENT = ROOT / "docs" / "hostile.md"

TEMPLATE = Path(__file__).with_name("document.md")


def write_document(rows: Sequence[Row]) -> None:
    """Write the page."""
    facts = {
        "table": as_markdown(rows),
        "figures": sum(len(row.figures) for row in rows),
        "missed": sum(len(row.missed) + (row.broken is not None) for row in rows),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "minutes": sum(row.seconds for row in rows) / 60,
        "python": platform.python_version(),
        "trio": trio.__version__,
        "linux": platform.release(),
        "cores": os.cpu_count(),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    DOCUMENT.write_text(text.format(**facts), encoding="utf-8")
