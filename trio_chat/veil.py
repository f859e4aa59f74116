"""Numbers that are told without telling anything.

The texts of all rooms are numbered together, so that a search can go on where it ended. Such
a number would tell whoever sees two of them how much was said in rooms that it may not read.
So it is told under a veil: another number, which only who has the key can turn back.

A Feistel network of four rounds makes a permutation of any hash (Luby and Rackoff, 1988).
"""

import hashlib
from collections.abc import Iterable

HALF_BITS = 26
"""Twice that is as long as a number may be that every JSON reader holds exactly."""

KEY_BYTES = 16

ROUNDS = range(4)

_HALF = (1 << HALF_BITS) - 1


def veil(number: int, key: bytes) -> int:
    """What is told instead of `number`, which is below 2^52."""
    return _pass(number, key, ROUNDS)


def unveil(told: int, key: bytes) -> int:
    """The number of which that is told. Of any other it makes some number."""
    return _swap(_pass(_swap(told), key, reversed(ROUNDS)))


def _pass(number: int, key: bytes, rounds: Iterable[int]) -> int:
    left, right = number >> HALF_BITS & _HALF, number & _HALF
    for turn in rounds:
        left, right = right, left ^ _mix(turn, right, key)
    return left << HALF_BITS | right


def _swap(number: int) -> int:
    return (number & _HALF) << HALF_BITS | number >> HALF_BITS & _HALF


def _mix(turn: int, half: int, key: bytes) -> int:
    data = bytes([turn]) + half.to_bytes(4, "big")
    return int.from_bytes(hashlib.blake2b(data, digest_size=4, key=key).digest(), "big") & _HALF
