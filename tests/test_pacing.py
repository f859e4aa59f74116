"""Tests of the pace: nobody speaks faster than that, and nobody is slowed down more."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat.pacing import BURST, KNOWN, RATE, Pace, Paces

EPSILON = 1e-6


def used(pace: Pace, pauses: list[float]) -> list[float]:
    """When the tokens are used by one who waits for each, and pauses between."""
    now = 0.0
    uses = []
    for pause in pauses:
        now += pause
        now = max(now, pace.take(now))
        uses.append(now)
    return uses


def test_a_burst_may_be_said_at_once() -> None:
    assert used(Pace(), [0.0] * BURST) == [0.0] * BURST


def test_after_a_burst_the_rate_counts() -> None:
    uses = used(Pace(), [0.0] * (BURST + 20))
    assert uses[BURST] == pytest.approx(1 / RATE)
    assert uses[-1] == pytest.approx(20 / RATE)


def test_what_was_not_used_piles_up_to_a_burst_and_no_further() -> None:
    uses = used(Pace(rate=10, burst=5), [0.0] * 5 + [3600.0] + [0.0] * 5)
    assert uses[5:10] == [3600.0] * 5
    assert uses[10] == pytest.approx(3600.1)


def test_a_short_rest_brings_what_it_lasted_for() -> None:
    uses = used(Pace(rate=10, burst=5), [0.0] * 5 + [0.2, 0.0, 0.0])
    assert uses[5:] == pytest.approx([0.2, 0.2, 0.3])


def test_a_rate_of_zero_is_no_limit() -> None:
    assert used(Pace(rate=0, burst=0), [0.0] * 10_000) == [0.0] * 10_000


def test_the_clock_may_start_anywhere() -> None:
    for start in (-1e6, 1e6):
        pace = Pace()
        assert all(pace.take(start) <= start + EPSILON for _ in range(BURST))
        assert pace.take(start) == pytest.approx(start + 1 / RATE)


PAUSES = st.lists(st.floats(0, 2), min_size=1, max_size=60)


@given(PAUSES, st.sampled_from([0.5, 1.0, 10.0, 100.0]), st.integers(1, 10))
def test_no_stretch_of_time_has_more_than_its_share_and_a_burst(
    pauses: list[float], rate: float, burst: int
) -> None:
    uses = used(Pace(rate, burst), pauses)
    for first, start in enumerate(uses):
        for last, end in enumerate(uses[first:], first):
            assert last - first + 1 <= burst + rate * (end - start) + EPSILON


@given(PAUSES, st.sampled_from([0.5, 1.0, 10.0, 100.0]), st.integers(1, 10))
def test_who_keeps_to_the_rate_never_waits(
    pauses: list[float], rate: float, burst: int
) -> None:
    slow = [pause + 1 / rate for pause in pauses]
    asked = [sum(slow[: index + 1]) for index in range(len(slow))]
    assert used(Pace(rate, burst), slow) == pytest.approx(asked)


@example([0.995], 0.5, 1)  # what is free by then is not so by a hair, if one adds it up
@example([0.002], 1.0, 1)
@given(PAUSES, st.sampled_from([0.5, 1.0, 10.0, 100.0]), st.integers(1, 10))
def test_who_is_told_to_wait_has_taken_nothing(
    pauses: list[float], rate: float, burst: int
) -> None:
    pace, now, came = Pace(rate, burst), 0.0, []
    for pause in pauses:
        now += pause
        while wait := pace.try_to_take(now):
            assert wait <= 1 / rate + EPSILON
            assert pace.try_to_take(now) == wait
            now += wait + EPSILON
        came.append(now)
    assert came == pytest.approx(used(Pace(rate, burst), pauses), abs=1e-3)


def test_each_has_a_pace_of_its_own_and_only_the_last_are_known() -> None:
    paces = Paces(rate=1, burst=1)
    assert [paces.wait("a", 0.0), paces.wait("b", 0.0), paces.wait("a", 0.0)] == [0, 0, 1]
    for who in range(KNOWN):
        assert paces.wait(who, 0.0) == 0
    assert paces.wait("a", 0.0) == 0, "long forgotten"
    assert [paces.wait(who, 0.0) for who in (KNOWN - 1, 2)] == [1, 1]
