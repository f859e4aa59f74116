"""The figures as dots on a logarithmic scale, one panel for each case, as SVG.

By hand, because a style sheet inside makes it readable on dark and on light backgrounds.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.cases import COLUMNS, Column
from benchmarks.results import Results
from benchmarks.rivals import Rival

PANELS = 3
"""Panels in a row."""

WIDTH, NAMES, ROW, HEAD, GAP = 230, 215, 18, 44, 50
"""Of a panel, of the column of names, of a row, of what is above the rows, between panels."""

STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.value, .tick { font-size: 10px; fill: #59636e }
.tick { text-anchor: middle }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.dot { fill: #8b949e } .ours { fill: #0969da } .limit { fill: none; stroke: #8b949e }
text.ours { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .value, .tick { fill: #9198a1 } .grid { stroke: #3d444d }
  .ours { fill: #4493f8 }
}
"""


def draw(results: Results) -> str:
    """The plot."""
    rivals = results.rivals()
    columns = [column for column in COLUMNS if any(_known(results, rivals, column))]
    height = HEAD + ROW * len(rivals) + GAP
    rows = math.ceil(len(columns) / PANELS)
    size = (NAMES + PANELS * (WIDTH + GAP), rows * height)
    body = [
        line
        for place, column in enumerate(columns)
        for line in _panel(results, rivals, column, place % PANELS, place // PANELS * height)
    ]
    box = f'viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" height="{size[1]}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">',
            "<title>What a delivery costs: trio_chat and other servers</title>",
            f"<style>\n{STYLE}</style>",
            *body,
            "</svg>\n",
        ]
    )


def _known(results: Results, rivals: Sequence[Rival], column: Column) -> list[float]:
    figures = (results.median(rival.name, column.key) for rival in rivals)
    return [figure for figure in figures if figure]


def _panel(
    results: Results, rivals: Sequence[Rival], column: Column, place: int, top: int
) -> Iterator[str]:
    left = NAMES + place * (WIDTH + GAP)
    known = _known(results, rivals, column)
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known) * 1.3))
    scale = WIDTH / (high - low)
    bottom = top + HEAD + ROW * len(rivals)
    yield f'<text class="title" x="{left}" y="{top + 16}">{escape(column.title)}</text>'
    for power in range(low, high + 1):
        x = f"{left + scale * (power - low):.0f}"
        label = f"{10.0**power:g} {column.unit}"
        yield f'<path class="grid" d="M{x} {top + HEAD - 8}V{bottom - 6}"/>'
        yield f'<text class="tick" x="{x}" y="{top + 32}">{label}</text>'
    for number, rival in enumerate(rivals):
        y = top + HEAD + ROW * number + 6
        if place == 0:
            yield _name(rival, y)
        figure = results.median(rival.name, column.key)
        if figure:
            at = left + scale * (math.log10(figure) - low)
            yield f'<circle class="dot {_kind(rival)}" cx="{at:.1f}" cy="{y}" r="4.5"/>'
            yield f'<text class="value" x="{at + 8:.1f}" y="{y + 3.5}">{figure:.2g}</text>'


def _name(rival: Rival, y: int) -> str:
    title = escape(rival.title.replace("`", ""))
    kind = "ours" if rival.is_ours else ""
    return f'<text class="{kind}" text-anchor="end" x="{NAMES - 14}" y="{y + 4}">{title}</text>'


def _kind(rival: Rival) -> str:
    if rival.is_ours:
        return "ours"
    return "limit" if rival.name.startswith("limit") else ""
