"""`python -m tests.proof`: run the proof and print its table."""

import argparse
import secrets
import signal
import sys
from collections.abc import Sequence
from functools import partial

import trio

from tests.proof.document import DOCUMENT, write_document
from tests.proof.program import PROGRAM, perform_all
from tests.proof.stage import Row
from tests.proof.table import as_markdown

BROKEN, NOT_ALL_RUN = 1, 3
"""Exit statuses: something is wrong; nothing is, but not everything could be tried."""


def main() -> int:
    """Run what the command line asks for."""
    options = _parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or servers would be left over
    print(f"seed {options.seed}", flush=True)
    acts = [act for act in PROGRAM if options.only in (None, act.name)]
    perform = partial(perform_all, acts, options.seed, _show, short=options.short)
    rows = trio.run(perform)
    print(f"\n{as_markdown(rows)}")
    _show_examples(rows)
    if options.write:
        write_document(rows, options.seed)
        print(f"written: {DOCUMENT.name}")
    return _status(rows, short=options.short)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="only some faults, within a minute"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--only", choices=[act.name for act in PROGRAM], help="only that fault")
    parser.add_argument("--write", action="store_true", help="write docs/proof.md")
    return parser.parse_args(words)


def _show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif ": done in " in text:
        print(text, file=sys.stderr, flush=True)


def _show_examples(rows: Sequence[Row]) -> None:
    for row in rows:
        for example in row.verdict.examples():
            print(f"{row.fault}: {example}")


def _status(rows: Sequence[Row], *, short: bool) -> int:
    if not all(row.is_clean for row in rows):
        return BROKEN
    is_all = short or all(row.not_run is None for row in rows)
    return 0 if is_all else NOT_ALL_RUN


if __name__ == "__main__":
    sys.exit(main())
