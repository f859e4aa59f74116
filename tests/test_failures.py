"""Tests of failures: nobody guesses a password, and nobody honest waits long."""

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.failures import (
    FORGET_AFTER,
    KNOWN,
    PENDING_WAIT,
    TRIES,
    WAIT_FROM,
    WAIT_TO,
    Failures,
)

HOME, AWAY = "192.0.2.1", "198.51.100.7"


@define
class Guesser:
    """Somebody who has the wrong password, and tries as soon as it is let."""

    failures: Failures = field(factory=Failures)
    now: float = 1000.0
    account: str = "alice"
    origin: str | None = HOME
    waits: list[float] = field(factory=list, init=False)

    def guess(self) -> bool:
        """Was it let?"""
        wait = self.failures.begin(self.account, self.origin, self.now)
        if wait:
            self.waits.append(wait)
            return False
        self.failures.end(self.account, self.origin, self.now, failed=True)
        return True

    def guess_patiently(self, times: int) -> None:
        for _ in range(times):
            while not self.guess():
                self.now += self.waits[-1]


def test_a_few_failures_cost_nothing() -> None:
    guesser = Guesser()
    assert [guesser.guess() for _ in range(TRIES + 1)] == [True] * TRIES + [False]
    assert guesser.waits == [WAIT_FROM]


def test_a_refused_try_does_not_make_it_worse() -> None:
    guesser = Guesser()
    guesser.guess_patiently(TRIES)
    for _ in range(100):
        assert not guesser.guess()
        guesser.now += 0.5
    assert guesser.waits[-1] == WAIT_FROM - 49.5


def test_each_wait_is_twice_as_long_up_to_a_quarter_of_an_hour() -> None:
    guesser = Guesser()
    guesser.guess_patiently(8 * TRIES + 1)
    assert guesser.waits == [60, 120, 240, 480, 900, 900, 900, 900]
    assert (WAIT_FROM, WAIT_TO) == (60, 900)


def test_a_year_of_guessing_is_no_overflow() -> None:
    guesser = Guesser()
    guesser.guess_patiently(TRIES * 365 * 96)
    assert guesser.waits[-1] == WAIT_TO


def test_who_stops_for_a_while_begins_anew() -> None:
    guesser = Guesser()
    guesser.guess_patiently(3 * TRIES)
    guesser.now += FORGET_AFTER
    guesser.waits.clear()
    guesser.guess_patiently(TRIES + 1)
    assert guesser.waits == [WAIT_FROM]


def test_a_mistake_a_minute_is_never_too_many() -> None:
    guesser = Guesser()
    for _ in range(100):
        assert guesser.guess()
        guesser.now += WAIT_FROM


def test_one_account_is_tried_from_many_origins_in_vain() -> None:
    guesser = Guesser()
    for number in range(TRIES):
        guesser.origin = f"192.0.2.{number}"
        assert guesser.guess()
    guesser.origin = AWAY
    assert not guesser.guess()


def test_one_origin_tries_many_accounts_in_vain() -> None:
    guesser = Guesser()
    for number in range(TRIES):
        guesser.account = f"name{number}"
        assert guesser.guess()
    guesser.account = "alice"
    assert not guesser.guess()


def test_this_machine_is_nobodys_and_may_try_all_accounts() -> None:
    guesser = Guesser(origin=None)
    for number in range(100):
        guesser.account = f"name{number}"
        assert guesser.guess()
    guesser.guess_patiently(TRIES - 1)
    assert not guesser.guess()


def test_others_are_not_kept_waiting() -> None:
    guesser = Guesser()
    guesser.guess_patiently(TRIES)
    assert guesser.failures.begin("bob", AWAY, guesser.now) == 0


def test_one_s_own_password_is_no_way_to_go_on_guessing() -> None:
    """What comes out well takes nothing back of what did not."""
    guesser = Guesser()
    for _ in range(TRIES):
        assert guesser.failures.begin("mallory", HOME, guesser.now) == 0
        guesser.failures.end("mallory", HOME, guesser.now, failed=False)
        assert guesser.guess()
    assert not guesser.guess()


def test_a_thousand_tries_at_once_are_as_many_as_one_after_the_other() -> None:
    failures = Failures()
    begun = [failures.begin("alice", HOME, 0) for _ in range(1000)].count(0)
    assert begun == TRIES
    assert failures.begin("alice", HOME, 0) == PENDING_WAIT
    for _ in range(begun):
        failures.end("alice", HOME, 0.1, failed=True)
    assert failures.begin("alice", HOME, 0.1) == WAIT_FROM


def test_one_more_may_begin_when_one_has_come_out_well() -> None:
    failures = Failures()
    for number in range(TRIES):
        failures.begin(f"name{number}", HOME, 0)
    failures.end("name0", HOME, 0, failed=False)
    assert failures.begin("alice", HOME, 0) == 0
    assert failures.begin("bob", HOME, 0) == PENDING_WAIT


def test_an_office_comes_back_at_once() -> None:
    failures = Failures()
    people = [f"person{number}" for number in range(50)]
    now = 0.0
    while people:
        done = [name for name in people if not failures.begin(name, HOME, now)]
        now += PENDING_WAIT
        for name in done:
            failures.end(name, HOME, now, failed=False)
        people = [name for name in people if name not in done]
    assert now <= 50 / TRIES * PENDING_WAIT


def test_who_is_broken_off_has_not_failed() -> None:
    failures = Failures()
    for _ in range(100):
        assert failures.begin("alice", HOME, 0) == 0
        failures.end("alice", HOME, 0, failed=False)


def test_the_table_is_bounded_and_keeps_who_is_being_tried() -> None:
    guesser = Guesser()
    guesser.guess_patiently(TRIES)
    for number in range(2 * KNOWN):
        guesser.failures.begin(f"name{number}", f"2001:db8:{number:x}::1", guesser.now)
        if number % 1000 == 0:
            assert not guesser.guess()
    assert len(guesser.failures) == KNOWN


@given(st.lists(st.floats(0, 200), max_size=60))
def test_no_minute_has_more_tries_than_it_may(pauses: list[float]) -> None:
    guesser = Guesser()
    times = []
    for pause in pauses:
        guesser.now += pause
        if guesser.guess():
            times.append(guesser.now)
    for start in times:
        assert len([time for time in times if start <= time < start + WAIT_FROM]) <= TRIES
