"""Tests of tokens: they prove who somebody is, and what may be done with them."""

import hmac

import pytest

from trio_chat.names import parse_name
from trio_chat.roles import Verb
from trio_chat.tokens import ANYTHING, Scope, hash_token, make_token, proves

OPS, LOBBY = parse_name("ops"), parse_name("lobby")


def test_a_token_has_256_bits_and_needs_no_quotes() -> None:
    many = {make_token() for _ in range(1000)}
    assert len(many) == 1000
    assert {len(token) for token in many} == {43}  # of 6 bits each
    assert all(char.isalnum() or char in "-_" for token in many for char in token)


def test_a_token_proves_itself_and_nothing_else() -> None:
    mine, other = make_token(), make_token()
    kept = [hash_token(other), hash_token(mine)]
    assert proves(mine, kept)
    assert not proves(make_token(), kept)
    assert not proves(mine, [])
    assert not proves(kept[1].hex(), kept)


@pytest.mark.parametrize("token", ["", "ü", "\ud800", "\0", "x" * 100_000])
def test_any_text_may_be_presented(token: str) -> None:
    assert not proves(token, [hash_token(make_token())])


def test_what_is_kept_does_not_tell_the_token() -> None:
    token = make_token()
    assert token.encode() not in hash_token(token)


def test_the_comparison_takes_as_long_for_a_near_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(_ours: bytes, theirs: bytes) -> bool:
        compared.append(theirs)
        return False

    token = make_token()
    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert not proves(token, [hash_token(token)])
    assert compared == [hash_token(token)]


# ---------------------------------------------------------------- what it is good for


def test_a_scope_permits_its_verbs_in_its_rooms_and_nothing_else() -> None:
    scope = Scope(frozenset({Verb.SAY, Verb.JOIN}), frozenset({OPS}))
    permitted = {
        (verb, room) for verb in Verb for room in (OPS, LOBBY) if scope.permits(verb, room)
    }
    assert permitted == {(Verb.SAY, OPS), (Verb.JOIN, OPS)}


def test_a_scope_without_rooms_is_for_all() -> None:
    scope = Scope(frozenset({Verb.SAY}))
    assert scope.permits(Verb.SAY, OPS)
    assert scope.permits(Verb.SAY, LOBBY)
    assert not scope.permits(Verb.KICK, LOBBY)


def test_a_scope_for_no_room_permits_nothing() -> None:
    scope = Scope(frozenset(Verb), frozenset())
    assert not any(scope.permits(verb, LOBBY) for verb in Verb)


def test_a_person_may_anything_as_far_as_the_token_goes() -> None:
    assert all(ANYTHING.permits(verb, LOBBY) for verb in Verb)
