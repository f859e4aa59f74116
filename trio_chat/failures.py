"""How often somebody may try a password, or the key of a room: by the account or the room
that is tried, and by the origin.

Pure: the clock is an argument. A try counts from when it begins, so that a thousand at
once are no way around it. An account that does not exist is treated as any other, and so is
a room, or one could find out which do. A token is no password and never comes here, so
nobody can lock out a device that has one.
"""

from collections import OrderedDict

from attrs import define, field

TRIES = 5
"""Failures, with less than a minute between one and the next, before one has to wait: who
has forgotten which of a few passwords it is, finds out."""

WAIT_FROM, WAIT_TO = 60.0, 900.0
"""Seconds to wait after the first so many failures, and at most; each time twice as many."""

FORGET_AFTER = 3600.0
"""Seconds without a failure after which all is forgotten."""

PENDING_WAIT = 1.0
"""Seconds to wait while as many are being looked at as may fail: as in an office whose
people all come back at once."""

KNOWN = 10_000
"""Accounts and origins that are remembered; those that were tried last."""


@define
class _Record:
    """What is remembered of an account or an origin: how many tries have `failed` since
    it last had to wait, the `last` of them, how many are `pending` right now, and how long
    the next wait will be."""

    last: float
    failed: int = 0
    pending: int = 0
    pause: float = WAIT_FROM

    def wait(self, now: float) -> float:
        """Seconds until the next try may begin."""
        if self.failed >= TRIES:
            return max(0.0, self.last + self.pause - now)
        return PENDING_WAIT if self.failed + self.pending >= TRIES else 0.0

    def refresh(self, now: float) -> None:
        """Forget what is long ago; and who has waited may try again."""
        if now - self.last >= FORGET_AFTER:
            self.failed, self.pause = 0, WAIT_FROM
        elif self.failed >= TRIES and self.wait(now) == 0:
            self.failed, self.pause = 0, min(2 * self.pause, WAIT_TO)
        elif self.failed < TRIES and now - self.last >= WAIT_FROM:
            self.failed = 0

    def end(self, now: float, *, failed: bool) -> None:
        self.pending = max(0, self.pending - 1)
        if failed:
            self.failed += 1
            self.last = now


_Key = tuple[str, str]


@define(eq=False)
class Failures:
    """Who has tried in vain, and how often."""

    _records: OrderedDict[_Key, _Record] = field(factory=OrderedDict, init=False)

    def begin(self, account: str, origin: str | None, now: float) -> float:
        """Begin a try, which has to `end`; or the seconds to wait, and it has not begun.

        `origin`: whose address it comes from; None for this machine, which is nobody's.
        """
        records = self._of(account, origin, now)
        wait = max(record.wait(now) for record in records)
        for record in () if wait else records:
            record.pending += 1
        return wait

    def end(self, account: str, origin: str | None, now: float, *, failed: bool) -> None:
        """The try is over. One that was broken off before the password was looked at has
        not failed."""
        for record in self._of(account, origin, now):
            record.end(now, failed=failed)

    def __len__(self) -> int:
        return len(self._records)

    def _of(self, account: str, origin: str | None, now: float) -> list[_Record]:
        keys = [("account", account)]
        if origin is not None:
            keys.append(("origin", origin))
        return [self._record(key, now) for key in keys]

    def _record(self, key: _Key, now: float) -> _Record:
        record = self._records.setdefault(key, _Record(last=now))
        self._records.move_to_end(key)
        if len(self._records) > KNOWN:
            self._records.popitem(last=False)
        record.refresh(now)
        return record
