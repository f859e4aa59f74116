"""`python -m tests.hostile`: attack a server in every way, and print the table."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial

import trio

from tests.hostile.document import DOCUMENT, write_document
from tests.hostile.figures import Row
from tests.hostile.program import PROGRAM, perform_all
from tests.hostile.table import as_markdown

BROKEN, MISSED = 1, 3
"""Exit statuses: an attack could not be made; all were, and a figure was not reached."""


def main() -> int:
    """Run what the command line asks for."""
    options = _parse(sys.argv[1:])
    logging.disable()  # the library warns of all that is wrong with a server
    signal.signal(signal.SIGTERM, _interrupt)  # or servers would be left over
    acts = [act for act in PROGRAM if not options.only or act.name in options.only]
    rows = trio.run(partial(perform_all, acts, _show, short=options.short))
    print(f"\n{as_markdown(rows)}")
    if options.write:
        write_document(rows)
        print(f"written: {DOCUMENT.name}")
    return _status(rows)


def _interrupt(_number: int, _frame: object) -> None:
    """As Ctrl-C, which trio sees to."""
    signal.raise_signal(signal.SIGINT)


def _status(rows: Sequence[Row]) -> int:
    if any(row.broken for row in rows):
        return BROKEN
    return MISSED if any(row.missed for row in rows) else 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--short", action="store_true", help="smaller ones, within 2 minutes")
    names = [act.name for act in PROGRAM]
    parser.add_argument("--only", nargs="+", choices=names, help="only these attacks")
    parser.add_argument("--write", action="store_true", help="write docs/hostile.md")
    return parser.parse_args(words)


def _show(text: str) -> None:
    end = "" if sys.stderr.isatty() and ": done in " not in text else "\n"
    print(
        f"\r\033[K{text}" if sys.stderr.isatty() else text, end=end, file=sys.stderr, flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
