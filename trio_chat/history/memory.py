"""A history that lasts as long as the process: `--no-history`, and for tests."""

import secrets
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from typing import assert_never

import trio
from attrs import define, evolve, field

from trio_chat.charter import Identity, Sanction
from trio_chat.history import (
    SLICE_BYTES,
    Account,
    Banished,
    Came,
    Change,
    DeviceId,
    Entry,
    Finds,
    HasRead,
    Head,
    Keep,
    Key,
    Paired,
    Place,
    Probe,
    Ranked,
    Record,
    Registered,
    Rehashed,
    Restricted,
    Revoked,
    Rewritten,
    Sanctioned,
    Slice,
    Stay,
    Titled,
    Went,
    page_of_deeds,
)
from trio_chat.history.words import matches
from trio_chat.names import Name
from trio_chat.veil import KEY_BYTES

KEPT_EVENTS = 10_000
"""The events kept of each room: some weeks of a busy team, about 2 MB of ordinary talk."""


@define(eq=False)
class _Log:
    """The newest events of one room; `first` is the seq of the oldest. `numbers`: when each
    came, among those of all rooms."""

    entries: deque[Entry] = field(factory=deque)
    numbers: deque[int] = field(factory=deque)
    first: int = 1
    topic: str = ""
    pair: tuple[Identity, Identity] | None = None

    @property
    def last(self) -> int:
        return self.first + len(self.entries) - 1

    def get(self, seq: int) -> Entry | None:
        return self.entries[seq - self.first] if self.first <= seq <= self.last else None


@define(eq=False)
class MemoryHistory:
    """The newest events of each room, in memory. Older ones are forgotten."""

    kept_events: int = KEPT_EVENTS
    epoch: str = field(factory=lambda: secrets.token_urlsafe(12), init=False)
    veil: bytes = field(factory=lambda: secrets.token_bytes(KEY_BYTES), init=False)
    _logs: dict[Name, _Log] = field(factory=dict, init=False)
    _places: dict[Key, Place] = field(factory=dict, init=False)
    _devices: dict[DeviceId, Keep] = field(factory=dict, init=False)
    _accounts: dict[Identity, Account] = field(factory=dict, init=False)
    _paired: Counter[Identity] = field(factory=Counter, init=False)  # private rooms
    _read: dict[Identity, dict[Name, int]] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)

    async def maintain(self) -> None:
        await trio.sleep_forever()

    async def heads(self) -> Mapping[Name, Head]:
        await trio.lowlevel.checkpoint()
        return {
            room: Head(log.last, log.entries[-1].at, log.topic, log.pair)
            for room, log in self._logs.items()
        }

    async def stays(self) -> Sequence[Stay]:
        await trio.lowlevel.checkpoint()
        return ()  # whoever was here, this history was not

    async def recognise(self, token: bytes) -> Stay | None:
        await trio.lowlevel.checkpoint()
        for kept in self._devices.values():
            if token in {kept.token.current, kept.token.previous}:
                return self._stay(kept)
        return None

    async def accounts(self) -> Sequence[Account]:
        await trio.lowlevel.checkpoint()
        return list(self._accounts.values())

    async def banished(self) -> Mapping[str, Sanction]:
        await trio.lowlevel.checkpoint()
        return {}

    async def wait_for_change(self) -> None:
        await trio.sleep_forever()  # there is no other program

    async def devices(self, identity: Identity) -> Sequence[Stay]:
        await trio.lowlevel.checkpoint()
        mine = [kept for kept in self._devices.values() if kept.identity == identity]
        return list(map(self._stay, mine))

    def _stay(self, kept: Keep) -> Stay:
        read = dict(self._read.get(kept.identity, {}))
        return Stay(
            kept.device, kept.identity, kept.name, kept.token, (), read, kept.client, kept.at
        )

    async def append(
        self, entries: Sequence[Entry], changes: Sequence[Change] = ()
    ) -> Mapping[Key, Place]:
        keys = [entry.key for entry in entries]
        # Not `checkpoint`, which lets the others go first, 10 µs: who appends has waited for
        # what it appends.
        await trio.lowlevel.checkpoint_if_cancelled()
        standing = self._find(key for key in keys if key is not None)
        if not standing:
            for entry, key in zip(entries, keys, strict=True):
                self._append(entry, key)
            for change in changes:
                self._make(change)
        return standing

    async def find(self, keys: Sequence[Key]) -> Mapping[Key, Place]:
        await trio.lowlevel.checkpoint()
        return self._find(keys)

    def _find(self, keys: Iterable[Key]) -> Mapping[Key, Place]:
        return {key: self._places[key] for key in keys if key in self._places}

    async def look_up(self, places: Collection[Place]) -> Mapping[Place, Record]:
        await trio.lowlevel.checkpoint()
        found = {place: self._logs.get(place.room, _Log()).get(place.seq) for place in places}
        return {at: Record(entry.line, entry.author) for at, entry in found.items() if entry}

    def _append(self, entry: Entry, key: Key | None) -> None:
        log = self._logs.get(entry.place.room)
        if log is None:
            log = self._logs[entry.place.room] = _Log()
        assert entry.place.seq == log.last + 1, "a hole in the log"
        log.entries.append(entry)
        log.numbers.append(self._count)
        self._count += 1
        if key is not None:
            self._places[key] = entry.place
        if len(log.entries) > self.kept_events:
            log.first += 1
            log.numbers.popleft()
            forgotten = log.entries.popleft()
            if forgotten.key is not None:
                del self._places[forgotten.key]

    def _make(self, change: Change) -> None:
        match change:
            case Keep() | Registered() | Rehashed() | Revoked():
                self._store(change)
            case Came() | Probe():
                pass  # it is for the next run, and there is none
            case Went(device):
                self._forget(device)
            case Paired(room, maker, other):
                self._logs[room].pair = maker, other
                self._paired.update([maker, other])
            case HasRead(identity, room, seq):
                self._read.setdefault(identity, {})[room] = seq
            case Rewritten(place, line, text):
                self._rewrite(place, line, text)
            case Titled(room, topic):
                self._logs[room].topic = topic
            case Banished() | Ranked() | Sanctioned() | Restricted():
                pass  # the next run has other people, and no rooms
            case _:
                assert_never(change)

    def _store(self, change: Keep | Registered | Rehashed | Revoked) -> None:
        match change:
            case Keep(device):
                self._devices.pop(device, None)  # the one that was seen last comes last
                self._devices[device] = change
            case Registered(account):
                self._accounts[account.identity] = account
            case Rehashed(identity, old, new):
                account = self._accounts[identity]
                if account.password == old:
                    self._accounts[identity] = evolve(account, password=new)
            case Revoked(device):
                self._devices.pop(device, None)

    def _forget(self, device: DeviceId) -> None:
        kept = self._devices.get(device)
        if kept is None or kept.identity in self._accounts:
            return
        if not self._paired[kept.identity]:
            del self._devices[device]
            self._read.pop(kept.identity, None)

    def _rewrite(self, place: Place, line: bytes, text: str | None) -> None:
        log = self._logs[place.room]
        entry = log.get(place.seq)
        if entry is not None:
            log.entries[place.seq - log.first] = entry._replace(line=line, text=text)

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

    async def deeds(self, room: Name, before: int, limit: int) -> Finds:
        await trio.lowlevel.checkpoint()
        entries = self._logs.get(room, _Log()).entries
        found = [
            entry for entry in reversed(entries) if entry.is_deed and entry.place.seq < before
        ]
        return page_of_deeds([(entry.place.seq, entry.line) for entry in found], limit)

    async def forget(self, room: Name) -> None:
        await trio.lowlevel.checkpoint()
        log = self._logs.pop(room, _Log())
        for entry in log.entries:
            if entry.key is not None:
                del self._places[entry.key]
        self._paired -= Counter(log.pair or ())
        for identity in log.pair or ():
            self._read.get(identity, {}).pop(room, None)
            for stay in await self.devices(identity):
                self._forget(stay.device)

    async def search(
        self, words: Sequence[str], rooms: Collection[Name], before: int | None, limit: int
    ) -> Finds:
        found: list[tuple[int, bytes]] = []
        for room in rooms:
            await trio.lowlevel.checkpoint()  # between two rooms: 10,000 texts take 20 ms
            log = self._logs.get(room, _Log())
            found += [
                (number, entry.line)
                for number, entry in zip(log.numbers, log.entries, strict=True)
                if (before is None or number < before) and matches(entry.text or "", words)
            ]
        newest = nlargest(limit, found)
        more = len(found) > len(newest)
        return Finds([line for _, line in newest], newest[-1][0] if more else None)


def _fitting(entries: Iterable[Entry], limit: int) -> list[bytes]:
    lines: list[bytes] = []
    size = 0
    for entry in islice(entries, limit):
        size += len(entry.line)
        if size > SLICE_BYTES:
            break
        lines.append(entry.line)
    return lines
