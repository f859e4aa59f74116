"""One browser for all tests; each person in them has a profile of its own."""

from collections.abc import Iterator

import pytest

from tests.browser.stage import chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[str]:
    with chromium() as address:
        yield address
