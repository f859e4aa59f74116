"""A history that lasts as long as the process: `--no-history`, and for tests."""

import secrets
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import trio
from attrs import define, field

from trio_chat.history import (
    NO_TOKENS,
    SLICE_BYTES,
    Entry,
    Head,
    Key,
    Place,
    Slice,
    Stay,
    Token,
)
from trio_chat.names import Name

KEPT_EVENTS = 10_000
"""The events kept of each room: some weeks of a busy team, about 2 MB of ordinary talk."""


@define(eq=False)
class _Log:
    """The newest events of one room; `first` is the number of the oldest."""

    entries: deque[Entry] = field(factory=deque)
    first: int = 1

    @property
    def last(self) -> int:
        return self.first + len(self.entries) - 1


@define(eq=False)
class MemoryHistory:
    """The newest events of each room, in memory. Older ones are forgotten."""

    kept_events: int = KEPT_EVENTS
    epoch: str = field(factory=lambda: secrets.token_urlsafe(12), init=False)
    _logs: dict[Name, _Log] = field(factory=dict, init=False)
    _places: dict[Key, Place] = field(factory=dict, init=False)

    async def maintain(self) -> None:
        await trio.sleep_forever()

    async def heads(self) -> Mapping[Name, Head]:
        await trio.lowlevel.checkpoint()
        return {room: Head(log.last, log.entries[-1].at) for room, log in self._logs.items()}

    async def stays(self) -> Sequence[Stay]:
        await trio.lowlevel.checkpoint()
        return ()  # whoever was here, this history was not

    async def append(
        self,
        entries: Sequence[Entry],
        tokens: Mapping[Name, Token] = NO_TOKENS,  # noqa: ARG002
    ) -> Mapping[Key, Place]:
        standing = await self.find([entry.key for entry in entries if entry.key is not None])
        if not standing:
            for entry in entries:
                self._append(entry)
        return standing

    async def find(self, keys: Sequence[Key]) -> Mapping[Key, Place]:
        await trio.lowlevel.checkpoint()
        return {key: self._places[key] for key in keys if key in self._places}

    def _append(self, entry: Entry) -> None:
        log = self._logs.setdefault(entry.place.room, _Log())
        assert entry.place.seq == log.last + 1, "a hole in the log"
        log.entries.append(entry)
        if entry.key is not None:
            self._places[entry.key] = entry.place
        if len(log.entries) > self.kept_events:
            log.first += 1
            forgotten = log.entries.popleft()
            if forgotten.key is not None:
                del self._places[forgotten.key]

    async def after(self, room: Name, seq: int, limit: int) -> Slice:
        await trio.lowlevel.checkpoint()
        log = self._logs.get(room, _Log())
        first = max(seq + 1, log.first)
        newer = islice(log.entries, first - log.first, None)
        lines = _fitting(newer, limit)
        return Slice(first, lines, more=first + len(lines) <= log.last)

    async def before(self, room: Name, seq: int, limit: int) -> Slice:
        await trio.lowlevel.checkpoint()
        log = self._logs.get(room, _Log())
        end = max(min(seq, log.last + 1), log.first)
        older = islice(reversed(log.entries), log.last + 1 - end, None)
        lines = _fitting(older, limit)[::-1]
        return Slice(end - len(lines), lines, more=end - len(lines) > log.first)


def _fitting(entries: Iterable[Entry], limit: int) -> list[bytes]:
    lines: list[bytes] = []
    size = 0
    for entry in islice(entries, limit):
        size += len(entry.line)
        if size > SLICE_BYTES:
            break
        lines.append(entry.line)
    return lines
