"""A server that is broken on purpose: it answers before it has stored.

    python -m tests.proof.broken serve …

Its history says of every batch that it is stored, and stores it with the next one. The
checker has to find that out when the server is killed.
"""

import sys
from collections.abc import Mapping, Sequence

import trio

from trio_chat import cli
from trio_chat.history import Change, Entry, Key, Place
from trio_chat.history.sqlite import SqliteHistory

_append = SqliteHistory.append
_held: list[Entry] = []


async def _append_later(
    self: SqliteHistory, entries: Sequence[Entry], changes: Sequence[Change] = ()
) -> Mapping[Key, Place]:
    """Joins are in order, or nobody would come back to see."""
    await trio.lowlevel.checkpoint()
    held, _held[:] = list(_held), [] if changes else entries
    if held:
        await _append(self, held)
    return await _append(self, entries, changes) if changes else {}


if __name__ == "__main__":
    SqliteHistory.append = _append_later  # type: ignore[method-assign]
    sys.exit(cli.run(sys.argv[1:]))
