"""Tests of secrets: nothing that shows values shows them."""

import logging
import traceback
from collections.abc import Callable

import attrs
import pytest

from trio_chat.secret import Secret

TEXT = "correct horse"


def test_a_secret_can_be_revealed() -> None:
    assert Secret(TEXT).reveal() == TEXT


@pytest.mark.parametrize(
    "show", [repr, str, ascii, "{}".format, "{!r:>9}".format, "%s".__mod__]
)
def test_nothing_shows_a_secret(show: Callable[[object], str]) -> None:
    assert TEXT not in show(Secret(TEXT))
    assert TEXT not in show([Secret(TEXT)])


def test_a_log_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    password = Secret(TEXT)
    logging.getLogger("trio_chat").warning("it is %s", password, extra={"was": password})
    assert "it is" in caplog.text
    assert TEXT not in caplog.text + repr(vars(caplog.records[0]))


def test_a_traceback_with_locals_shows_no_secret() -> None:
    password = Secret(TEXT)
    try:
        raise RuntimeError(f"not {password}")
    except RuntimeError as exc:
        with_locals = traceback.TracebackException.from_exception(exc, capture_locals=True)
        shown = "".join(with_locals.format())
    assert "password = " in shown
    assert TEXT not in shown


def test_a_secret_can_not_be_changed_or_compared() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Secret(TEXT)._text = ""  # type: ignore[misc] # noqa: SLF001 # that is what is tested
    assert Secret(TEXT) != Secret(TEXT)  # that would take longer for a better guess
