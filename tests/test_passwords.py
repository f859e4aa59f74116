"""Tests of passwords: what is kept of one, and whether one is right."""

import time

import argon2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_chat.errors import BadPassword
from trio_chat.passwords import (
    LANES,
    LEAST_CHARS,
    MEMORY_KIB,
    MOST_BYTES,
    PASSES,
    Verdict,
    check_password,
    hash_password,
)
from trio_chat.secret import Secret

RIGHT, WRONG = Secret("correct horse"), Secret("battery staple")


def test_a_password_is_right_or_wrong() -> None:
    kept = hash_password(RIGHT)
    assert check_password(RIGHT, kept) == Verdict(is_right=True)
    assert check_password(WRONG, kept) == Verdict(is_right=False)


def test_what_is_kept_is_slow_and_says_how_it_was_made() -> None:
    kept = hash_password(RIGHT)
    made = argon2.extract_parameters(kept)
    assert made.type is argon2.Type.ID
    assert (made.memory_cost, made.time_cost, made.parallelism) == (MEMORY_KIB, PASSES, LANES)
    assert (MEMORY_KIB, PASSES, LANES) == (19456, 2, 1)  # OWASP's figures
    assert RIGHT.reveal() not in kept
    assert hash_password(RIGHT) != kept  # for the salt differs


def test_nobody_has_a_password_and_that_takes_as_long_to_find_out() -> None:
    assert check_password(WRONG, None) == Verdict(is_right=False)
    cases = [None, hash_password(RIGHT)]
    times: list[list[float]] = [[], []]
    for _ in range(50):  # as others slow the processor down: a difference would stay
        for kept, taken in zip(cases, times, strict=True):
            taken.append(seconds(WRONG, kept))
        ratio = min(times[0]) / min(times[1])
        if len(times[0]) >= 5 and 0.5 < ratio < 2:
            break
    assert 0.5 < ratio < 2


def seconds(password: Secret, kept: str | None) -> float:
    """Those of the processor that it takes to look at it."""
    start = time.thread_time()
    check_password(password, kept)
    return time.thread_time() - start


def test_nobody_gets_in_with_what_is_kept_of_nobody() -> None:
    for password in ("", "\0" * 32, "A" * 43, "None"):
        assert not check_password(Secret(password), None).is_right


def test_what_was_made_with_less_effort_is_made_anew() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=64).hash(RIGHT.reveal())
    verdict = check_password(RIGHT, weak)
    assert verdict.is_right
    assert verdict.renewed is not None
    assert check_password(RIGHT, verdict.renewed) == Verdict(is_right=True)
    assert check_password(WRONG, weak) == Verdict(is_right=False)
    assert verdict.renewed not in repr(verdict)


def test_an_accent_may_be_written_in_two_ways() -> None:
    kept = hash_password(Secret("schöner Tag"))
    assert check_password(Secret("scho\u0308ner Tag"), kept).is_right
    assert not check_password(Secret("schoner Tag"), kept).is_right
    assert not check_password(Secret("SCHÖNER TAG"), kept).is_right


@pytest.mark.parametrize(
    "text",
    ["x" * LEAST_CHARS, "x" * MOST_BYTES, "🐟" * (MOST_BYTES // 4), " " * 8, "a\0bcdefg"],
)
def test_a_password_may_be_of_anything(text: str) -> None:
    assert check_password(Secret(text), hash_password(Secret(text))).is_right


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * (LEAST_CHARS - 1),
        "e\u0301" * (LEAST_CHARS - 1),
        "x" * (MOST_BYTES + 1),
        "🐟" * (MOST_BYTES // 4 + 1),
        "x" * 8 + "\ud800",
    ],
)
def test_this_can_not_be_a_password(text: str) -> None:
    with pytest.raises(BadPassword) as refusal:
        hash_password(Secret(text))
    assert not text or text not in str(refusal.value)
    assert not check_password(Secret(text), hash_password(RIGHT)).is_right


@settings(max_examples=10, deadline=None)  # a hash takes its time
@given(st.text(min_size=LEAST_CHARS, max_size=40), st.text(min_size=LEAST_CHARS, max_size=40))
def test_only_the_password_itself_is_right(one: str, other: str) -> None:
    kept = hash_password(Secret(one))
    assert check_password(Secret(one), kept).is_right
    assert check_password(Secret(other), kept).is_right is (one == other)
