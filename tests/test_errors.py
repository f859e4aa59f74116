"""Tests of the errors: codes are stable, and each has one class."""

import inspect
import re

import pytest

from trio_chat import errors
from trio_chat.errors import BY_CODE, ChatError, Refused, WireError, from_code

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]

CODED = [cls for cls in CLASSES if issubclass(cls, ChatError) and "code" in vars(cls)]

ENDS_LINK = {
    "account_needed",
    "put_out",
    "taken_over",
    "bad_frame",
    "too_long",
    "no_hello",
    "hello_first",
    "bad_version",
    "name_taken",
    "wrong_password",
    "server_full",
    "tls_required",
    "too_many_connections",
}


def test_each_code_has_one_class_and_each_class_one_code() -> None:
    assert sorted(CODED, key=repr) == sorted(BY_CODE.values(), key=repr)


def test_every_error_that_is_raised_has_a_code_of_its_own() -> None:
    travel = [cls for cls in CLASSES if issubclass(cls, WireError | Refused)]
    assert all(cls in CODED for cls in travel if not cls.__subclasses__())


@pytest.mark.parametrize("code", BY_CODE)
def test_a_code_is_lower_case_words(code: str) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)


def test_these_errors_end_the_link_and_no_others() -> None:
    assert {code for code, cls in BY_CODE.items() if cls.ends_link} == ENDS_LINK


@pytest.mark.parametrize(("code", "cls"), BY_CODE.items())
def test_an_error_is_rebuilt_from_its_code(code: str, cls: type[ChatError]) -> None:
    error = from_code(code, "because", retry=3)
    assert type(error) is cls
    assert (str(error), error.retry) == ("because", 3)


def test_an_unknown_code_is_a_refusal() -> None:
    assert type(from_code("made_up_tomorrow", "no")) is Refused


def test_either_the_line_was_wrong_or_the_answer_is_no() -> None:
    for cls in BY_CODE.values():
        assert issubclass(cls, WireError) is not issubclass(cls, Refused)
