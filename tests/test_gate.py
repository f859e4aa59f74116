"""Tests of who may come in."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio
from attrs import define
from trio.testing import wait_all_tasks_blocked

from trio_chat.errors import ServerFull, TooManyConnections
from trio_chat.gate import IN_ONE_PASS, TURNED_AWAY, Gate, Turnstile, link, origin_of


@pytest.fixture(autouse=True)
def numbered() -> Iterator[None]:
    """Keeps the numbers of these connections out of what other tests log."""
    token = link.set(None)
    yield
    link.reset(token)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1", None),
        ("127.8.9.10", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("2001:db8:1:3::9", "2001:db8:1:3::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_an_address_is_counted_for_whose_it_is(host: str, origin: str | None) -> None:
    assert origin_of(host) == origin


def test_who_comes_over_memory_is_from_nowhere() -> None:
    assert origin_of(None) is None


def test_there_are_only_so_many_and_who_goes_makes_room() -> None:
    gate = Gate(most=2, each=0)
    with gate.let_in(None):
        for host in ("10.0.0.1", "10.0.0.2"):
            with (
                gate.let_in(host),
                pytest.raises(ServerFull) as refused,
                gate.let_in("10.0.0.3"),
            ):
                raise AssertionError
            assert refused.value.retry


def test_an_address_has_only_so_many_and_leaves_others_theirs() -> None:
    gate = Gate(most=9, each=1)
    with gate.let_in("10.0.0.1"), gate.let_in("10.0.0.2"):
        with pytest.raises(TooManyConnections) as refused, gate.let_in("10.0.0.1"):
            raise AssertionError
        assert refused.value.retry
        with gate.let_in("127.0.0.1"), gate.let_in("127.0.0.1"):
            pass
    with gate.let_in("10.0.0.1"):
        pass


def test_a_bug_inside_makes_room_as_well() -> None:
    gate = Gate(most=1, each=1)
    for _ in range(2):
        with pytest.raises(RuntimeError), gate.let_in("10.0.0.1"):
            raise RuntimeError


def test_nothing_is_remembered_of_who_has_gone() -> None:
    gate = Gate(most=1, each=1)
    for number in range(1000):
        with gate.let_in(f"2001:db8:{number:x}::1"):
            assert gate.addresses == 1
    assert gate.addresses == 0


def test_each_connection_has_a_number_in_the_log() -> None:
    gate = Gate(most=2, each=0)
    numbers = []
    for _ in range(3):
        with gate.let_in(None):
            numbers.append(link.get())
    assert numbers == [1, 2, 3]


async def test_nobody_comes_in_while_many_are_turned_away(virtual_time: None) -> None:
    gate = Gate(most=1, each=0)
    done = trio.Event()

    async def wait() -> None:
        await gate.wait_for_time()
        done.set()

    async with trio.open_nursery() as nursery:
        with ExitStack() as others:
            for _ in range(TURNED_AWAY - 1):
                others.enter_context(gate.turning_away())
            with gate.turning_away():
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                assert not done.is_set()
            await done.wait()


@define(eq=False)
class Passes(trio.abc.Instrument):
    """Counts the passes of the loop."""

    count: int = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


async def test_only_so_many_get_through_in_one_pass() -> None:
    turnstile, passes, through = Turnstile(), Passes(), list[tuple[int, int]]()
    trio.lowlevel.add_instrument(passes)

    async def come(number: int) -> None:
        await turnstile.pass_through()
        through.append((passes.count, number))

    async with trio.open_nursery() as nursery:
        for number in range(10 * IN_ONE_PASS):
            nursery.start_soon(come, number)
    trio.lowlevel.remove_instrument(passes)
    in_each = Counter(when for when, _ in through)
    assert max(in_each.values()) == IN_ONE_PASS
    assert len(in_each) == 10


async def test_who_is_cancelled_at_the_turnstile_does_not_hold_it_up() -> None:
    turnstile = Turnstile()
    for _ in range(2 * IN_ONE_PASS):
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            await turnstile.pass_through()
    with trio.fail_after(1):
        await turnstile.pass_through()
