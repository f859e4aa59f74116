"""Tests of the veil: what is told of a number tells nothing, and leads back to it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.messages import MAX_INT
from trio_chat.veil import KEY_BYTES, unveil, veil

KEY, OTHER = b"k" * KEY_BYTES, b"o" * KEY_BYTES
NUMBERS = st.integers(0, 2**52 - 1)


@given(NUMBERS)
def test_who_has_the_key_gets_the_number_back(number: int) -> None:
    told = veil(number, KEY)
    assert 0 <= told <= MAX_INT
    assert unveil(told, KEY) == number


@given(st.integers(0, MAX_INT))
def test_whatever_is_told_leads_to_some_number(told: int) -> None:
    assert 0 <= unveil(told, KEY) <= MAX_INT


def test_the_numbers_of_one_day_are_told_in_no_order() -> None:
    told = [veil(number, KEY) for number in range(1000)]
    assert len(set(told)) == 1000
    rising = sum(one < next for one, next in pairwise(told))
    assert 400 < rising < 600
    apart = sorted(told)
    assert apart[-1] - apart[0] > 2**51, "they are all over the place"


def test_another_key_tells_something_else() -> None:
    assert veil(7, KEY) != veil(7, OTHER)
    assert unveil(veil(7, KEY), OTHER) != 7
