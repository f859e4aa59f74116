"""`python -m benchmarks`: measure all servers that are here, and print the tables."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence

import trio

from benchmarks import micro
from benchmarks.cases import CASES, OURS_ONLY, START, Case
from benchmarks.document import (
    PAGE,
    RESULTS,
    goals,
    medians,
    parts,
    ratios,
    write_document,
)
from benchmarks.measure import Failed, run
from benchmarks.results import Results
from benchmarks.rivals import OURS, RIVALS, Rival
from benchmarks.start import measure_starts
from trio_chat import config
from trio_chat.bench.report import Report

FULL, QUICK = (3, 2.0), (1, 0.5)
"""How many rounds, and seconds of each run: twenty minutes for all of them."""

PARTS = "parts"
"""What the micro-benchmarks are called on the command line."""

OURS_FAILED, NOT_ALL_RUN, INTERRUPTED = 1, 3, 130
"""Exit statuses: a run of ours came to nothing; one of another server did, or it is not
here; Ctrl-C."""


def main() -> int:
    """Do what the command line asks for."""
    options = _parse(sys.argv[1:])
    if options.missing:
        packages = {rival.package for rival in RIVALS if rival.program and rival.missing}
        print(*sorted(packages))
        return 0
    if options.rewrite:
        write_document(Results.load(RESULTS))
        return 0
    # Or servers would be left over. trio knows when a SIGINT does no harm; a shell may have
    # had it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    config.raise_file_limit()
    results, began = Results(), time.monotonic()
    rivals = _present(
        [rival for rival in RIVALS if _is_chosen(rival.name, options.rivals)], results
    )
    cases = [case for case in (*CASES, *OURS_ONLY) if _is_chosen(case.name, options.cases)]
    rounds, seconds = QUICK if options.quick else FULL
    failed = _measure(rivals, cases, rounds, seconds, results)
    for rival in _only_ours(rivals):
        if _is_chosen(START.key, options.cases):
            measure_starts(rival, rounds, results)
        if _is_chosen(PARTS, options.cases):
            results.parts = trio.run(micro.measure)
            results.facts["sync"] = f"{micro.sync_seconds() * 1e3:.1f}"
    results.facts["minutes"] = f"{(time.monotonic() - began) / 60:.0f}"
    results.facts["rounds"], results.facts["seconds"] = str(rounds), f"{seconds:g}"
    tables = {"Medians": medians, "Ratios": ratios, "Goals": goals, "Parts": parts}
    for title, table in tables.items():
        print(f"\n{title}\n\n{table(results)}")
    if options.write:
        write_document(results)
        print(f"\nwritten: {PAGE.name}")
    return _status(failed, results)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [rival.name for rival in RIVALS]
    cases = [*(case.name for case in (*CASES, *OURS_ONLY)), START.key, PARTS]
    parser.add_argument("rivals", nargs="*", help=f"only these of {' '.join(names)}")
    parser.add_argument(
        "--cases",
        nargs="+",
        choices=cases,
        metavar="CASE",
        help=f"only these of {' '.join(cases)}",
    )
    parser.add_argument("--quick", action="store_true", help="one round of short runs")
    parser.add_argument(
        "--write", action="store_true", help=f"write docs/{PAGE.name} and its plot"
    )
    parser.add_argument(
        "--rewrite",
        action="store_true",
        help="write them again from the figures of the last time",
    )
    parser.add_argument(
        "--missing", action="store_true", help="print which of Debian's packages are not here"
    )
    options = parser.parse_args(words)
    for name in options.rivals:
        if name not in names:
            parser.error(f"there is no {name} among {' '.join(names)}")
    return options


def _is_chosen(name: str, chosen: Sequence[str] | None) -> bool:
    return not chosen or name in chosen


def _present(rivals: Sequence[Rival], results: Results) -> list[Rival]:
    for rival in rivals:
        if rival.missing:
            results.note(rival, f"not measured, because it was not there: {rival.missing}")
            print(f"{rival.name} is not here: {rival.missing}", file=sys.stderr)
        else:
            results.versions[rival.name] = rival.version
    return [rival for rival in rivals if not rival.missing]


def _measure(
    rivals: Sequence[Rival],
    cases: Sequence[Case],
    rounds: int,
    seconds: float,
    results: Results,
) -> set[str]:
    """Run everything, server after server, so that what else the machine does hits all of
    them; returns the names of those of which a run came to nothing."""
    failed = set()
    for number in range(rounds):
        for case in [case for case in cases if not (case.once and number)]:
            for rival in rivals if case in CASES else _only_ours(rivals):
                what = f"round {number + 1} of {rounds}, {case.name}, {rival.name}"
                try:
                    report = run(rival, case.plan(seconds))
                except Failed as failure:
                    failed.add(rival.name)
                    results.note(rival, f"{case.name}: {failure}")
                    print(f"{what}: FAILED: {failure}", file=sys.stderr, flush=True)
                else:
                    _keep(rival, case, report, results)
                    print(f"{what}: {_summary(case, report)}", file=sys.stderr, flush=True)
    return failed


def _only_ours(rivals: Sequence[Rival]) -> list[Rival]:
    return [rival for rival in rivals if rival.name == OURS]


def _keep(rival: Rival, case: Case, report: Report, results: Results) -> None:
    for column in case.columns:
        results.add(rival, column, column.figure(report))


def _summary(case: Case, report: Report) -> str:
    figures = ((column, column.figure(report)) for column in case.columns)
    known = [f"{figure:.3g} {column.unit}" for column, figure in figures if figure is not None]
    share = "" if report.cost is None else f", {report.cost.cpu / report.seconds:.0%} of a core"
    return f"{' '.join(known)}{share}, load {report.own_cpu / report.seconds:.0%}"


def _status(failed: set[str], results: Results) -> int:
    if any(name.startswith(OURS) for name in failed):
        return OURS_FAILED
    return NOT_ALL_RUN if results.notes else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
