"""The rows as a table that people can read."""

from collections.abc import Iterator, Sequence

from tests.hostile.figures import Row

HEADERS = ("attack", "figure", "to reach", "measured", "")


def as_markdown(rows: Sequence[Row]) -> str:
    """The table: a line for each figure. Under it, what was done."""
    lines = [_line(HEADERS), _line(["---"] * len(HEADERS))]
    for row in rows:
        lines += _lines_of(row)
    done = [
        f"- **{row.attack}** ({row.seconds:.0f} s): {row.done}." for row in rows if row.done
    ]
    return "\n".join([*lines, "", *done]) + "\n"


def _lines_of(row: Row) -> Iterator[str]:
    name = f"**{row.attack}**"
    for figure in row.figures:
        met = "met" if figure.is_met else "**missed**"
        yield _line([name, figure.what, figure.goal, figure.measured, met])
        name = ""
    if row.broken:
        yield _line([name, row.broken, "", "", "**missed**"])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
