"""docs/performance.md and its plot: made of the results and of document.md."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.cases import CASES, COLUMNS, OURS_ONLY, OWN_COLUMNS, Case
from benchmarks.goals import GOALS, WHY
from benchmarks.plot import draw
from benchmarks.results import Results
from benchmarks.rivals import OURS, Rival
from trio_chat.bench.plan import Plan

DOCS = Path(__file__).parents[1] / "docs"

PAGE, PLOT, RESULTS = (DOCS / f"performance.{end}" for end in ("md", "svg", "json"))

TEMPLATE = Path(__file__).with_name("document.md")

TITLES = {column.key: column.title for column in COLUMNS}

ALL_TITLES = {**TITLES, **{column.key: column.title for column in OWN_COLUMNS}}


README = DOCS.with_name("README.md")

BEGIN, END = "<!-- what follows is written by `nox -s bench` -->\n", "<!-- end of that -->\n"
"""What is quoted stands between these."""

QUOTED = ("1000", "100", "10", "one", "rooms")
"""The columns that are quoted."""

SECONDS = 10.0
"""How long a load lasts of which only the shape is told."""


def write_document(results: Results) -> None:
    """Write the page, the plot, and the results that they are made of; quote the page."""
    results.save(RESULTS)
    PLOT.write_text(draw(results), encoding="utf-8")
    PAGE.write_text(render(results), encoding="utf-8")
    README.write_text(quote(README.read_text(encoding="utf-8"), results), encoding="utf-8")


def quote(readme: str, results: Results) -> str:
    """The README, with the figures in it."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [
        [_title(results, rival), *(_number(results.median(rival.name, key)) for key in QUOTED)]
        for rival in results.rivals()
    ]
    facts = results.facts
    text = f"""
Beside other servers, by what one delivery of 64 bytes costs: µs of the server's CPU, medians of {facts["rounds"]} rounds on {facts["machine"]} ({facts["date"]}, `nox -s bench`).
Only the first row stores anything, and does so before anybody hears it.

{_table(["", *(TITLES[key] for key in QUOTED)], rows)}

[docs/performance.md](docs/performance.md) says what was measured, what was to be reached and was not, and where it stops.

"""  # noqa: E501 # one sentence a line
    return "".join((before, BEGIN, text, END, after))


def _title(results: Results, rival: Rival) -> str:
    return f"{rival.title} {results.versions.get(rival.name, '')}".rstrip()


def render(results: Results) -> str:
    """The page."""
    return TEMPLATE.read_text(encoding="utf-8").format(
        **results.facts,
        medians=medians(results),
        ratios=ratios(results),
        spreads=spreads(results),
        loads=loads(),
        goals=goals(results),
        parts=parts(results),
        notes=notes(results),
    )


def medians(results: Results) -> str:
    """The figures as they are."""
    columns = [
        column
        for column in COLUMNS
        if any(results.median(rival.name, column.key) for rival in results.rivals())
    ]
    rows = [
        [
            _title(results, rival),
            *(_number(results.median(rival.name, column.key)) for column in columns),
        ]
        for rival in results.rivals()
    ]
    return _table(["", *(f"{column.title}, {column.unit}" for column in columns)], rows)


def ratios(results: Results) -> str:
    """The figures of others as multiples of ours."""
    keys = [key for key in TITLES if results.median(OURS, key)]
    if not keys:
        return ""
    rows = [
        [rival.title, *(_ratio(results, rival.name, key) for key in keys)]
        for rival in results.rivals()
        if rival.name != OURS
    ]
    return _table(["", *(TITLES[key] for key in keys)], rows)


def spreads(results: Results) -> str:
    """How far the rounds were apart."""
    keys = [key for key in TITLES if any(len(each) > 1 for each in _rounds(results, key))]
    rows = [
        [rival.title, *(_span(results.rounds(rival.name, key)) for key in keys)]
        for rival in results.rivals()
    ]
    return _table(["", *(TITLES[key] for key in keys)], rows)


def _rounds(results: Results, key: str) -> list[Sequence[float]]:
    return [results.rounds(rival.name, key) for rival in results.rivals()]


def _span(figures: Sequence[float]) -> str:
    return f"{_number(min(figures))}–{_number(max(figures))}" if len(figures) > 1 else ""  # noqa: RUF001 # a range


def loads() -> str:
    """How to have the load of each case from `bench`."""
    rows = [
        [_titles(case), f"`{_options(case.plan(SECONDS))}`"] for case in (*CASES, *OURS_ONLY)
    ]
    return _table(["case", "`python -m trio_chat bench`"], rows, rule="---")


def _titles(case: Case) -> str:
    return "; ".join(column.title for column in case.columns)


def _options(plan: Plan) -> str:
    options = f"--members {plan.members} --rooms {plan.rooms} --senders {plan.senders}"
    pace = f"--rate {plan.rate:g}" if plan.rate else f"--in-flight {plan.in_flight}"
    return f"{options} {pace}{' --quiet' * plan.quiet}"


def goals(results: Results) -> str:
    """What was to be reached, and what was."""
    rows = [
        [
            ALL_TITLES[goal.column],
            goal.text + (" (nice to have)" if goal.is_aim else ""),
            verdict,
            WHY.get(goal.column, "") if verdict.startswith("missed") else "",
        ]
        for goal in GOALS
        if (verdict := goal.verdict(results))
    ]
    return _table(["case", "goal", "median", "why missed"], rows, rule="---")


def parts(results: Results) -> str:
    """What the parts of a say cost."""
    rows = [[part, f"{micros:.2f}"] for part, micros in results.parts.items()]
    return _table(["", "µs"], rows)


def notes(results: Results) -> str:
    """What there is to say about single servers."""
    titles = {rival.name: rival.title for rival in results.rivals()}
    lines = [
        f"- {titles.get(name, name)}: {text}."
        for name, texts in results.notes.items()
        for text in texts
    ]
    return "\n".join(lines)


def _ratio(results: Results, rival: str, key: str) -> str:
    theirs, ours = results.median(rival, key), results.median(OURS, key)
    return "" if theirs is None or not ours else f"{_number(theirs / ours)}"


def _number(figure: float | None) -> str:
    if figure is None:
        return ""
    return (
        f"{figure:.0f}"
        if figure >= 9.95
        else f"{figure:.1f}"
        if figure >= 0.995
        else f"{figure:.2f}"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], rule: str = "--:") -> str:
    rules = ["---"] + [rule] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rules, *rows))
