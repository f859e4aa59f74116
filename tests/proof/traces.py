"""What strace wrote: did anything leave before the disk had it? Pure."""

import re
from collections.abc import Iterable

from attrs import define, field, frozen

_CALL = re.compile(r"^(\d+)\s+(\w+)\((\d+)<([^>]*(?:->[^>]*)?)>(.*)$")
"""Thread, call, descriptor with what it is, and the rest."""

_RESUMED = re.compile(r"^(\d+)\s+<\.\.\. (\w+) resumed>(.*)$")

INJECTED = b"(INJECTED)"
"""What strace writes after a call that it made fail."""

SENDS = ("write", "sendto", "sendmsg", "writev")

CALLS = ("pwrite64", "fdatasync", *SENDS)
"""What has to be traced."""


@frozen
class Order:
    """`sent`: the texts of how many acks left. `early`: which left before an fdatasync of
    the log that began after it had been written to the log."""

    sent: int
    early: tuple[str, ...]


@define
class _Watch:
    """`written`: ids that stand in the log, by when; `synced`: those that are on the disk."""

    id: re.Pattern[str]
    written: set[str] = field(factory=set)
    syncing: dict[str, set[str]] = field(factory=dict)  # by thread: what the call will cover
    synced: set[str] = field(factory=set)
    sent: set[str] = field(factory=set)
    early: list[str] = field(factory=list)

    def see(self, line: str) -> None:
        if call := _CALL.match(line):
            thread, name, _, place, rest = call.groups()
            self._see_call(thread, name, place, rest)
        elif (resumed := _RESUMED.match(line)) and resumed[2] == "fdatasync":
            self._end_sync(resumed[1], resumed[3])

    def _see_call(self, thread: str, name: str, place: str, rest: str) -> None:
        if name == "pwrite64" and place.endswith("-wal"):
            self.written.update(self.id.findall(rest))
        elif name == "fdatasync" and place.endswith("-wal"):
            self.syncing[thread] = set(self.written)
            if "unfinished" not in rest:
                self._end_sync(thread, rest)
        elif name in SENDS and place.startswith("TCP"):
            self._leave(self.id.findall(rest))

    def _end_sync(self, thread: str, rest: str) -> None:
        covered = self.syncing.pop(thread, set())
        if rest.rstrip().endswith("= 0"):
            self.synced |= covered

    def _leave(self, ids: Iterable[str]) -> None:
        for id in ids:
            self.sent.add(id)
            if id not in self.synced:
                self.early.append(id)


def check_order(lines: Iterable[str], id: str) -> Order:
    """Read a trace of a server; `id` is what the ids of what was said look like."""
    watch = _Watch(re.compile(id))
    for line in lines:
        watch.see(line)
    return Order(len(watch.sent), tuple(watch.early))


def count_injected(trace: bytes) -> int:
    """How many calls were made to fail."""
    return trace.count(INJECTED)
