"""Tests of hashing: one at a time, some wait, and whoever comes then is told so.

With real threads and without the virtual clock, which does not wait for them; what they do
ends when a test says so.
"""

import threading
from collections.abc import Iterator

import pytest
import trio
from attrs import define, field
from trio.testing import wait_all_tasks_blocked

from trio_chat import hashing
from trio_chat.errors import BadPassword, TryLater, WrongPassword
from trio_chat.failures import TRIES, WAIT_FROM
from trio_chat.hashing import QUEUE, QUEUE_WAIT, Hashing
from trio_chat.passwords import Verdict, check_password
from trio_chat.secret import Secret

HOME = "192.0.2.1"
RIGHT, WRONG = Secret("correct horse"), Secret("battery staple")


@define
class SlowCheck:
    """Instead of a hash: it takes until it is released."""

    released: threading.Event = field(factory=threading.Event)
    begun: list[str] = field(factory=list)
    at_once: int = 0
    most_at_once: int = 0
    news: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    def check(self, password: Secret, kept: str | None) -> Verdict:
        self.begun.append(password.reveal())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        trio.from_thread.run_sync(self.news.unpark_all)
        self.released.wait(timeout=20)
        self.at_once -= 1
        return Verdict(is_right=password.reveal() == kept)

    async def has_begun(self, count: int) -> None:
        """Wait until so many have come to their turn."""
        while len(self.begun) < count:
            await self.news.park()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowCheck]:
    slow = SlowCheck()
    monkeypatch.setattr(hashing, "check_password", slow.check)
    yield slow
    slow.released.set()


@define
class Visitors:
    """Many who log in, each from its own address, and what became of them."""

    hashing: Hashing
    refused: list[TryLater | WrongPassword] = field(factory=list)
    let_in: int = 0

    async def come(self, number: int, typed: str = "right") -> None:
        try:
            await self.hashing.check(
                f"name{number}", f"192.0.2.{number}", Secret(typed), "right"
            )
        except (TryLater, WrongPassword) as refusal:
            self.refused.append(refusal)
        else:
            self.let_in += 1


# ---------------------------------------------------------------- real passwords


async def test_a_password_is_hashed_and_recognised() -> None:
    hashing = Hashing()
    kept = await hashing.hash(RIGHT)
    assert await hashing.check("alice", HOME, RIGHT, kept) is None
    with pytest.raises(WrongPassword):
        await hashing.check("alice", HOME, WRONG, kept)
    with pytest.raises(WrongPassword):
        await hashing.check("nobody", HOME, RIGHT, None)


async def test_a_password_that_can_not_be_one_is_refused() -> None:
    with pytest.raises(BadPassword):
        await Hashing().hash(Secret("short"))


async def test_a_weak_hash_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_password: Secret, _kept: str | None) -> Verdict:
        return Verdict(is_right=True, renewed="stronger")

    monkeypatch.setattr(hashing, "check_password", check)
    assert await Hashing().check("alice", HOME, RIGHT, "weak") == "stronger"


# ---------------------------------------------------------------- many at once


async def test_others_go_on_while_a_password_is_looked_at(slow: SlowCheck) -> None:
    visitors = Visitors(Hashing())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(visitors.come, 1)
        await slow.has_begun(1)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert visitors.let_in == 0
        slow.released.set()
    assert visitors.let_in == 1


async def test_one_at_a_time_is_looked_at_in_the_order_in_which_they_came(
    slow: SlowCheck,
) -> None:
    visitors = Visitors(Hashing())
    async with trio.open_nursery() as nursery:
        for number in range(QUEUE):
            nursery.start_soon(visitors.come, number, str(number))
            await wait_all_tasks_blocked()
        slow.released.set()
    assert slow.most_at_once == 1
    assert slow.begun == [str(number) for number in range(QUEUE)]


async def test_behind_a_full_queue_one_is_told_when_to_come_back(slow: SlowCheck) -> None:
    visitors = Visitors(Hashing())
    async with trio.open_nursery() as nursery:
        for number in range(QUEUE + 6):
            nursery.start_soon(visitors.come, number)
        await slow.has_begun(1)
        await wait_all_tasks_blocked()
        assert [(type(error), error.retry) for error in visitors.refused] == [
            (TryLater, QUEUE_WAIT)
        ] * 5
        slow.released.set()
    assert visitors.let_in == QUEUE + 1
    await visitors.come(0)
    assert visitors.let_in == QUEUE + 2


async def test_a_full_queue_is_nobodys_failure(slow: SlowCheck) -> None:
    hashing = Hashing()
    visitors = Visitors(hashing)
    async with trio.open_nursery() as nursery:
        for number in range(QUEUE + 1):
            nursery.start_soon(visitors.come, number)
        await slow.has_begun(1)
        await wait_all_tasks_blocked()
        for _ in range(3 * TRIES):
            with pytest.raises(TryLater) as refusal:
                await hashing.check("alice", HOME, RIGHT, None)
            assert refusal.value.retry == QUEUE_WAIT
        slow.released.set()


async def test_who_gives_up_waiting_leaves_its_place_to_others(slow: SlowCheck) -> None:
    visitors = Visitors(Hashing())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(visitors.come, 0)
        await slow.has_begun(1)
        async with trio.open_nursery() as waiting:
            for number in range(1, QUEUE + 1):
                waiting.start_soon(visitors.come, number)
            await wait_all_tasks_blocked()
            waiting.cancel_scope.cancel()
        for number in range(1, QUEUE + 1):
            nursery.start_soon(visitors.come, number)
        await wait_all_tasks_blocked()
        assert visitors.refused == []
        slow.released.set()
    assert visitors.let_in == QUEUE + 1
    assert len(slow.begun) == QUEUE + 1


# ---------------------------------------------------------------- failures


async def test_after_a_few_failures_one_is_told_how_long_to_wait(slow: SlowCheck) -> None:
    slow.released.set()
    hashing = Hashing()
    for _ in range(TRIES):
        with pytest.raises(WrongPassword):
            await hashing.check("alice", HOME, WRONG, "right")
    with pytest.raises(TryLater, match="60 s") as refusal:
        await hashing.check("alice", HOME, WRONG, "right")
    assert refusal.value.retry == WAIT_FROM
    assert len(slow.begun) == TRIES


async def test_hanging_up_takes_no_failure_back(slow: SlowCheck) -> None:
    """Or one could learn from the time it takes, and never be counted."""
    visitors = Visitors(Hashing())
    for number in range(1, TRIES + 1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visitors.come, 1, "wrong")
            await slow.has_begun(number)
            nursery.cancel_scope.cancel()
            slow.released.set()
    await visitors.come(1, "wrong")
    assert isinstance(visitors.refused[-1], TryLater)


async def test_hanging_up_before_the_password_was_looked_at_is_no_failure(
    slow: SlowCheck,
) -> None:
    hashing = Hashing()
    visitors = Visitors(hashing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(visitors.come, 0)
        await slow.has_begun(1)
        for _ in range(2 * TRIES):
            with trio.move_on_after(0):
                await hashing.check("alice", HOME, WRONG, "right")
        slow.released.set()
    with pytest.raises(WrongPassword):
        await hashing.check("alice", HOME, WRONG, "right")


def test_the_fake_takes_what_the_real_one_takes() -> None:
    assert check_password.__annotations__ == SlowCheck.check.__annotations__
