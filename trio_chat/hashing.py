"""Looking at passwords without keeping the others waiting.

One hash is made at a time, in a thread: it takes all of a core, and 19 MiB. Some wait for
their turn; whoever comes then is told to come back. Who fails too often is told so before
anything is hashed.
"""

import math
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio
from attrs import define, field

from trio_chat.errors import TryLater, WrongPassword
from trio_chat.failures import Failures
from trio_chat.passwords import check_password, hash_password
from trio_chat.secret import Secret

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

QUEUE = 20
"""How many wait for their turn: those behind them would wait for longer than a second."""

QUEUE_WAIT = 2.0
"""Seconds after which the queue is likely to be shorter."""


@define(eq=False)
class Hashing:
    """The one place of a server in which passwords are hashed."""

    failures: Failures = field(factory=Failures)
    _turns: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _inside: int = field(default=0, init=False)

    async def hash(self, password: Secret) -> str:
        """What is kept of a new password.

        Raises `BadPassword`, `TryLater`.
        """
        return await self._take_turn(hash_password, password)

    async def check(
        self, account: str, origin: str | None, password: Secret, kept: str | None
    ) -> str | None:
        """Return if it is the password of which that is `kept`: None, or what is to be kept
        from now on.

        `account`, `origin`: as in `Failures`; `kept` is None where there is no such account.
        Raises `WrongPassword`, `TryLater`.
        """
        wait = math.ceil(self.failures.begin(account, origin, trio.current_time()))
        if wait:
            raise TryLater(f"too many wrong passwords; try again in {wait} s", retry=wait)
        failed = False
        try:
            verdict = await self._take_turn(check_password, password, kept)
            failed = not verdict.is_right
        finally:
            self.failures.end(account, origin, trio.current_time(), failed=failed)
        if failed:
            raise WrongPassword("that is not the password of this name")
        return verdict.renewed

    async def _take_turn(self, job: Callable[[*Ts], T], *args: *Ts) -> T:
        """Do it in a thread. Who is cancelled while waiting goes at once; what has begun is
        done to its end, so that hanging up takes nothing back."""
        if self._inside > QUEUE:
            raise TryLater(
                "too many others are logging in; try again in a moment", retry=QUEUE_WAIT
            )
        self._inside += 1
        try:
            return await trio.to_thread.run_sync(job, *args, limiter=self._turns)
        finally:
            self._inside -= 1
