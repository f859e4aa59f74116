"""The rows as a table that people can read."""

from collections.abc import Sequence

from tests.proof.log import quantile
from tests.proof.stage import Row

HEADERS = (
    "fault", "times", "operations", "acked", "refused",
    "lost", "duplicate", "reordered", "phantom", "gap", "recovery p50 / max",
)  # fmt: skip


def as_markdown(rows: Sequence[Row]) -> str:
    """The table, and under it what there is to say about single rows."""
    lines = [_line(HEADERS), _line(["---"] + ["--:"] * (len(HEADERS) - 1))]
    lines += [_line(_cells(row)) for row in rows]
    notes = [f"- {row.fault}: {'; '.join(_remarks(row))}." for row in rows if _remarks(row)]
    return "\n".join([*lines, "", *notes]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> list[str]:
    if row.not_run is not None:
        return [row.fault, f"not run: {row.not_run}", *[""] * (len(HEADERS) - 2)]
    counts = (row.times, row.operations, row.acked, row.refused, *row.verdict.counts)
    return [row.fault, *(f"{count:,}" for count in counts), _recovery(row)]


def _recovery(row: Row) -> str:
    if not row.recoveries:
        return ""
    return f"{quantile(row.recoveries, 0.5):.2f} s / {max(row.recoveries):.2f} s"


def _remarks(row: Row) -> list[str]:
    unknown = [f"{row.unknown} never answered"] if row.unknown else []
    wrong = [f"WRONG: {problem}" for problem in row.problems]
    return [*row.notes, *unknown, *wrong]
